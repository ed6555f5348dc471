"""What a model folder must be before anything of it is loaded. Nothing of it is run, and nothing outside is read.

A model folder comes from anywhere. Here it is held against what a folder of plain weights is: files that lie in it,
JSON objects of a fair size, weights as safetensors, shards that are named and there, sizes that fit the weights, a
known architecture, a chat template that is one. `check_folder` is called by `hflm.models.load.model_folder`, which
every loader goes through.
"""

import json
import math
import stat
import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from hflm.errors import ModelError
from hflm.models.chat_template import check_template
from hflm.models.sizes import check_generation, check_sizes

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
WHOLE = "Name a whole model."
MAX_FILES = 10_000
MIB = 1 << 20
# Files that are read whole. The largest vocabularies today take some 40 MB.
LARGEST = {"config.json": 4 * MIB, "tokenizer.json": 256 * MIB, INDEX: 64 * MIB}
LARGEST_OTHER = 128 * MIB
MAX_HEADER = 100 * MIB  # safetensors' own limit
OBJECTS = ("config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", INDEX)
# How many times as long a normalizer may make a text.
MAX_GROWTH = 1000.0
TASK_NUMBERS = ("max_source_length", "max_target_length", "max_length")
TASK_WORDS = ("prefix", "instruction", "source_lang", "target_lang", "metric")


def check_folder(folder: Path, *, weights: bool = True) -> None:
    """Raise ModelError, in one line, for a folder that is no plain model; `weights` may be yet to come from the hub."""
    _check_content(folder, weights, _look(folder))


def check_tokenizer(folder: Path) -> None:
    """Raise ModelError for a folder whose tokenizer is not safe to open; a model need not be there."""
    _check_tokenizer(folder, _look(folder))


def _look(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Check the place of every file of a folder, and return names, sizes and times.

    What was looked at stays good for this process while these stay the same.
    """
    try:
        real = folder.resolve(strict=True)
        # The hub's cache keeps the content of a repository's files beside its snapshots, and links to it.
        repository = real.parent.parent
        cached = real.parent.name == "snapshots" and repository.name.startswith("models--")
        found = sorted(real.iterdir())[: MAX_FILES + 1]
        if len(found) > MAX_FILES:
            raise ModelError(f"{folder} holds more than {MAX_FILES:,} files.", fix="Name a model folder.")
        for path in found:
            _check_place(path, folder, home=repository if cached else real)
        return tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in found if path.is_file())
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{folder} cannot be read: {error}.", fix="Check the folder.") from error


@lru_cache(maxsize=64)
def _check_content(folder: Path, weights: bool, looks: tuple[tuple[str, int, int], ...]) -> None:
    objects = {name: read_object(folder / name) for name in OBJECTS if (folder / name).is_file()}
    config = objects.get("config.json", {})
    _check_config(folder, config)
    held = None
    if weights:
        held = sum(count_numbers(path) for path in weight_files(folder))
    check_sizes(config, held, where=f"{folder}/config.json")
    check_generation(objects.get("generation_config.json", {}), where=f"{folder}/generation_config.json")
    _check_tokenizer(folder, looks)


def _check_place(path: Path, folder: Path, *, home: Path) -> None:
    """Raise ModelError for a link out of the folder, for what is no plain file, and for what is too large to read."""
    real = path.resolve(strict=True) if path.is_symlink() else path
    if not real.is_relative_to(home):
        raise ModelError(f"{folder}/{path.name} is a link out of the folder.", fix="Put the file itself there.")
    mode = real.stat()
    if stat.S_ISDIR(mode.st_mode):
        if path.name == "additional_chat_templates":
            for inner in sorted(path.iterdir()):
                _check_place(inner, folder, home=home)
        return
    if not stat.S_ISREG(mode.st_mode):
        raise ModelError(f"{folder}/{path.name} is no plain file.", fix="Take it out of the folder.")
    most = LARGEST.get(path.name, LARGEST_OTHER)
    if path.suffix in (".json", ".txt", ".jinja", ".model") and mode.st_size > most:
        raise ModelError(f"{folder}/{path.name} has {mode.st_size / MIB:,.0f} MiB.", fix=WHOLE)


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises ModelError where the file holds anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        reason = "its nesting has no end" if isinstance(error, RecursionError) else str(error)[:120].rstrip(".")
        raise ModelError(f"{path} is no JSON: {reason}.", fix=WHOLE) from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.", fix="Check the folder.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, not an object.", fix=WHOLE)
    return content


def _check_config(folder: Path, config: Mapping[str, Any]) -> None:
    from transformers import CONFIG_MAPPING

    where, kind = f"{folder}/config.json", config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        named = f"the architecture {kind!r}" if kind else "no architecture (model_type)"
        own = ", and code of its own, which hflm does not run" if config.get("auto_map") else ""
        raise ModelError(f"{where} names {named}, none that transformers knows{own}.", fix="Name another model.")
    made = config.get("architectures")
    if made is not None and not (isinstance(made, list) and all(isinstance(name, str) for name in made)):
        raise ModelError(f"{where}: architectures is no list of names.", fix=WHOLE)
    labels = config.get("id2label")
    if labels is not None and not (isinstance(labels, dict) and all(str(name).isdecimal() for name in labels)):
        raise ModelError(f"{where}: id2label is no object from numbers to labels.", fix=WHOLE)
    other = config.get("transformers_weights")
    if other is not None and not _is_shard(folder, other):
        raise ModelError(f"{where}: transformers_weights is {str(other)[:80]!r}, no safetensors file here.", fix=WHOLE)
    if (folder / "adapter_config.json").exists():
        problem = f"{folder} holds an adapter, which names weights that lie elsewhere."
        raise ModelError(problem, fix="Merge it into its model first.")
    tasks = config.get("task_specific_params") or {}
    if not isinstance(tasks, dict) or not all(_is_task(task) for task in tasks.values() if isinstance(task, dict)):
        raise ModelError(f"{where}: task_specific_params has a value of the wrong type.", fix=WHOLE)


def _is_task(task: Mapping[str, Any]) -> bool:
    """Tell whether what a model keeps of its task has the types that hflm writes."""
    columns = task.get("columns", {})
    return (
        isinstance(columns, dict)
        and all(isinstance(value, str) for value in columns.values())
        and all(isinstance(task.get(name, 1), int) and 0 < task.get(name, 1) < 10**9 for name in TASK_NUMBERS)
        and all(isinstance(task.get(name) or "", str) for name in TASK_WORDS)
        and task.get("writes", "text") in ("text", "triples")
        and isinstance(task.get("temperature", 1.0), (int, float))
        and 0 < task.get("temperature", 1.0) < 10**6
    )


def _is_shard(folder: Path, name: object) -> bool:
    """Tell whether a name is that of a safetensors file in the folder itself."""
    plain = isinstance(name, str) and name.endswith(".safetensors") and not set("/\\\0") & set(name)
    return plain and (folder / str(name)).is_file()


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold a folder's weights; raises ModelError where there are none, or only pickled ones."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        named = read_object(folder / INDEX).get("weight_map")
        if not isinstance(named, dict) or not named:
            raise ModelError(f"{folder}/{INDEX} has no weight_map.", fix=WHOLE)
        for name in sorted({str(name) for name in named.values()}):
            if not _is_shard(folder, name):
                problem = f"{folder}/{INDEX} names {name[:80]!r}, which is no safetensors file of the folder."
                raise ModelError(problem, fix=WHOLE)
        return sorted({folder / str(name) for name in named.values()})
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.ckpt")):
        problem = f"{folder} holds only pickled weights, which can run code."
        raise ModelError(problem, fix=f"Convert them: `hflm models convert {folder}`.")
    raise ModelError(f"{folder} holds no weights.", fix="Name a folder with model.safetensors.")


def read_header(path: Path) -> dict[str, Any]:
    """Return the header of a safetensors file: name -> type, shape, place; raises ModelError where it is none."""
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(MAX_HEADER, path.stat().st_size - 8):
                raise ValueError("its header is longer than the file")
            header = json.loads(stream.read(length))
        if not isinstance(header, dict):
            raise ValueError("its header is no object")
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
        if end != path.stat().st_size - 8 - length:
            raise ValueError(f"its header speaks of {end:,} bytes, and {path.stat().st_size - 8 - length:,} follow")
    except (ValueError, struct.error, RecursionError, KeyError, TypeError, IndexError, OSError) as error:
        reason = str(error)[:120].rstrip(".") if isinstance(error, (ValueError, OSError)) else "its header is broken"
        raise ModelError(f"{path} cannot be loaded: {reason}.", fix="Copy or download it again.") from error
    return tensors


def count_numbers(path: Path) -> int:
    """Return how many numbers a safetensors file holds."""
    try:
        return sum(math.prod(int(size) for size in entry["shape"]) for entry in read_header(path).values())
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} cannot be loaded: its header is broken.", fix="Copy or download it again.") from error


@lru_cache(maxsize=64)
def _check_tokenizer(folder: Path, looks: tuple[tuple[str, int, int], ...]) -> None:
    path = folder / "tokenizer_config.json"
    config = read_object(path) if path.is_file() else {}
    for where, template in _templates(folder, config):
        if not isinstance(template, str):
            raise ModelError(f"{where}: a chat template is a {type(template).__name__}, not a text.", fix=WHOLE)
        check_template(template, where=where)
    path = folder / "tokenizer.json"
    if path.is_file():
        growth = _growth(read_object(path).get("normalizer"))
        if growth > MAX_GROWTH:
            raise ModelError(f"{path}: its normalizer makes texts {growth:.3g} times as long.", fix=WHOLE)


def _templates(folder: Path, config: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield every chat template of a folder with its place: files, and in tokenizer_config.json one or a named list."""
    for path in (folder / "chat_template.jinja", *sorted(folder.glob("additional_chat_templates/*.jinja"))):
        if path.is_file():
            yield str(path), path.read_text(encoding="utf-8", errors="replace")
    if (folder / "chat_template.json").is_file():
        yield f"{folder}/chat_template.json", read_object(folder / "chat_template.json").get("chat_template", "")
    kept = config.get("chat_template") or ""
    for one in kept if isinstance(kept, list) else [kept]:
        yield f"{folder}/tokenizer_config.json", one.get("template") if isinstance(one, dict) else one


def _growth(normalizer: Any) -> float:
    """Return how many times as long a normalizer can make a text: replacements one after the other multiply."""
    if not isinstance(normalizer, dict):
        return 1.0
    inner = normalizer.get("normalizers")
    if isinstance(inner, list):
        return math.prod(_growth(one) for one in inner[:1000])
    if normalizer.get("type") == "Prepend":
        return 1.0
    content = normalizer.get("content")
    return max(1.0, float(len(content))) if isinstance(content, str) else 1.0

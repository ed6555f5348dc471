"""Weights in other formats made into a plain folder of safetensors: GGUF files, and pickled weights."""

import io
import shutil
import struct
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from hflm.cache import staged
from hflm.errors import HflmError, ModelError, UsageError
from hflm.models.gguf_rope import read_scaling
from hflm.models.safety import INDEX, WEIGHTS, check_folder, read_object

# What is kept of a folder beside its weights: nothing that is code.
KEPT = (".json", ".txt", ".model", ".jinja", ".md", ".spm", ".vocab", ".merges", ".codes")
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
MAX_ENTRIES = 1 << 20
# What names the folder of `hflm models convert`.
OUTPUT = "--output-dir"


def convert(source: Path, target: Path) -> None:
    """Write a .gguf file, or a folder with pickled weights, as a folder of safetensors.

    Raises UsageError where `target` is taken, ModelError for anything that cannot be converted.
    """
    if target.exists():
        raise UsageError(f"{target} is there already.", fix=f"Choose another {OUTPUT}.")
    if source.is_file() and source.suffix.lower() == ".gguf":
        return convert_gguf(source, target, option=OUTPUT)
    if not source.is_dir():
        raise ModelError(f"{source} is no .gguf file and no folder.", fix="Name one with pytorch_model.bin.")
    if (source / WEIGHTS).exists() or (source / INDEX).exists():
        raise ModelError(f"{source} holds safetensors already.", fix="Use it as it is.")
    convert_pickled(source, target)


def convert_gguf(path: Path, target: Path, *, option: str = "") -> None:
    """Widen the weights of a GGUF file to bfloat16 and write them with configuration and tokenizer.

    Raises ModelError where it is no GGUF, or of an architecture that transformers cannot read; UsageError where
    `target` cannot be written, which `option` names where it is no entry of the cache.
    """
    _check_gguf(path)
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise ModelError("Reading .gguf files needs the package gguf.", fix="Run `pip install gguf`.") from error
    try:
        # transformers draws bars of its own for it, wanted or not.
        with staged(target, option=option) as staging, redirect_stderr(io.StringIO()):
            _widen(path, staging)
            check_folder(staging)
    except HflmError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160].rstrip(".: ")
        raise ModelError(
            f"{path} cannot be converted: {reason}.", fix="Name another model, or the same as safetensors."
        ) from error


def _check_gguf(path: Path) -> None:
    """Raise ModelError where the first bytes are not those of a GGUF file with a fair number of entries."""
    try:
        with path.open("rb") as stream:
            magic, version, tensors, entries = struct.unpack("<4sIQQ", stream.read(24))
    except (OSError, struct.error) as error:
        raise ModelError(f"{path} is no GGUF file.", fix="Download it again.") from error
    if magic != b"GGUF" or version not in (2, 3) or max(tensors, entries) > MAX_ENTRIES:
        raise ModelError(f"{path} is no GGUF file of version 2 or 3.", fix="Download it again.")


def _widen(path: Path, staging: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, GgufConfig

    where: dict[str, Any] = {"gguf_file": path.name, "trust_remote_code": False, "local_files_only": True}
    folder = str(path.parent)
    config: Any = AutoConfig.from_pretrained(folder, **where)
    factory: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model, found = factory.from_pretrained(
        folder, **where, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16,
        output_loading_info=True,
    )  # fmt: skip
    missing = sorted(set(found["missing_keys"]))
    if missing:
        raise ModelError(f"{path} lacks weights: {missing[0]} and {len(missing) - 1} more.", fix="Name a whole model.")
    if scaling := read_scaling(path):
        model.config.rope_parameters = {**(getattr(model.config, "rope_parameters", None) or {}), **scaling}
    tokenizer = AutoTokenizer.from_pretrained(folder, **where)
    model.save_pretrained(staging)
    tokenizer.save_pretrained(staging)


def convert_pickled(source: Path, target: Path) -> None:
    """Write pickled weights as safetensors beside copies of the other files; only tensors are unpickled.

    Raises ModelError where a pickle holds anything else than tensors, or the folder is no plain model.
    """
    shards = _pickled_files(source)
    with staged(target, option=OUTPUT) as staging:
        for path in sorted(source.iterdir()):
            if path.suffix in KEPT and path.is_file() and not path.is_symlink() and path.name != PICKLED_INDEX:
                shutil.copyfile(path, staging / path.name)
        total, places = 0, {}
        for number, shard in enumerate(shards, start=1):
            name = WEIGHTS if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            names, size = _rewrite(shard, staging / name)
            places.update(dict.fromkeys(names, name))
            total += size
        if len(shards) > 1:
            import json

            index = {"metadata": {"total_size": total}, "weight_map": places}
            (staging / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")
        if not (staging / "config.json").is_file():
            raise ModelError(f"{source} has no config.json.", fix="Name a whole model.")
        check_folder(staging)


def _pickled_files(source: Path) -> list[Path]:
    """Return the pickled files of a folder, each of which lies in it."""
    names = [PICKLED]
    if (source / PICKLED_INDEX).is_file():
        named = read_object(source / PICKLED_INDEX).get("weight_map")
        names = sorted({str(name) for name in named.values()}) if isinstance(named, dict) else []
        if not names:
            raise ModelError(f"{source}/{PICKLED_INDEX} names no files.", fix="Name a whole model.")
    for name in names:
        path = source / name
        if set("/\\\0") & set(name) or path.is_symlink() or not path.is_file():
            raise ModelError(f"{source} has no file {name[:80]!r} of its own.", fix=f"Name a folder with {PICKLED}.")
    return [source / name for name in names]


def _rewrite(shard: Path, target: Path) -> tuple[list[str], int]:
    """Write one pickled file as safetensors; return the names of its tensors and their bytes."""
    import torch
    from safetensors.torch import save_file

    try:
        content = torch.load(shard, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:
        raise ModelError(
            f"{shard} holds more than tensors, or is broken: it was not opened.",
            fix="Ask its author for model.safetensors.",
        ) from error
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ModelError(f"{shard} is no dictionary of tensors.", fix="Ask its author for model.safetensors.")
    # Tied weights share memory, which safetensors does not write: each gets its own.
    tensors = {str(name): tensor.detach().contiguous().clone() for name, tensor in content.items()}
    save_file(tensors, target, metadata={"format": "pt"})
    return list(tensors), sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())

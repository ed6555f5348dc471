"""Pickled weights made safetensors: only tensors are unpickled, only data is copied."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hflm.errors import ModelError, UsageError
from hflm.models.convert import convert
from hflm.models.heads import load_with_head
from tests.models.gguf_file import write_gguf
from tests.models.hostile import pickled, trace_of

Tiny = Callable[[str], str]
INDEX = "pytorch_model.bin.index.json"


@pytest.fixture(params=["gpt2", "bert"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def old(folder: Path, source: str, *, shards: int = 1) -> dict[str, Any]:
    """Copy a model with its weights pickled, tied ones in the same memory; return them."""
    shutil.copytree(source, folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    tied = {"again": next(iter(weights.values()))}
    names = sorted(weights)
    if shards == 1:
        torch.save({**weights, **tied}, folder / "pytorch_model.bin")
        return weights
    places = {}
    for number in range(shards):
        file = f"pytorch_model-{number}.bin"
        part = names[number::shards]
        torch.save({name: weights[name] for name in part}, folder / file)
        places.update(dict.fromkeys(part, file))
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))
    return weights


@pytest.mark.parametrize("shards", [1, 3])
def test_weights_stay_the_same(tiny: Tiny, tmp_path: Path, kind: str, shards: int) -> None:
    weights = old(tmp_path / "old", tiny(kind), shards=shards)
    (tmp_path / "old" / "modeling.py").write_text("1 / 0")
    convert(tmp_path / "old", tmp_path / "new")
    found: dict[str, Any] = {}
    for path in (tmp_path / "new").glob("*.safetensors"):
        found |= load_file(path)
    assert all(torch.equal(found[name], value) for name, value in weights.items())
    assert not list((tmp_path / "new").glob("*.py")) and not list((tmp_path / "new").glob("*.bin*"))
    family = "completion" if kind == "gpt2" else "classification"
    labels = [] if kind == "gpt2" else ["a", "b"]
    one, two = (load_with_head(str(name), family, labels=labels) for name in (tiny(kind), tmp_path / "new"))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_a_pickle_that_does_more_is_not_opened(tiny: Tiny, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("bert"), tmp_path / "old"))
    pickled("pytorch_model.bin")(folder)
    with pytest.raises(ModelError, match="holds more than tensors, or is broken: it was not opened"):
        convert(folder, tmp_path / "new")
    assert not trace_of(folder).exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old"]


def test_what_cannot_be_converted(tiny: Tiny, tmp_path: Path) -> None:
    good = tmp_path / "good"
    old(good, tiny("bert"))
    cases: list[tuple[str, Callable[[Path], Any], str]] = [
        ("taken", lambda f: (tmp_path / "taken-new").mkdir(), "is there already"),
        ("modern", lambda f: shutil.copy(Path(tiny("bert"), "model.safetensors"), f), "holds safetensors already"),
        ("empty", lambda f: (f / "pytorch_model.bin").unlink(), "has no file 'pytorch_model.bin' of its own"),
        ("bare", lambda f: (f / "config.json").unlink(), "has no config.json"),
        ("list", lambda f: torch.save([1], f / "pytorch_model.bin"), "is no dictionary of tensors"),
        (
            "out",
            lambda f: (f / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "../x.bin"}}'),
            "no fil",
        ),
        ("none", lambda f: (f / "pytorch_model.bin.index.json").write_text('{"weight_map": {}}'), "names no files"),
        ("link", lambda f: _linked(f / "pytorch_model.bin"), "only pickled weights|has no file"),
    ]
    for name, change, said in cases:
        change(Path(shutil.copytree(good, tmp_path / name)))
        with pytest.raises((ModelError, UsageError), match=said) as caught:
            convert(tmp_path / name, tmp_path / f"{name}-new")
        assert "\n" not in str(caught.value)
        assert name == "taken" or not (tmp_path / f"{name}-new").exists()
    with pytest.raises(ModelError, match="is no .gguf file and no folder"):
        convert(tmp_path / "nothing", tmp_path / "new")


def test_a_folder_that_cannot_be_written_is_the_users_own(tiny: Tiny, tmp_path: Path) -> None:
    old(tmp_path / "old", tiny("bert"))
    (tmp_path / "file").write_text("no folder")
    for source in (tmp_path / "old", write_gguf(Path(tiny("llama")), tmp_path / "a.gguf")):
        with pytest.raises(UsageError, match="file cannot be written: .* Choose another --output-dir") as caught:
            convert(source, tmp_path / "file" / "new")
        assert "cache" not in str(caught.value)


def _linked(path: Path) -> None:
    outside = path.parent.parent / "outside.bin"
    os.replace(path, outside)
    path.symlink_to(outside)


def test_positions_of_a_gguf_are_stretched_as_it_says(tiny: Tiny, tmp_path: Path) -> None:
    """transformers reads none of it: a Llama 3.2 turned its low frequencies 32 times too fast."""
    import numpy as np
    from transformers import AutoConfig

    def scaling(name: str, **given: Any) -> Any:
        convert(write_gguf(Path(tiny("llama")), tmp_path / f"{name}.gguf", **given), tmp_path / name)
        return AutoConfig.from_pretrained(tmp_path / name).rope_parameters

    plain = scaling("plain")
    assert plain["rope_type"] == "default"
    llama = scaling("llama3", more={"rope_freqs.weight": np.array([1.0, 1.0, 4.0, 32.0], np.float32)})
    assert (llama["rope_type"], llama["factor"], llama["low_freq_factor"]) == ("llama3", 32.0, 1.0)
    assert llama["rope_theta"] == plain["rope_theta"]
    linear = scaling("linear", told={"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0})
    assert (linear["rope_type"], linear["factor"]) == ("linear", 4.0)
    yarn = {"type": "yarn", "factor": 2.0, "original_context_length": 64}
    found = scaling("yarn", told={f"llama.rope.scaling.{key}": value for key, value in yarn.items()})
    assert (found["rope_type"], found["original_max_position_embeddings"]) == ("yarn", 64)
    with pytest.raises(ModelError, match="stretches positions by longrope"):
        scaling("long", more={"rope_factors_long.weight": np.ones(4, np.float32)})

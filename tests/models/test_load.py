"""Weights that exist already: a run, its model folder, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from hflm.errors import ModelError
from hflm.models.load import load_language_model, model_folder


def test_a_run_and_its_model_folder_are_the_same_model(finished: Path) -> None:
    assert model_folder(str(finished)) == model_folder(str(finished / "model")) == str(finished / "model")
    one, two = (load_language_model(str(path), objective="mlm") for path in (finished, finished / "model"))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_a_hub_id_that_is_nowhere() -> None:
    with pytest.raises(ModelError, match="No model 'owner/name': it is not in the cache and HF_HUB_OFFLINE is set"):
        model_folder("owner/name")


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished / "model", tmp_path / "model"))


def test_no_weights(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no weights"):
        model_folder(str(copy))
    (copy / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="only pickled weights, which can run code"):
        model_folder(str(copy))


def test_no_model(copy: Path, tmp_path: Path) -> None:
    (copy / "config.json").unlink()
    with pytest.raises(ModelError, match="there is no config.json"):
        model_folder(str(copy))
    with pytest.raises(ModelError, match="is no model folder"):
        model_folder(str(tmp_path / "none"))


def test_damaged_weights(copy: Path) -> None:
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_language_model(str(copy), objective="mlm")


def test_the_other_kind(copy: Path) -> None:
    with pytest.raises(ModelError, match="is an encoder.*--objective mlm"):
        load_language_model(str(copy), objective="clm")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(ModelError, match="is a decoder.*--objective clm"):
        load_language_model(str(copy), objective="mlm")


def test_a_missing_layer_is_refused(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if ".layer.1." not in name}
    assert len(kept) < len(weights)
    save_file(kept, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lacks weights"):
        load_language_model(str(copy), objective="mlm")


def test_a_hub_id_offline() -> None:
    with pytest.raises(ModelError, match="No model 'nobody/nothing'.*--arch"):
        load_language_model("nobody/nothing", objective="mlm")

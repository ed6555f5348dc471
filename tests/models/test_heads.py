"""Weights with the head of a task: drawn from the seed where it is new, whole where it is not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hflm.errors import ModelError
from hflm.models.heads import family_of, load_config, load_tokenizer_for, load_with_head, max_positions, saved_labels
from tests.tiny import DECODERS, ENCODERS, KINDS, POSITIONS, SEQ2SEQ

Tiny = Callable[[str], str]


@pytest.mark.parametrize("kind", [*ENCODERS, *DECODERS, "bart", "t5"])
def test_a_new_head_hangs_on_the_seed_alone(kind: str, tiny: Tiny) -> None:
    before = torch.random.get_rng_state()
    one, same, other = (
        load_with_head(tiny(kind), "classification", labels=["سيئ", "好"], seed=seed, pad_token_id=1)
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), before), "a draw from the global state"
    states = [model.state_dict() for model in (one, same, other)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert any(not torch.equal(value, states[2][name]) for name, value in states[0].items())
    assert one.config.id2label == {0: "سيئ", 1: "好"} and one.config.label2id == {"سيئ": 0, "好": 1}
    assert saved_labels(one.config) == ["سيئ", "好"]
    assert one.dtype == torch.float32 and one.config.pad_token_id is not None


def test_another_number_of_classes_gets_another_head(tiny: Tiny, tmp_path: Path) -> None:
    load_with_head(tiny("bert"), "classification", labels=["a", "b"]).save_pretrained(tmp_path)
    shutil.copy(Path(tiny("bert"), "tokenizer.json"), tmp_path)
    three = load_with_head(str(tmp_path), "classification", labels=["a", "b", "c"])
    assert three.config.num_labels == 3 and three.classifier.weight.shape[0] == 3
    kept = load_with_head(str(tmp_path), "classification", trained=True)
    assert saved_labels(kept.config) == ["a", "b"]


def test_a_trained_head_must_be_there(tiny: Tiny) -> None:
    with pytest.raises(ModelError, match="lacks weights: "):
        load_with_head(tiny("bert"), "classification", trained=True)


@pytest.mark.parametrize(("kind", "family"), [("gpt2", "completion"), ("t5", "seq2seq"), ("bert", "classification")])
def test_a_body_with_holes_is_refused(kind: str, family: str, tiny: Tiny, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny(kind), tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in sorted(weights) if "0" in name)
    save_file({key: value for key, value in weights.items() if key != name}, folder / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    with pytest.raises(ModelError, match="lacks weights: .*Name a whole model"):
        load_with_head(str(folder), family, labels=["a", "b"] if family == "classification" else ())


@pytest.mark.parametrize("kind", KINDS)
def test_the_family_follows_the_model(kind: str, tiny: Tiny) -> None:
    config = load_config(tiny(kind))
    for family, lack in (("classification", {"marian"}), ("tagging", {"marian", "bart"})):
        # transformers has no such head for these.
        if kind in lack:
            with pytest.raises(ModelError, match=f"{kind} has no head for"):
                family_of(family, config, name=kind)
        else:
            assert family_of(family, config, name=kind) == family
    if kind in ENCODERS:
        with pytest.raises(ModelError, match=f"{kind} is an encoder .*writes no text"):
            family_of("text_to_text", config, name=kind)
    else:
        assert family_of("text_to_text", config, name=kind) == ("seq2seq" if kind in SEQ2SEQ else "completion")


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_classifier_writes_nothing(kind: str, tiny: Tiny, tmp_path: Path) -> None:
    load_with_head(tiny(kind), "classification", labels=["a", "b"], pad_token_id=0).save_pretrained(tmp_path)
    for task in ("text_to_text", "causal_lm"):
        with pytest.raises(ModelError, match="is a classifier .*ForSequenceClassification"):
            family_of(task, load_config(str(tmp_path)), name="it")


def test_no_such_model(tmp_path: Path) -> None:
    for name, said in ((str(tmp_path / "none"), "no model folder"), (str(tmp_path), "no config.json"),
                       ("nobody/nothing", "not in the cache")):  # fmt: skip
        with pytest.raises(ModelError, match=said) as caught:
            load_config(name)
        assert "\n" not in str(caught.value) and caught.value.fix
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such-type"}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError):
        load_config(str(tmp_path))


@pytest.mark.parametrize("kind", KINDS)
def test_every_tokenizer_can_pad(kind: str, tiny: Tiny, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny(kind), tmp_path / "model"))
    if kind in DECODERS:
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "pad_token": None}))
    family = "completion" if kind in DECODERS else "classification"
    tokenizer = load_tokenizer_for(str(folder), family, load_config(str(folder)))
    size = len(load_tokenizer_for(tiny(kind), family, load_config(tiny(kind))))
    assert tokenizer.pad_token_id is not None and len(tokenizer) == size
    assert (tokenizer.padding_side, tokenizer.truncation_side) == ("right", "right")


def test_writing_needs_an_end(tiny: Tiny) -> None:
    with pytest.raises(ModelError, match="no end-of-text token"):
        load_tokenizer_for(tiny("bert"), "completion", load_config(tiny("bert")))


def test_positions(tiny: Tiny) -> None:
    found = {kind: max_positions(load_config(tiny(kind))) for kind in KINDS}
    assert found == {**dict.fromkeys(KINDS, POSITIONS), "t5": 10**6, "llama": 256}
    from transformers import RobertaConfig

    assert max_positions(RobertaConfig(max_position_embeddings=514, pad_token_id=1)) == 512


def test_a_body_of_another_shape_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    """transformers draws such weights anew; a head alone may be."""
    folder = Path(shutil.copytree(tiny("bert"), tmp_path / "model"))
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"max_position_embeddings": 2 * POSITIONS}))
    with pytest.raises(ModelError, match="position_embeddings.weight of shape .*config.json says"):
        load_with_head(str(folder), "classification", labels=["a", "b"])

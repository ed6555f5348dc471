"""Copies with fewer layers: which layers they keep, that the rest is as it was, and that they open like any model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from hflm.errors import ModelError, UsageError
from hflm.models.shallow import evenly, save_shallow

ARCHS: dict[str, tuple[str, dict[str, Any], str]] = {
    "bert": ("BertForMaskedLM", {"num_hidden_layers": 5}, "bert.encoder.layer"),
    "distilbert": ("DistilBertForMaskedLM", {"n_layers": 5}, "distilbert.transformer.layer"),
    "roberta": ("RobertaForMaskedLM", {"num_hidden_layers": 5}, "roberta.encoder.layer"),
    "modernbert": ("ModernBertForMaskedLM", {"num_hidden_layers": 5}, "model.layers"),
    "gpt2": ("GPT2LMHeadModel", {"n_layer": 5, "n_embd": 32, "n_head": 2}, "transformer.h"),
    "llama": ("LlamaForCausalLM", {"num_hidden_layers": 5, "num_key_value_heads": 2}, "model.layers"),
    # Of these some settings are lists with one for each layer.
    "smollm3": ("SmolLM3ForCausalLM", {"num_hidden_layers": 5, "num_key_value_heads": 2, "bos_token_id": 0,
                "eos_token_id": 2, "no_rope_layers": [1, 0, 0, 1, 1]}, "model.layers"),
    "gpt_neo": ("GPTNeoForCausalLM", {"num_layers": 5, "num_heads": 2,
                "attention_types": [[["global", "local"], 2], [["local"], 1]]}, "transformer.h"),
    "longformer": ("LongformerForMaskedLM", {"num_hidden_layers": 5, "attention_window": [4, 8, 4, 8, 16]},
                   "longformer.encoder.layer"),
    "led": ("LEDForConditionalGeneration", {"d_model": 32, "encoder_layers": 5, "decoder_layers": 4,
            "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
            "max_encoder_position_embeddings": 40, "max_decoder_position_embeddings": 40,
            "attention_window": [4, 8, 4, 8, 16]}, "led.encoder.layers"),
    "t5": ("T5ForConditionalGeneration", {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 5, "num_heads": 2,
                                          "num_decoder_layers": 4}, "encoder.block"),  # fmt: skip
    "bart": ("BartForConditionalGeneration", {"d_model": 32, "encoder_layers": 5, "decoder_layers": 4,
             "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64,
             "decoder_ffn_dim": 64}, "model.encoder.layers"),  # fmt: skip
    "marian": ("MarianMTModel", {"d_model": 32, "encoder_layers": 5, "decoder_layers": 4, "encoder_attention_heads": 2,
               "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "pad_token_id": 0,
               "decoder_vocab_size": 50}, "model.encoder.layers"),  # fmt: skip
}  # fmt: skip


def build(arch: str) -> Any:
    name, more, _ = ARCHS[arch]
    shape = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "dim": 32, "n_heads": 2,
             "hidden_dim": 64, "pad_token_id": 1, "vocab_size": 50, "max_position_embeddings": 40}  # fmt: skip
    kind = transformers.AutoConfig.for_model(arch).__class__
    config = kind(**{**shape, **more})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return getattr(transformers, name)(config).eval()


def test_layers_are_taken_evenly() -> None:
    assert evenly(12, 6) == [0, 2, 4, 7, 9, 11], "those of DistilBERT"
    assert evenly(6, 2) == [0, 5] and evenly(6, 1) == [0] and evenly(3, 3) == [0, 1, 2]
    for layers in range(1, 30):
        for count in range(1, layers + 1):
            kept = evenly(layers, count)
            assert len(set(kept)) == count and kept == sorted(kept) and kept[-1] < layers


@pytest.mark.parametrize("arch", ARCHS)
def test_a_shallow_copy_holds_the_layers_that_it_should(arch: str, tmp_path: Path) -> None:
    model = build(arch)
    name, _, place = ARCHS[arch]
    save_shallow(model, 3, tmp_path)
    student, found = getattr(transformers, name).from_pretrained(tmp_path, output_loading_info=True)
    assert not found["missing_keys"] and not found["unexpected_keys"] and not found["mismatched_keys"]
    ours, theirs = student.state_dict(), model.state_dict()
    table = dict(enumerate(evenly(5, 3)))
    seen = 0
    for key, value in ours.items():
        other = key
        if key.startswith(f"{place}."):
            number, _, rest = key.removeprefix(f"{place}.").partition(".")
            other = f"{place}.{table[int(number)]}.{rest}"
            seen += 1
        elif "decoder" in key and student.config.is_encoder_decoder:
            continue
        assert torch.equal(value, theirs[other]), key
    assert seen and sum(value.numel() for value in ours.values()) < sum(value.numel() for value in theirs.values())
    ids = torch.arange(5, 15).view(1, 10)
    extra = {"decoder_input_ids": ids} if student.config.is_encoder_decoder else {}
    with torch.no_grad():
        assert torch.isfinite(student(input_ids=ids, **extra).logits).all()
    assert len(model.state_dict()) == len(theirs), "the teacher stays as it is"


@pytest.mark.parametrize(("arch", "name"), [
    ("smollm3", "no_rope_layers"), ("gpt_neo", "attention_layers"), ("longformer", "attention_window"),
    ("led", "attention_window"),
])  # fmt: skip
def test_a_layer_keeps_its_setting(arch: str, name: str, tmp_path: Path) -> None:
    model = build(arch)
    # As long as the stack by chance.
    model.config.langs = list("abcde")
    whole = list(getattr(model.config, name))
    save_shallow(model, 3, tmp_path)
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    assert getattr(config, name) == [whole[layer] for layer in (0, 2, 4)] != whole[:3]
    assert config.langs == list("abcde") and getattr(model.config, name) == whole, "the teacher stays as it is"


@pytest.mark.parametrize("arch", ["bert", "modernbert", "llama", "gpt2", "smollm3", "gpt_neo", "longformer"])
def test_all_layers_make_the_same_model(arch: str, tmp_path: Path) -> None:
    model = build(arch)
    save_shallow(model, 5, tmp_path)
    student = getattr(transformers, ARCHS[arch][0]).from_pretrained(tmp_path).eval()
    ids = torch.arange(5, 15).view(1, 10)
    with torch.no_grad():
        torch.testing.assert_close(student(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.parametrize("arch", ["XLM", "Flaubert"])
def test_layers_in_lists_side_by_side_stay_together(arch: str, tmp_path: Path) -> None:
    """Attention, feed-forward part and both norms of a layer, each from a list of its own."""
    config = getattr(transformers, f"{arch}Config")(
        vocab_size=50, emb_dim=32, n_layers=5, n_heads=2, max_position_embeddings=40, pad_token_id=1
    )
    model = getattr(transformers, f"{arch}WithLMHeadModel")(config)
    save_shallow(model, 3, tmp_path)
    student, found = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert student.config.n_layers == 3 and not found["missing_keys"] and not found["unexpected_keys"]
    theirs, seen = model.state_dict(), set()
    for key, value in student.state_dict().items():
        _, part, number, *rest = [*key.split("."), ""]
        if number.isdecimal():
            seen.add(part)
            key = ".".join(["transformer", part, str(evenly(5, 3)[int(number)]), *rest[:-1]])
        assert torch.equal(value, theirs[key]), key
    assert seen == {"attentions", "layer_norm1", "ffns", "layer_norm2"}


def test_the_first_layers_are_kept_where_that_is_asked(tmp_path: Path) -> None:
    model = build("bert")
    save_shallow(model, 2, tmp_path, keep="first")
    ours, theirs = transformers.BertForMaskedLM.from_pretrained(tmp_path).state_dict(), model.state_dict()
    layers = {key for key in ours if ".layer." in key}
    assert {key.split(".")[3] for key in layers} == {"0", "1"}
    assert all(torch.equal(ours[key], theirs[key]) for key in layers)


def test_more_layers_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--student-layers 6: the teacher has 5\. Ask for fewer"):
        save_shallow(build("bert"), 6, tmp_path)
    with pytest.raises(UsageError, match="the teacher has 4"):
        save_shallow(build("bart"), 5, tmp_path)


def test_layers_that_are_shared_cannot_be_left_out(tmp_path: Path) -> None:
    config = transformers.AlbertConfig(
        vocab_size=50, embedding_size=16, hidden_size=32, num_hidden_layers=5, num_attention_heads=2,
        intermediate_size=64,
    )  # fmt: skip
    make: Callable[..., Any] = transformers.AlbertForMaskedLM
    with pytest.raises(ModelError, match="albert does not keep its layers in a list"):
        save_shallow(make(config), 2, tmp_path)

"""LoRA trains little and leaves a plain model; freezing leaves the first layers as they are."""

from collections.abc import Callable

import pytest
import torch
import transformers

from hflm.errors import ModelError, UsageError
from hflm.models.adapters import add_lora, freeze_layers, merge_lora, recompute
from hflm.models.heads import load_with_head
from tests.tiny import KINDS, SEQ2SEQ

Tiny = Callable[[str], str]
HEADS = {"bert": "classification", "distilbert": "classification", "gpt2": "completion", "llama": "completion"}


def load(tiny: Tiny, kind: str, family: str | None = None) -> torch.nn.Module:
    family = family or HEADS.get(kind, "seq2seq")
    labels = ["a", "b"] if family in ("classification", "tagging") else []
    return load_with_head(tiny(kind), family, labels=labels, pad_token_id=1).eval()


def logits(model: torch.nn.Module) -> torch.Tensor:
    ids = torch.arange(4, 16).view(2, 6)
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder and not hasattr(model, "score") else {}
    with torch.no_grad():
        return model(input_ids=ids, **more).logits


@pytest.mark.parametrize("kind", KINDS)
def test_merged_it_is_a_plain_model_that_says_the_same(kind: str, tiny: Tiny) -> None:
    model = load(tiny, kind)
    plain = logits(model)
    names = set(model.state_dict())
    state = torch.random.get_rng_state()
    add_lora(model, rank=4, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.testing.assert_close(logits(model), plain)  # the matrices start at nothing
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data = torch.linspace(-0.3, 0.3, weight.numel()).view_as(weight)
    adapted = logits(model)
    assert (adapted - plain).abs().max() > 1e-4
    merge_lora(model)
    torch.testing.assert_close(logits(model), adapted, rtol=0, atol=1e-5)
    assert set(model.state_dict()) == names


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_matrices_and_a_new_head_are_trained(kind: str, tiny: Tiny) -> None:
    model = load(tiny, kind)
    add_lora(model, rank=2, seed=1)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    head = {name for name in trained if "lora_" not in name}
    wanted = {"bert": {f"{part}.{end}" for part in ("classifier", "bert.pooler.dense") for end in ("weight", "bias")},
              "distilbert": {"classifier.weight", "classifier.bias", "pre_classifier.weight", "pre_classifier.bias"},
              }.get(kind, set())  # fmt: skip
    assert head == wanted and any("lora_A" in name for name in trained)
    assert not any("classifier" in name or "lm_head" in name for name in trained - head)


@pytest.mark.parametrize("kind", ["bart", "gpt2", "t5", "llama"])
def test_a_new_head_on_other_bodies_is_trained_whole(kind: str, tiny: Tiny) -> None:
    model = load(tiny, kind, "classification")
    add_lora(model, rank=2, seed=1)
    head = [name for name, _ in model.named_parameters() if not name.startswith(f"{model.base_model_prefix}.")]
    assert head and all(model.get_parameter(name).requires_grad and "lora_" not in name for name in head)


def test_the_matrices_hang_on_the_seed(tiny: Tiny) -> None:
    one, same, other = (load(tiny, "llama") for _ in range(3))
    for model, seed in ((one, 1), (same, 1), (other, 2)):
        add_lora(model, rank=2, seed=seed)
    a, b, c = (
        [weight for name, weight in model.named_parameters() if "lora_A" in name] for model in (one, same, other)
    )
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not any(torch.equal(x, y) for x, y in zip(a, c, strict=True))


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert", "bart"])
def test_gradients_come_through_checkpointing(kind: str, tiny: Tiny) -> None:
    model = load(tiny, kind)
    recompute(model)
    add_lora(model, rank=2, seed=1)
    model.train()
    ids = torch.arange(4, 16).view(2, 6)
    more = {"decoder_input_ids": ids} if kind in SEQ2SEQ else {}
    model(input_ids=ids, **more).logits.float().square().mean().backward()
    found = [name for name, weight in model.named_parameters() if "lora_B" in name and weight.grad is None]
    assert not found


@pytest.mark.parametrize(("kind", "layers"), [("bert", 2), ("distilbert", 2), ("gpt2", 2), ("llama", 2), ("bart", 1)])
def test_the_first_layers_are_frozen(kind: str, layers: int, tiny: Tiny) -> None:
    model = load(tiny, kind)
    freeze_layers(model, 1)
    embedding = model.get_input_embeddings().weight
    frozen = [name for name, weight in model.named_parameters() if not weight.requires_grad]
    assert not embedding.requires_grad and any("0." in name for name in frozen)
    assert not any(".1." in name and "layer" in name for name in frozen)
    with pytest.raises(UsageError, match=f"--freeze 9: the model has {layers} layers"):
        freeze_layers(model, 9)


def test_a_layer_in_lists_side_by_side_is_frozen_whole() -> None:
    config = transformers.FlaubertConfig(vocab_size=50, emb_dim=32, n_layers=2, n_heads=2, max_position_embeddings=40)
    model = transformers.FlaubertWithLMHeadModel(config)
    freeze_layers(model, 1)
    layers = {name: weight for name, weight in model.named_parameters() if name.split(".")[2].isdecimal()}
    assert {name.split(".")[1] for name in layers} == {"attentions", "layer_norm1", "ffns", "layer_norm2"}
    assert all(weight.requires_grad == (name.split(".")[2] == "1") for name, weight in layers.items())


def test_an_architecture_without_checkpointing_is_told() -> None:
    config = transformers.AlbertConfig(
        vocab_size=50, embedding_size=16, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64,
    )  # fmt: skip
    with pytest.raises(ModelError, match=r"no gradient checkpointing for albert\. Leave --gradient-checkpointing away"):
        recompute(transformers.AlbertForMaskedLM(config))

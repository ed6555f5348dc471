"""Documents that share a row do not see each other: packed logits are those of each document alone."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from hflm.models.architecture import Shape, build_config, build_model, position_offset
from hflm.models.attention import BIDIRECTIONAL, CAUSAL, packed_inputs, supports_packing
from hflm.models.tokenizer import train_tokenizer

PACKED = sorted(BIDIRECTIONAL | CAUSAL)
LENGTHS = (13, 9, 1, 7)
VOCABULARY = 300


@cache
def tokenizer(style: str) -> PreTrainedTokenizerFast:
    arch, objective = ("llama", "clm") if style == "clm" else (style, "mlm")
    texts = (f"word{n} some letters {n * 17} abcdefghijklmnopqrstuvwxyz" for n in range(200))
    made: Any = train_tokenizer(texts, kind="bpe", vocab_size=VOCABULARY, arch=arch, max_length=48, objective=objective)
    return made


@cache
def model_of(arch: str, attention: str | None = None, window: bool = False) -> Any:
    objective = "clm" if arch in CAUSAL else "mlm"
    style = "clm" if objective == "clm" else "roberta" if position_offset(arch) else "bert"
    config = build_config(
        arch=arch, shape=Shape(3, 64, 2), vocab_size=VOCABULARY, max_length=48, tokenizer=tokenizer(style)
    )
    if arch == "modernbert":
        # Smaller than a document, so that the local layers are proved too; layer 0 is global, 1 and 2 are local.
        config.local_attention = 8
    if window:
        config.sliding_window = 4
        if arch != "mistral":
            config.layer_types = ["full_attention", "sliding_attention", "sliding_attention"]
    if attention:
        config._attn_implementation = attention
    model = build_model(config, objective=objective, seed=1).eval()
    assert attention in (None, model.config._attn_implementation)
    return model


def documents() -> list[Tensor]:
    draw = torch.Generator().manual_seed(3)
    return [torch.randint(6, VOCABULARY, (1, length), generator=draw) for length in LENGTHS]


def packed_row(model: Any, padding: int) -> tuple[Tensor, Tensor]:
    """One row with all documents and some padding, and its segments."""
    numbers = [torch.full((1, length), number) for number, length in enumerate(LENGTHS)]
    ids = torch.cat([*documents(), torch.full((1, padding), model.config.pad_token_id or 0)], dim=1)
    return ids, torch.cat([*numbers, torch.full((1, padding), -1)], dim=1)


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("arch", PACKED)
def test_packed_logits_are_those_of_each_document_alone(arch: str, attention: str, padding: int) -> None:
    assert_as_alone(model_of(arch, attention), padding)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("arch", ["mistral", "qwen2", "qwen3", "smollm3"])
def test_local_layers_of_decoders_keep_their_window(arch: str, attention: str) -> None:
    model = model_of(arch, attention, window=True)
    assert_as_alone(model, 4)
    # The window matters: without it the longest document comes out otherwise.
    ids, segments = packed_row(model, 4)
    inputs = packed_inputs(segments, config=model_of(arch, attention).config)
    with torch.no_grad():
        wide = model(input_ids=ids, **inputs).logits[:, : LENGTHS[0]]
        assert (wide - model(input_ids=documents()[0]).logits).abs().max() > 1e-3


@torch.no_grad()
def assert_as_alone(model: Any, padding: int) -> None:
    ids, segments = packed_row(model, padding)
    packed = model(input_ids=ids, **packed_inputs(segments, config=model.config)).logits
    assert torch.isfinite(packed).all()
    for part, document in zip(
        packed.split([*LENGTHS, *([padding] if padding else [])], dim=1), documents(), strict=False
    ):
        assert (part - model(input_ids=document).logits).abs().max() < 1e-5


@pytest.mark.parametrize("arch", PACKED)
@torch.no_grad()
def test_a_change_in_one_document_moves_no_other(arch: str) -> None:
    model = model_of(arch)
    ids, segments = packed_row(model, 4)
    inputs = packed_inputs(segments, config=model.config)
    before = model(input_ids=ids, **inputs).logits
    ids[0, 15] = 7 if ids[0, 15] != 7 else 8
    after = model(input_ids=ids, **inputs).logits
    moved = (before - after).abs().amax(dim=(0, 2)) > 1e-6
    assert moved[13:22].any() and not moved[:13].any() and not moved[22:].any()


@pytest.mark.parametrize("arch", PACKED)
def test_half_precision_stays_finite_and_apart(arch: str) -> None:
    # In bfloat16 the least float32 is minus infinity: a row without a place to attend to would come out as NaN.
    model = model_of(arch, "eager")
    ids, segments = packed_row(model, 4)
    inputs = packed_inputs(segments, config=model.config)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        before = model(input_ids=ids, **inputs).logits
        ids[0, 15] = 7 if ids[0, 15] != 7 else 8
        after = model(input_ids=ids, **inputs).logits
    assert torch.isfinite(before).all()
    moved = (before - after).abs().amax(dim=(0, 2)) > 0
    assert moved[13:22].any() and not moved[:13].any() and not moved[22:].any()


@pytest.mark.parametrize("arch", PACKED)
@torch.no_grad()
def test_without_the_mask_documents_do_mix(arch: str) -> None:
    model = model_of(arch)
    ids, _ = packed_row(model, 0)
    mixed = model(input_ids=ids).logits[:, 13:22]
    assert (mixed - model(input_ids=documents()[1]).logits).abs().max() > 1e-3


@pytest.mark.parametrize("arch", PACKED)
@torch.no_grad()
def test_a_row_that_is_one_document_takes_the_fast_path(arch: str) -> None:
    model = model_of(arch)
    assert packed_inputs(torch.zeros(2, 9, dtype=torch.long), config=model.config) == {}
    # The same row beside one with two documents gives the same logits through a mask.
    alone = documents()[1]
    other = torch.tensor([[0] * 4 + [1] * 5])
    both = packed_inputs(torch.cat([torch.zeros(1, 9, dtype=torch.long), other]), config=model.config)
    masked = model(input_ids=torch.cat([alone, alone]), **both).logits
    assert (masked[0] - model(input_ids=alone).logits[0]).abs().max() < 1e-5


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_eager_attention_adds_its_mask(attention: str) -> None:
    mask = packed_inputs(torch.tensor([[0, 0, 1]]), config=model_of("bert", attention).config)["attention_mask"]
    assert mask.shape == (1, 1, 3, 3)
    seen = torch.tensor([[[[True, True, False], [True, True, False], [False, False, True]]]])
    if attention == "eager":
        assert mask.dtype == torch.float32
        seen = torch.where(seen, 0.0, torch.finfo(torch.float32).min)
    assert torch.equal(mask, seen)


@pytest.mark.parametrize("arch", ["deberta-v2", "mpnet"])
@torch.no_grad()
def test_other_architectures_get_a_padding_mask(arch: str) -> None:
    model = model_of(arch)
    assert not supports_packing(model.config)
    inputs = packed_inputs(torch.tensor([[0, 0, 0, -1], [0, 0, 0, 0]]), config=model.config)
    assert inputs.keys() == {"attention_mask"}
    assert inputs["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    ids = documents()[0]
    padded = torch.cat([ids, torch.full((1, 5), model.config.pad_token_id)], dim=1)
    segments = torch.cat([torch.zeros_like(ids), torch.full((1, 5), -1)], dim=1)
    logits = model(input_ids=padded, **packed_inputs(segments, config=model.config)).logits[:, : ids.size(1)]
    assert (logits - model(input_ids=ids).logits).abs().max() < 1e-5

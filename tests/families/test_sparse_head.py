"""Logits at the predicted positions alone: the same numbers and the same gradients as with the whole head."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from hflm.data.masking import Masking
from hflm.data.packing import Row
from hflm.engine.device import Device, whole_attention
from hflm.families.family import Item
from hflm.families.language_model import MaskedLM
from hflm.families.sparse_head import SparseHead, fits
from hflm.models.architecture import Shape, build_config, build_model
from hflm.models.attention import packed_inputs
from hflm.models.tokenizer import special_flags, train_tokenizer
from hflm.training.training import autocast

ENCODERS = ["bert", "roberta", "xlm-roberta", "distilbert", "modernbert", "deberta-v2", "electra", "albert"]


@cache
def tokenizer(arch: str) -> Any:
    words = (f"word{n} {n * 31} letters" for n in range(100))
    return train_tokenizer(words, kind="bpe", vocab_size=280, arch=arch, max_length=24)


def model_of(arch: str) -> Any:
    config = build_config(arch=arch, shape=Shape(2, 64, 2), vocab_size=280, max_length=24, tokenizer=tokenizer(arch))
    return build_model(config, objective="mlm", seed=1)


def family_of(arch: str) -> MaskedLM:
    made = tokenizer(arch)
    return MaskedLM(Masking(probability=0.3, mask_id=made.mask_token_id, special=special_flags(made), seed=1))


def batch_of(arch: str) -> dict[str, torch.Tensor]:
    draw = np.random.Generator(np.random.Philox(key=[1, 1]))
    packed = np.array([0] * 10 + [1] * 9 + [-1] * 5, np.int16)
    segments = (
        [packed, np.zeros(24, np.int16)] if arch not in ("deberta-v2", "albert") else [np.zeros(24, np.int16)] * 2
    )
    rows = [Row(draw.integers(8, 280, 24).astype(np.int32), parts) for parts in segments]
    for row in rows:
        row.ids[row.segments < 0] = tokenizer(arch).pad_token_id
    return family_of(arch).collate([Item(row, 0, n) for n, row in enumerate(rows)])


@pytest.mark.parametrize("arch", ENCODERS)
def test_logits_loss_and_gradients_are_those_of_the_whole_head(arch: str) -> None:
    model, family, batch = model_of(arch), family_of(arch), batch_of(arch)
    whole = model(input_ids=batch["input_ids"], **packed_inputs(batch["segments"], config=model.config)).logits
    picked = whole.flatten(0, 1)[batch["positions"]]
    plain = functional.cross_entropy(picked, batch["labels"], reduction="sum")
    plain.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    assert family.prepare(model) and family.head is not None
    sums = family.sums(model, batch)
    sums.loss.backward()
    assert sums.count == batch["labels"].numel() == len(picked)
    assert sums.loss.item() == pytest.approx(plain.item(), rel=1e-6)
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    assert max((found[name] - expected[name]).abs().max().item() for name in found) < 2e-5

    with torch.no_grad():
        scored = family.sums(model, batch)
    assert scored.correct is not None and int(scored.correct) == int((picked.argmax(-1) == batch["labels"]).sum())


@pytest.mark.parametrize("arch", ENCODERS)
def test_the_model_is_whole_again_after_each_use(arch: str) -> None:
    model, family = model_of(arch).eval(), family_of(arch)
    batch = batch_of(arch)
    with torch.no_grad():
        before = model(input_ids=batch["input_ids"]).logits
        family.prepare(model)
        family.sums(model, batch)
        assert torch.equal(model(input_ids=batch["input_ids"]).logits, before)


def test_the_head_meets_few_shapes() -> None:
    """Batches with ever other numbers of masked tokens come to it by 64."""
    model, family = model_of("bert"), family_of("bert")
    family.prepare(model)
    seen = []
    model.get_output_embeddings().register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    whole = batch_of("bert")
    for count in (len(whole["labels"]), 5, 64, 0):
        many = {"positions": whole["positions"].repeat(20)[:count], "labels": whole["labels"].repeat(20)[:count]}
        assert len(family.scores(model, {**whole, **many})[0]) == count
    assert [shape[-2] for shape in seen] == [64, 64, 64, 0] and len(whole["labels"]) < 64


def test_it_is_not_used_where_it_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("bert").train()
    assert fits(model) and model.training
    # A head that mixes positions.
    mixing = torch.nn.Module()
    table = torch.linspace(-1, 1, 280 * 64).sin().view(280, 64)
    mixing.forward = lambda hidden: functional.linear(hidden + hidden.mean(1, keepdim=True), table)
    model.cls = mixing
    assert not fits(model)
    family = family_of("bert")
    assert not family.prepare(model) and family.head is None
    assert torch.isfinite(family.sums(model, batch_of("bert")).loss)


def test_removed_it_leaves_nothing() -> None:
    model = model_of("bert")
    head = SparseHead(model)
    head.remove()
    head.positions = torch.tensor([0])
    assert model(input_ids=torch.full((1, 4), 9)).logits.shape == (1, 4, 280)


@pytest.mark.parametrize(("precision", "left"), [("bf16", "original_full"), ("fp32", "block_sparse")])
def test_sparse_attention_is_left_where_it_does_not_compute(precision: str, left: str) -> None:
    """Rows longer than the 704 tokens below which BigBird itself gives it up, and of no whole number of blocks."""
    config = build_config(
        arch="big_bird", shape=Shape(1, 32, 2), vocab_size=280, max_length=720, tokenizer=tokenizer("bert")
    )
    model: Any = build_model(config, objective="mlm", seed=1)
    device = Device("cpu", precision)
    assert fits(model) and whole_attention(model, device) == (left == "original_full")
    with autocast(device):
        loss = model(input_ids=torch.full((1, 720), 9), labels=torch.full((1, 720), 9)).loss
    assert torch.isfinite(loss) and model.bert.attention_type == left


def test_sparse_attention_outlives_the_trial() -> None:
    """On rows as short as those of the trial, BigBird turns to full attention and never back."""
    import transformers

    config = transformers.BigBirdConfig(
        vocab_size=280, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, attention_type="block_sparse", block_size=4, num_random_blocks=1,
    )  # fmt: skip
    model = transformers.BigBirdForMaskedLM(config).train()
    kinds = [type(module) for module in model.modules()]
    assert fits(model)
    assert model.bert.attention_type == "block_sparse" and all(module.training for module in model.modules())
    assert [type(module) for module in model.modules()] == kinds

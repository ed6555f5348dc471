"""Collating rows: which positions predict what, and nothing across documents."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from hflm.data.masking import Masking
from hflm.data.packing import Row
from hflm.families.family import Item
from hflm.families.language_model import CausalLM, MaskedLM
from hflm.models.architecture import Shape, build_config, build_model
from hflm.models.tokenizer import train_tokenizer

ROWS = [
    Row(np.array([10, 11, 12, 13, 14, 15, 0, 0], np.int32), np.array([0, 0, 0, 1, 1, 2, -1, -1], np.int16)),
    Row(np.arange(20, 28, dtype=np.int32), np.zeros(8, np.int16)),
]
ITEMS = [Item(row, 0, number) for number, row in enumerate(ROWS)]
MASKING = Masking(probability=0.4, mask_id=4, special=np.arange(300) < 5, seed=1)


def test_next_tokens_stay_in_their_document() -> None:
    batch = CausalLM().collate(ITEMS)
    assert batch["positions"].tolist() == [0, 1, 3, *range(8, 15)]
    assert batch["labels"].tolist() == [11, 12, 14, *range(21, 28)]


def test_masked_tokens_are_the_labels() -> None:
    batch = MaskedLM(MASKING).collate(ITEMS)
    original = torch.from_numpy(np.stack([row.ids for row in ROWS])).long().flatten()
    assert torch.equal(original[batch["positions"]], batch["labels"])
    untouched = torch.ones(16, dtype=torch.bool)
    untouched[batch["positions"]] = False
    assert torch.equal(batch["input_ids"].flatten()[untouched], original[untouched])
    assert not set(batch["positions"].tolist()) & {6, 7}


@pytest.mark.parametrize("family", [CausalLM(), MaskedLM(MASKING)])
def test_a_batch_is_the_sum_of_its_parts(family: Any) -> None:
    whole, parts = family.collate(ITEMS), [family.collate([item]) for item in ITEMS]
    assert torch.equal(whole["labels"], torch.cat([part["labels"] for part in parts]))
    assert torch.equal(whole["input_ids"], torch.cat([part["input_ids"] for part in parts]))
    places = [part["positions"] + 8 * number for number, part in enumerate(parts)]
    assert torch.equal(whole["positions"], torch.cat(places))


def test_training_masks_follow_the_epoch_and_evaluation_masks_do_not() -> None:
    family, later = MaskedLM(MASKING), [replace(item, epoch=5) for item in ITEMS]
    train = [family.collate(items)["input_ids"] for items in (ITEMS, later)]
    held = [family.collate_eval(items)["input_ids"] for items in (ITEMS, later)]
    assert not torch.equal(*train) and torch.equal(*held)


@pytest.mark.parametrize("arch", ["llama", "gpt2"])
def test_the_loss_of_next_tokens_is_the_plain_one(arch: str) -> None:
    words = (f"word{n} {n * 31}" for n in range(100))
    tokenizer = train_tokenizer(words, kind="bpe", vocab_size=280, arch=arch, max_length=8, objective="clm")
    config = build_config(arch=arch, shape=Shape(2, 64, 2), vocab_size=280, max_length=8, tokenizer=tokenizer)
    model = build_model(config, objective="clm", seed=1)
    sums = CausalLM().sums(model, CausalLM().collate(ITEMS))
    plain = 0.0
    for ids in ([10, 11, 12], [13, 14], list(range(20, 28))):
        logits = model(input_ids=torch.tensor([ids])).logits[0]
        plain += functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="sum").item()
    assert sums.loss.item() == pytest.approx(plain, rel=1e-6) and sums.count == 10

"""Following a teacher: the divergence is the one of the books, and its sum does not depend on how a batch is split."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from hflm.data.masking import Masking
from hflm.data.packing import Row
from hflm.families import divergence as module
from hflm.families.classification import Classification
from hflm.families.distilled import Distilled, targets_a_row
from hflm.families.divergence import divergence
from hflm.families.encoded import Encoded
from hflm.families.family import Item
from hflm.families.language_model import CausalLM, MaskedLM
from hflm.families.tagging import Tagging

Tiny = Callable[[str], str]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_divergence_is_that_of_torch(temperature: float, weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # Pieces of three rows, the last one not full.
    monkeypatch.setattr(module, "PIECE", 33)
    draw = torch.Generator().manual_seed(3)
    logits, taught = (torch.randn(10, 11, generator=draw) * 4 for _ in range(2))
    weights = torch.rand(10, generator=draw) if weighted else None
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    found = divergence(ours, taught, temperature=temperature, weights=weights)
    soft, target = ((one / temperature).log_softmax(-1) for one in (theirs, taught))
    rows = functional.kl_div(soft, target, reduction="none", log_target=True).sum(-1)
    expected = temperature**2 * (rows if weights is None else rows * weights).sum()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    (3 * found).backward()
    (3 * expected).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_equal_models_are_no_distance_apart_and_a_class_ruled_out_adds_nothing() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    assert divergence(logits, logits.detach(), temperature=2.0).item() == pytest.approx(0, abs=1e-6)
    ruled = torch.tensor([[1.0, 2.0, -torch.inf]])
    found = divergence(logits, ruled, temperature=1.0)
    found.backward()
    assert torch.isfinite(found) and found > 0 and logits.grad is not None and torch.isfinite(logits.grad).all()


def test_the_loss_is_finite_in_half_precision() -> None:
    logits = torch.full((2, 3), 3e4, dtype=torch.float16, requires_grad=True)
    divergence(logits, -logits.detach(), temperature=2.0).backward()
    assert logits.grad is not None and logits.grad.dtype == torch.float16 and torch.isfinite(logits.grad).all()


def texts(tokenizer: Any) -> list[Encoded]:
    said = ["a merry film", "a dull film, cold and grey and long", "I loved it", "很好的电影", "فيلم ممل", "a bore"]
    return [Encoded(tokenizer(text)["input_ids"], number % 2) for number, text in enumerate(said)]


def words(tokenizer: Any) -> list[Encoded]:
    rows = [row.ids for row in texts(tokenizer)]
    labels = [[-100 if place % 2 else place % 3 for place in range(len(ids))] for ids in rows]
    return [Encoded(ids, label) for ids, label in zip(rows, labels, strict=True)]


def packed(tokenizer: Any) -> list[Row]:
    draw = np.random.Generator(np.random.Philox(key=[1, 2]))
    ids = draw.integers(10, len(tokenizer), size=(6, 24), dtype=np.int32)
    segments = np.repeat(np.array([[0] * 10 + [1] * 9 + [-1] * 5], dtype=np.int16), 6, axis=0)
    segments[3] = 0
    return [Row(one, other) for one, other in zip(ids, segments, strict=True)]


def masked(tokenizer: Any) -> MaskedLM:
    special = np.zeros(len(tokenizer), dtype=bool)
    return MaskedLM(Masking(probability=0.3, mask_id=tokenizer.mask_token_id, special=special, seed=1))


MAKE: dict[str, tuple[str, str, Callable[[Any], Any], Callable[[Any], list[Any]]]] = {
    "classes": ("bert", "SequenceClassification", lambda t: Classification(t, ["a", "b"], 32), texts),
    "weighted": (
        "bert", "SequenceClassification",
        lambda t: Classification(t, ["a", "b"], 32, 0.1, torch.tensor([3.0, 0.5])), texts,
    ),
    "tags": ("distilbert", "TokenClassification", lambda t: Tagging(t, ["O", "B", "I"], 32), words),
    "masked": ("bert", "MaskedLM", masked, packed),
    "next": ("gpt2", "CausalLM", lambda t: CausalLM(), packed),
}  # fmt: skip


def lesson(case: str, tiny: Tiny, **more: Any) -> tuple[Any, Distilled, list[Item]]:
    """A student, the family by which it follows a teacher of other weights, and rows."""
    import transformers

    kind, head, make, rows = MAKE[case]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny(kind))
    extra = {"num_labels": {"tags": 3}.get(case, 2)} if "Classification" in head else {}
    models = []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = getattr(transformers, f"AutoModelFor{head}").from_pretrained(tiny(kind), **extra)
            with torch.no_grad():
                for weight in model.parameters():
                    weight.add_(torch.randn_like(weight) * 0.2)
            models.append(model.eval())
    student, teacher = models
    teacher.requires_grad_(False)
    family, taught = make(tokenizer), None
    if isinstance(family, MaskedLM):
        taught = masked(tokenizer)
        assert family.prepare(student) and taught.prepare(teacher)
    found = Distilled(family, teacher, 2.0, 0.7, teacher_family=taught, **more)
    if found.hidden_weight:
        found.listen(student)
    return student, found, [Item(row, 0, number) for number, row in enumerate(rows(tokenizer))]


def gradients(model: Any, family: Distilled, batches: list[list[Item]]) -> tuple[float, float, list[torch.Tensor]]:
    model.zero_grad()
    loss = count = 0.0
    for items in batches:
        batch = family.collate(items)
        sums = family.sums(model, batch)
        assert sums.count == pytest.approx(family.count(batch))
        sums.loss.backward()
        loss, count = loss + sums.loss.item(), count + sums.count
    return loss, count, [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]


@pytest.mark.promise("R5")
@pytest.mark.parametrize("hidden", [0.0, 1.5])
@pytest.mark.parametrize("case", MAKE)
def test_however_a_batch_is_split(case: str, hidden: float, tiny: Tiny) -> None:
    student, family, items = lesson(case, tiny, hidden_weight=hidden)
    whole = gradients(student, family, [items])
    for split in ([[item] for item in items], [items[:1], items[1:]]):
        loss, count, slopes = gradients(student, family, split)
        assert loss == pytest.approx(whole[0], rel=1e-5) and count == pytest.approx(whole[1])
        for one, other in zip(slopes, whole[2], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    assert not any(weight.grad is not None for weight in family.teacher.parameters())


def test_the_parts_of_the_loss(tiny: Tiny) -> None:
    student, family, items = lesson("classes", tiny, hidden_weight=0.25)
    batch = family.collate(items)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        ours, theirs = (model(**inputs, output_hidden_states=True) for model in (student, family.teacher))
    hard = functional.cross_entropy(ours.logits, batch["labels"], reduction="sum")
    soft = 4 * functional.kl_div((ours.logits / 2).log_softmax(-1), (theirs.logits / 2).softmax(-1), reduction="sum")
    apart = 1 - functional.cosine_similarity(ours.hidden_states[-1], theirs.hidden_states[-1], dim=-1)
    read = batch["attention_mask"].float()
    hidden = ((apart * read).sum(1) / read.sum(1)).sum()
    assert soft > 1e-3 and hidden > 1e-3
    expected = 0.3 * hard + 0.7 * soft + 0.25 * hidden
    torch.testing.assert_close(family.sums(student, batch).loss.detach(), expected, rtol=1e-5, atol=1e-6)
    # Evaluated is the student alone.
    with torch.no_grad():
        found = family.sums(student, family.collate_eval(items))
    torch.testing.assert_close(found.loss, hard, rtol=1e-5, atol=1e-6)
    assert int(found.correct) == int((ours.logits.argmax(-1) == batch["labels"]).sum())


def test_classes_in_another_order_are_brought_into_line(tiny: Tiny) -> None:
    student, family, items = lesson("classes", tiny)
    batch = family.collate(items)
    straight = family.sums(student, batch).loss.item()
    with torch.no_grad():
        head = family.teacher.classifier
        head.weight.copy_(head.weight.flip(0))
        head.bias.copy_(head.bias.flip(0))
    assert family.sums(student, batch).loss.item() != pytest.approx(straight, rel=1e-4)
    family.order = torch.tensor([1, 0])
    assert family.sums(student, batch).loss.item() == pytest.approx(straight, rel=1e-6)


def test_targets_are_counted_by_row(tiny: Tiny) -> None:
    for case in MAKE:
        _, family, items = lesson(case, tiny)
        if case == "weighted":
            continue
        alone = [family.count(family.collate([item])) for item in items]
        assert targets_a_row(family.collate(items)).tolist() == alone, case


def test_a_perfect_student_has_nothing_to_learn(tiny: Tiny, tmp_path: Path) -> None:
    for case in MAKE:
        student, family, items = lesson(case, tiny, hidden_weight=1.0)
        student.load_state_dict(family.teacher.state_dict())
        family.soft_share = 1.0
        _, _, slopes = gradients(student, family, [items])
        assert max(float(slope.abs().max()) for slope in slopes) < 1e-4, case

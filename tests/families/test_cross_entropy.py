"""The summed cross-entropy equals torch's, in value and gradient, in pieces or whole."""

import pytest
import torch
from torch.nn import functional

from hflm.families import cross_entropy as module
from hflm.families.cross_entropy import cross_entropy


@pytest.mark.parametrize("piece", [1, 100, 1 << 22])
def test_value_and_gradient_equal_torch(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", piece)
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(37, 50, generator=draw).mul(4).requires_grad_()
    labels = torch.randint(50, (37,), generator=draw)
    ours = cross_entropy(logits, labels)
    (mine,) = torch.autograd.grad(ours / 7, logits)
    theirs = functional.cross_entropy(logits, labels, reduction="sum")
    (wanted,) = torch.autograd.grad(theirs / 7, logits)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(mine, wanted, atol=1e-7, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(cross_entropy(logits, labels), theirs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(3000, 40, generator=draw).to(dtype).requires_grad_()
    labels = torch.randint(40, (3000,), generator=draw)
    loss = cross_entropy(logits, labels)
    assert loss.dtype == torch.float32
    exact = functional.cross_entropy(logits.double(), labels, reduction="sum")
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None and logits.grad.dtype == dtype


def test_a_very_unlikely_label_stays_finite() -> None:
    logits = torch.tensor([[0.0, 300.0]], requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([0]))
    assert loss.item() == pytest.approx(300.0)


def test_no_positions_sum_to_nothing() -> None:
    logits = torch.zeros(0, 5, requires_grad=True)
    assert cross_entropy(logits, torch.zeros(0, dtype=torch.long)).item() == 0

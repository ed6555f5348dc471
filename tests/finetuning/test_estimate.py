"""What a plan measures: the micro-batch that takes most, first, and twice."""

from types import SimpleNamespace
from typing import Any

from hflm.engine.order import Order
from hflm.families.encoded import Encoded
from hflm.finetuning.estimate import LongestFirst, bytes_of, step_tokens


def test_logits_count_as_well_as_lengths() -> None:
    long, wordy = Encoded([1] * 100, [1] * 5, targets=5), Encoded([1] * 80, [1] * 60, targets=60)

    def size(row: Encoded, kind: str, vocabulary: int) -> float:
        return bytes_of([row, row], kind=kind, layers_x_width=1024, vocabulary=vocabulary)

    for kind in ("seq2seq", "completion"):
        assert size(wordy, kind, 50_000) > size(long, kind, 50_000) and size(wordy, kind, 100) < size(long, kind, 100)
    assert size(wordy, "classification", 50_000) < size(long, "classification", 50_000)


def test_the_largest_micro_batch_comes_first_and_twice() -> None:
    order = Order(6, total=6, seed=1)
    plain = [row for _, row in order]
    found = [row for _, row in LongestFirst(order, cost=lambda rows: float(5 in rows), micro_batch=2, places=6)]
    largest = next(plain[at : at + 2] for at in (0, 2, 4) if 5 in plain[at : at + 2])
    assert found == [*largest, *largest, *plain]


def test_a_step_is_as_long_as_the_mean_with_its_padding() -> None:
    rows = [Encoded([1] * length, 0) for length in (10, 2, 4, 4)]
    training: Any = SimpleNamespace(
        steps=2, config=SimpleNamespace(batch_size=4), split=SimpleNamespace(micro_batch=2),
        order=lambda steps: Order(4, total=steps * 4, seed=1, shuffle=False),
    )  # fmt: skip
    assert step_tokens(training, rows) == 2 * 10 + 2 * 4

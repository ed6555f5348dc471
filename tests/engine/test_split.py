"""micro-batch x accumulation x processes is always the global batch."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hflm.engine.split import TOKENS_CPU, eval_batch, split_batch
from hflm.errors import UsageError


@given(share=st.integers(1, 600), processes=st.integers(1, 8), max_length=st.integers(8, 9000), gpu=st.booleans())
def test_solved(share: int, processes: int, max_length: int, gpu: bool) -> None:
    split = split_batch(share * processes, micro_batch=None, processes=processes, max_length=max_length, gpu=gpu)
    assert split.micro_batch * split.accumulation * split.processes == share * processes
    assert gpu or split.micro_batch == 1 or split.micro_batch * max_length <= TOKENS_CPU


@pytest.mark.parametrize(
    ("longest", "gpu", "rows"), [(8, False, 32), (512, False, 8), (9000, False, 1), (512, True, 32)]
)
def test_an_evaluation_reads_no_more_tokens_at_once_than_a_step(longest: int, gpu: bool, rows: int) -> None:
    assert eval_batch(longest, gpu=gpu) == rows


def test_as_asked() -> None:
    split = split_batch(16, micro_batch=4, processes=2, max_length=8, gpu=False)
    assert str(split) == "16 = 4 (micro-batch) x 2 (accumulation) x 2 (processes)"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 9, "processes": 2}, "--batch-size 8 or 10"),
        ({"batch_size": 1, "processes": 2}, "--batch-size 2 or 4"),
        ({"batch_size": 8, "processes": 1, "micro_batch": 3}, "--micro-batch-size 2"),
        ({"batch_size": 8, "processes": 2, "micro_batch": 8}, "--micro-batch-size 4"),
    ],
)
def test_refused(values: dict[str, Any], message: str) -> None:
    size = values["batch_size"]
    with pytest.raises(UsageError, match=message):
        split_batch(size, micro_batch=values.get("micro_batch"), processes=values["processes"], max_length=8, gpu=False)

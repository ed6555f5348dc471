"""Where memory is short, a batch is done in pieces, and what is done twice is the same."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from hflm.cli.app import main
from hflm.engine.memory import piecewise
from hflm.inference.trained import open_trained
from hflm.predict import predict_texts
from tests.tiny import moods, pairs, write

Run = Callable[..., Path]
Tiny = Callable[[str], str]


def test_a_batch_that_is_too_large_is_done_in_pieces() -> None:
    seen = list[int]()

    def act(items: Sequence[int]) -> list[int]:
        seen.append(len(items))
        if len(items) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [-item for item in items]

    assert piecewise(act, list(range(7))) == [0, -1, -2, -3, -4, -5, -6]
    assert seen == [7, 3, 1, 2, 4, 2, 2]


def test_what_is_too_large_by_itself_or_wrong_otherwise_is_raised() -> None:
    def act(items: Sequence[Exception]) -> list[Exception]:
        raise items[0]

    for error in (MemoryError(), ValueError("no")):
        with pytest.raises(type(error)):
            piecewise(act, [error] * 3)


@pytest.mark.parametrize(("task", "kind", "rows"), [("sentiment", "bert", moods), ("summarization", "t5", pairs)])
def test_predictions_are_the_same_in_pieces(
    task: str, kind: str, rows: Callable[[], Any], run_finetune: Run, tiny: Tiny, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    data = write(tmp_path / "rows.jsonl", rows())
    run = run_finetune(task, model=tiny(kind), data=[str(data)], max_steps=1)
    trained = open_trained(str(run), precision="fp32")
    texts = ["one two three", "four", "five six", "seven eight nine ten"]
    whole = predict_texts(trained, texts)
    forward, short = type(trained.model).forward, list[int]()

    def narrow(self: Any, *args: Any, **more: Any) -> Any:
        size = next(value.size(0) for value in (*args, *more.values()) if isinstance(value, torch.Tensor))
        if size > 1:
            short.append(size)
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return forward(self, *args, **more)

    monkeypatch.setattr(type(trained.model), "forward", narrow)
    assert [row["prediction"] for row in predict_texts(trained, texts)] == [row["prediction"] for row in whole]
    assert short


def test_memory_that_runs_out_is_one_line(
    text_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(*words: Any, **more: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr("hflm.cli.pretrain.pretrain", load, raising=False)
    monkeypatch.setattr("hflm.pretrain.pretrain", load)
    assert main(["pretrain", str(text_file), "--max-steps", "2"]) == 2
    assert capsys.readouterr().err.startswith("error: Memory ran out.")

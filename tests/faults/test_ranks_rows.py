"""Two processes predict and score what one does: every row once, in order, and all end where one is struck."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import Zygote, followed, gone
from tests.tiny import moods, pairs, write

Tiny = Callable[[str], str]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def alike(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> None:
    """Compare rows; other threads may sum in another order, so the last bits of numbers may differ."""
    assert len(one) == len(two)
    for left, right in zip(one, two, strict=True):
        assert left.keys() == right.keys()
        for name, value in left.items():
            numbers = isinstance(value, (float, dict))
            assert right[name] == (pytest.approx(value, abs=1e-5) if numbers else value), name


@pytest.mark.promise("P1")
def test_predict(zygote: Zygote, teachers: dict[str, str], tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", [{**row, "n": n} for n, row in enumerate(moods(301))])
    for processes in (1, 2):
        out = tmp_path / f"{processes}.jsonl"
        words = ["predict", teachers["sentiment"], "--input-file", data, "-o", out, "--processes", processes]
        victim = zygote.run(*words)
        assert victim.code == 0 and "wrote 301 rows" in victim.said(), victim.said()
    assert [row["n"] for row in lines(out)] == list(range(301))
    alike(lines(tmp_path / "1.jsonl"), lines(out))
    whole = out.read_text()
    # As a kill would have left it: whole lines, and the first letters of one.
    out.write_text(whole[: whole.index("\n", len(whole) // 2) + 9])
    refused = zygote.run(*words)
    assert refused.code == 2 and "Go on with --resume" in refused.said()
    assert zygote.run(*words, "--resume").code == 0
    alike(lines(tmp_path / "1.jsonl"), lines(out))


@pytest.mark.promise("P1")
def test_evaluate(zygote: Zygote, teachers: dict[str, str], tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", pairs(21))
    found = {}
    for processes in (1, 2):
        out = tmp_path / f"{processes}.jsonl"
        victim = zygote.run("evaluate", teachers["summarization"], "--data", data, "-o", out, "--json",
                            "--processes", processes)  # fmt: skip
        assert victim.code == 0, victim.said()
        found[processes] = json.loads(victim.said()[victim.said().index("{") :])
        assert found[processes]["test_rows"] == 21
    assert found[1] == found[2]
    assert lines(tmp_path / "1.jsonl") == lines(tmp_path / "2.jsonl")


@pytest.mark.promise("P2")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("kill", "error: Rank 1 was ended by SIGKILL."),
        pytest.param("hang", "error: Rank 1 did not answer the others for 3s.", marks=pytest.mark.slow),
        pytest.param("raise", "error: Rank 1 failed: ValueError:", marks=pytest.mark.slow),
    ],
)
def test_one_is_struck(zygote: Zygote, teachers: dict[str, str], tmp_path: Path, kind: str, said: str) -> None:
    data = write(tmp_path / "rows.jsonl", moods(100))
    fault = {"rank": 1, "kind": kind, "place": "prepare", "mark": str(tmp_path / "mark")}
    victim = zygote.start(
        "predict", teachers["sentiment"], "--input-file", data, "-o", tmp_path / "out.jsonl", "--processes", 2,
        "--rank-timeout", "3s", fault=fault,
    )  # fmt: skip
    pids = followed(victim)
    assert victim.end() == 1 and said in victim.said(), victim.said()
    assert victim.said().count("error:") == 1 and "Traceback" not in victim.said()
    assert all(gone(pid) for pid in pids)


@pytest.mark.promise("P1")
@pytest.mark.parametrize("count", ["0", "-1", "two"])
def test_no_number_is_refused(zygote: Zygote, teachers: dict[str, str], tmp_path: Path, count: str) -> None:
    data = write(tmp_path / "rows.jsonl", moods(4))
    victim = zygote.run("evaluate", teachers["sentiment"], "--data", data, "--processes", count)
    assert victim.code == 2 and f"--processes is '{count}'." in victim.said()

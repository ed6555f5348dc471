"""Groups of rows, and limits on the numbers of a report."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hflm.data.examples import Example
from hflm.errors import DataError, ThresholdMissed, UsageError
from hflm.metrics.result import share
from hflm.stressing.groups import MOST, REST, by_group, by_length, read_groups
from hflm.stressing.thresholds import check_limits, read_limits
from tests.tiny import write

OPTIONS: dict[str, Any] = {"metric": "classification", "primary": "accuracy", "options": {"labels": ["a", "b"]}}


def answers(right: int, wrong: int) -> tuple[list[str], list[str]]:
    return ["a"] * (right + wrong), ["a"] * right + ["b"] * wrong


def test_a_real_gap_is_told_from_chance() -> None:
    names = ["x"] * 60 + ["y"] * 60 + ["z"] * 3
    told: dict[str, Any] = {}
    for kind, wrong in (("real", 25), ("chance", 7)):
        (p1, r1), (p2, r2) = answers(55, 5), answers(60 - wrong, wrong)
        told[kind] = by_group(names, [*p1, *p2, "a", "a", "a"], [*r1, *r2, "b", "b", "b"], **OPTIONS)
    assert told["real"]["p_value"] < 0.01 < 0.2 < told["chance"]["p_value"]
    real = told["real"]
    assert real["gap"] == pytest.approx(20 / 60) and (real["lowest"], real["highest"]) == ("y", "x")
    # Three rows are shown and not judged, however wrong they are.
    assert real["groups"]["z"]["few"] and real["groups"]["z"]["scores"]["accuracy"]["value"] == 0


def test_lengths_are_in_order_and_even() -> None:
    rows = [Example("", {"text": "x" * n}) for n in range(1, 101)]
    names = by_length(rows)
    assert list(dict.fromkeys(names)) == [
        "1 to 25 characters", "26 to 50 characters", "51 to 75 characters", "76 to 100 characters"
    ]  # fmt: skip
    assert set(by_length([Example("", {"text": "same"})] * 9)) == {"4 to 4 characters"}


def test_groups_are_read_from_a_column(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [{"text": "t", "who": n % 3} for n in range(6)])
    assert read_groups([str(path)], "who") == ["0", "1", "2"] * 2
    many = write(tmp_path / "m.jsonl", [{"who": str(n // 2)} for n in range(2 * MOST + 20)])
    assert read_groups([str(many)], "who").count(REST) == 20
    with pytest.raises(DataError, match="r.jsonl, line 1: no group in column 'whom'. Did you mean 'who'"):
        read_groups([str(path)], "whom")
    gap = write(tmp_path / "g.jsonl", [{"who": "a"}, {"who": None}])
    with pytest.raises(DataError, match="line 2: no group"):
        read_groups([str(gap)], "who")


@pytest.mark.parametrize(("hits", "rows"), [(0, 10), (10, 10), (3, 40), (1, 1)])
def test_an_interval_of_a_share_holds_it(hits: int, rows: int) -> None:
    found = share(hits, rows)
    assert 0 <= found.low <= found.value == hits / rows <= found.high <= 1 and found.low < found.high


def test_wilson_covers() -> None:
    draw = np.random.default_rng(0)
    hits = [share(int(draw.binomial(30, 0.1)), 30) for _ in range(800)]
    assert 0.9 < np.mean([one.low <= 0.1 <= one.high for one in hits]) <= 1


REPORT: dict[str, Any] = {
    "scores": {"accuracy": {"value": 0.8}}, "worst_case": {"value": 0.6},
    "perturbations": {"typo": {"changed": {"value": 0.1}, "score": {"name": "accuracy", "after": 0.7}}, "upper": {}},
    "groups": {"who": {"score": "accuracy", "gap": 0.2, "groups": {"x": {"scores": {"accuracy": {"value": 0.5}}}}}},
    "tests": {"neg=1": {"passed": {"value": 0.25}}},
    "calibration": {"plain": {"scores": {"ece": {"value": 0.09}}}, "as_saved": {"scores": {"ece": {"value": 0.04}}}},
    "outputs": {"personal": {"rows_with": 2}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("under", "over", "missed"),
    [
        (["accuracy=0.8"], [], ""),
        (["accuracy=0.81"], [], "accuracy is 0.8, under 0.81"),
        (["typo.accuracy=0.75", "worst_case=0.5"], [], "1 of 2 .*typo.accuracy is 0.7"),
        (["typo.kept=0.9"], [], ""),
        (["tests.neg=1=0.3"], [], "tests.neg=1 is 0.25"),
        (["who.x=0.6"], ["who.gap=0.1"], "2 of 2"),
        ([], ["ece=0.05"], ""),
        ([], ["outputs.personal=1"], "outputs.personal is 2, over 1"),
    ],
)
def test_limits_are_kept_or_missed(under: list[str], over: list[str], missed: str) -> None:
    limits = read_limits(under, over, group_column="who")
    if not missed:
        check_limits(limits, REPORT)
        return
    with pytest.raises(ThresholdMissed, match=missed) as caught:
        check_limits(limits, REPORT)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("text", ["accuracy", "=0.5", "accuracy=", "accuracy=high", "accuracy=nan", "acuracy=0.5"])
def test_what_is_no_limit_is_refused_before_anything_is_asked(text: str) -> None:
    with pytest.raises(UsageError):
        read_limits([text], [], group_column=None)


def test_a_number_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="No number is called 'upper.accuracy'"):
        check_limits(read_limits(["upper.accuracy=0.5"], [], group_column=None), REPORT)

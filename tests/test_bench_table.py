"""The tables in the docs are those of the committed results, and say plainly what is reached and what is not."""

import json
from pathlib import Path

import pytest

from bench import beginnings, distilling, faithfulness, forecast, levers, parts, verdicts
from bench.kept import RESULTS, folder
from bench.rows import ROWS
from bench.table import BEGIN, END, FAULTS, faults, shortfall, table, verdict_of
from bench.targets import STUDIES, TARGETS
from tests.promises import PROMISES

ROOT = Path(__file__).parents[1]


def test_the_table_in_the_docs_is_that_of_the_results() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert page.split(BEGIN)[1].split(END)[0].strip() == table(RESULTS).strip()


def test_every_row_has_a_measurement_behind_it() -> None:
    assert set(TARGETS) <= set(ROWS) <= {*TARGETS, *STUDIES}
    for path in RESULTS.rglob("*.json"):
        entry = json.loads(path.read_text(encoding="utf-8"))
        assert entry["machine"]["processor"] and entry["date"]
        # A result is in the folder of its machine, or has a page of its own.
        assert path.parent == (folder(entry["machine"]) if path.stem in ROWS else RESULTS)


def test_the_table_of_promises_is_what_was_measured() -> None:
    found = json.loads((RESULTS / f"{FAULTS}.json").read_text(encoding="utf-8"))
    assert faults(found) in (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert set(found["promises"]) == set(PROMISES)


def test_a_target_that_is_missed_is_said_to_be() -> None:
    (row,) = ROWS["f3"]
    assert row.good({"over_plain": {"hflm": 0.5}}) and not row.good({"over_plain": {"hflm": 0.51}})


def test_a_busy_machine_is_said_of_the_sides_of_a_row_alone() -> None:
    (row,) = ROWS["f4"]
    entry = {"rounds": {"muon": [0.1, 0.5], "adamw": [0.3, 0.31]}, "median": {"adamw": 0.3}}
    assert "busy" not in verdicts.why("f4", row, entry)
    assert "busy" in verdicts.why("f4", row, {**entry, "rounds": {"adamw": [0.1, 0.5]}})


def test_what_limits_eight_bits_is_read_off_the_result() -> None:
    row = ROWS["f8"][0]
    entry = {"median": {"hflm, int8": 30.0, "hflm, bf16": 15.0}, "gflops": {"fp32": 90.0, "bf16": 1.0}}
    assert "2.0 x its tokens: their products are the limit" in verdicts.why("f8", row, entry)


def test_a_loss_as_low_counts_in_its_share_of_the_time_alone() -> None:
    (row, _) = ROWS["f2"]

    def entry(**run: object) -> dict[str, object]:
        ours = {"eval_loss": 4.0, "steps": 100, "step_seconds": 0.6, **run}
        return {"share": 0.1, "swept": [], "plain": {"eval_loss": 5.0, "seconds": 600.0}, "hflm": [ours]}

    assert row.good(entry()) and not row.good(entry(eval_loss=5.1)) and not row.good(entry(step_seconds=0.7))
    assert row.good(entry(step_seconds=0.7, counted={"eval_loss": 4.9, "seconds": 64.0}))
    assert not row.good(entry(step_seconds=0.7, counted={"eval_loss": 5.1, "seconds": 60.0}))


def test_skipped_tests_show_nothing_to_hold() -> None:
    row = {"cases": 3, "failed": 0, "skipped": 0}
    assert verdict_of(row) == "held" and verdict_of({**row, "skipped": 2}) == "held, in part"
    assert verdict_of({**row, "cases": 0}) == "not tested" and verdict_of({**row, "failed": 1}) == "failed"


def test_what_falls_short_is_printed_with_its_reason() -> None:
    """A slow bfloat16 and a busy machine are read off the results; what was not measured is said too."""
    speed = {
        "rounds": {"plain": [100.0, 101.0], "hflm": [200.0, 290.0], "hflm, adamw": [350.0]},
        "median": {"plain": 100.0, "hflm": 250.0, "hflm, adamw": 350.0},
        "over_plain": {"plain": 1.0, "hflm": 2.5, "hflm, adamw": 3.5},
    }
    found = {"f1": {"mini": speed, "base": speed, "gflops": {"fp32": 150.0, "bf16": 180.0}}}
    said = " ".join("\n".join(verdicts.lines(found, {"f1": None, "f9": None})).split())
    assert said.count("NOT REACHED") == 1 and said.count(": reached") == 2 and "F9 not measured" in said
    assert "1.2 x as fast as in float32" in said and "differ by 1.4 x" in said
    slow = {"f1": {**found["f1"], "gflops": {"fp32": 150.0, "bf16": 1.0}}}
    assert "so hflm computes in float32" in " ".join("\n".join(verdicts.lines(slow, {"f1": None})).split())
    assert shortfall({"a laptop": found, "a server": {}}).count("- **F1** on a laptop") == 1
    assert shortfall({"a laptop": {"f9": {"median": {"hflm --help": 0.1}}}}) == "Every target is reached."
    assert set(verdicts.LIMITS) == {*TARGETS, "f2-small"}


@pytest.mark.parametrize(
    ("page", "begin", "end"),
    [
        ("performance", BEGIN, END), ("reliability", BEGIN, END), ("performance", levers.BEGIN, levers.END),
        ("performance", forecast.BEGIN, forecast.END), ("performance", beginnings.BEGIN, beginnings.END),
        ("performance", beginnings.LONGER_BEGIN, beginnings.LONGER_END), ("performance", parts.BEGIN, parts.END),
        ("distilling", distilling.BEGIN, distilling.END), ("explaining", faithfulness.BEGIN, faithfulness.END),
    ],
)  # fmt: skip
def test_every_table_has_its_place(page: str, begin: str, end: str) -> None:
    """What is measured for hours is not lost for a mark that the page lacks."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert text.count(begin) == text.count(end) == 1 and text.index(begin) < text.index(end)

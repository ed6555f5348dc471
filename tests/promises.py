"""The promises of docs/reliability.md, and the table of the tests that prove them: `make faults`."""

import datetime
import json
import os
from collections import Counter
from pathlib import Path

import pytest

# What each promise says, in the words of docs/reliability.md.
PROMISES = {
    "R1": "killed at any moment, a run goes on and loses one save interval at most",
    "R2": "a damaged checkpoint is passed over, or refused; never used",
    "R3": "stopped and resumed is the straight run, bit by bit",
    "R4": "what has changed since the run began is refused, and named",
    "R5": "loss and gradient do not depend on how a batch is split",
    "R6": "a signal saves, ends within a step, exits 75; a second one ends at once",
    "R7": "NaN and infinity end the run before the step that they would spoil",
    "R8": "a full disk costs one line; what was saved stays whole",
    "R9": "rotation keeps the newest, the best and the only valid checkpoint",
    "D1": "a bad row costs one line: file, line, field, remedy; before a model is loaded",
    "D2": "what the data would do to a run is said before it",
    "D3": "no stale cache is used",
    "P1": "as many ranks as were asked for, or none",
    "P2": "one rank ends, all end; the first cause is said once; nothing is left behind",
    "S1": "a hostile folder runs nothing, and costs one line",
    "S4": "rows of the evaluation that were trained on are found",
}
# More cases of everything, for `make faults`.
WHOLE = os.environ.get("HFLM_FAULTS") == "whole"


def cases_of(item: pytest.Item) -> dict[str, int]:
    """Return the promises that a test proves, each with the number of cases that the marker says it holds."""
    markers = list(item.iter_markers("promise"))
    found = {str(name): int(marker.kwargs.get("cases", 1)) for marker in markers for name in marker.args}
    unknown = set(found) - set(PROMISES)
    assert not unknown, f"{item.nodeid} names no promise: {unknown}"
    return found


class Table:
    """Counts the cases of each promise while the tests run."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.promised: dict[str, dict[str, int]] = {}
        self.cases: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Remember which test proves what."""
        self.promised = {item.nodeid: cases_of(item) for item in items}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test, or the cases that it says it holds."""
        if report.when != "call" and not (report.failed or report.skipped):
            return
        told = next((int(str(value)) for name, value in report.user_properties if name == "cases"), None)
        for name, cases in self.promised.get(report.nodeid, {}).items():
            if report.skipped:
                self.skipped[name] += 1
                continue
            self.cases[name] += told or cases
            self.failed[name] += report.failed

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, and keep it."""
        if self.path is None:
            return
        rows = {
            name: {"promise": text, "cases": self.cases[name], "failed": self.failed[name],
                   "skipped": self.skipped[name]}
            for name, text in PROMISES.items()
        }  # fmt: skip
        terminalreporter.section("promises")
        from bench.machine import machine
        from bench.table import verdict_of

        for name, row in rows.items():
            terminalreporter.write_line(
                f"{name:4}{row['cases']:6} cases {row['failed']:4} failed {row['skipped']:3} skipped  "
                f"{verdict_of(row):13}  {row['promise']}"
            )
        today = datetime.date.today().isoformat()
        content = {"machine": machine(), "date": today, "whole": WHOLE, "promises": rows}
        self.path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

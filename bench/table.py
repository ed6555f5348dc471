"""The table of docs/performance.md, written from the results and from nothing else."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.kept import title
from bench.rows import ROWS, Row
from bench.verdicts import short, why

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
FAULTS = "faults"
Machines = Mapping[str, Mapping[str, Any]]


def between(page: str, begin: str, end: str, text: str) -> str:
    """Return a page with another text between two markers."""
    before, rest = page.split(begin)
    return f"{before}{begin}{text}{end}{rest.split(end)[1]}"


def write_table(results: Path, page: Path) -> None:
    """Put the measured numbers between the markers of the page."""
    page.write_text(between(page.read_text(), BEGIN, END, f"\n{table(results)}"))


def write_faults(results: Path, page: Path) -> None:
    """Put what the last `make faults` found between the same markers of another page."""
    found = json.loads((results / f"{FAULTS}.json").read_text())
    page.write_text(between(page.read_text(), BEGIN, END, f"\n{faults(found)}"))


def faults(found: Any) -> str:
    """Return the table of promises in Markdown."""
    lines = ["| | promise | cases | failed | tests skipped | |", "|---|---|---|---|---|---|"]
    for name, row in found["promises"].items():
        counts = f"{row['cases']:,} | {row['failed']} | {row['skipped']}"
        lines.append(f"| {name} | {row['promise']} | {counts} | {verdict_of(row)} |")
    machine = found["machine"]
    return "\n".join([*lines, "", f"Run on {title(machine)} ({_versions([found])}).", ""])


def verdict_of(row: Mapping[str, Any]) -> str:
    """Say what became of a promise; what was skipped was not shown to hold."""
    if row["failed"]:
        return "failed"
    if not row["cases"]:
        return "not tested"
    return "held, in part" if row["skipped"] else "held"


def read(results: Path) -> Machines:
    """Return what was measured, by machine and name; results beside the machines' folders have pages of their own."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(results.glob("*/*.json")):
        entry = json.loads(file.read_text())
        found.setdefault(title(entry["machine"]), {})[file.stem] = entry
    return found


def table(results: Path) -> str:
    """Return the table in Markdown, a column for each machine, and what falls short on which."""
    machines = read(results)
    lines = [f"| | what | target | {' | '.join(machines)} |", "|---" * (3 + len(machines)) + "|"]
    for name, rows in ROWS.items():
        for row in rows:
            cells = [_cell(entries.get(name), row) for entries in machines.values()]
            if any(cells):
                lines.append(f"| {' | '.join((name.upper(), row.what, row.target, *cells))} |")
    named = [f"{name} ({_versions(entries.values())})" for name, entries in machines.items()]
    return "\n".join([*lines, "", shortfall(machines), "", f"Measured on {'; '.join(named)}.", ""])


def shortfall(machines: Machines) -> str:
    """Return a list in Markdown of what falls short, where and why, or a sentence that nothing does."""
    missed = [
        f"- **{name.upper()}** on {machine}, {row.what}: {why(name, row, entries[name])}"
        for machine, entries in machines.items()
        for name, row in short(entries)
    ]
    return "\n".join(["Not reached:", "", *missed]) if missed else "Every target is reached."


def _cell(entry: Any, row: Row) -> str:
    if entry is None or not (text := row.value(entry)):
        return ""
    if row.target == "none":
        return text
    once = " (one round)" if any(len(side) == 1 for side in row.rounds(entry)) else ""
    return f"{text}{once} – {'reached' if row.good(entry) else '**not reached**'}"


def _versions(entries: Iterable[Any]) -> str:
    """Return versions and dates of a machine's results."""
    found = list(entries)
    machines = [entry["machine"] for entry in found]
    days = sorted({entry["date"] for entry in found})
    torch, transformers = (
        ", ".join(sorted({str(machine[key]) for machine in machines})) for key in ("torch", "transformers")
    )
    return f"torch {torch}, transformers {transformers}, {' to '.join(dict.fromkeys((days[0], days[-1])))}"

"""The table of docs/performance.md, written from the results and from nothing else."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.rows import ROWS
from bench.verdicts import shortfall

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
# Results that have pages of their own.
FAULTS = "faults"
OWN_PAGES = (FAULTS, "distilling", "faithfulness", "forecast", "levers", "beginnings", "longer", "parts")


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
    lines = ["| | promise | cases | failed | |", "|---|---|---|---|---|"]
    for name, row in found["promises"].items():
        verdict = "not tested" if not row["cases"] else "failed" if row["failed"] else "held"
        lines.append(f"| {name} | {row['promise']} | {row['cases']:,} | {row['failed']} | {verdict} |")
    return "\n".join([*lines, "", "Run on " + _machine(found) + ".", ""])


def read(results: Path) -> dict[str, Any]:
    """Return what was measured, by name."""
    files = [file for file in sorted(results.glob("*.json")) if file.stem not in OWN_PAGES]
    return {file.stem: json.loads(file.read_text()) for file in files}


def table(results: Path) -> str:
    """Return the table in Markdown, and what falls short."""
    found = read(results)
    lines = ["| | what | target | measured | | on |", "|---|---|---|---|---|---|"]
    for name, rows in ROWS.items():
        for what, target, value, good in rows:
            if name in found:
                entry = found[name]
                cells = (name.upper(), what, target, value(entry), _verdict(target, good, entry), processor(entry))
                lines.append(f"| {' | '.join(cells)} |")
    machines = sorted({_machine(entry) for entry in found.values()})
    return "\n".join([*lines, "", shortfall(found), "", "Measured on " + "; ".join(machines) + ".", ""])


def _verdict(target: str, good: Callable[[Any], bool], entry: Any) -> str:
    if target == "none":
        return ""
    return "reached" if good(entry) else "not reached"


def processor(entry: Any) -> str:
    """Return the name of the processor that an entry was measured on, without what says nothing."""
    name = re.sub(r"\((R|TM)\)|\bProcessor\b", " ", entry["machine"]["processor"])
    return " ".join(name.split())


def _machine(entry: Any) -> str:
    m = entry["machine"]
    return (
        f"{m['processor']}, {m['cores']} cores, torch {m['torch']}, transformers {m['transformers']} ({entry['date']})"
    )

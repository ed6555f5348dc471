"""`hflm doctor`: this machine, and what it means for a run."""

from dataclasses import asdict
from typing import Annotated

import typer


def command(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Look at this machine, and say what it means for a run."""
    from hflm.cli.show import print_json, table
    from hflm.doctor import examine

    findings = examine()
    if json:
        print_json([asdict(finding) for finding in findings])
        return
    rows = [{**asdict(finding), "": "ok" if finding.ok else "!"} for finding in findings]
    table(rows, ("", "name", "value", "meaning"))

"""`hflm compare`: parse, call, show."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hflm.cli.show import print_json, table


def command(
    run_a: Annotated[Path, typer.Argument(help="A tested run.")],
    run_b: Annotated[Path, typer.Argument(help="Another, tested on the same rows.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether two runs differ by more than chance: hflm compare RUN_A RUN_B"""
    from hflm.compare import compare_runs

    found = compare_runs(run_a, run_b)
    if json:
        print_json([{**asdict(one), "significant": one.significant} for one in found])
        return
    rows: list[dict[str, str | None]] = [
        {
            "score": one.score, "a": f"{one.a:.4g}", "b": f"{one.b:.4g}", "a - b": f"{one.difference:+.4g}",
            "95 %": f"{one.low:+.4g} to {one.high:+.4g}", "p": f"{one.p_value:.3f}",
        }
        for one in found
    ]  # fmt: skip
    table(rows, ("score", "a", "b", "a - b", "95 %", "p"))
    clear = [one.score for one in found if one.significant]
    print(f"They differ in {', '.join(clear)}." if clear else "No difference beyond chance was found.")

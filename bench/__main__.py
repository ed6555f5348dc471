"""Measure, and keep what was measured.

python -m bench               # everything
python -m bench f1 --rounds 5
python -m bench table         # write the table of docs/performance.md from the results
"""

import argparse
import datetime
import json
from pathlib import Path

from bench.machine import machine
from bench.table import write_faults, write_table
from bench.targets import TARGETS

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run the measurements named, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(TARGETS)} or table; default: all")
    parser.add_argument("--rounds", type=int, default=3, help="times that each side runs; the median counts")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in (*TARGETS, "table")]
    if unknown:
        parser.error(f"{unknown[0]!r} is not a measurement; there are {', '.join(TARGETS)} and table")
    for name in options.names or TARGETS:
        if name == "table":
            continue
        print(f"{name}: {(TARGETS[name].__doc__ or '').strip()}", flush=True)
        found = {"machine": machine(), "date": datetime.date.today().isoformat(), **TARGETS[name](options.rounds)}
        (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps(found.get("over_plain") or found.get("median") or found, indent=1), flush=True)
    write_table(RESULTS, Path("docs/performance.md"))
    write_faults(RESULTS, Path("docs/reliability.md"))


if __name__ == "__main__":
    main()

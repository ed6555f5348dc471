"""Measure, and keep what was measured.

python -m bench               # the targets F1 to F11; called again, it goes on where it was stopped
python -m bench --again       # all of them, whatever was measured
python -m bench f1 --rounds 5
python -m bench levers        # a study
python -m bench table         # write the table of docs/performance.md from the results
"""

import argparse
import datetime
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from bench.kept import RESULTS, folder, fresh, measured, title
from bench.machine import ceilings, machine
from bench.rows import ROWS
from bench.table import read, write_faults, write_table
from bench.targets import LONGEST, ONCE, ROUNDS, STUDIES, TARGETS
from bench.verdicts import lines


def in_turn(names: Iterable[str]) -> list[str]:
    """Return the measurements as they are taken: the longest comes after the others."""
    return sorted(names, key=lambda name: name in LONGEST)


def main() -> None:
    """Run the measurements named, or every target; end with 1 where one could not be taken."""
    every = {**TARGETS, **STUDIES}
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME",
        help=f"{', '.join(TARGETS)}; the studies {', '.join(STUDIES)}; or table. Default: every target",
    )  # fmt: skip
    parser.add_argument(
        "--rounds", type=int, help=f"times that each side runs; the median counts. Default: {ROUNDS}, and 1 where a "
        f"round takes many minutes: {', '.join(ONCE)}",
    )  # fmt: skip
    parser.add_argument(
        "--again", action="store_true", help="measure every target, those too that were measured here a day ago"
    )
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in (*every, "table")]
    if unknown:
        parser.error(f"{unknown[0]!r} is not a measurement; there are {', '.join(every)} and table")
    names, failed = [name for name in options.names or in_turn(TARGETS) if name != "table"], []
    for name in names:
        if not (options.names or options.again) and fresh(machine(), name):
            day = measured(machine(), name)["date"]
            print(f"{name}: measured here {day}, kept; `make bench-{name}` measures it again")
            continue
        print(f"{name}: {(every[name].__doc__ or '').strip()}", flush=True)
        try:
            taken = {"gflops": ceilings(), **every[name](options.rounds or (1 if name in ONCE else ROUNDS))}
        except (subprocess.CalledProcessError, RuntimeError) as error:
            # Hours may lie before this one and others behind it: they count.
            print(f"{name} was not measured: {error} {getattr(error, 'stderr', None) or ''}", file=sys.stderr)
            failed.append(name)
            continue
        found = {"machine": machine(), "date": datetime.date.today().isoformat(), **taken}
        place = folder(found["machine"]) if name in ROWS else RESULTS
        place.mkdir(exist_ok=True)
        (place / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps(found.get("over_plain") or found.get("median") or found, indent=1), flush=True)
    write_table(RESULTS, Path("docs/performance.md"))
    write_faults(RESULTS, Path("docs/reliability.md"))
    shown = {name: None for name in (names or TARGETS) if name in ROWS}
    here = read(RESULTS).get(title(machine()), {})
    print("", *lines({name: entry for name, entry in here.items() if name not in failed}, shown), sep="\n")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()

"""A sentiment model and students of it: what each keeps, and how fast it is.

python -m bench.distilling FOLDER [NAME...]

rt.train.jsonl, rt.validation.jsonl and rt.test.jsonl lie in the folder, and the runs go there. Runs that are done are
not done again; names choose some of the students. Results go to bench/results/distilling.json, picture and table
into the docs.
"""

import datetime
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.machine import machine

ROOT = Path(__file__).parents[1]
RESULTS, DOCS = ROOT / "bench" / "results" / "distilling.json", ROOT / "docs"
BEGIN, END = "<!-- distilling: begin -->\n", "<!-- distilling: end -->"
ROWS = (
    "--train-file", "rt.train.jsonl", "--validation-file", "rt.validation.jsonl", "--test-file", "rt.test.jsonl",
    "--max-source-length", "64", "--threads", "1",
)  # fmt: skip
TEACHER = ("finetune", "--task", "sentiment", "--model", "minilm", "--lr", "1e-4", "--epochs", "2")
STUDENT = ("distill", "--teacher", "teacher", "--lr", "2e-4", "--epochs", "3", "--student-layers")
# name -> (folder, what is run)
RUNS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "teacher, 6 layers": ("teacher", TEACHER),
    "3 layers": ("small3", (*STUDENT, "3")),
    "2 layers": ("small2", (*STUDENT, "2")),
    "2 first layers": (
        "first2",
        (
            "distill",
            "--teacher",
            "teacher",
            "--lr",
            "2e-4",
            "--epochs",
            "2",
            "--student-layers",
            "2",
            "--keep-layers",
            "first",
            "--soft-share",
            "0.8",
        ),
    ),
    "1 layer": ("small1", (*STUDENT, "1")),
    "2 layers, labels alone": ("alone2", (*STUDENT, "2", "--soft-share", "0")),
}


def measure(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Run what is not done yet, and return what every model keeps."""
    found: dict[str, Any] = {}
    for name, (run, words) in RUNS.items():
        if names and name not in (*names, next(iter(RUNS))):
            continue
        if not (folder / run / "metrics.json").exists():
            again = ("resume", run) if (folder / run / "plan.json").exists() else (*words, *ROWS, "-o", run)
            subprocess.run([sys.executable, "-m", "hflm", *again], check=True, cwd=folder)
        metrics = json.loads((folder / run / "metrics.json").read_text())
        if "distillation" in metrics:
            found[name] = metrics["distillation"]
    return found


def table(found: Mapping[str, Any]) -> str:
    """Return the results as a table of the docs."""
    lines = ["| model | accuracy | kept | difference (95 %) | parameters | rows/s, of the teacher's |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    first = next(iter(found["runs"].values()))
    teacher = first["teacher"]
    lines.append(f"| teacher, 6 layers | {first['kept']['accuracy']['teacher']['value']:.3f} | | | "
                 f"{teacher['parameters'] / 1e6:.1f} M | |")  # fmt: skip
    for name, one in found["runs"].items():
        kept = one["kept"]["accuracy"]
        lines.append(
            f"| {name} | {kept['student']['value']:.3f} | {kept['share']:.1%} | "
            f"{kept['difference']:+.3f} ({kept['low']:+.3f} to {kept['high']:+.3f}) | "
            f"{one['student']['parameters'] / 1e6:.1f} M | {one['speedup']:.1f} x |"
        )
    return "\n".join(lines) + "\n"


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draw accuracy over speed; rows a second are those of the teacher in each run's own timing, scaled to one."""
    from hflm.plots import plot_tradeoff

    first = next(iter(found["runs"].values()))
    points = {"teacher, 6 layers": {"rate": 1.0, **first["kept"]["accuracy"]["teacher"]}}
    points |= {name: {"rate": one["speedup"], **one["kept"]["accuracy"]["student"]}
               for name, one in found["runs"].items()}  # fmt: skip
    path.parent.mkdir(exist_ok=True)
    plot_tradeoff(points, path, score="accuracy", speed="rows a second, times the teacher's",
                  title="Sentiment of movie reviews: MiniLM and its students")  # fmt: skip


def write(found: Mapping[str, Any]) -> None:
    """Write the picture, and the table between its marks."""
    draw(found, DOCS / "images" / "distilling.png")
    page = DOCS / "distilling.md"
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    page.write_text(before + BEGIN + table(found) + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    today = datetime.date.today().isoformat()
    results = {"machine": machine(), "date": today, "runs": measure(Path(sys.argv[1]), sys.argv[2:])}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    write(results)

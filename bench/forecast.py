"""What loss a pretraining comes to: runs of several sizes, lengths and texts, and the law that is fitted over them.

python -m bench.forecast run novels TEXT.txt ...   # the embedded novels and other texts; what was run before is kept
python -m bench.forecast add RUN ...               # runs that were made by hand, of ten minutes for example
python -m bench.forecast fit                       # fit the law, with the texts and the longest runs left out in turn

The constants of `hflm/pretraining/forecast.py` are those of the fit; a test holds them together.
"""

import argparse
import datetime
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from bench.beside import run_beside, threads
from bench.machine import machine
from bench.table import between
from hflm.pretraining.forecast import Law, forecast
from hflm.settings import read_yaml

RESULTS = Path(__file__).parent / "results" / "forecast.json"
NOVELS = "novels"
# Steps of 16 rows of 128 tokens. The law is for runs of minutes to hours on a few cores.
GRID: dict[str, dict[str, tuple[int, ...]]] = {
    NOVELS: {"tiny": (125, 500, 4000), "mini": (60, 125, 250, 500), "small": (60, 125, 700)},
    "others": {"tiny": (500,), "mini": (125,), "small": (60,)},
}
PAGE, BEGIN, END = Path("docs/performance.md"), "<!-- forecast -->", "<!-- /forecast -->"
PICTURE = Path("docs/images/forecast.png")


def commands(text: str | None, folder: Path, *, at_once: int) -> list[list[str]]:
    """Return the runs of a text, the longest first, so that none is left to run alone."""
    grid = GRID[NOVELS if text is None else "others"]
    runs = sorted(((steps, size) for size, many in grid.items() for steps in many), reverse=True)
    return [
        ["hflm", "pretrain", *([text] if text else []), "--size", size, "--max-steps", str(steps), "--eval-steps",
         str(steps), "--seed", "1", "--threads", str(threads(at_once)), "--json", "--overwrite", "-o",
         str(folder / f"{size}-{steps}")]
        for steps, size in runs
    ]  # fmt: skip


def row(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Return of the metrics of a run what the law is fitted on."""
    return {
        "text": name, "run": Path(found["run"]).name, "steps": found["steps"], "parameters": found["parameters"],
        "body": found["body_parameters"], "tokens": found["tokens_seen"], "unique": found["train_tokens"],
        "unigram_loss": found["unigram_loss"], "eval_loss": found["eval_loss"], "elsewhere": name == NOVELS,
    }  # fmt: skip


def run_text(text: str, rows: list[dict[str, Any]], *, at_once: int) -> None:
    """Add the runs of a text that are not there yet; each is kept as soon as it is done."""
    name = NOVELS if text == NOVELS else Path(text).stem
    known = {one["run"] for one in rows if one["text"] == name}

    def keep(found: dict[str, Any]) -> None:
        rows.append(row(name, found))
        RESULTS.write_text(json.dumps({"rows": rows}, indent=1) + "\n")

    with tempfile.TemporaryDirectory() as folder:
        missing = [
            words for words in commands(None if text == NOVELS else text, Path(folder), at_once=at_once)
            if Path(words[-1]).name not in known
        ]  # fmt: skip
        run_beside(missing, at_once=at_once, done=keep)


def add_run(folder: str, rows: list[dict[str, Any]]) -> None:
    """Add a run of `hflm pretrain` that is there already, in the place of another of its text, size and steps."""
    metrics = json.loads(Path(folder, "metrics.json").read_text())
    config = read_yaml(Path(folder, "config.yaml"))
    name = Path(config["data"][0]).stem if config["data"] else NOVELS
    one = row(name, {**metrics, "run": f"{config['size']}-{metrics['steps']}"})
    rows[:] = [other for other in rows if (other["text"], other["run"]) != (one["text"], one["run"])] + [one]


def fit(rows: Sequence[dict[str, Any]]) -> Law:
    """Fit the law by least squares on the logarithm of the loss; robust, so that no single run decides."""
    start = Law()
    # Runs of one pass or two say nothing of how many are worth it.
    names = [name for name in asdict(start) if name not in ("passes", "error")]

    def law_of(values: Any) -> Law:
        return replace(start, **dict(zip(names, np.exp(values).tolist(), strict=True)))

    def off(values: Any) -> Any:
        return misses(law_of(values), rows)

    found = least_squares(off, np.log([getattr(start, name) for name in names]), loss="soft_l1", f_scale=0.03)
    return law_of(found.x)


def misses(law: Law, rows: Sequence[dict[str, Any]]) -> Any:
    """Return the logarithm of forecast over loss for each run."""
    return np.array([np.log(predicted(law, one) / one["eval_loss"]) for one in rows])


def predicted(law: Law, one: dict[str, Any]) -> float:
    """Return what the law says of a run."""
    return forecast(
        body=one["body"], tokens=one["tokens"], unique=one["unique"], unigram_loss=one["unigram_loss"],
        elsewhere=one["elsewhere"], law=law,
    )  # fmt: skip


def left_out(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Leave out each text, and the longest run of each size, and say how far the law of the rest is from them."""
    found = {}
    for name in sorted({one["text"] for one in rows}):
        kept, out = [one for one in rows if one["text"] != name], [one for one in rows if one["text"] == name]
        if any(one["text"] == NOVELS for one in kept):
            found[f"the text {name}"] = float(np.sqrt(np.mean(misses(fit(kept), out) ** 2)))
    novels = [one for one in rows if one["text"] == NOVELS]
    for size in sorted({one["run"].split("-")[0] for one in novels}):
        last = max((one for one in novels if one["run"].startswith(size)), key=lambda one: one["steps"])
        law = fit([one for one in rows if one is not last])
        found[f"{last['run']} of the novels"] = float(abs(misses(law, [last])[0]))
    return found


def table(found: dict[str, Any]) -> str:
    """Return how far the law is off, in Markdown."""
    law = found["law"]
    constants = ", ".join(f"{name} {value:.3g}" for name, value in law.items() if name != "error")
    lines = ["", f"Fitted over {len(found['rows'])} runs: {constants}. Inside, it is off by {found['inside']:.1%}.", "",
             "| left out of the fit | off by |", "|---|---|"]  # fmt: skip
    return "\n".join([*lines, *(f"| {name} | {off:.1%} |" for name, off in found["left_out"].items()), ""])


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw the losses of the runs over tokens, and the law as lines through them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    law, runs = Law(**found["law"]), {(one["text"], one["run"].split("-")[0]) for one in found["rows"]}
    for number, (text, size) in enumerate(sorted(runs)):
        rows = [one for one in found["rows"] if one["text"] == text and one["run"].startswith(size)]
        tokens = np.geomspace(1e5, 2 * max(one["tokens"] for one in rows), 50)
        axes.plot([one["tokens"] for one in rows], [one["eval_loss"] for one in rows], "o", color=f"C{number}")
        axes.plot(tokens, [predicted(law, {**rows[0], "tokens": at}) for at in tokens], color=f"C{number}",
                  label=f"{size}, {text}")  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("tokens read")
    axes.set_ylabel("eval loss, nats a token")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run the grid, or fit the law."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["run", "add", "fit"])
    parser.add_argument("texts", nargs="*")
    parser.add_argument("--at-once", type=int, default=2)
    options = parser.parse_args()
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": []}
    rows = known["rows"]
    for text in options.texts if options.what == "run" else ():
        run_text(text, rows, at_once=options.at_once)
    for folder in options.texts if options.what == "add" else ():
        add_run(folder, rows)
    law = fit(rows)
    out = left_out(rows)
    law = replace(law, error=max(out.values()))
    found = {
        "machine": machine(), "date": datetime.date.today().isoformat(), "rows": rows, "law": asdict(law),
        "left_out": out, "inside": float(np.sqrt(np.mean(misses(law, rows) ** 2))),
    }  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    draw(found, PICTURE)
    PAGE.write_text(between(PAGE.read_text(), BEGIN, END, table(found)))
    print(json.dumps({key: found[key] for key in ("law", "left_out", "inside")}, indent=1))
    for one in rows:
        print(one["text"], one["run"], one["eval_loss"], round(predicted(law, one), 3))


if __name__ == "__main__":
    main()

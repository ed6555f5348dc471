"""F2: in how much less time hflm has the loss that a plain Trainer has after all of its own.

Both are scored on Sense and Sensibility and trained on the other novels of the package: the settings of the recipe were
chosen by their loss on Northanger Abbey and looked at again on Emma, and none by the loss on this one.

The plain side is a BERT of the same layers and width, with the same tokenizer and text, each of three learning rates
with each of two batch sizes. Its best is chosen by the loss on the very text that is scored, and its learning rate
falls by the clock, to zero when its time is over: both favour it. hflm's side is `hflm pretrain` as it comes, with as
many steps as its share of the time holds; they are counted at the pace that `--budget` found on the same machine. Of
neither side the start of the program, the reading of the text and the evaluation at the end are counted. The run
that found the pace is kept too: in it hflm's time has all of that, and the plain side's has not.

python -m bench.sooner plain a.txt --eval-data b.txt --seconds 600 --lr 5e-4 --batch-size 32    # one plain run
python -m bench.sooner hflm    # hflm's side again, beside the plain results
"""

import argparse
import datetime
import json
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PrinterCallback, ProgressCallback, TrainerCallback, TrainingArguments

from bench.beside import run_beside, threads
from bench.kept import folder, measured
from bench.machine import machine
from bench.plain import plain_trainer
from hflm.config import resolve
from hflm.data.corpus import embedded_corpus
from hflm.engine.order import Placed
from hflm.engine.trainer import quiet_libraries
from hflm.models.architecture import count_parameters
from hflm.pretraining.assemble import Setup, set_up
from hflm.recipe_files import load_task
from hflm.run import RunFolder

RATES, BATCHES, SEEDS = (2.5e-4, 5e-4, 1e-3), (16, 32), (1, 2, 3)
WARM_UP = 0.06
SCORED = "sense_and_sensibility"


def novels() -> list[str]:
    """Return the words that name the novels to train on, and the one that is scored."""
    files = [path for split in embedded_corpus() for path in split]
    (scored,) = (path for path in files if path.name.startswith(SCORED))
    return [*(str(path) for path in files if path != scored), "--eval-data", str(scored)]


class ByTheClock(TrainerCallback):
    """Let the learning rate rise and fall with the time that is spent, and end the run with it."""

    def __init__(self, lr: float, seconds: float) -> None:
        self.lr, self.seconds = lr, seconds

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.begin = time.perf_counter()

    def on_step_begin(self, *_: Any, optimizer: Any = None, **__: Any) -> None:
        spent = (time.perf_counter() - self.begin) / self.seconds
        for group in optimizer.param_groups:
            group["lr"] = self.lr * max(0.0, min(spent / WARM_UP, (1 - spent) / (1 - WARM_UP)))

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = time.perf_counter() - self.begin >= self.seconds


@torch.no_grad()
def plain_loss(model: Any, setup: Setup) -> float:
    """Score a plain model on hflm's own evaluation targets, reading rows as it was trained: whole, none shut off."""
    data, loss, count = Placed(setup.data.eval_rows), 0.0, 0
    model.eval()
    for begin in range(0, len(data), 32):
        items = [data[0, at] for at in range(begin, min(begin + 32, len(data)))]
        batch = setup.family.collate_eval(items)
        logits = model(input_ids=batch["input_ids"], attention_mask=(batch["segments"] >= 0).long()).logits
        chosen = logits.flatten(0, 1)[batch["positions"]].float()
        loss += float(torch.nn.functional.cross_entropy(chosen, batch["labels"], reduction="sum"))
        count += batch["labels"].numel()
    return loss / count


def plain(options: argparse.Namespace) -> dict[str, Any]:
    """Train the plain side for its seconds, and return its loss on the evaluation text."""
    flags = {"size": options.size, "threads": options.threads or None, "seed": 1}
    if options.data:
        flags |= {"data": tuple(options.data), "eval_data": tuple(options.eval_data), "documents": "file"}
    config = resolve(recipe=load_task("pretraining").defaults, flags={k: v for k, v in flags.items() if v is not None})
    with tempfile.TemporaryDirectory() as folder:
        setup = set_up(config, RunFolder(Path(folder)), arch="modernbert", say=lambda text: None)
        rows = setup.data.rows
        assert rows is not None
        ids = np.stack([rows[at].ids for at in range(len(rows)) if (rows[at].segments >= 0).all()])
        trainer = plain_trainer(
            ids, tokenizer=setup.data.tokenizer, size=options.size, vocab_size=len(setup.data.tokenizer),
            batch_size=options.batch_size, steps=10**6, lr=options.lr, folder=Path(folder), schedule="constant",
            callbacks=[ByTheClock(options.lr, options.seconds)],
        )  # fmt: skip
        for noisy in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(noisy)
        begin = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - begin
    model: Any = trainer.model
    if options.save:
        trainer.save_model(options.save)
        setup.data.tokenizer.save_pretrained(options.save)
    return {
        "lr": options.lr, "batch_size": options.batch_size, "seconds": seconds, "steps": trainer.state.global_step,
        "threads": torch.get_num_threads(), "parameters": count_parameters(model),
        "eval_loss": plain_loss(model, setup),
    }  # fmt: skip


def command(
    side: str, *, size: str, count: int, folder: Path, texts: Sequence[str] = (), seconds: float = 0, **more: Any
) -> list[str]:
    """Return the words of one run of a side; without texts it reads what hflm reads where no text is named."""
    extra = [word for name, value in more.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    usual = ["--size", size, "--threads", str(count), *extra]
    if side == "plain":
        return ["bench.sooner", "plain", *texts, "--seconds", str(seconds), *usual]
    name = "-".join(str(value) for value in more.values())
    budget = ["--budget", f"{seconds:g}s"] if seconds else []
    documents = ["--documents", "file"] if texts else []
    return ["hflm", "pretrain", *texts, *documents, *budget, "-o", str(folder / name), "--json", *usual]


def plain_side(*, size: str, seconds: float, at_once: int) -> dict[str, Any]:
    """Choose learning rate and batch size with the whole time and some threads, then run the best with all cores."""
    make = partial(command, "plain", texts=novels(), size=size, seconds=seconds, folder=Path())
    swept = run_beside(
        [make(count=threads(at_once), lr=lr, batch_size=batch) for batch in BATCHES for lr in RATES], at_once=at_once
    )
    best = min(swept, key=lambda found: found["eval_loss"])
    settings = {"lr": best["lr"], "batch_size": best["batch_size"]}
    (whole,) = run_beside([make(count=threads(1), **settings)], at_once=1)
    return {"swept": swept, "plain": whole}


def our_side(*, size: str, seconds: float) -> list[dict[str, Any]]:
    """Run hflm with three seeds, each with as many steps as the seconds hold.

    `counted` is the run that gave the pace: `--budget` with all that a command does in its seconds.
    """
    kept = ("eval_loss", "steps", "step_seconds", "parameters", "unigram_loss")
    found = []
    with tempfile.TemporaryDirectory() as name:
        make = partial(command, "hflm", texts=novels(), size=size, folder=Path(name), count=threads(1))
        for seed in SEEDS:
            begin = time.perf_counter()
            (paced,) = run_beside([make(seconds=seconds, seed=seed, logging_steps=100)], at_once=1)
            counted = {"eval_loss": paced["eval_loss"], "steps": paced["steps"], "seconds": time.perf_counter() - begin}
            pace = json.loads(Path(paced["run"], "plan.json").read_text())["step_seconds"]
            steps = int(seconds / pace)
            (run,) = run_beside([make(seed=seed, max_steps=steps, eval_steps=steps)], at_once=1)
            each = run["tokens_seen"] / run["steps"] / run["tokens_per_second"]
            found.append({**{key: {**run, "step_seconds": each}[key] for key in kept}, "counted": counted})
    return found


def measure(*, size: str = "mini", seconds: float = 600, share: float = 0.1, at_once: int = 2) -> dict[str, Any]:
    """Run both sides and return their losses."""
    run_first(size, novels())
    found = plain_side(size=size, seconds=seconds, at_once=at_once)
    return both({"size": size, "seconds": seconds, "share": share, **found})


def both(found: dict[str, Any]) -> dict[str, Any]:
    """Put hflm's side beside the plain results."""
    ours = our_side(size=found["size"], seconds=found["share"] * found["seconds"])
    median = {"plain": found["plain"]["eval_loss"], "hflm, worst seed": max(run["eval_loss"] for run in ours)}
    return {**found, "scored": SCORED, "hflm": ours, "median": median}


def run_first(size: str, texts: Sequence[str] = ()) -> None:
    """Read the text and train the tokenizer, which both sides then find in the cache."""
    with tempfile.TemporaryDirectory() as name:
        make = partial(command, "hflm", texts=texts, size=size, folder=Path(name), count=threads(1))
        run_beside([make(max_steps=1)], at_once=1)


def main() -> None:
    """Run the plain side once and print what it came to; or hflm's, and keep that beside the plain results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=["plain", "hflm"])
    parser.add_argument("data", nargs="*")
    parser.add_argument("--eval-data", nargs="*", default=[])
    parser.add_argument("--size", default="mini")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--save", help="keep the model in this folder")
    options = parser.parse_args()
    quiet_libraries()
    if options.side == "plain":
        print(json.dumps(plain(options)))
        return
    before = measured(machine(), "f2")
    if before.get("scored") != SCORED:
        raise SystemExit("the plain results are of another text: run `python -m bench f2`")
    run_first(options.size, novels())
    found = {**both(before), "machine": machine(), "date": datetime.date.today().isoformat()}
    (folder(machine()) / "f2.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found["median"], indent=1))


if __name__ == "__main__":
    main()

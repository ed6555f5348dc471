"""One side of a measurement, in a process of its own: prints one line of JSON.

python -m bench.side plain --size mini --steps 12
python -m bench.side hflm --size mini --steps 12 --set optimizer=adamw
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from hflm.config import PretrainConfig, resolve
from hflm.engine.device import choose_device, matmul_ceiling, peak_memory
from hflm.engine.trainer import quiet_libraries
from hflm.models.flops import flops_shape, forward_flops
from hflm.pretraining.assemble import Setup, set_up
from hflm.recipe_files import load_task
from hflm.run import RunFolder
from hflm.training.train import make_trainer

LENGTH = 128
# The first steps are slower on both sides: memory is fetched, kernels are chosen.
WARM_UP = 3


class Clock(TrainerCallback):
    """Note when each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.times.append(time.perf_counter())

    def seconds(self) -> float:
        """Median seconds of a step."""
        return float(np.median(np.diff(self.times[WARM_UP:])))


def config_of(options: argparse.Namespace) -> PretrainConfig:
    """Return hflm's own defaults with the architecture, batch and vocabulary of the comparison."""
    flags: dict[str, Any] = {
        "arch": "bert", "size": options.size, "batch_size": options.batch_size, "max_length": LENGTH,
        "vocab_size": 8192, "max_steps": options.steps, "logging_steps": 10**6, "eval_steps": 10**6,
        "save_steps": 10**6, "seed": 1,
    }  # fmt: skip
    for pair in options.set:
        name, _, value = pair.partition("=")
        flags[name] = type(flags[name])(value) if name in flags else value_of(value)
    return resolve(recipe=load_task("pretraining").defaults, flags=flags)


def value_of(text: str) -> Any:
    """Return the number, truth or text that is written here."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)


def widen(setup: Setup, vocab_size: int) -> None:
    """Give the model a larger vocabulary than its text has, for the memory of large vocabularies."""
    setup.model.resize_token_embeddings(vocab_size, mean_resizing=False)


def utilisation(options: argparse.Namespace, trainer: Any, step_seconds: float) -> float:
    """Return the share of the measured matrix-product ceiling; the plain side predicts every position."""
    tokens = options.batch_size * LENGTH
    predicted = tokens if options.side == "plain" else int(config_of(options).mlm_probability * tokens)
    forward = forward_flops(flops_shape(trainer.model), tokens=tokens, sequence_length=LENGTH, predicted=predicted)
    device = choose_device("fp32" if options.side == "plain" else "auto")
    return 3 * forward / step_seconds / matmul_ceiling(device)


def main() -> None:
    """Run one side and print what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=["plain", "hflm"])
    parser.add_argument("--size", default="mini")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--set", action="append", default=[], help="a setting of hflm, NAME=VALUE")
    options = parser.parse_args()
    quiet_libraries()
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(options, clock, Path(folder))))


def run(options: argparse.Namespace, clock: Clock, folder: Path) -> dict[str, Any]:
    """Train for the steps asked for and return seconds a step, tokens a second and peak memory."""
    setup = set_up(config_of(options), RunFolder(folder), arch="bert", say=lambda text: None)
    if options.side == "plain":
        from bench.plain import plain_trainer

        assert setup.data.rows is not None
        rows = setup.data.rows
        ids = np.stack([rows[n].ids for n in range(len(rows)) if (rows[n].segments >= 0).all()])
        trainer: Any = plain_trainer(
            ids, tokenizer=setup.data.tokenizer, size=options.size, vocab_size=options.vocab_size,
            batch_size=options.batch_size, steps=options.steps, lr=5e-4, folder=folder, callbacks=[clock],
        )  # fmt: skip
        for noisy in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(noisy)
        del setup
    else:
        if options.vocab_size != 8192:
            widen(setup, options.vocab_size)
        trainer = make_trainer(replace(setup.training, steps=options.steps), callbacks=[clock])
    before = peak_memory("cpu")
    trainer.args.save_strategy = "no"
    trainer.train()
    return {
        "side": options.side,
        "utilisation": utilisation(options, trainer, clock.seconds()),
        "step_seconds": clock.seconds(),
        "tokens_per_second": options.batch_size * LENGTH / clock.seconds(),
        "peak_memory_mib": peak_memory("cpu") / 2**20,
        "memory_before_mib": before / 2**20,
    }


if __name__ == "__main__":
    main()

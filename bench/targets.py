"""The measurements: each runs both sides in processes of their own, in turns, and returns medians.

F1 speed of masked-language-model training, F2 its time to a loss, F3 its peak memory, F4 its share of the machine's
matrix speed, F5 fine-tuning to an accuracy, F6 batch prediction, F7 writing for many prompts, F8 for one, F9 `--help`,
F10 preparing text, F11 two processes against one, graph: text into a knowledge graph.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

Side = tuple[str, ...]
BASE = ("--size", "base", "--batch-size", "4", "--vocab-size", "30522", "--steps", "9")
MUON, ADAMW = ("--set", "optimizer=muon"), ("--set", "optimizer=adamw")


def run_side(*arguments: str) -> dict[str, Any]:
    """Run one side once and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.side", *arguments], check=True, capture_output=True, text=True
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def interleave(sides: Mapping[str, Side], *, rounds: int, key: str) -> dict[str, Any]:
    """Run every side in turn, `rounds` times over; return each round and the median of `key`."""
    seen: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, arguments in sides.items():
            seen[name].append(run_side(*arguments)[key])
    return {"rounds": seen, "median": {name: statistics.median(values) for name, values in seen.items()}}


def f1(rounds: int) -> dict[str, Any]:
    """Tokens a second, BERT mini and base; at base size the optimizer is the plain side's."""
    mini = interleave(
        {"plain": ("plain",), "hflm": ("hflm", *MUON), "hflm, adamw": ("hflm", *ADAMW)}, rounds=rounds,
        key="tokens_per_second",
    )  # fmt: skip
    base = interleave(
        {"plain": ("plain", *BASE), "hflm, adamw": ("hflm", *BASE, *ADAMW)}, rounds=rounds, key="tokens_per_second"
    )
    return {"mini": _over_plain(mini), "base": _over_plain(base)}


def f2(rounds: int) -> dict[str, Any]:
    """Loss of a plain Trainer after ten minutes, and of hflm after one; an hour in all, whatever the rounds."""
    from bench.sooner import measure

    return measure()


def f2_small(rounds: int) -> dict[str, Any]:
    """The same at size small: a plain Trainer's five minutes, and hflm after one; half an hour in all."""
    from bench.sooner import measure

    return measure(size="small", seconds=300, share=0.2)


def f3(rounds: int) -> dict[str, Any]:
    """Peak memory of the whole process in MiB, BERT mini with a vocabulary of 30,522."""
    size = ("--vocab-size", "30522", "--steps", "6")
    return _over_plain(
        interleave({"plain": ("plain", *size), "hflm": ("hflm", *size)}, rounds=rounds, key="peak_memory_mib")
    )


def f4(rounds: int) -> dict[str, Any]:
    """Model FLOPs utilisation of the measured matrix-product ceiling, at base size and hflm's own batch."""
    size = ("hflm", "--size", "base", "--batch-size", "16", "--vocab-size", "30522", "--steps", "7")
    return interleave({"adamw": (*size, *ADAMW)}, rounds=rounds, key="utilisation")


def muon(rounds: int) -> dict[str, Any]:
    """Tokens a second of F1's BERT base with Muon."""
    sides = {"plain": ("plain", *BASE), "hflm, adamw": ("hflm", *BASE, *ADAMW), "hflm": ("hflm", *BASE, *MUON)}
    return _over_plain(interleave(sides, rounds=rounds, key="tokens_per_second"))


def f5(rounds: int) -> dict[str, Any]:
    """Seconds of fine-tuning MiniLM on the mood of reviews, and the accuracy it comes to."""
    from bench.tuning import measure

    return measure(rounds)


def f10(rounds: int) -> dict[str, Any]:
    """Tokens a second and peak memory of preparing 10 MB of text, 200 MB and, where asked for, more."""
    from bench.preparing import measure

    return measure(rounds)


def _on_its_page(module: Any) -> dict[str, Any]:
    """Measure, and write the table where the docs have it."""
    found: dict[str, Any] = module.measure()
    module.write(found)
    return found


def levers(rounds: int) -> dict[str, Any]:
    """The loss of `hflm pretrain` in the same time, with one setting of its recipe changed at a time."""
    from bench import levers

    return _on_its_page(levers)


def beginnings(rounds: int) -> dict[str, Any]:
    """The loss of the recipe's steps with weights drawn otherwise, and with batches that grow."""
    from bench import beginnings

    return _on_its_page(beginnings)


def longer(rounds: int) -> dict[str, Any]:
    """The best of these beginnings in runs of more than three times as many steps."""
    from bench import beginnings

    found = beginnings.measure_longer()
    beginnings.write(found, beginnings.LONGER_BEGIN, beginnings.LONGER_END)
    return found


def downstream(rounds: int) -> dict[str, Any]:
    """Accuracy on a task of two encoders that were pretrained for the same time; half an hour."""
    from bench.downstream import measure

    return measure()


def parts(rounds: int) -> dict[str, Any]:
    """What a step of F4 spends its time on, operation by operation."""
    from bench import parts

    return _on_its_page(parts)


def shapes(rounds: int) -> dict[str, Any]:
    """Milliseconds of a step with the shapes of its products as they come, and as hflm makes them."""
    from bench.shapes import measure

    return measure(steps=8 * rounds)


def f9(rounds: int) -> dict[str, Any]:
    """Seconds of `hflm --help`, from the start of the process to its end."""
    times = []
    for _ in range(5 * rounds):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "hflm", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    return {"median": {"hflm --help": statistics.median(times)}}


def attention(rounds: int) -> dict[str, Any]:
    """Milliseconds of attention by kernel, precision and length."""
    from bench.attention import measure

    return {"rows": measure(2 * rounds + 1)}


def _over_plain(found: dict[str, Any]) -> dict[str, Any]:
    plain = found["median"]["plain"]
    return {**found, "over_plain": {name: value / plain for name, value in found["median"].items()}}


def f6(rounds: int) -> dict[str, Any]:
    """Rows a second of classifying 640 texts of mixed lengths, against transformers' pipeline."""
    from bench.prediction import measure

    return measure(rounds)


def f7(rounds: int) -> dict[str, Any]:
    """Tokens a second of SmolLM2-135M over 16 prompts."""
    from bench.decoding import measure_many

    return measure_many(rounds)


def f8(rounds: int) -> dict[str, Any]:
    """Tokens a second of SmolLM2-135M for one prompt, and the perplexity of eight bits."""
    from bench.decoding import measure_one

    found = measure_one(rounds)
    found.pop("texts")
    return found


def f11(rounds: int) -> dict[str, Any]:
    """Tokens a second of two processes with a thread each, against one with two; and what they spend on talking."""
    from bench.processes import measure

    return measure(rounds)


def graph(rounds: int) -> dict[str, Any]:
    """Passages a second and peak memory of `hflm graph build`, for 1,000 passages and for 10,000."""
    found = {}
    for count in (1_000, 10_000):
        sides = [
            json.loads(subprocess.run([sys.executable, "-m", "bench.graphs", str(count)], check=True,
                                      capture_output=True, text=True).stdout.splitlines()[-1])
            for _ in range(rounds if count == 1_000 else 1)
        ]  # fmt: skip
        found[f"{count:,}"] = {key: statistics.median(side[key] for side in sides) for key in sides[0]}
    return {"median": found}


TARGETS: dict[str, Callable[[int], dict[str, Any]]] = {
    "f1": f1, "f2": f2, "f3": f3, "f4": f4, "f5": f5, "f6": f6, "f7": f7, "f8": f8, "f9": f9, "f10": f10, "f11": f11,
}  # fmt: skip
# It takes most of an hour.
LONGEST = ("f2",)
# Times that each side runs, where nothing is said; a round of these takes many minutes.
ROUNDS, ONCE = 3, ("f5", "f7", "f10")
# What explains the targets, or has none: each is called by its name.
STUDIES: dict[str, Callable[[int], dict[str, Any]]] = {
    "graph": graph, "attention": attention, "levers": levers, "shapes": shapes, "beginnings": beginnings,
    "longer": longer, "parts": parts, "downstream": downstream, "muon": muon, "f2-small": f2_small,
}  # fmt: skip

"""F10: tokens a second and memory of preparing 10 MB, 200 MB and, where asked for, 2 GB of text for a pretraining.

The text is the novels of the package over and over: each paragraph with its words in another order, and one word in
fifty made of the halves of two, so that no paragraph stands twice and new words come up for ever, as they do in real
text. Each side is a process of its own with a cache of its own; a second process then finds in the cache what the first
one left there.

python -m bench.preparing side FILE [--cache FOLDER]      # one side; by itself it begins with an empty cache
"""

import argparse
import gzip
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.beside import run_beside
from hflm.config import resolve
from hflm.data.corpus import FOLDER
from hflm.models.architecture import DEFAULT_ARCH
from hflm.models.attention import BIDIRECTIONAL, CAUSAL
from hflm.pretraining.prepare import prepare
from hflm.recipe_files import load_task
from hflm.training.process import prepare_process

MB = 1_000_000
SIZES = (10, 200)
# Names a size in MB that is measured too, once: 2000 takes half an hour or more, and 5 GB of disk.
LARGEST = "HFLM_BENCH_LARGEST"
# Characters of a paragraph, for short ones have few orders of their words; and the share of words that are new.
SHORTEST, ODD = 100, 0.02


def paragraphs() -> Iterator[str]:
    """Yield paragraphs without end, the same ones in every run."""
    draw = np.random.default_rng(1)
    novels: list[list[str]] = []
    for path in sorted(FOLDER.glob("*.txt.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            novels.extend(line.split() for line in stream if len(line) >= SHORTEST)
    while True:
        for words in novels:
            mixed = [words[index] for index in draw.permutation(len(words)).tolist()]
            for index in np.flatnonzero(draw.random(len(words)) < ODD).tolist():
                first, second = mixed[index], mixed[index - 1]
                mixed[index] = first[: (len(first) + 1) // 2] + second[len(second) // 2 :]
            yield " ".join(mixed)


def write_text(path: Path, megabytes: int) -> None:
    """Write paragraphs with blank lines between them until the file has its size."""
    written = 0
    with path.open("w", encoding="utf-8") as file:
        for paragraph in paragraphs():
            if written >= megabytes * MB:
                return
            file.write(f"{paragraph}\n\n")
            written += len(paragraph.encode()) + 2


def peak_memory_mib() -> float:
    """Return the peak of this process; what getrusage says starts at the peak of the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def side(path: Path) -> dict[str, Any]:
    """Prepare a file as `hflm pretrain` does; return tokens a second, peak memory in MiB, and what was dropped."""
    config = resolve(recipe=load_task("pretraining").defaults, flags={"data": [str(path)]})
    arch = config.arch or DEFAULT_ARCH[config.objective]
    prepare_process(config)
    before = peak_memory_mib()
    began = time.perf_counter()
    found = prepare(
        config, arch=arch, max_length=config.max_length, pack=arch in BIDIRECTIONAL | CAUSAL, say=lambda text: None
    )
    seconds = time.perf_counter() - began
    tokens = found.report["tokens"] + found.report["eval_tokens"]
    return {
        "seconds": seconds, "tokens": tokens, "tokens_per_second": tokens / seconds,
        "peak_memory_mib": peak_memory_mib(), "memory_before_mib": before,
        "documents": found.report["cleaning"]["read"], "dropped": sum(found.report["cleaning"]["dropped"].values()),
        "vocabulary": len(found.tokenizer),
    }  # fmt: skip


def run_both(path: Path) -> dict[str, Any]:
    """Prepare a file in one process and again in a second; return what the first says, and time and peak of both."""
    with tempfile.TemporaryDirectory() as cache:
        words = ["bench.preparing", "side", str(path), "--cache", cache]
        first, again = (run_beside([words], at_once=1)[0] for _ in range(2))
    return {**first, "cached_seconds": again["seconds"], "cached_peak_memory_mib": again["peak_memory_mib"]}


def measure(rounds: int, *, largest: int | None = None) -> dict[str, Any]:
    """Measure every size in turn; `largest`, or the environment, names one more in MB, which is measured once."""
    largest = largest or int(os.environ.get(LARGEST, 0))
    sizes = sorted({*SIZES, *([largest] if largest else [])})
    seen: dict[str, list[dict[str, Any]]] = {f"{size:,} MB": [] for size in sizes}
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            write_text(Path(folder, f"{size}.txt"), size)
        for turn in range(rounds):
            for size in sizes:
                if size in SIZES or turn == 0:
                    seen[f"{size:,} MB"].append(run_both(Path(folder, f"{size}.txt")))
    median = {
        size: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for size, runs in seen.items()
    }
    least, most = f"{sizes[0]:,} MB", f"{sizes[-1]:,} MB"
    ratios = {key: median[most][key] / median[least][key] for key in ("tokens_per_second", "peak_memory_mib")}
    return {"rounds": seen, "median": median, "smallest": least, "largest": most, "over_smallest": ratios}


def main() -> None:
    """Run one side once, and print what it came to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=["side"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--cache", help="what stands for the cache of hflm; default: a folder that is removed again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HFLM_CACHE"] = options.cache or folder
        print(json.dumps(side(options.file)))


if __name__ == "__main__":
    main()

"""What needs GPUs: NCCL between ranks, FSDP2 on devices. `make gpu` runs it where two of them are there."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.faults.harness import stopped_after

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs"),
]


def ran(*words: object, code: int = 0) -> str:
    """Run the command in a process of its own: CUDA does not live through a fork."""
    done = subprocess.run([sys.executable, "-m", "hflm", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def train(text: Path, run: Path, *more: object, steps: int = 8) -> Path:
    """Train a small decoder, each rank on a GPU of its own."""
    ran(
        "pretrain", text, "--arch", "llama", "--objective", "clm", "--layers", 2, "--width", 128, "--heads", 4,
        "--vocab-size", 500, "--max-length", 64, "--batch-size", 8, "--max-steps", steps, "--logging-steps", 1,
        "--eval-steps", 4, "--save-steps", 2, "--save-total-limit", 99, "--precision", "fp32", "--lr", 1e-4,
        "--optimizer", "adamw", *more, "-o", run,
    )  # fmt: skip
    return run


def logged(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def agree(one: Path, two: Path) -> None:
    """Hold two runs against each other: first loss and norm, evaluations, weights."""
    first, second = logged(one), logged(two)
    assert [line["step"] for line in first] == [line["step"] for line in second]
    # Kernels of other shapes sum in other orders: a digit less than on CPUs.
    assert second[0]["loss"] == pytest.approx(first[0]["loss"], rel=1e-5)
    assert second[0]["grad_norm"] == pytest.approx(first[0]["grad_norm"], rel=1e-3)
    weights, others = (load_file(run / "model" / "model.safetensors") for run in (one, two))
    assert weights.keys() == others.keys()
    assert max((weights[name] - others[name]).abs().max().item() for name in weights) < 1e-4


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_gpus_agree_with_one(text_file: Path, tmp_path: Path, strategy: str) -> None:
    one = train(text_file, tmp_path / "one")
    agree(one, train(text_file, tmp_path / "two", "--processes", 2, "--strategy", strategy))


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_stopped_and_resumed(text_file: Path, tmp_path: Path, strategy: str, precision: str) -> None:
    more = ("--processes", 2, "--strategy", strategy, "--precision", precision)
    straight = train(text_file, tmp_path / "straight", *more)
    run = stopped_after(straight, tmp_path / "run", 4)
    ran("resume", run)
    # Not bit by bit: kernels of attention may sum in any order.
    agree(straight, run)


def test_auto_takes_every_gpu_and_no_more(text_file: Path, tmp_path: Path) -> None:
    assert "error: --processes is 99" in ran("pretrain", text_file, "--processes", 99, "-o", tmp_path / "no", code=2)
    run = train(text_file, tmp_path / "auto", "--processes", "auto", "--batch-size", 8 * torch.cuda.device_count())
    assert f"processes: '{torch.cuda.device_count()}'" in (run / "config.yaml").read_text()


def test_a_rank_that_dies_ends_the_other(text_file: Path, tmp_path: Path) -> None:
    """NCCL waits for ever for a rank that is gone; the launcher does not."""
    words: list[object] = ["pretrain", text_file, "--max-steps", 100_000, "--logging-steps", 1, "--processes", 2]
    words += ["--strategy", "fsdp2", "-o", tmp_path / "run"]
    launcher = subprocess.Popen([sys.executable, "-m", "hflm", *map(str, words)], stderr=subprocess.PIPE, text=True)
    log, until = tmp_path / "run" / "log.jsonl", time.monotonic() + 300
    while not log.exists() and time.monotonic() < until:
        time.sleep(0.2)
    found = subprocess.run(["pgrep", "-P", str(launcher.pid), "-f", "hflm.rank"], capture_output=True, text=True)
    os.kill(int(found.stdout.split()[-1]), signal.SIGKILL)
    begin = time.monotonic()
    _, said = launcher.communicate(timeout=60)
    assert launcher.returncode == 1 and "was ended by SIGKILL" in said and time.monotonic() - begin < 15

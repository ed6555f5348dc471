"""`hflm launch`: a user's own script is as many ranks as were asked for, and all end where one has failed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hflm.launching.accelerate_file import read_accelerate
from tests.faults.harness import gone

SCRIPT = """
import os, sys, time
print(f"pid {os.getpid()}", flush=True)
from accelerate import Accelerator
accelerator = Accelerator()
which, count = accelerator.process_index, accelerator.num_processes
print(f"rank {which} of {count} {accelerator.mixed_precision} {sys.argv[1:]}\\n", end="", flush=True)
accelerator.wait_for_everyone()
if accelerator.process_index == 1 and "raise" in sys.argv:
    raise ValueError("odd")
if accelerator.process_index == 1 and "kill" in sys.argv:
    os.kill(os.getpid(), 9)
if len(sys.argv) > 1 and sys.argv[1] in ("raise", "kill"):
    time.sleep(600)
sys.exit(0)
"""
ALONE = "from accelerate import PartialState\nprint(PartialState().num_processes)\n"
CONFIG = """
compute_environment: LOCAL_MACHINE
distributed_type: MULTI_CPU
mixed_precision: bf16
num_machines: 1
num_processes: 2
use_cpu: true
"""


def launched(folder: Path, *words: str, script: str = SCRIPT) -> subprocess.CompletedProcess[str]:
    """Run `hflm launch` in a home with a hidden configuration of Accelerate that would change what is started."""
    (folder / "mine.py").write_text(script)
    hidden = folder / "home" / ".cache" / "huggingface" / "accelerate" / "default_config.yaml"
    hidden.parent.mkdir(parents=True, exist_ok=True)
    if not hidden.exists():
        hidden.write_text(CONFIG.replace("bf16", "fp16").replace("num_processes: 2", "num_processes: 7"))
    before = hidden.read_bytes()
    (folder / "tmp").mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name not in ("HF_HOME", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-m", "hflm", "launch", *words], cwd=folder,
        env={**kept, "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert hidden.read_bytes() == before and sorted(hidden.parent.iterdir()) == [hidden]
    return done


@pytest.mark.promise("P1")
def test_as_many_as_were_asked_for(tmp_path: Path) -> None:
    done = launched(tmp_path, "-n", "2", "--", "mine.py", "--lr", "3", "--", "-x")
    assert done.returncode == 0, done.stderr
    ranks = sorted(line for line in done.stdout.splitlines() if line.startswith("rank"))
    assert ranks == [f"rank {rank} of 2 no ['--lr', '3', '--', '-x']" for rank in (0, 1)]
    assert done.stderr.strip() == "processes: 2, 1 thread each" or "threads each" in done.stderr


def test_a_file_of_accelerate_is_read(tmp_path: Path) -> None:
    (tmp_path / "cpu.yaml").write_text(CONFIG)
    count, environment = read_accelerate(tmp_path / "cpu.yaml")
    assert count == 2 and environment["ACCELERATE_MIXED_PRECISION"] == "bf16"
    assert environment["ACCELERATE_USE_CPU"].lower() == "true" and "WORLD_SIZE" not in environment


@pytest.mark.promise("P1")
@pytest.mark.slow
def test_a_file_of_accelerate_says_how_many_and_how(tmp_path: Path) -> None:
    (tmp_path / "cpu.yaml").write_text(CONFIG)
    done = launched(tmp_path, "--accelerate-config", "cpu.yaml", "--", "mine.py")
    assert done.returncode == 0 and "rank 1 of 2 bf16 []" in done.stdout, done.stderr


@pytest.mark.promise("P2")
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raise", r"error: Rank 1 failed: ValueError: odd\. Its traceback is in (\S+)\."),
        pytest.param("kill", r"error: Rank 1 was ended by SIGKILL\. .*See (\S+)\.", marks=pytest.mark.slow),
    ],
)
def test_one_fails_and_all_end(tmp_path: Path, how: str, said: str) -> None:
    done = launched(tmp_path, "-n", "2", "--", "mine.py", how)
    assert done.returncode == 1
    found = re.search(said, done.stderr)
    assert found and done.stderr.count("error:") == 1 and "Traceback" not in done.stderr, done.stderr
    assert how != "raise" or "mine.py" in Path(found[1]).read_text()
    pids = [int(pid) for pid in re.findall(r"pid (\d+)", done.stdout)]
    assert len(pids) == 2 and all(gone(pid) for pid in pids)


@pytest.mark.promise("P1")
@pytest.mark.slow
def test_ranks_that_know_nothing_of_each_other_are_no_success(tmp_path: Path) -> None:
    done = launched(tmp_path, "-n", "2", "--", "mine.py", script=ALONE)
    assert done.returncode == 2 and "knew nothing of each other" in done.stderr
    assert not list((tmp_path / "tmp").glob("hflm-*")), "logs that no message names"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-n", "2", "--", "none.py"], "error: The script none.py is not there."),
        (["-n", "x", "--", "mine.py"], "error: --processes is 'x'."),
        (["--accelerate-config", "none.yaml", "--", "mine.py"], "error: none.yaml is not there."),
        (["--accelerate-config", "mine.py", "--", "mine.py"], "error: Accelerate cannot use mine.py"),
    ],
)
def test_what_is_refused(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hflm.cli.app import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("'a script'\n")
    assert main(["launch", *words]) == 2
    assert said in capsys.readouterr().err

"""The batch file for SLURM: its syntax, what it starts, and that it goes on; with stand-ins for SLURM's commands."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hflm.cli.app import main
from hflm.launching.slurm import Batch, batch_text

# Stand-ins: a node for each task, one after the other, with signals passed on as srun does.
SRUN = """#!/bin/bash
trap 'touch told; kill -USR1 $task' USR1
for node in $(seq 0 $((SLURM_JOB_NUM_NODES - 1))); do
    SLURM_NODEID=$node "$@" & task=$!
    wait $task; code=$?
    while kill -0 $task 2>/dev/null; do wait $task; code=$?; done
done
exit $code
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then printf 'first\\nsecond\\n'; else echo "$@" >> requeued; fi
"""
# hflm itself: says what it was started with; in a run folder without `hold`, waits to be told and then ends with 75.
PYTHON = """#!/bin/bash
printf '%s|' "$@" >> started; echo >> started
if [ -f hold ]; then trap 'exit 75' USR1; touch waiting; while true; do sleep 0.05; done; fi
"""


def batch(folder: Path, text: str, *, nodes: int) -> subprocess.Popen[bytes]:
    """Start a batch file as SLURM would on its first node."""
    for name, content in (("srun", SRUN), ("scontrol", SCONTROL), ("python", PYTHON)):
        (folder / name).write_text(content)
        (folder / name).chmod(0o755)
    (folder / "job.sh").write_text(text)
    assert subprocess.run(["bash", "-n", "job.sh"], cwd=folder, capture_output=True, check=True).stderr == b""
    told = {"SLURM_JOB_NUM_NODES": str(nodes), "SLURM_JOB_ID": "40007", "SLURM_JOB_NODELIST": "n[1-2]"}
    return subprocess.Popen(
        ["bash", "job.sh"], cwd=folder, env={**os.environ, **told, "PATH": f"{folder}:/usr/bin:/bin"}
    )


def test_each_node_has_a_launcher_and_they_meet_at_the_first(tmp_path: Path) -> None:
    text = batch_text(["pretrain", "--data", "a book's.txt"], Path("my run"), Batch(nodes=2), python="./python")
    assert batch(tmp_path, text, nodes=2).wait(20) == 0
    meet = "--machines|2|--machine-rank|{}|--rendezvous|first:20007|"
    assert (tmp_path / "started").read_text().splitlines() == [
        f"-P|-m|hflm|pretrain|--data|a book's.txt|{meet.format(node)}" for node in (0, 1)
    ]
    assert not (tmp_path / "requeued").exists()


def test_it_saves_and_is_put_back_and_then_goes_on(tmp_path: Path) -> None:
    text = batch_text(["pretrain", "--seed", "3"], Path("my run"), Batch(), python="./python")
    (tmp_path / "hold").touch()
    job = batch(tmp_path, text, nodes=1)
    until = time.monotonic() + 20
    while not (tmp_path / "waiting").exists() and time.monotonic() < until:
        time.sleep(0.01)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(20) == 75 and (tmp_path / "told").exists()
    assert (tmp_path / "requeued").read_text() == "requeue 40007\n"
    (tmp_path / "hold").unlink()
    (tmp_path / "my run").mkdir()
    # Killed before it had written more; and before its settings, where an older run was emptied.
    (tmp_path / "my run" / "config.yaml").touch()
    assert batch(tmp_path, text, nodes=1).wait(20) == 0
    assert (tmp_path / "started").read_text().splitlines()[1:] == ["-P|-m|hflm|pretrain|--seed|3|--overwrite|"]
    (tmp_path / "my run" / "plan.json").touch()
    assert batch(tmp_path, text, nodes=1).wait(20) == 0
    assert (tmp_path / "started").read_text().splitlines() == [
        "-P|-m|hflm|pretrain|--seed|3|", "-P|-m|hflm|pretrain|--seed|3|--overwrite|",
        "-P|-m|hflm|pretrain|--seed|3|--resume|",
    ]  # fmt: skip


def test_the_file_holds_what_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    words = ["pretrain", "book.txt", "-o", str(run), "--streaming", "--seed", "3", "--slurm", "--dry-run",
             "--nodes", "2", "--partition", "gpu", "--time", "12:00:00", "--sbatch", "gpus-per-node=8"]  # fmt: skip
    assert main(words) == 0 and not run.exists()
    text = capsys.readouterr().out
    for line in ("nodes=2", "partition=gpu", "time=12:00:00", "gpus-per-node=8", "signal=B:USR1@120", "requeue"):
        assert f"#SBATCH --{line}\n" in text
    again, anew, first = (line for line in text.splitlines() if "-m hflm pretrain" in line)
    # It compares its settings with those of the run that it finds.
    assert again == anew.replace("--overwrite)", "--resume)")
    assert anew.endswith(f" --output-dir {run} --overwrite)") and first.endswith(f" --output-dir {run})")
    assert all(words in first for words in (" --streaming ", " --seed 3 ", " --data book.txt "))
    assert subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False).returncode == 0


def test_json_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handed: list[str] = []
    monkeypatch.setattr("hflm.cli.slurm.submit", lambda text: handed.append(text) or "Submitted batch job 40007")
    run = tmp_path / "run"
    words = ["pretrain", "book.txt", "-o", str(run), "--slurm", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out) == {"run": str(run), "job": "40007", "log": f"{run}-40007.log"}
    assert main([*words, "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run": str(run), "file": handed[0]}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--slurm"], "There is no sbatch on this machine."), (["--dry-run"], "--dry-run is an option of --slurm."),
        (["--nodes", "2"], "--nodes is an option of --slurm."),
        (["--slurm", "--machines", "2", "--rendezvous", "h:1"], "With --slurm the nodes are the machines."),
        (["--slurm", "--overwrite"], "A batch job goes on by itself"),
        (["--slurm", "--nodes", "2", "--max-restarts", "3"], "--max-restarts is for one machine."),
    ],
)  # fmt: skip
def test_what_is_refused(
    more: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert main(["pretrain", "book.txt", "-o", str(tmp_path / "run"), *more]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_with_another_run_is_not_gone_on_with(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The batch file goes on where a run has begun: the one that was asked for, and no other."""
    out = Path(shutil.copytree(finished, tmp_path / "out"))
    words = ["pretrain", "-o", str(out), "--slurm", "--dry-run", "--seed", "7"]
    assert main(words) == 2 and "holds a run that is done" in capsys.readouterr().err
    (out / "metrics.json").unlink()
    assert main(words) == 2 and "--seed of" in capsys.readouterr().err
    assert main(words[:-2]) == 0
    capsys.readouterr()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text("seed: 1\n")
    taken = ["pretrain", "-o", str(tmp_path / "mine"), "--slurm", "--dry-run"]
    assert main(taken) == 2 and "holds files that no run wrote" in capsys.readouterr().err
    assert main(["finetune", "--task", "sentiment", "-o", str(out), "--slurm", "--dry-run"]) == 2
    assert "is a run of `hflm pretrain`" in capsys.readouterr().err
    for name in ("environment.json", "plan.json"):
        (out / name).unlink()
    assert main([*words[:1], "-o", str(out), "--slurm", "--dry-run"]) == 2
    assert "is not empty" in capsys.readouterr().err

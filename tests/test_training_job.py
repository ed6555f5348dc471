"""What stands around the work of every job that trains: nothing of an old run goes before it has been read."""

import json
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hflm import lock
from hflm.cli.app import main
from hflm.errors import Interrupted
from hflm.reproduce import reproduce
from hflm.run import RunFolder, read_json
from hflm.sealed import write_plan
from hflm.signals import caught
from tests.tiny import moods, write


def test_a_recipe_of_the_run_that_is_replaced(tiny: Callable[[str], str], tmp_path: Path) -> None:
    rows, out = str(write(tmp_path / "rows.jsonl", moods())), tmp_path / "out"
    usual = ["--model", tiny("bert"), "--data", rows, "--max-steps", "1", "--batch-size", "4", "--precision", "fp32"]
    assert main(["finetune", "--task", "sentiment", *usual, "-o", str(out), "--json"]) == 0
    recipe = (out / "recipe.py").read_bytes()
    assert main(["finetune", "--task", str(out / "recipe.py"), *usual, "-o", str(out), "--overwrite", "--json"]) == 0
    assert (out / "recipe.py").read_bytes() == recipe and read_json(out / "metrics.json")["steps"] == 1


def test_signals_are_caught_on_the_main_thread_alone() -> None:
    found: list[bool] = []

    def look() -> None:
        with caught(lambda number, frame: None) as listens:
            found.append(listens)

    look()
    other = threading.Thread(target=look)
    other.start()
    other.join()
    assert found == [True, False]


def test_what_a_run_reads_is_not_emptied_by_it(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that goes on needs the weights that it began with."""
    out = Path(shutil.copytree(finished, tmp_path / "out"))
    text = out / "book.txt"
    text.write_text("A line of text.\n" * 200)
    for words in (["--model", str(out)], ["--model", str(out / "model")], ["--data", str(text)]):
        assert main(["pretrain", *words, "-o", str(tmp_path / "." / "out"), "--overwrite", "--max-steps", "1"]) == 2
        assert "which --overwrite empties" in capsys.readouterr().err
    assert (out / "model" / "model.safetensors").exists() and text.exists()


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_a_saving_is_tried_where_it_will_be(finished: Path, tmp_path: Path) -> None:
    from hflm.training.steps import _disk_of

    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert _disk_of(RunFolder(closed / "run")) == Path(tempfile.gettempdir())


def test_the_disk_of_a_run_is_its_own(tmp_path: Path) -> None:
    from hflm.training.steps import _disk_of

    assert _disk_of(RunFolder(tmp_path)) == tmp_path
    assert _disk_of(RunFolder(tmp_path / "runs" / "one")) == tmp_path


def test_a_run_is_not_done_again_in_its_own_folder(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    assert main(["reproduce", str(run), "-o", str(tmp_path / "." / "run"), "--overwrite"]) == 2
    assert "in its own folder" in capsys.readouterr().err and (run / "metrics.json").exists()


@pytest.mark.parametrize("job", ["pretrain", "finetune"])
def test_a_reproduction_that_was_stopped_goes_on_and_compares(
    job: str, finished: Path, run_finetune: Callable[..., Path], tiny: Callable[[str], str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("hflm.pretraining.measure.matmul_ceiling", lambda device: 1e11)
    rows, again, other = str(write(tmp_path / "rows.jsonl", moods(60))), tmp_path / "again", tmp_path / "other"
    whole = finished if job == "pretrain" else run_finetune("sentiment", model=tiny("bert"), data=[rows])
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    # As an earlier hflm kept it: its plan had no turns, and fewer inputs.
    plan = read_json(run / "plan.json")
    inputs = dict(list(plan["inputs"].items())[:-1])
    write_plan(RunFolder(run), {name: value for name, value in {**plan, "inputs": inputs}.items() if name != "turns"})

    def stop(kind: str, content: Mapping[str, Any]) -> None:
        if kind == "step" and content["step"] == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=f"`hflm reproduce {run} -o {again}`, which compares in the end"):
        reproduce(run, again, overwrite=False, watch=stop)
    assert not (again / "metrics.json").exists()
    command = ["reproduce", str(run), "-o"]
    # What belongs to another run is neither gone on with nor compared.
    shutil.copytree(again, other)
    settings = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(re.sub(r"(?m)^seed: .*", "seed: 987", settings))
    assert main([*command, str(other)]) == 2
    assert f"{other} holds a run that does not do {run} again" in capsys.readouterr().err
    assert main([*command, str(again)]) == 0
    said = capsys.readouterr().out
    assert "figures agree" in said and "was done before" not in said and read_json(again / "metrics.json")["first_step"]
    # What agrees then says nothing of the versions of now.
    assert main([*command, str(again)]) == 0
    said = "".join(capsys.readouterr())
    assert f"{again} is done; nothing is left to train." in said and f"{again} was done before: nothing was" in said
    assert main([*command, str(again), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done_before"] is True


@pytest.mark.parametrize("stopped", [False, True])
def test_a_copy_of_a_run_is_no_reproduction(
    stopped: bool, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = RunFolder(Path(shutil.copytree(finished, tmp_path / "copy")))
    if stopped:
        copy.metrics.unlink()
    assert main(["reproduce", str(finished), "-o", str(copy.path)]) == 2
    assert f"{copy.path} is a copy of {finished}: nothing of it was done again" in capsys.readouterr().err


@pytest.mark.promise("R1")
def test_a_reproduction_that_was_ended_while_its_folder_was_made_begins_again(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hflm.pretraining.measure.matmul_ceiling", lambda device: 1e11)
    again = RunFolder(tmp_path / "again")
    again.path.mkdir()
    shutil.copy(finished / "config.yaml", again.config)
    mine = again.path / "notes.txt"
    mine.write_text("mine")
    assert main(["reproduce", str(finished), "-o", str(again.path)]) == 2
    assert "holds a run that does not do" in capsys.readouterr().err and mine.read_text() == "mine"
    mine.unlink()
    assert main(["reproduce", str(finished), "-o", str(again.path)]) == 0
    said = capsys.readouterr().out
    assert f"{again.path} was ended before it began to train: it begins again" in said and "figures agree" in said


@pytest.mark.promise("R1")
@pytest.mark.parametrize("words", [["resume"], ["JOB", "--resume", "-o"]])
@pytest.mark.parametrize("job", ["pretrain", "finetune"])
def test_a_run_that_was_ended_while_its_folder_was_made_begins_again(
    job: str, words: list[str], finished: Path, run_finetune: Callable[..., Path], tiny: Callable[[str], str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Its settings are there, and no plan; of a fine-tuning the recipe may be cut."""
    monkeypatch.setattr("hflm.pretraining.measure.matmul_ceiling", lambda device: 1e11)
    rows = str(write(tmp_path / "rows.jsonl", moods()))
    whole = finished if job == "pretrain" else run_finetune("sentiment", model=tiny("bert"), data=[rows])
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    shutil.copy(whole / "config.yaml", run.config)
    if job == "finetune":
        run.recipe.write_text("task = Task(")
    assert main([*(job if word == "JOB" else word for word in words), str(run.path)]) == 0
    assert f"{run.path} was ended before it began to train: it begins again" in capsys.readouterr().out
    name = "model/model.safetensors"
    assert (run.path / name).read_bytes() == (whole / name).read_bytes()


def test_a_run_that_lost_its_plan_is_not_emptied(finished: Path, tmp_path: Path) -> None:
    run = RunFolder(Path(shutil.copytree(finished, tmp_path / "run")))
    run.plan.unlink()
    shutil.rmtree(run.checkpoints)
    for name in (run.metrics, run.log):
        name.unlink()
    assert main(["resume", str(run.path)]) == 3 and (run.model / "model.safetensors").exists()


@pytest.mark.parametrize("words", ["resume RUN", "pretrain --config RUN/config.yaml --resume -o RUN"])
@pytest.mark.parametrize("mine", ["notes.txt", ".git"])
def test_a_folder_with_files_of_the_user_is_not_begun_again(
    mine: str, words: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A project into which the settings of a run were copied."""
    run = RunFolder(tmp_path / "project")
    run.path.mkdir()
    shutil.copy(finished / "config.yaml", run.config)
    (run.path / mine).write_text("mine")
    assert main([word.replace("RUN", str(run.path)) for word in words.split()]) == 3
    assert "never began to train. Start it in another folder" in capsys.readouterr().err
    assert sorted(path.name for path in run.path.iterdir()) == sorted([mine, "config.yaml"])


@pytest.mark.promise("R2")
def test_results_stay_where_their_end_cannot_be_done_again(
    run_pretrain: Callable[..., Path], text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("hflm.pretraining.measure.matmul_ceiling", lambda device: 1e11)
    text, moved = Path(shutil.copy(text_file, tmp_path / "text.txt")), tmp_path / "moved.txt"
    run = RunFolder(run_pretrain(data=[str(text)], max_steps=4))
    before, aside = run.metrics.read_bytes(), run.path / "metrics.json.damaged"
    (run.model / "config.json").write_text("{}")
    text.rename(moved)
    assert main(["resume", str(run.path)]) == 2
    assert f"No such file: {text}" in capsys.readouterr().err
    assert run.metrics.read_bytes() == before and not aside.exists()
    moved.rename(text)
    assert main(["resume", str(run.path)]) == 0
    assert "its end is done again" in capsys.readouterr().out and aside.read_bytes() == before
    assert len((run.model / "config.json").read_bytes()) > 2 and read_json(run.metrics)["steps"] == 4


@pytest.mark.promise("R1")
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_run_that_another_process_has_begun_meanwhile_is_not_begun_again(
    processes: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    settings = (finished / "config.yaml").read_text()
    run.config.write_text(re.sub(r"(?m)^processes: .*", f"processes: '{processes}'", settings))
    take = lock._take

    def wait(folder: Path) -> int | None:
        run.log.write_text("")
        return take(folder)

    monkeypatch.setattr(lock, "_take", wait)
    assert main(["resume", str(run.path)]) == 2
    assert "Another process has begun" in capsys.readouterr().err and run.log.exists()

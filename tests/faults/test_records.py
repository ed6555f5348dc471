"""The files of a run beside its checkpoints, damaged: what a run hangs on is refused by name, the rest is made anew."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hflm.environment import environment
from hflm.run import RunFolder, write_json
from hflm.sealed import damage, open_plan, write_plan
from hflm.training.recorded import mend
from tests.faults.harness import Zygote, same_run, stopped_after
from tests.faults.test_damage import DAMAGES


def another(path: Path) -> None:
    """Put a folder where the file was."""
    path.unlink()
    path.mkdir()


def no_object(path: Path) -> None:
    path.write_text("[1, 2]\n", encoding="utf-8")


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


WAYS: dict[str, Callable[[Path], None]] = {**DAMAGES, "folder": another, "list": no_object, "loop": link}
NEEDED = ("config.yaml", "plan.json", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json")
SPARE = ("log.jsonl", "environment.json")
# What stands behind the last line of a log is what a kill leaves; a bit may make a letter of a name another one.
UNSEEN = (("log.jsonl", "grow"), ("log.jsonl", "flip"), ("environment.json", "flip"))


def cases(names: tuple[str, ...]) -> list[object]:
    """Some in every run of the tests, all of them in `make faults`."""
    return [
        pytest.param(name, way, marks=() if (place + turn) % 7 == 0 else pytest.mark.slow)
        for place, name in enumerate(names)
        for turn, way in enumerate(WAYS)
    ]


@pytest.mark.promise("R2")
@pytest.mark.parametrize(("name", "way"), cases(SPARE))
def test_what_no_step_hangs_on_stops_no_run(
    zygote: Zygote, straight: Path, tmp_path: Path, name: str, way: str
) -> None:
    run = stopped_after(straight, tmp_path / "run", 35)
    WAYS[way](run / name)
    victim = zygote.run("resume", run)
    assert victim.code == 0, victim.said()
    assert same_run(run, straight) and json.loads((run / "environment.json").read_text())["packages"]
    if (name, way) not in UNSEEN:
        assert f"{run / name} " in victim.said(), "a line says so"


@pytest.mark.promise("R2")
@pytest.mark.parametrize(("name", "way"), cases(NEEDED))
def test_what_a_run_goes_on_from_is_refused_by_name(
    zygote: Zygote, straight: Path, tmp_path: Path, name: str, way: str
) -> None:
    run = stopped_after(straight, tmp_path / "run", 35)
    before = (run / name).read_bytes()
    WAYS[way](run / name)
    victim = zygote.run("resume", run)
    last = victim.said().strip().splitlines()[-1]
    assert victim.code == 2 and last.startswith("error: ") and str(run) in last, victim.said()
    assert "Traceback" not in victim.said() and not (run / "model").exists()
    # Nothing was spoilt by it: what was there before goes on as if nothing had been.
    there = run / name
    shutil.rmtree(there) if there.is_dir() and not there.is_symlink() else there.unlink(missing_ok=True)
    there.write_bytes(before)
    assert zygote.run("resume", run).code == 0 and same_run(run, straight)


@pytest.mark.promise("R4")
@pytest.mark.parametrize(("field", "value"), [("steps", 50), ("micro_batch", 2), ("data", "0" * 24), ("seal", "0")])
def test_a_plan_that_was_edited_is_refused(
    zygote: Zygote, straight: Path, tmp_path: Path, field: str, value: object
) -> None:
    run = stopped_after(straight, tmp_path / "run", 35)
    plan = json.loads((run / "plan.json").read_text())
    (run / "plan.json").write_text(json.dumps({**plan, field: value}))
    victim = zygote.run("resume", run)
    assert victim.code == 2 and f"error: {run / 'plan.json'} is damaged or was changed" in victim.said()


@pytest.mark.promise("R4")
def test_settings_that_were_edited_are_not_done_again(zygote: Zygote, straight: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(straight, run)
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("seed: 1", "seed: 3"))
    victim = zygote.run("reproduce", run, "-o", tmp_path / "again")
    assert victim.code == 2 and "--seed of" in victim.said() and not (tmp_path / "again").exists()


@pytest.mark.promise("R2")
@pytest.mark.parametrize(
    "lost",
    [
        "metrics.json cut", "metrics.json no object", "model gone", "picture a folder", "model/model.safetensors cut",
        "model/model.safetensors empty", "model/tokenizer.json delete",
    ],
)  # fmt: skip
def test_the_end_of_a_run_is_done_again_where_it_is_lost(
    zygote: Zygote, straight: Path, tmp_path: Path, lost: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(straight, run)
    if lost == "model gone":
        shutil.rmtree(run / "model")
    elif lost == "picture a folder":
        shutil.rmtree(run / "model")
        another(run / "loss.png")
    elif lost.startswith("model/"):
        name, way = lost.split()
        DAMAGES[way](run / name)
    else:
        (run / "metrics.json").write_text("{" if "cut" in lost else "[]")
    victim = zygote.run("resume", run)
    assert victim.code == 0 and "its end is done again" in victim.said(), victim.said()
    assert str(run / lost.split()[0]) in victim.said() or not lost.startswith("model/"), "a line says why"
    assert damage(RunFolder(run)) is None
    assert same_run(run, straight) and json.loads((run / "metrics.json").read_text())["steps"] == 40
    assert (run / "loss.png").is_file()


@pytest.mark.promise("R2")
@pytest.mark.parametrize("way", ["cut", "flip", "delete"])
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer_config.json", "tokenizer.json"])
def test_a_model_that_is_not_as_its_run_wrote_it_is_not_used(
    straight: Path, tmp_path: Path, name: str, way: str
) -> None:
    from hflm.errors import HflmError
    from hflm.models.resolve import resolve_model
    from hflm.resume import resume

    run = tmp_path / "run"
    shutil.copytree(straight, run)
    assert resolve_model(str(run)) == str(run / "model")
    # A card is for people, who may add to it.
    (run / "model" / "README.md").write_text("mine")
    assert resolve_model(str(run)) == str(run / "model")
    DAMAGES[way](run / "model" / name)
    with pytest.raises(HflmError) as raised:
        resolve_model(str(run))
    assert str(run) in str(raised.value) and f"`hflm resume {run}`" in str(raised.value)
    assert resolve_model(str(run / "model")) == str(run / "model")
    # Without a checkpoint that would bring nothing back, and it says so.
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(HflmError) as raised:
        resolve_model(str(run))
    assert "hflm resume" not in str(raised.value)
    with pytest.raises(HflmError, match="it is not as the run wrote it"):
        resume(run, watch=lambda kind, content: None)
    assert (run / "metrics.json").exists()


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.recipe.write_text("task = None\n")
    plan = {"steps": 3, "data": "x", "step_seconds": 0.1 + 0.2, "text": "书 \ud800".encode(errors="replace").decode()}
    write_plan(run, plan)
    read = open_plan(run)
    assert {name: read[name] for name in plan} == plan and list(read["records"]) == ["recipe.py"]
    # What is written again is sealed again.
    write_plan(run, {**read, "steps": 4})
    assert open_plan(run)["steps"] == 4
    # A run of an earlier version had no seal.
    run.plan.write_text(json.dumps(plan))
    assert open_plan(run) == plan


@pytest.mark.promise("R2")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"step": 10}\n{"step": 20}\n', False), ('{"step": 10}\n{"step": 20}\n{"st', False),
        ('{"step": 10}\n', True), ('{"step": 1>}\n{"step": 20}\n', True), ("[1, 2]\n", True), ("", True), (None, True),
    ],
)  # fmt: skip
def test_lines_of_the_log_that_are_lost_are_told(content: str | None, said: bool, tmp_path: Path) -> None:
    """A checkpoint of step 25, with a line each ten steps before it."""
    run = RunFolder(tmp_path)
    write_json(run.environment, environment())
    (run.checkpoints / "checkpoint-25").mkdir(parents=True)
    (run.checkpoints / "checkpoint-25" / "manifest.json").write_text("{}")
    if content is not None:
        run.log.write_text(content)
    lines: list[str] = []
    mend(run, {"settings": {"logging_steps": 10}}, say=lines.append)
    assert lines == ([f"{run.log} is lost or damaged in part: the curve of the loss has a gap"] if said else [])

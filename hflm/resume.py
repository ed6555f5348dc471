"""Going on with a run: its job and its settings are in its folder.

hflm resume out
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hflm.config import PretrainConfig
from hflm.data.hub import COMMIT
from hflm.distill_config import DistillConfig
from hflm.errors import UsageError
from hflm.finetune_config import PATIENCE, FinetuneConfig
from hflm.recipe_files import load_task
from hflm.run import MARKER, RunFolder
from hflm.settings import build, overlay, read_yaml
from hflm.task import Task
from hflm.training.recorded import CHANGED, Change, check_records, read_plan, shown
from hflm.training_settings import FREE, PUTS_OUT, TrainingSettings

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch

Config = TypeVar("Config", bound=TrainingSettings)


def resume(
    folder: Path, *, watch: "Watch", allow_change: bool = False, machines: Mapping[str, Any] | None = None
) -> dict[str, Any]:  # fmt: skip
    """Go on from the newest whole checkpoint of a run and return its metrics; a run that is done stays as it is.

    `machines` are the settings that say which machines go on together, where that are several.

    Raises UsageError for what has changed since the run began, unless `allow_change`.
    """
    run = RunFolder.open(folder)
    config = settings_of(kind_of(run), run, machines)
    if not run.never_began():
        read_plan(run)
        if not allow_change:
            check_records(run)
    return start(config, run, folder, resume=True, watch=watch, allow_change=allow_change)


def start(config: TrainingSettings, recorded: RunFolder, folder: Path, **how: Any) -> dict[str, Any]:
    """Start the job of `config` in `folder`; the task of a fine-tuning is the one that `recorded` keeps."""
    how = {"overwrite": False, **how}
    if isinstance(config, DistillConfig):
        from hflm.distill import distill

        return distill(config, task_of(config, recorded), folder, **how)
    if isinstance(config, FinetuneConfig):
        from hflm.finetune import finetune

        return finetune(config, task_of(config, recorded), folder, **how)
    assert isinstance(config, PretrainConfig)
    from hflm.pretrain import pretrain

    return pretrain(config, folder, **how)


def task_of(config: FinetuneConfig, recorded: RunFolder) -> Task:
    """Load a task as it was when the run began: a recipe may have been edited since.

    One that was ended while its folder was made may have none, or a part of it.
    """
    return load_task(config.task if recorded.never_began() else str(recorded.recipe))


def kind_of(run: RunFolder) -> type[TrainingSettings]:
    """Tell the job of a run by its settings."""
    saved = read_yaml(run.config)
    if "teacher" in saved:
        return DistillConfig
    return FinetuneConfig if "task" in saved else PretrainConfig


def _worked_out(
    resolved: TrainingSettings, asked: TrainingSettings, given: Mapping[str, Any], *, allow_change: bool
) -> dict[str, Any]:
    """Return the settings given that stay what the run has made of them.

    Where a change is allowed, a branch or a tag that is named may be another one than at first.
    """
    found = {}
    for name in given:
        old, new = getattr(resolved, name), getattr(asked, name)
        named = allow_change and isinstance(new, tuple) and any("@" in str(one) for one in new)
        unsaid = new == "auto" or (name == "learning_rate" and new is None)
        if unsaid or (_same(old, new) and not named):
            found[name] = old
    return found


def _same(old: Any, new: Any) -> bool:
    """Tell whether a setting is what it was; a data set of the hub has got its revision when the run began."""
    if old == new or not isinstance(old, tuple) or not isinstance(new, tuple) or len(old) != len(new):
        return bool(old == new)
    return all(_kept(str(one), str(two)) for one, two in zip(old, new, strict=True))


def _kept(kept: str, named: str) -> bool:
    """Tell whether what a run keeps is what is named now; a branch or a tag cannot be told from another one."""
    (name, _, commit), (asked, _, revision) = kept.partition("@"), named.partition("@")
    moves = bool(COMMIT.fullmatch(commit)) and not COMMIT.fullmatch(revision)
    return kept == named or kept.startswith(f"{named}@") or (name == asked and moves)


def settings_of(
    kind: type[Config], run: RunFolder, given: Mapping[str, Any] | None = None, *, allow_change: bool = False
) -> Config:
    """Read the settings of a run; raises UsageError where one that is given now differs, unless `allow_change`."""
    saved, given = read_yaml(run.config), given or {}
    where = str(run.path / MARKER)
    if kind is not kind_of(run):
        job = kind_of(run).job
        raise UsageError(f"{run.path} is a run of `hflm {job}`.", fix=f"Go on with `hflm resume {run.path}`.")
    resolved = build(kind, saved, where=where)
    # Restarts are for one machine: a run that began with some goes on over several without.
    alone = given.get("machines") in (None, 1)
    began = saved if alone else {**saved, "max_restarts": 0}
    asked = build(kind, overlay(began, given, puts_out=PUTS_OUT), where="the command line")
    # `auto`, and a data set of the hub, are what the run has worked out since.
    asked = replace(asked, **_worked_out(resolved, asked, given, allow_change=allow_change))
    if isinstance(asked, FinetuneConfig) and "early_stopping" in given and "patience" not in given:
        patience = getattr(resolved, "patience", None) or PATIENCE
        asked = replace(asked, patience=patience if asked.early_stopping else None)
    if allow_change:
        return asked
    for name in given:
        old, new = getattr(resolved, name), getattr(asked, name)
        if not _same(old, new) and name not in FREE:
            raise UsageError(
                Change(name, shown(old), shown(new), True).sentence(run),
                fix=f"A run goes on with the settings that it began with. {CHANGED}",
            )
    return replace(resolved, **{name: getattr(asked, name) for name in FREE})

"""What every job that trains does around its work: open the run, hand it to ranks or hold it, begin its folder."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from hflm.data.sources import before_star
from hflm.environment import environment
from hflm.errors import UsageError
from hflm.launch import in_rank, launch, wants_ranks, with_processes
from hflm.lock import sole_writer
from hflm.run import RunFolder, results, write_json, write_text
from hflm.sealed import check_results, damage
from hflm.space import full_disk_named
from hflm.training_settings import TrainingSettings

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch

Config = TypeVar("Config", bound=TrainingSettings)
# Settings that name files or folders which a run reads.
INPUTS = (
    "model", "teacher", "tokenizer", "data", "eval_data", "train_file", "validation_file", "test_file"
)  # fmt: skip
Taken = TypeVar("Taken", bound=TrainingSettings, contravariant=True)


class Work(Protocol[Taken]):
    """What a job does in a process that has the run to itself; `create` makes the folder of a new run."""

    def __call__(
        self, config: Taken, run: RunFolder, /, *, resume: bool, watch: "Watch", allow_change: bool,
        like: RunFolder | None, create: Callable[[], None],
    ) -> dict[str, Any]: ...  # fmt: skip


def carry_out(
    config: Config, folder: Path, work: Work[Config], *, recipe: Callable[[], Path] | None, overwrite: bool,
    resume: bool, watch: "Watch", allow_change: bool, like: RunFolder | None,
) -> dict[str, Any]:  # fmt: skip
    """Do the work of a job and return its metrics; a run that is done is left as it is.

    Several processes are started and waited for; in each of them the job is called again, and only rank 0 returns
    metrics. `recipe` finds the file of the task, which ranks of a new run are told.
    """
    run = RunFolder.open(folder) if resume else RunFolder.free(folder, overwrite=overwrite)
    if resume and (done := _done(run, watch)) is not None:
        return done
    anew = resume and run.never_began()
    if anew:
        watch("note", {"text": f"{run.path} was ended before it began to train: it begins again"})
        resume, overwrite = False, True
    if overwrite and not resume:
        _check_inputs(config, run)
    config = with_processes(config)
    if wants_ranks(config):
        task = None if recipe is None else run.recipe if resume else recipe()
        # Of one that begins again the lock is taken here: ranks would empty what another process has begun till then.
        with sole_writer(run, resume=anew and not config.machine_rank, overwrite=overwrite):
            _check_unbegun(run, anew=anew)
            return launch(
                config, run, recipe=task, watch=watch, like=like, overwrite=overwrite, resume=resume,
                allow_change=allow_change,
            )  # fmt: skip
    if config.max_restarts and int(config.processes) == 1:
        watch("note", {"text": "--max-restarts: without effect with one process; `hflm resume` goes on after a death"})
    with sole_writer(run, resume=resume or anew, overwrite=overwrite) as create, full_disk_named(run.path):
        _check_unbegun(run, anew=anew)
        return work(config, run, resume=resume, watch=watch, allow_change=allow_change, like=like, create=create)


def _check_unbegun(run: RunFolder, *, anew: bool) -> None:
    """Raise UsageError where a run that begins again was begun by the process that was waited for."""
    if anew and not run.never_began():
        raise UsageError(f"Another process has begun {run.path} meanwhile.", fix="Run this again.")


def _done(run: RunFolder, watch: "Watch") -> dict[str, Any] | None:
    """Return the metrics of a run that is done; None where it is not, or its end is to be done again.

    Raises UsageError where its results are damaged, and no checkpoint is there to do the end again from.
    """
    found = results(run)
    # A run without its weights is not done, and they are what is damaged.
    wrong = damage(run) if run.metrics.exists() else None
    if found is not None and wrong is None:
        watch("note", {"text": f"{run.path} is done; nothing is left to train."})
        return found
    if wrong and not run.has_checkpoints():
        check_results(run)
    # Ranks are told by the launcher, which has said so. The results stay until there is something to go on from.
    if run.metrics.exists() and not in_rank():
        why = f" ({wrong})" if wrong else ""
        watch("note", {"text": f"the results of {run.path} are lost or damaged{why}: its end is done again"})
    return None


def _check_inputs(config: TrainingSettings, run: RunFolder) -> None:
    """Raise UsageError where the run that is replaced holds what the new one reads: it could not go on without."""
    named = [getattr(config, name, None) or () for name in INPUTS]
    for name in (one for names in named for one in ([names] if isinstance(names, str) else names)):
        path = before_star(Path(os.path.expanduser(name)))
        if os.path.exists(path) and path.resolve().is_relative_to(run.path.resolve()):
            raise UsageError(f"{name} lies in {run.path}, which --overwrite empties.", fix="Name another --output-dir.")


def begin(
    run: RunFolder, settings: str, tokenizer: Any, *, recipe: Path | None, create: Callable[[], None], resume: bool,
    allow_change: bool,
) -> None:  # fmt: skip
    """Make the folder of a run, and write into it what the run begins with; `settings` are YAML."""
    # Read before the folder is made: it may lie in the old run that is replaced.
    task = recipe.read_bytes() if recipe is not None and not resume else None
    if not resume:
        create()
    if not resume or allow_change:
        write_text(run.config, settings)
    if not resume:
        write_json(run.environment, environment())
        if task is not None:
            run.recipe.write_bytes(task)
        # Resumed runs read it from here: a cache may be emptied.
        tokenizer.save_pretrained(run.tokenizer)

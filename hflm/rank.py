"""A rank: one of the processes that do a job together. The launcher starts it; nobody else calls it.

python -m hflm.rank PLACE EVENTS
"""

import faulthandler
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hflm.errors import HflmError, UsageError
from hflm.launching.job import Job, Outcome, write_result
from hflm.run import RunFolder
from hflm.settings import build, seconds

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch

# linux/prctl.h: the signal that a process gets when its parent ends.
PR_SET_PDEATHSIG = 1


def main(words: list[str]) -> int:
    """Do the job that the folder `words[0]` describes, tell of it on the pipe `words[1]`, and write how it ended."""
    place, events = Path(words[0]), int(words[1])
    end_with_launcher(int(os.environ["HFLM_LAUNCHER"]))
    number = int(os.environ["RANK"])
    job = Job.read(place)
    # A script prints where its user looks; what is kept is what it failed of.
    log = (place / f"rank-{number}.log").open("a") if job.name == "script" else sys.stderr
    if hasattr(signal, "SIGUSR2"):
        faulthandler.register(signal.SIGUSR2, file=log, all_threads=True)
    try:
        do(job, place, events)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # Written before the connections close: the others fail of that, and later.
        Outcome.of(error).write(place, number)
        traceback.print_exc(file=log)
        return error.exit_code if isinstance(error, HflmError) else 1
    Outcome(time=time.time()).write(place, number)
    return 0


def end_with_launcher(launcher: int) -> None:
    """Ask the system to kill this process when the launcher ends, however that happens."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        import threading

        threading.Thread(target=_watch_launcher, args=(launcher,), daemon=True).start()
    if os.getppid() != launcher:
        os._exit(1)


def _watch_launcher(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(1)
    os._exit(1)


def do(job: Job, place: Path, events: int) -> None:
    """Join the others and do the job; rank 0 tells of it."""
    if job.name == "script":
        run_script(job)
        return
    sys.argv[1:] = job.command
    from hflm.engine import ranks

    timeout = seconds(job.settings["rank_timeout"], name="rank_timeout")
    if job.name in ("predict", "evaluate"):
        # Nothing is prepared by one for all: who does not come within the time does not come.
        ranks.join(timeout=timeout, patience=timedelta(seconds=timeout))
        do_rows(job, place, Teller(events) if ranks.first() else silent)
        return
    ranks.join(timeout=timeout)
    train(job, Teller(events) if ranks.first() else silent)


def run_script(job: Job) -> None:
    """Run a script as `python SCRIPT` would; it joins the others by itself, as Accelerate does."""
    import runpy

    script = job.settings["script"]
    sys.argv = [script, *job.command]
    sys.path.insert(0, str(Path(script).resolve().parent))
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as left:
        # `sys.exit(main())` is how scripts end.
        if left.code not in (None, 0):
            raise
    check_together()


def check_together() -> None:
    """Raise UsageError where a script has used Accelerate, and each rank took itself for the only one."""
    found = sys.modules.get("accelerate.state")
    known = found.PartialState._shared_state.get("num_processes") if found else None
    if known == 1 and int(os.environ["WORLD_SIZE"]) > 1:
        raise UsageError(
            f"The {os.environ['WORLD_SIZE']} processes of the script knew nothing of each other: each did all of it.",
            fix="Without a GPU, let it say `cpu=True`, or --use_cpu to a Trainer.",
        )


def do_rows(job: Job, place: Path, watch: "Watch") -> None:
    """Predict or score rows together with the others."""
    from hflm.engine import ranks

    ranks.use_threads(None)
    asked = {name: value for name, value in job.settings.items() if name != "rank_timeout"}
    if job.name == "predict":
        from hflm.predict import predict_named

        found = predict_named(**asked, watch=watch)
    else:
        from hflm.evaluate import evaluate_named

        found = evaluate_named(**asked, watch=watch)
    if ranks.first():
        write_result(place, found)


def train(job: Job, watch: "Watch") -> None:
    """Do a job that trains."""
    how: dict[str, Any] = {
        "overwrite": job.overwrite, "resume": job.resume, "allow_change": job.allow_change, "watch": watch,
        "like": RunFolder(Path(job.like)) if job.like else None,
    }  # fmt: skip
    folder = Path(str(job.folder))
    if job.name == "pretrain":
        from hflm.config import PretrainConfig
        from hflm.pretrain import pretrain

        pretrain(build(PretrainConfig, job.settings, where="the job"), folder, **how)
        return
    from hflm.recipe_files import load_task

    task = load_task(str(job.recipe))
    if job.name == "distill":
        from hflm.distill import distill
        from hflm.distill_config import DistillConfig

        distill(build(DistillConfig, job.settings, where="the job"), task, folder, **how)
    else:
        from hflm.finetune import finetune
        from hflm.finetune_config import FinetuneConfig

        finetune(build(FinetuneConfig, job.settings, where="the job"), task, folder, **how)


def silent(kind: str, content: Mapping[str, Any]) -> None:
    """Tell nothing: rank 0 speaks for all."""


class Teller(logging.Handler):
    """Passes events, and warnings of hflm's own, to the launcher."""

    def __init__(self, pipe: int) -> None:
        super().__init__(logging.WARNING)
        self.pipe = pipe
        logging.getLogger("hflm").addHandler(self)

    def __call__(self, kind: str, content: Mapping[str, Any]) -> None:
        """Tell of an event."""
        line = json.dumps({"kind": kind, "content": dict(content)}).encode() + b"\n"
        while line:
            line = line[os.write(self.pipe, line) :]

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of a warning."""
        self("warning", {"logger": record.name, "text": record.getMessage()})


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    if "hflm.engine.ranks" not in sys.modules:
        # A script may have left something to do at its end.
        sys.exit(code)
    # The end of the interpreter would wait for threads of the other ranks.
    os._exit(code)

"""What can befall one rank of several, put into the engine of a launcher before it forks its ranks."""

import itertools
import os
import signal
import sys
import time
from typing import Any


def strike(kind: str) -> None:
    """Raise, die, hang or leave."""
    if kind == "raise":
        raise ValueError("something that nobody has foreseen")
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "exit":
        os._exit(7)
    if kind == "leave":
        os._exit(0)
    if kind == "quit":
        sys.exit(0)
    if kind == "hang":
        time.sleep(3600)
    if kind == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)


def record(mark: str) -> None:
    """Let every rank write down which places of the run it reads, in `mark` with its number."""
    from hflm.engine import ranks
    from hflm.engine.order import Placed

    read = Placed.__getitem__

    def reading(self: Placed, place: Any) -> Any:
        with open(f"{mark}-{ranks.rank()}", "a") as stream:
            print(*place, file=stream)
        return read(self, place)

    Placed.__getitem__ = reading  # type: ignore[method-assign]


def spoil(rank: int, step: int) -> None:
    """Let the loss of a rank be NaN in step `step`, counted from 0, of a run without accumulation."""
    from hflm.engine import ranks
    from hflm.families.family import Sums
    from hflm.families.language_model import MaskedLM

    real, count = MaskedLM.sums, itertools.count()

    def sums(self: MaskedLM, model: Any, batch: Any) -> Sums:
        found = real(self, model, batch)
        # The first forward pass in which a gradient is wanted looks for idle weights.
        if found.loss.requires_grad and next(count) == step + 1 and ranks.rank() == rank:
            return Sums(found.loss * float("nan"), found.correct, found.count)
        return found

    MaskedLM.sums = sums  # type: ignore[method-assign]


def inject(*, kind: str, mark: str, rank: int = 0, place: str = "", step: int = 0, once: bool = False) -> None:
    """Let `rank` be struck at a place: prepare, begin, forward, update, save or evaluate.

    `step` is the step, counted from 0, from which on it is struck; `mark` a file that is made at that moment, and
    whose presence spares the ranks with `once`.
    """
    from hflm.engine import ranks
    from hflm.engine.trainer import EngineTrainer

    if kind == "record":
        return record(mark)
    if kind == "nan":
        return spoil(rank, step)

    def meant(step_now: int) -> bool:
        if ranks.rank() != rank or step_now < step or (once and os.path.exists(mark)):
            return False
        open(mark, "w").close()
        return True

    methods = {
        "begin": "create_scheduler", "forward": "training_step", "update": "_get_grad_norm", "save": "_save_checkpoint",
        "evaluate": "_eval_sums",
    }  # fmt: skip
    if place in methods:
        real = getattr(EngineTrainer, methods[place])

        def struck(self: Any, *words: Any, **named: Any) -> Any:
            if meant(self.state.global_step):
                strike(kind)
            return real(self, *words, **named)

        setattr(EngineTrainer, methods[place], struck)
        return
    assert place == "prepare"
    use_threads = ranks.use_threads

    def struck_early(threads: int | None) -> None:
        if meant(0):
            strike(kind)
        use_threads(threads)

    ranks.use_threads = struck_early

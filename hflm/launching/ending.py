"""How the ranks of a run ended, and which end came first: the others only followed."""

import signal
from collections.abc import Iterable
from dataclasses import dataclass

from hflm import errors
from hflm.errors import HflmError, Interrupted, RankError
from hflm.launching.job import Outcome


@dataclass(frozen=True)
class End:
    """A rank as it was found: its exit code (minus a signal, None while it runs) and what it said."""

    rank: int
    code: int | None
    outcome: Outcome | None

    @property
    def done(self) -> bool:
        """True where the rank came to the end of its job."""
        return self.code == 0 and self.outcome is not None and not self.outcome.error

    @property
    def failed(self) -> bool:
        """True where it has ended in any other way."""
        return self.code is not None and not self.done


def first_cause(ends: Iterable[End], *, logs: str, timeout: str) -> HflmError:
    """Return what went wrong first, as an error to show; `logs` is where what the ranks printed will be.

    A rank that ended without a word comes before errors that were raised, for those may only have followed.
    """
    found = sorted(ends, key=lambda end: end.outcome.time if end.outcome else 0.0)
    # One may say that it is done, and crash on its way out.
    silent = [end for end in found if end.failed and not (end.outcome and end.outcome.error)]
    aborted = [end for end in silent if end.code == -signal.SIGABRT]
    raised = [end for end in found if end.failed and end.outcome is not None and end.outcome.error]
    own = [end for end in raised if end.outcome and not end.outcome.by_others]
    stops = [end for end in own if end.outcome and end.outcome.error == Interrupted.__name__]
    for end in (*stops, *(one for one in silent if one not in aborted)):
        return _raised(end, logs) if end in stops else _silent(end, logs)
    for end in own:
        return _raised(end, logs)
    for end in aborted:
        return _silent(end, logs)
    hung = sorted((end for end in found if end.code is None), key=lambda end: end.rank)
    if hung and any(end.outcome and end.outcome.waited for end in raised):
        return _hung(hung, logs, timeout)
    for end in raised:
        return _raised(end, logs)
    raise AssertionError("no rank has failed")


def _raised(end: End, logs: str) -> HflmError:
    outcome = end.outcome
    assert outcome is not None
    kind = getattr(errors, outcome.error, None)
    if isinstance(kind, type) and issubclass(kind, HflmError):
        # Of data, settings, numbers, disks: it says itself what it is about, and all ranks would say the same.
        return kind(outcome.problem, fix=outcome.fix)
    return RankError(f"Rank {end.rank} failed: {outcome.problem.rstrip('.')}.", fix=_see(end.rank, logs, "traceback"))


def _silent(end: End, logs: str) -> HflmError:
    code = end.code or 0
    if code < 0:
        memory = " Was memory short?" if code == -signal.SIGKILL else ""
        problem = f"Rank {end.rank} was ended by {signal.Signals(-code).name}.{memory}"
    elif code == 0:
        problem = f"Rank {end.rank} left early, as if it were done."
    else:
        problem = f"Rank {end.rank} ended with code {code}."
    return RankError(problem, fix=_see(end.rank, logs, "last words"))


def _hung(hung: list[End], logs: str, timeout: str) -> HflmError:
    names = " and ".join(str(end.rank) for end in hung)
    who = f"Rank {names}" if len(hung) == 1 else f"Ranks {names}"
    return RankError(
        f"{who} did not answer the others for {timeout}.", fix=_see(hung[0].rank, logs, "place, if it could tell,")
    )


def _see(rank: int, logs: str, what: str) -> str:
    return f"Its {what} is in {logs}/rank-{rank}.log." if what != "last words" else f"See {logs}/rank-{rank}.log."

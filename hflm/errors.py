"""Every error that hflm raises on purpose: what is wrong, and how to mend it.

HflmError            exit 1   never raised itself
├── UsageError       exit 2   an option, a configuration key, a path that cannot be used
├── DataError        exit 2   a file, a row or a column
├── ModelError       exit 2   a model, a tokenizer, an architecture
├── CheckpointError  exit 3   nothing valid to resume from
├── NumericsError    exit 4   NaN or Inf
├── SpaceError       exit 5   the disk is full
├── RankError        exit 1   one of several processes died, hung or failed
├── ThresholdMissed  exit 6   a number that a user set a limit on is beyond it
└── Interrupted      exit 75  stopped by a signal, saved, resumable
"""


class HflmError(Exception):
    """An error with a remedy.

    `problem` says in one line what is wrong and what was found; `fix` says what to do about it.
    `str(error)` is both, and the command line prints exactly that and exits with `exit_code`.
    """

    exit_code = 1

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem} {self.fix}"

    def __reduce__(self) -> tuple[object, ...]:
        # One process hands it to another whole.
        return _again, (type(self), self.problem, self.fix)


def _again(kind: type[HflmError], problem: str, fix: str) -> HflmError:
    return kind(problem, fix=fix)


class UsageError(HflmError):
    """An option, a configuration key or a path that cannot be used."""

    exit_code = 2


class DataError(HflmError):
    """A file, a row or a column that cannot be read."""

    exit_code = 2


class ModelError(HflmError):
    """A model, a tokenizer or an architecture that cannot be built or loaded."""

    exit_code = 2


class CheckpointError(HflmError):
    """No checkpoint that a run could go on from."""

    exit_code = 3


class NumericsError(HflmError):
    """The loss or the gradients are no longer finite."""

    exit_code = 4


class SpaceError(HflmError):
    """The disk has no room for what must be written."""

    exit_code = 5


class RankError(HflmError):
    """One of several processes died, hung, left early or failed for a reason that is not the user's."""


class ThresholdMissed(HflmError):
    """A number that a user set a limit on is beyond it; the report was written."""

    exit_code = 6


class Interrupted(HflmError):
    """A signal stopped the run; its state was saved and it can be resumed."""

    exit_code = 75

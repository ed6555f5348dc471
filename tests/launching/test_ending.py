"""Which of several ends came first, and what is said of it."""

import signal

import pytest

from hflm.errors import DataError, HflmError, Interrupted, NumericsError, RankError
from hflm.launching.ending import End, first_cause
from hflm.launching.job import Outcome

LOST = RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:3461")
WAITED = RuntimeError("[../gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 3000ms for recv operation")


def raised(rank: int, error: BaseException, *, at: float = 1.0) -> End:
    outcome = Outcome.of(error)
    return End(rank, 1, Outcome(**{**outcome.__dict__, "time": at}))


def silent(rank: int, code: int | None) -> End:
    return End(rank, code, None)


def done(rank: int) -> End:
    return End(rank, 0, Outcome(time=1.0))


CASES: list[tuple[list[End], type[HflmError], str]] = [
    ([raised(0, LOST), silent(1, -signal.SIGKILL)], RankError, "Rank 1 was ended by SIGKILL. Was memory short?"),
    ([raised(0, LOST), raised(1, ValueError("odd"), at=2.0)], RankError, "Rank 1 failed: ValueError: odd."),
    ([raised(0, KeyError("a"), at=3.0), raised(1, ValueError("b"), at=2.0)], RankError, "Rank 1 failed: ValueError: b"),
    ([raised(0, LOST), silent(1, 0)], RankError, "Rank 1 left early"),
    ([raised(0, LOST), silent(1, 7)], RankError, "Rank 1 ended with code 7."),
    ([raised(0, WAITED), silent(1, None)], RankError, "Rank 1 did not answer the others for 5s."),
    ([silent(0, None), raised(1, WAITED), silent(2, None)], RankError, "Ranks 0 and 2 did not answer"),
    ([raised(0, ValueError("b")), silent(1, -signal.SIGABRT)], RankError, "Rank 0 failed: ValueError: b."),
    ([raised(0, LOST), silent(1, -signal.SIGABRT)], RankError, "Rank 1 was ended by SIGABRT."),
    ([done(0), silent(1, -signal.SIGSEGV)], RankError, "Rank 1 was ended by SIGSEGV."),
    ([End(0, -signal.SIGSEGV, Outcome(time=1.0)), done(1)], RankError, "Rank 0 was ended by SIGSEGV."),
    ([End(0, 1, Outcome(time=1.0)), silent(1, None)], RankError, "Rank 0 ended with code 1."),
    ([raised(0, LOST), raised(1, LOST, at=0.5)], RankError, "Rank 1 failed: RuntimeError"),
    ([raised(0, DataError("Line 3 is bad.", fix="Mend it.")), raised(1, LOST)], DataError, "Line 3 is bad. Mend"),
    ([raised(1, NumericsError("NaN at step 3.", fix="Less.")), raised(0, LOST)], NumericsError, "NaN at step 3. Less."),
    ([raised(0, Interrupted("Stopped.", fix="Go on.")), silent(1, -15)], Interrupted, "Stopped. Go on."),
]  # fmt: skip


@pytest.mark.promise("P2")
@pytest.mark.parametrize(("ends", "kind", "said"), CASES)
def test_the_first_cause_is_found(ends: list[End], kind: type[HflmError], said: str) -> None:
    for order in (ends, ends[::-1]):
        found = first_cause(order, logs="logs", timeout="5s")
        assert type(found) is kind and str(found).startswith(said)
        assert kind is not RankError or "logs/rank-" in found.fix


def test_only_what_others_caused_is_put_down_to_them() -> None:
    assert Outcome.of(LOST).by_others and not Outcome.of(LOST).waited and Outcome.of(WAITED).waited
    assert not Outcome.of(RuntimeError("size mismatch")).by_others
    assert not Outcome.of(DataError("Connection closed by peer.", fix="")).by_others
    assert not Outcome.of(ValueError("gloo")).by_others

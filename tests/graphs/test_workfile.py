"""What a build keeps on its way: whole chunks stay, and what a power cut has damaged is worked on again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hflm.errors import UsageError
from hflm.graphs.workfile import WorkFile

INPUTS = {"text": "abc", "passage length": 24}
Damage = Callable[[WorkFile], object]


@pytest.fixture
def work(tmp_path: Path) -> WorkFile:
    """Five passages in chunks of two, of which the last is not whole."""
    found = WorkFile.beside(tmp_path / "graph.jsonl")
    with found.held():
        assert found.open(INPUTS, anew=False, chunk=2, say=pytest.fail) == 0
        assert list(found.add([[{"n": 0}, {"n": 1}], [{"n": 2}, {"n": 3}], [{"n": 4}]])) == [2, 2, 1]
    return found


def put(line: int, content: bytes) -> Damage:
    """Return what puts something else in the place of a line of the passages."""

    def damage(work: WorkFile) -> None:
        lines = work.passages.read_bytes().splitlines(keepends=True)
        work.passages.write_bytes(b"".join([*lines[: line - 1], content, *lines[line:]]))

    return damage


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize(
    ("damage", "done", "said"),
    [
        (lambda work: None, 4, ""),
        (put(5, b'{"n": '), 4, ""),
        (put(4, b'{"n"\0\0\0\n'), 2, "passages.jsonl, line 4 is damaged"),
        (put(3, b"\0\0\0\0\n"), 2, "passages.jsonl, line 3 is damaged"),
        (put(3, b'{"n": "\xff"}\n'), 2, "passages.jsonl, line 3 is damaged"),
        (put(1, b"3\n"), 0, "passages.jsonl, line 1 is damaged"),
        (lambda work: work.passages.unlink(), 0, "the build begins anew"),
        (lambda work: work.inputs.write_bytes(b""), 0, "the build begins anew"),
        (lambda work: work.inputs.write_bytes(b"[]"), 0, "the build begins anew"),
        (lambda work: work.inputs.write_bytes(b"\xff\0"), 0, "the build begins anew"),
        (lambda work: work.inputs.unlink(), 0, "the build begins anew"),
    ],
)
def test_damaged_work_is_done_again(work: WorkFile, damage: Damage, done: int, said: str, anew: bool) -> None:
    damage(work)
    lines: list[str] = []
    with work.held():
        assert work.open(INPUTS, anew=anew, chunk=2, say=lines.append) == done
        list(work.add([[{"n": number}] for number in range(done, 6)]))
    assert [record["n"] for record in work.read()] == list(range(6))
    assert len(lines) == bool(said) and all(said in line for line in lines)


def test_other_inputs_begin_anew_where_that_is_asked(work: WorkFile) -> None:
    other = {**INPUTS, "text": "abd"}
    with pytest.raises(UsageError, match="had another text"):
        work.open(other, anew=False, chunk=2, say=pytest.fail)
    assert work.passages.read_bytes()
    assert work.open(other, anew=True, chunk=2, say=pytest.fail) == 0
    assert not work.passages.read_bytes() and work.open(other, anew=False, chunk=2, say=pytest.fail) == 0

"""Rows on disk: as written, whole or not there, under a key that changes with the content."""

import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hflm.cache import MANIFEST, cache_folder, in_cache, staged
from hflm.data import rows as on_disk
from hflm.data.packing import Frame, Row
from hflm.data.rows import (
    BATCH,
    Rows,
    batches,
    cache_key,
    check_rows,
    encode_rows,
    open_rows,
    read_notes,
    write_rows,
)
from hflm.errors import SpaceError


def rows(number: int) -> list[Row]:
    return [Row(np.arange(n, n + 4, dtype=np.int32), np.array([0, 0, 1, -1], np.int16)) for n in range(number)]


@pytest.mark.parametrize("number", [0, 1, 7])
def test_as_written(number: int, tmp_path: Path) -> None:
    written = write_rows(iter(rows(number)), tmp_path / "cache" / "rows", max_length=4)
    for found in (written, open_rows(tmp_path / "cache" / "rows")):
        assert len(found) == number and found.ids.shape == (number, 4) and found.tokens == 3 * number
        for row, expected in zip((found[n] for n in range(number)), rows(number), strict=True):
            assert (row.ids == expected.ids).all() and (row.segments == expected.segments).all()


def test_rows_are_read_only(tmp_path: Path) -> None:
    found = write_rows(iter(rows(2)), tmp_path / "rows", max_length=4)
    with pytest.raises(ValueError):
        found.ids[0, 0] = 5


@pytest.mark.parametrize("block", [1, 8, 20, 10**6])
def test_what_they_hold_is_counted_as_they_are_written(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_disk, "BLOCK", block)
    write_rows(iter(rows(11)), tmp_path / "rows", max_length=4)
    found = open_rows(tmp_path / "rows")
    again = Rows(found.ids, found.segments)
    assert found.known is not None and found.tally is found.known and again.known is None
    assert found.tokens == again.tokens == 33
    assert found.tally.ids.tolist() == again.tally.ids.tolist() == np.bincount(found.ids.ravel()).tolist()


def test_notes_are_taken_when_all_rows_have_come(tmp_path: Path) -> None:
    seen: list[int] = []

    def coming() -> Iterator[Row]:
        for row in rows(3):
            seen.append(int(row.ids[0]))
            yield row

    write_rows(coming(), tmp_path / "rows", max_length=4, notes=lambda: {"seen": seen, "text": "half a pair: \ud83d"})
    assert read_notes(tmp_path / "rows") == {"seen": [0, 1, 2], "text": "half a pair: \ud83d"}
    write_rows(iter(rows(3)), tmp_path / "bare", max_length=4)
    assert read_notes(tmp_path / "bare") == {}


def test_an_error_half_way_leaves_no_rows(tmp_path: Path) -> None:
    def broken() -> object:
        yield from rows(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(broken(), tmp_path / "rows", max_length=4)  # type: ignore[arg-type]
    assert not (tmp_path / "rows").exists()
    assert len(write_rows(iter(rows(2)), tmp_path / "rows", max_length=4)) == 2


def test_texts_are_encoded_in_batches_and_in_order() -> None:
    sizes = []

    def encode(texts: list[str]) -> list[list[int]]:
        sizes.append(len(texts))
        return [[int(text)] for text in texts]

    frame = Frame(before=(), after=(), pad_id=0, max_length=8)
    found = list(encode_rows((str(n) for n in range(BATCH + 10)), encode=encode, frame=frame))
    assert sizes == [BATCH, 10]
    assert np.concatenate([row.ids for row in found])[: BATCH + 10].tolist() == list(range(BATCH + 10))


def test_a_batch_is_bounded_in_characters_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_disk, "CHARACTERS", 10)
    texts = ["aaaa", "bbbb", "cc", "d", "e" * 25, "", "f" * 10, "g"]
    assert list(batches(texts)) == [["aaaa", "bbbb", "cc"], ["d"], ["e" * 25], ["", "f" * 10], ["g"]]
    assert list(batches([])) == []


def test_keys() -> None:
    assert cache_key(a=1, b="x") == cache_key(b="x", a=1)
    keys = [cache_key(a=1), cache_key(a=2), cache_key(b=1), cache_key(a="1"), cache_key(a=None), cache_key()]
    assert len(set(keys)) == len(keys)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HFLM_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("HFLM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "hflm"


def machine(name: str) -> str:
    """Return what a machine is called in the names of folders that are begun there."""
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def test_what_a_killed_process_left_is_removed_and_what_another_writes_is_not(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    here = machine(socket.gethostname())
    names = (f"a.{here}.abcd_123", f"a.{here}.zyxw9876", f"b.{here}.abcd_123", "a.elsewhere.abcd_123")
    dead, live, other, far = (tmp_path / f".rows-{name}" for name in names)
    for folder in (dead, live, other, far):
        folder.mkdir()
        (folder / "ids.bin").write_bytes(b"half")
    handle = os.open(live, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with staged(tmp_path / "rows-a") as staging:
            assert not dead.exists() and live.exists() and other.exists()
            assert far.exists(), "locks may be known to one machine alone"
            with staged(tmp_path / "rows-a") as beside:
                assert beside != staging and staging.exists(), "what is under way is held"
    finally:
        os.close(handle)
    assert {path.name for path in tmp_path.iterdir()} == {live.name, other.name, far.name, "rows-a"}


def test_machines_are_told_apart_by_the_end_of_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a cluster that shares a cache, each sweeps its own folders: locks may not reach from one to the next."""
    one, two = (f"node-of-the-long-named-cluster-{number}" for number in (17, 18))
    monkeypatch.setattr(socket, "gethostname", lambda: one)
    dead, far = (tmp_path / f".rows-a.{machine(name)}.abcd_123" for name in (one, two))
    dead.mkdir()
    far.mkdir()
    with staged(tmp_path / "rows-a"):
        assert not dead.exists() and far.exists()


def test_who_was_faster_keeps_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = tmp_path / "rows-a"
    with monkeypatch.context() as patch, staged(entry) as staging:
        (staging / "mine").touch()
        entry.mkdir()
        (entry / "theirs").touch()
        # It came after anybody could have looked.
        patch.setattr(Path, "exists", lambda path, **_: False)
    assert [path.name for path in entry.iterdir()] == ["theirs"] and list(tmp_path.iterdir()) == [entry]


def test_what_cannot_get_its_name_is_told(tmp_path: Path) -> None:
    entry = tmp_path / "rows-a"
    with pytest.raises(OSError), staged(entry):
        entry.write_text("a file")
    assert list(tmp_path.iterdir()) == [entry]


@pytest.mark.parametrize("name", ["ids.bin", "segments.bin", "shape.json", "notes.json", "counts.bin"])
@pytest.mark.parametrize("content", [None, b"", b"0123456789"])
def test_rows_of_an_earlier_hflm_are_taken_where_they_open(name: str, content: bytes | None, tmp_path: Path) -> None:
    """They have no manifest: sizes and counts must agree, and what is JSON must be."""
    folder = tmp_path / "rows-a"
    write_rows(rows(10), folder, max_length=4)
    (folder / MANIFEST).unlink()
    assert in_cache(folder, opens=check_rows)
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    assert not in_cache(folder, opens=check_rows) and not folder.exists()


@pytest.mark.promise("R8")
def test_counts_that_cannot_be_written_are_noticed(tmp_path: Path) -> None:
    """Of an array of 300 numbers nothing was written, and nothing was said; of more, what was wrong was not known."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    for number in (300, 9000):

        def some(number: int = number) -> Iterator[Row]:
            (staging,) = (path for path in tmp_path.iterdir() if path.name.startswith(".rows-a"))
            (staging / "counts.bin").symlink_to("/dev/full")
            yield Row(np.arange(number - 4, number, dtype=np.int32), np.zeros(4, np.int16))

        with pytest.raises(SpaceError, match=f"{tmp_path} could not be written.*HFLM_CACHE"):
            write_rows(some(), tmp_path / "rows-a", max_length=4)
        assert not list(tmp_path.iterdir())

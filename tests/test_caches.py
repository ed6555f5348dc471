"""Nothing stale is taken from a cache: its key is the content. Nothing damaged is: its manifest has the hashes."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hflm import cache
from hflm.cache import MANIFEST, in_cache, staged
from hflm.errors import Interrupted, ModelError, SpaceError, UsageError
from hflm.hashes import seen_sha256

Run = Callable[..., Path]


def entry(folder: Path, content: bytes = b"abc" * 100) -> Path:
    """Make an entry of two files."""
    with staged(folder) as staging:
        (staging / "inner").mkdir()
        (staging / "a.bin").write_bytes(content)
        (staging / "inner" / "b.json").write_text("{}")
    return folder


def no_older(folder: Path) -> None:
    raise ValueError("an entry without a manifest")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    # Within the moment that times of files are counted in, the hash of before would be believed.
    seen_sha256.cache_clear()


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.promise("D3")
@pytest.mark.parametrize("damage", [cut, flip, empty, Path.unlink])
@pytest.mark.parametrize("name", ["a.bin", "inner/b.json", MANIFEST])
def test_a_damaged_entry_is_deleted_to_be_made_anew(
    name: str, damage: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = entry(tmp_path / "entry")
    assert in_cache(folder, opens=no_older) and not caplog.records
    damage(folder / name)
    assert not in_cache(folder, opens=no_older)
    assert f"{folder} in hflm's cache is damaged (" in caplog.text and not list(tmp_path.iterdir())
    assert in_cache(entry(folder), opens=no_older) and len(caplog.records) == 1


def test_of_a_large_file_the_size_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "HASHED", 299)
    folder = entry(tmp_path / "entry")
    flip(folder / "a.bin")
    assert in_cache(folder, opens=no_older)
    cut(folder / "a.bin")
    assert not in_cache(folder, opens=no_older)


def test_an_entry_of_an_earlier_hflm_is_taken_where_it_opens(tmp_path: Path) -> None:
    folder = entry(tmp_path / "entry")
    (folder / MANIFEST).unlink()
    assert in_cache(folder, opens=lambda place: (place / "a.bin").read_bytes())
    assert not in_cache(folder, opens=lambda place: (place / "c.bin").read_bytes()) and not folder.exists()


def test_an_error_of_a_library_about_a_file_is_damage(tmp_path: Path) -> None:
    """transformers says so by an OSError without a number."""
    folder = entry(tmp_path / "entry")
    (folder / MANIFEST).unlink()

    def refuse(place: Path) -> None:
        raise ModelError(f"{place} cannot be loaded.", fix="Check it.") from OSError("Can't load the tokenizer")

    assert not in_cache(folder, opens=refuse) and not folder.exists()


@pytest.mark.promise("D3")
@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO, errno.ESTALE])
def test_what_cannot_be_read_is_not_deleted(
    number: int, earlier: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a shared cache that another user's umask closes: of what stands in it that says nothing."""
    folder, error = entry(tmp_path / "entry"), OSError(number, os.strerror(number))

    def refuse(*words: Any) -> str:
        raise error

    def opens(place: Path) -> None:
        raise ModelError(f"{place} cannot be read.", fix="Check it.") from error

    if earlier:
        (folder / MANIFEST).unlink()
    monkeypatch.setattr(cache, "seen_sha256", refuse)
    with pytest.raises(UsageError, match=f"{folder} in hflm's cache cannot be read: {error.strerror}.*HFLM_CACHE"):
        in_cache(folder, opens=opens)
    assert (folder / "a.bin").exists()


@pytest.mark.parametrize("error", [MemoryError(), Interrupted("Stopped.", fix="Go on.")], ids=["memory", "signal"])
def test_what_says_nothing_of_an_entry_is_passed_on(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = entry(tmp_path / "entry")

    def refuse(*words: Any) -> str:
        raise error

    monkeypatch.setattr(cache, "seen_sha256", refuse)
    with pytest.raises(type(error)):
        in_cache(folder, opens=no_older)
    assert (folder / "a.bin").exists()


def test_what_another_process_has_made_anew_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    folder = entry(tmp_path / "entry")
    empty(folder / "a.bin")
    flock = fcntl.flock

    def wait(handle: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        shutil.rmtree(folder)
        entry(folder, b"new")
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", wait)
    assert in_cache(folder, opens=no_older) and (folder / "a.bin").read_bytes() == b"new"


def test_what_cannot_be_deleted_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = entry(tmp_path / "entry")
    empty(folder / "a.bin")

    def refuse(*words: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UsageError, match=f"{folder} is damaged, and cannot be deleted: Permission denied.*HFLM_CACHE"):
        in_cache(folder, opens=no_older)


def test_an_entry_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, rename = os.fsync, Path.rename

    def synced(handle: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        sync(handle)

    def named(path: Path, target: Path) -> Path:
        done.append(f"to {target.name}")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", named)
    entry(tmp_path / "entry")
    assert {"a.bin", "inner", "b.json", MANIFEST} <= set(done[: done.index("to entry")])
    assert done[-1] == tmp_path.name, "and its name too"


@pytest.mark.promise("R8")
def test_a_full_cache_is_named_and_not_the_run(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=f"{tmp_path} could not be written.*HFLM_CACHE"), staged(tmp_path / "entry"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


@pytest.mark.promise("D3")
def test_a_file_of_the_same_size_and_age_is_read_again(run_pretrain: Run, text_file: Path, tmp_path: Path) -> None:
    data = tmp_path / "text.txt"
    data.write_bytes(text_file.read_bytes())
    age = data.stat()
    first = run_pretrain(data=[str(data)], max_steps=2)
    data.write_bytes(text_file.read_bytes().replace(b"Emma", b"Anna"))
    os.utime(data, ns=(age.st_atime_ns, age.st_mtime_ns))
    assert data.stat().st_size == age.st_size
    second = run_pretrain(data=[str(data)], max_steps=2)
    one, two = (json.loads((run / "plan.json").read_text()) for run in (first, second))
    assert one["data"] != two["data"]
    words = [(run / "tokenizer" / "tokenizer.json").read_text() for run in (first, second)]
    assert words[0] != words[1]

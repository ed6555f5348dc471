"""Files, folders and globs become sources; what cannot be read is refused with a remedy."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hflm.data.sources import KINDS, Source, find_sources, fingerprint
from hflm.errors import DataError

ENDINGS = [".txt", ".md", ".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt.gz", ".jsonl.gz", ".csv.gz", ".TXT"]


def write(path: Path, content: bytes = b"text\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"a{ending}")
    (source,) = find_sources([str(path)])
    assert source == Source(path, KINDS[ending.lower().removesuffix(".gz")])
    assert source.gzipped == ending.endswith(".gz")


@pytest.mark.parametrize("pattern", ["", "*", "**/*.txt", "[abs]*"])
def test_folders_and_globs(tmp_path: Path, pattern: str) -> None:
    for name in ("b.txt", "a.txt", "sub/c.txt", ".hidden.txt", ".git/d.txt"):
        write(tmp_path / name)
    write(tmp_path / "empty.txt", b"")
    write(tmp_path / "picture.png")
    found = find_sources([str(tmp_path / pattern)])
    assert [str(source.path.relative_to(tmp_path)) for source in found] == ["a.txt", "b.txt", "sub/c.txt"]


def test_order_given_and_no_file_twice(tmp_path: Path) -> None:
    first, second = write(tmp_path / "z.txt"), write(tmp_path / "a.txt")
    assert [source.path for source in find_sources([str(first), str(tmp_path)])] == [first, second]


def test_name_with_brackets_is_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "part[1].txt")
    assert find_sources([str(path)]) == [Source(path, "text")]


def nothing(folder: Path) -> None:
    """Leave the folder as it is."""


def only_pictures(folder: Path) -> None:
    write(folder / "a.png")
    write(folder / "b.png")


def only_empty(folder: Path) -> None:
    write(folder / "empty.txt", b"")


def one_book(folder: Path) -> None:
    write(folder / "book.txt")


REFUSED: list[tuple[str, Callable[[Path], None], list[str]]] = [
    ("bok.txt", one_book, ["No such file", "bok.txt", "Did you mean", "book.txt"]),
    ("gone/book.txt", nothing, ["No such file", "its folder is missing"]),
    ("", nothing, ["has no files", ".jsonl"]),
    ("", only_pictures, ["nothing readable", "2 x .png", ".parquet"]),
    ("*.png", only_pictures, ["nothing readable", "2 x .png"]),
    ("*.txt", only_pictures, ["has no files"]),
    ("", only_empty, ["only empty files", "empty.txt"]),
    ("empty.txt", only_empty, ["empty.txt is empty", "Name a file"]),
    ("empty.txt.gz", lambda folder: nothing(write(folder / "empty.txt.gz", b"")), ["empty.txt.gz is empty"]),
    ("a.png", only_pictures, ["extension .png", ".txt"]),
    ("text", lambda folder: nothing(write(folder / "text")), ["no extension", ".txt"]),
    ("pipe.txt", lambda folder: os.mkfifo(folder / "pipe.txt"), ["pipe.txt is a pipe", "Write it to a file"]),
    ("", lambda folder: os.mkfifo(folder / "pipe.txt"), ["nothing readable"]),
    ("dead.txt", lambda folder: (folder / "dead.txt").symlink_to("gone.txt"), ["a link to gone.txt", "Mend the link"]),
    ("x" * 1000 + ".txt", nothing, ["cannot be read: File name too long", "..."]),
    ("a.parquet.gz", lambda folder: nothing(write(folder / "a.parquet.gz")), ["extension .gz", "each but .parquet"]),
]


@pytest.mark.parametrize(("path", "prepare", "said"), REFUSED)
def test_refused(tmp_path: Path, path: str, prepare: Callable[[Path], None], said: list[str]) -> None:
    prepare(tmp_path)
    with pytest.raises(DataError) as caught:
        find_sources([str(tmp_path / path)])
    assert all(part in str(caught.value) for part in said), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("path", "said"), [("", "is empty"), (" ", "is empty"), ("~no-such-user/a.txt", "cannot be")])
def test_names_that_lead_nowhere(path: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        find_sources([path])


def test_links_that_lead_back(tmp_path: Path) -> None:
    write(tmp_path / "sub" / "a.txt")
    for name in ("p", "q", "sub/r", "sub/s"):
        (tmp_path / name).symlink_to(tmp_path)
    assert [source.path.name for source in find_sources([str(tmp_path)])] == ["a.txt"]


def test_a_closed_folder_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.txt")

    def refuse(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(DataError, match=r"a\.txt cannot be read: permission denied.*\+x on the folders"):
        find_sources([str(path)])


def test_not_gzip(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(b"plain text")
    with pytest.raises(DataError, match=r"a\.txt\.gz is not gzip.*Rename"):
        find_sources([str(path)])


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.txt")

    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    # Root may read everything, so that a file mode would not do.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"a\.txt cannot be read: permission denied.*chmod \+r"):
        find_sources([str(path)])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_folder_without_permission(tmp_path: Path) -> None:
    folder = write(tmp_path / "closed" / "a.txt").parent
    folder.chmod(0)
    try:
        with pytest.raises(DataError, match="permission denied"):
            find_sources([str(tmp_path)])
    finally:
        folder.chmod(0o700)


@pytest.mark.promise("D3")
def test_fingerprint_follows_content_and_order(tmp_path: Path) -> None:
    one, two = Source(write(tmp_path / "1.txt", b"ab"), "text"), Source(write(tmp_path / "2.txt", b"c"), "text")
    same = Source(write(tmp_path / "3.txt", b"ab"), "text")
    moved = [Source(write(tmp_path / "4.txt", b"a"), "text"), Source(write(tmp_path / "5.txt", b"bc"), "text")]
    assert len(fingerprint([one, two])) == 64
    assert fingerprint([one, two]) == fingerprint([same, two])
    assert len({fingerprint(x) for x in ([one, two], [two, one], [one], moved, [Source(one.path, "csv"), two])}) == 5


def test_a_run_beside_its_data_is_no_data(tmp_path: Path) -> None:
    """What `hflm pretrain . -o out` writes is not read by the run that goes on, nor by the next one."""
    (tmp_path / "book.txt").write_text("a book")
    run = tmp_path / "out" / "tokenizer"
    run.mkdir(parents=True)
    for name in ("config.yaml", "environment.json", "plan.json", "log.jsonl", "tokenizer/tokenizer.json"):
        (tmp_path / "out" / name).write_text("{}")
    assert [source.path.name for source in find_sources([str(tmp_path)])] == ["book.txt"]
    # One that is named is read.
    assert find_sources([str(tmp_path / "out")])


def test_a_run_that_a_pattern_finds_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("a book")
    (tmp_path / "out" / "model").mkdir(parents=True)
    for name in ("config.yaml", "environment.json", "model/config.json"):
        (tmp_path / "out" / name).write_text("{}")
    for pattern in ("*", "**"):
        assert [source.path.name for source in find_sources([str(tmp_path / pattern)])] == ["book.txt"]

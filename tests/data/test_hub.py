"""Names of data sets on the hub, told from paths; offline they are refused with a remedy."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hflm.data import splits
from hflm.data.hub import hub_documents, looks_like_hub_id, pinned
from hflm.errors import DataError


@pytest.mark.parametrize("name", ["owner/name", "owner/name:config", "a.b/c-d_e"])
def test_ids(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert looks_like_hub_id(name)


@pytest.mark.parametrize(
    "name", ["book.txt", "a/b.txt", "a/b.jsonl.gz", "/a/b", "./a", "a/b/c", "a/*", "", "folder/new"]
)
def test_paths(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    assert not looks_like_hub_id(name)


def test_offline() -> None:
    with pytest.raises(DataError, match="'nobody/nothing' is no file here.*offline, name a file"):
        next(hub_documents("nobody/nothing", text_column=None))


def test_rows_become_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load(*words: Any, **more: Any) -> Iterator[dict[str, Any]]:
        asked.append((words, more))
        return iter(
            [{"id": 1, "text": "one"}, {"id": 2, "text": ""}, {"id": 3, "text": None}, {"id": 4, "text": "four"}]
        )

    monkeypatch.setattr("datasets.load_dataset", load)
    found = list(hub_documents("owner/name:config", text_column=None))
    assert [(d.text, d.file, d.line) for d in found] == [
        ("one", "owner/name:config", 1),
        ("four", "owner/name:config", 4),
    ]
    assert asked == [(("owner/name", "config"), {"split": "train", "streaming": True})]


def test_a_first_row_without_text_is_no_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.load_dataset", lambda *words, **more: iter([{"text": None}, {"text": "two"}]))
    assert [d.text for d in hub_documents("owner/name", text_column=None)] == ["two"]


def test_a_column_that_is_no_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"messages": [{"role": "user", "content": "hello"}]}]
    monkeypatch.setattr("datasets.load_dataset", lambda *words, **more: iter(rows))
    with pytest.raises(DataError, match="column 'messages': found .*, which is not a string"):
        next(hub_documents("owner/name", text_column="messages"))


def test_an_empty_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.load_dataset", lambda *words, **more: iter(()))
    with pytest.raises(DataError, match="is empty"):
        next(hub_documents("owner/name", text_column=None))


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("a cut file\nwith\nmore lines"), KeyError("text")])
def test_an_error_half_way_is_a_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield {"text": "one"}
        yield {"text": "two"}
        raise error

    monkeypatch.setattr("datasets.load_dataset", lambda *words, **more: rows())
    found = hub_documents("owner/name", text_column=None)
    assert [next(found).text, next(found).text] == ["one", "two"]
    with pytest.raises(
        DataError, match=rf"'owner/name' could not be read after row 2: {type(error).__name__}"
    ) as caught:
        next(found)
    assert "\n" not in str(caught.value) and "--resume" in str(caught.value)


def test_a_row_without_the_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.load_dataset", lambda *words, **more: iter([{"text": "one"}, {"txt": "two"}]))
    with pytest.raises(DataError, match="row 2: KeyError"):
        list(hub_documents("owner/name", text_column=None))


@pytest.mark.promise("R4")
def test_a_data_set_is_pinned_to_its_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    revision = "0123456789abcdef0123456789abcdef01234567"
    wanted: list[Any] = []

    def info(self: Any, name: str, **more: Any) -> SimpleNamespace:
        wanted.append((name, more.get("revision")))
        return SimpleNamespace(sha=revision)

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", info)
    assert pinned(("owner/name:config",), say=said.append) == (f"owner/name:config@{revision}",)
    assert said == [f"data: owner/name:config at revision {revision}"]
    # A branch moves, and a tag can be moved: only a commit stays. So their names are not kept, but what they stand for.
    assert pinned(("owner/name@main",), say=said.append) == (f"owner/name@{revision}",)
    assert pinned(("owner/name:config@v1",), say=said.append) == (f"owner/name:config@{revision}",)
    assert wanted == [("owner/name", None), ("owner/name", "main"), ("owner/name", "v1")]
    other = f"owner/name@{revision[::-1]}"
    assert pinned((other,), say=said.append) == (other,) and len(wanted) == 3
    assert pinned(("a.txt", "b.txt"), say=said.append) == ("a.txt", "b.txt") and pinned((), say=said.append) == ()
    asked: list[Any] = []

    def load(*words: Any, **more: Any) -> Iterator[dict[str, Any]]:
        asked.append((words, more))
        return iter([{"text": "one"}])

    monkeypatch.setattr("datasets.load_dataset", load)
    assert looks_like_hub_id(f"owner/name@{revision}")
    assert [d.text for d in hub_documents(f"owner/name:config@{revision}", text_column=None)] == ["one"]
    assert asked == [(("owner/name", "config"), {"split": "train", "streaming": True, "revision": revision})]


def test_where_the_hub_does_not_answer_a_revision_is_not_known() -> None:
    said: list[str] = []
    assert pinned(("owner/name",), say=said.append) == ("owner/name",)
    assert len(said) == 1 and said[0].startswith("data: the revision of owner/name is not known (")
    assert pinned(("owner/name@main",), say=said.append) == ("owner/name@main",)
    assert len(said) == 2 and said[1].startswith("data: the revision of owner/name@main is not known (")


@pytest.mark.parametrize("read", [lambda name: list(hub_documents(name, text_column=None)), splits._hub])
def test_what_the_hub_says_is_passed_on(read: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*words: Any, **more: Any) -> Any:
        raise ValueError("Config name is missing.\nPlease pick one among: ['one', 'two']" + "\nand more" * 100)

    monkeypatch.setattr("datasets.load_dataset", load)
    with pytest.raises(DataError) as caught:
        read("owner/name")
    said = str(caught.value)
    assert "(ValueError: Config name is missing. Please pick one among: ['one', 'two'] and" in said
    assert "\n" not in said and len(said) < 600 and "as owner/name:config" in said

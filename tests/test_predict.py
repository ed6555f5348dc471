"""Predictions for files and texts: in order, resumable, the same whatever the batch; and scores on one's own rows."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hflm.cli.app import main
from hflm.errors import DataError, ModelError, UsageError
from hflm.evaluate import evaluate
from hflm.inference.generating import generate_texts
from hflm.inference.trained import TrainedModel, open_trained
from hflm.long_texts import predict_long, split_text
from hflm.predict import predict_file, predict_texts
from tests.tiny import asked, moods, pairs, tagged, write

Run = Callable[..., Path]
Tiny = Callable[[str], str]
MADE: dict[str, tuple[str, str, Callable[[], list[dict[str, Any]]]]] = {
    "sentiment": ("sentiment", "bert", moods),
    "tagging": ("tagging", "bert", tagged),
    "summarization": ("summarization", "t5", pairs),
    "translation": ("translation", "marian", lambda: pairs(source="en", target="es")),
    "generation": ("generation", "gpt2", asked),
    "chat": ("summarization", "llama", pairs),
}


@pytest.fixture(scope="module")
def runs(run_finetune: Run, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """A function from the name of a run to its folder, made once."""
    from functools import cache

    folder = tmp_path_factory.mktemp("rows")

    def make(name: str) -> str:
        task, kind, rows = MADE[name]
        data = str(write(folder / f"{name}.jsonl", rows()))
        return str(run_finetune(task, model=tiny(kind), data=[data], max_steps=2, eval_steps=2, test_fraction=0.0))

    return cache(make)


def opened(runs: Callable[[str], str], name: str, **more: Any) -> TrainedModel:
    return open_trained(runs(name), precision="fp32", max_new_tokens=5, **more)


def quiet(kind: str, content: Mapping[str, Any]) -> None:
    """Watch nothing."""


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", MADE)
def test_a_model_knows_its_task_again(name: str, runs: Callable[[str], str]) -> None:
    trained = opened(runs, name)
    task, kind, _ = MADE[name]
    assert trained.task.name == task and trained.model.config.model_type == kind
    config = json.loads(Path(runs(name), "model", "config.json").read_text())
    told = config["task_specific_params"][task]
    for field in ("prefix", "instruction", "max_source_length", "max_target_length"):
        assert getattr(trained.family, field, None) == told.get(field)
    if name == "translation":
        assert trained.languages == ("en", "es")


@pytest.mark.parametrize("name", MADE)
def test_a_file_in_its_order_and_resumable(
    name: str, runs: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in ("CHUNK", "WRITTEN"):
        monkeypatch.setattr(f"hflm.predict.{size}", 4)
    trained = opened(runs, name)
    rows = [{**row, "id": number} for number, row in enumerate(MADE[name][2]()[:10])]
    source, whole, again = write(tmp_path / "in.jsonl", rows), tmp_path / "whole.jsonl", tmp_path / "again.jsonl"
    events: list[tuple[str, Mapping[str, Any]]] = []
    count = predict_file(trained, source, whole, columns={}, resume=False, watch=lambda *told: events.append(told))
    found = lines(whole)
    assert count == 10 and [row["id"] for row in found] == list(range(10)) and all("prediction" in row for row in found)
    assert [(e["done"], e["rows"]) for kind, e in events if kind == "rows"] == [(4, 10), (8, 10), (10, 10)]
    # Stopped in the middle of a line: that one is written again, those before it are not predicted again.
    content = whole.read_bytes()
    again.write_bytes(b"".join(content.splitlines(keepends=True)[:6]) + b'{"id": 6, "pred')
    seen = []
    real = trained.family.encode

    def encode(examples: Any) -> Any:
        seen.extend(examples)
        return real(examples)

    if trained.kind != "completion":
        monkeypatch.setattr(trained.family, "encode", encode)
    assert predict_file(trained, source, again, columns={}, resume=True, watch=quiet) == 10
    assert again.read_bytes() == content and len(seen) in (0, 4)
    assert predict_file(trained, source, again, columns={}, resume=True, watch=quiet) == 10
    assert again.read_bytes() == content
    with pytest.raises(UsageError, match="again.jsonl exists.*--resume"):
        predict_file(trained, source, again, columns={}, resume=False, watch=quiet)


@pytest.mark.parametrize("name", MADE)
def test_targets_need_not_be_there(name: str, runs: Callable[[str], str], tmp_path: Path) -> None:
    learned = {"label", "tags", "summary", "completion", "es"}
    rows = [{key: value for key, value in row.items() if key not in learned} for row in MADE[name][2]()[:4]]
    source = write(tmp_path / "in.jsonl", rows)
    trained = opened(runs, name)
    assert predict_file(trained, source, tmp_path / "out.jsonl", columns={}, resume=False, watch=quiet) == 4
    with_targets = write(tmp_path / "full.jsonl", MADE[name][2]()[:4])
    predict_file(trained, with_targets, tmp_path / "full.out", columns={}, resume=False, watch=quiet)
    one, two = (lines(path) for path in (tmp_path / "out.jsonl", tmp_path / "full.out"))
    assert [row["prediction"] for row in one] == [row["prediction"] for row in two], "an answer in the file was read"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"txt": "a"}], "Did you mean 'txt'"),
        ([{"text": "a"}, {"review": "b"}], "line 2: no column 'text'"),
        ([{"text": ["a"]}], "not a string"),
        ([], "is empty"),
    ],
)
def test_bad_rows(rows: list[dict[str, Any]], said: str, runs: Callable[[str], str], tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(DataError, match=said):
            predict_file(opened(runs, "sentiment"), write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl",
                         columns={}, resume=False, watch=quiet)  # fmt: skip


def test_shapes_of_a_chat(runs: Callable[[str], str], tmp_path: Path) -> None:
    rows = [{"instruction": "one", "input": "two", "output": "x"}, {"instruction": "one\n\ntwo", "output": "y"}]
    out = tmp_path / "out.jsonl"
    trained = opened(runs, "generation")
    assert predict_file(trained, write(tmp_path / "a.jsonl", rows), out, columns={}, resume=False, watch=quiet) == 2
    assert lines(out)[0]["prediction"] == lines(out)[1]["prediction"]
    chats = [{"messages": [{"role": "user", "content": "one\n\ntwo"}]}]
    more = tmp_path / "more.jsonl"
    predict_file(trained, write(tmp_path / "b.jsonl", chats), more, columns={}, resume=False, watch=quiet)
    assert lines(more)[0]["prediction"] == lines(out)[0]["prediction"]


def test_beams_and_budgets_change_no_order(runs: Callable[[str], str]) -> None:
    trained = opened(runs, "summarization")
    texts = [row["document"] * (n % 4 + 1) for n, row in enumerate(pairs()[:9])]
    rows = [trained.family.encode([_source(text)])[0] for text in texts]
    wide, narrow = (
        generate_texts(trained.model, trained.family, rows, max_new_tokens=5, budget=budget) for budget in (8192, 1)
    )
    assert wide == narrow
    assert len(predict_texts(trained, texts, num_beams=2)) == 9


def test_sampling_holds_for_every_batch(runs: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    trained = opened(runs, "summarization")
    asked_for = []
    real = trained.model.generate

    def generate(**settings: Any) -> Any:
        asked_for.append(settings["do_sample"])
        return real(**settings)

    monkeypatch.setattr(trained.model, "generate", generate)
    rows = [trained.family.encode([_source("one two")])[0] for _ in range(3)]
    generate_texts(trained.model, trained.family, rows, max_new_tokens=2, budget=1, do_sample=True)
    assert asked_for == [True, True, True]


def _source(text: str) -> Any:
    from hflm.data.examples import Example

    return Example("", {"source": text})


def test_long_texts_are_split_between_sentences(runs: Callable[[str], str]) -> None:
    trained = open_trained(runs("summarization"), precision="fp32", max_new_tokens=3)
    object.__setattr__(trained.family, "max_source_length", 60)
    text = " ".join(f"One two three number {n}." for n in range(12))
    pieces = split_text(trained, text)
    assert len(pieces) > 1 and " ".join(pieces) == text
    (found, short) = predict_long(trained, [text, "One."])
    assert found["pieces"] == len(pieces) and short["pieces"] == 1
    # Also where there are no spaces between sentences.
    chinese = "“一二三。”四五六！" * 30
    assert "".join(split_text(trained, chinese)) == chinese


@pytest.mark.parametrize(
    ("name", "task", "said"),
    [
        ("sentiment", "summarization", "made for classification, and summarization needs seq2seq or completion"),
        ("summarization", "sentiment", "made for seq2seq, and sentiment needs classification"),
        ("summarization", "generation", "needs completion"),
        ("generation", "tagging", "needs tagging"),
    ],
)
def test_a_model_for_another_task(name: str, task: str, said: str, runs: Callable[[str], str]) -> None:
    with pytest.raises(ModelError, match=said):
        open_trained(runs(name), task=task)


def test_a_model_that_has_no_head(tiny: Tiny) -> None:
    with pytest.raises(ModelError, match="has no head for a task.*hflm finetune"):
        open_trained(tiny("bert"))


def score(trained: TrainedModel, data: Path, **more: Any) -> dict[str, Any]:
    options = {"metric": None, "columns": {}, "source_lang": None, "target_lang": None, **more}
    return evaluate(trained, [str(data)], watch=quiet, **options)


@pytest.mark.parametrize("name", MADE)
def test_scores_on_rows_of_ones_own(name: str, runs: Callable[[str], str], tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", MADE[name][2]()[:6])
    found = score(opened(runs, name), data)
    assert found["test_rows"] == 6 and len(found["predictions"]) == 6
    assert found["task"] == MADE[name][0] and found["test"]["scores"]


def test_languages_are_those_of_the_training(runs: Callable[[str], str], tmp_path: Path) -> None:
    turned = [{"es": row["es"], "en": row["en"]} for row in pairs(source="en", target="es")[:3]]
    found = score(opened(runs, "translation"), write(tmp_path / "rows.jsonl", turned))
    assert [row["source"] for row in found["predictions"]] == [row["en"] for row in turned]


@pytest.mark.parametrize(
    ("name", "row", "more", "said"),
    [
        ("sentiment", {"text": "a", "label": "odd"}, {}, "line 2: the model has no label 'odd'; it has .'bad', 'good'"),
        ("tagging", {"tokens": ["a"], "tags": ["B-ODD"]}, {}, "line 2: the model has no label 'B-ODD'"),
        ("tagging", {"tokens": ["a", "b"], "tags": ["O"]}, {}, "line 2: 2 words and 1 tags"),
        ("sentiment", moods()[0], {"metric": "rouge"}, "metric 'rouge' does not score classification"),
        ("summarization", pairs()[0], {"metric": "perplexity"}, "does not score seq2seq"),
        ("summarization", pairs()[0], {"metric": "rogue"}, "Did you mean 'rouge'"),
    ],
)
def test_rows_that_cannot_be_scored(
    name: str, row: dict[str, Any], more: dict[str, Any], said: str, runs: Callable[[str], str], tmp_path: Path
) -> None:
    data = write(tmp_path / "rows.jsonl", [MADE[name][2]()[0], row])
    with pytest.raises((DataError, UsageError), match=said):
        score(opened(runs, name), data, **more)


def test_the_commands(runs: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> str:
        capsys.readouterr()
        assert main(list(words)) == 0
        return capsys.readouterr().out

    rows = json.loads(said("classify", runs("sentiment"), "a merry film", "很差的电影", "--json"))
    assert [row["text"] for row in rows] == ["a merry film", "很差的电影"] and rows[0]["prediction"] in ("good", "bad")
    assert "%" in said("classify", runs("sentiment"), "a merry film")
    (tags,) = json.loads(said("classify", runs("tagging"), "Emma ran home", "--json"))
    assert len(tags["prediction"]) == 3
    assert len(said("classify", runs("tagging"), "Emma ran home").split()) == 3
    assert said("summarize", runs("summarization"), "one two", "--max-new-tokens", "4")
    assert said("translate", runs("translation"), "one two", "--max-new-tokens", "4", "--num-beams", "2")
    assert said("translate", runs("translation"), "one two", "--to", "es", "--max-new-tokens", "4")
    (tmp_path / "a.txt").write_text("one two\nthree\n")
    for command, run, count in (("classify", "sentiment", 2), ("summarize", "summarization", 1)):
        shown = json.loads(said(command, runs(run), "--input-file", str(tmp_path / "a.txt"), "--json"))
        assert [row["text"] for row in shown] == (["one two", "three"] if count == 2 else ["one two\nthree"])
    out = tmp_path / "out.jsonl"
    data = write(tmp_path / "rows.jsonl", moods()[:3])
    shown = json.loads(said("classify", runs("sentiment"), "--input-file", str(data), "--json"))
    assert [row["text"] for row in shown] == [row["text"] for row in moods()[:3]]
    assert "wrote 3 rows" in said("predict", runs("sentiment"), "--input-file", str(data), "-o", str(out))
    assert [row["text"] for row in lines(out)] == [row["text"] for row in moods()[:3]]
    scores = json.loads(said("evaluate", runs("sentiment"), "--data", str(data), "--json"))
    assert scores["test_rows"] == 3 and "predictions" not in scores


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["classify", "RUN:summarization", "a"], "made for seq2seq, not classification"),
        (["summarize", "RUN:sentiment", "a"], "made for classification"),
        (["summarize", "RUN:summarization", "a", "--long", "cat"], "--long is 'cat'"),
        (["predict", "RUN:sentiment", "--input-file", "none.jsonl", "-o", "out.jsonl"], "none.jsonl"),
        (["classify", "nowhere/at/all", "a"], "no model folder"),
        (["classify", "RUN:sentiment", " "], "A text is empty"),
        (["classify", "RUN:sentiment", "a", "--input-file", "a.txt"], "--input-file"),
        (["predict", "RUN:sentiment", "--input-file", "none.jsonl", "-o", "out.csv"], "Name a .jsonl file"),
        (["translate", "RUN:translation", "a", "--to", "fr"], "translates en to es, and cannot be told en to fr"),
    ],
)
def test_wrong_commands(
    words: list[str], said: str, runs: Callable[[str], str], capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    given = [runs(word[4:]) if word.startswith("RUN:") else word for word in words]
    capsys.readouterr()
    assert main(given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and said in line

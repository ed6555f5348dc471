"""What `hflm distill` refuses, in one line, before anything is trained."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hflm.cli.app import main
from hflm.errors import DataError, ModelError, UsageError
from tests.tiny import moods, pairs, write

Run = Callable[..., Path]
Tiny = Callable[[str], str]


def fails(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    code = main(["distill", *words])
    said = capsys.readouterr().err
    assert code == 2 and len(said.strip().splitlines()) == 1, said
    return said


def test_bad_input_is_one_line(
    teachers: dict[str, str],
    distill_rows: dict[str, str],
    tiny: Tiny,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, teacher = ["-o", str(tmp_path / "out"), "--max-steps", "2"], teachers["sentiment"]
    data = ["--data", distill_rows["moods"]]
    other = write(tmp_path / "other.jsonl", [{**row, "label": {"good": "fine", "bad": "bad"}[row["label"]]}
                                             for row in moods()])  # fmt: skip
    cases: dict[str, list[str]] = {
        "No task is named|No teacher is named": [*data, "--student-layers", "1"],
        "No student is named.*--student-layers": ["--teacher", teacher, *data],
        "Give one of them": ["--teacher", teacher, *data, "--student", teacher, "--student-layers", "1"],
        r"--student-layers 3: the teacher has 2": ["--teacher", teacher, *data, "--student-layers", "3"],
        "--student-layers is 0": ["--teacher", teacher, *data, "--student-layers", "0"],
        "--temperature is 0.0": ["--teacher", teacher, *data, "--student-layers", "1", "--temperature", "0"],
        "--soft-share is 1.5": ["--teacher", teacher, *data, "--student-layers", "1", "--soft-share", "1.5"],
        r"knows the labels \['bad', 'good'\], and the rows have 'fine'":
            ["--teacher", teacher, "--data", str(other), "--student-layers", "1"],
        "vocabulary of 450 tokens.*they differ first in token":
            ["--teacher", teacher, *data, "--student", tiny("gpt2")],
        "No model|is no model folder": ["--teacher", "./none", *data, "--student-layers", "1"],
        "does not say what it was trained for.*--task": ["--teacher", tiny("gpt2"), *data, "--student-layers", "1"],
        "has no head for a task|is made for":
            ["--teacher", tiny("bert"), "--task", "sentiment", *data, "--student-layers", "1"],
        "--lora-rank means nothing for distilling a language model":
            ["--teacher", teachers["pretraining"], "--student-layers", "1", "--lora-rank", "2"],
        "--temperature means nothing for a student that learns the teacher's texts":
            ["--teacher", teachers["summarization"], "--data", distill_rows["pairs"], "--student-layers", "1",
             "--temperature", "3"],
        "--documents means nothing": ["--teacher", teacher, *data, "--student-layers", "1", "--documents", "line"],
    }  # fmt: skip
    for pattern, words in cases.items():
        said = fails([*words, *out], capsys)
        assert re.search(pattern, said), (pattern, said)
        assert not (tmp_path / "out").exists(), "nothing is left behind"


def test_plain_text_has_nothing_to_answer(
    run_distill: Run, tiny: Tiny, tmp_path: Path, distill_rows: dict[str, str]
) -> None:
    plain = write(tmp_path / "plain.jsonl", [{"text": row["document"]} for row in pairs()])
    with pytest.raises(UsageError, match=r"plain\.jsonl.*nothing to answer.*--task pretraining"):
        run_distill("generation", teacher=tiny("llama"), data=[str(plain)])


def test_hidden_states_of_other_widths_are_refused(
    run_distill: Run, teachers: dict[str, str], distill_rows: dict[str, str], tiny: Tiny, tmp_path: Path
) -> None:
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig.from_pretrained(tiny("bert"), hidden_size=16)
    narrow = tmp_path / "narrow"
    shutil.copytree(tiny("bert"), narrow)
    BertForMaskedLM(config).save_pretrained(narrow)
    with pytest.raises(UsageError, match="student's have 16 numbers, those of the teacher 32"):
        run_distill("sentiment", model=str(narrow), data=[distill_rows["moods"]], hidden_weight=1.0)
    run = run_distill("sentiment", model=str(narrow), data=[distill_rows["moods"]], max_steps=2, eval_steps=2)
    assert (
        json.loads((run / "metrics.json").read_text())["distillation"]["student"]["parameters"]
        < json.loads((run / "metrics.json").read_text())["distillation"]["teacher"]["parameters"]
    )


def test_a_student_that_reads_other_tokens_is_refused(
    run_distill: Run, distill_rows: dict[str, str], tiny: Tiny, tmp_path: Path
) -> None:
    folder = tmp_path / "lower"
    shutil.copytree(tiny("bert"), folder)
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    content["normalizer"] = {"type": "Lowercase"}
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="and its teacher .* read .* as other tokens"):
        run_distill("sentiment", model=str(folder), data=[distill_rows["moods"]])


def test_a_teacher_is_asked_what_its_answer_replaces(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    from hflm.data.examples import Example
    from hflm.data.splits import Splits
    from hflm.distilling import answers

    turns = [{"role": role, "content": f"{role} {n}"} for n in range(2) for role in ("user", "assistant")]
    chats = [turns, turns[:3], turns[:1], [turns[1]]]
    examples = [Example(f"{n}", {role: said}) for n, said in enumerate(chats) for role in ("messages", "conversations")]
    seen: list[Any] = []

    def write(teacher: Any, asked: Any, **more: Any) -> list[str]:
        seen.extend(next(iter(example.values.values())) for example in asked)
        return [f"said {number}" for number in range(len(asked))]

    monkeypatch.setattr(answers, "write_answers", write)
    splits = Splits(train=examples, eval=[], test=[], columns={})
    teacher: Any = SimpleNamespace(kind="seq2seq")
    found = answers.with_answers(splits, teacher, cap=4, watch=lambda *words: None)
    for number, example in enumerate(found.train):
        (said,) = example.values.values()
        assert said[-1] == {"role": "assistant", "content": f"said {number}"} and said[:-1] == seen[number]
    # Before its last answer; where it has none, as it is.
    assert [seen[n] for n in (0, 2, 4, 6)] == [turns[:3], turns[:1], turns[:1], [turns[1]]]
    # A decoder has nothing to go on with where only it has spoken, which is said before it writes to the others.
    with pytest.raises(DataError, match="3: there is nothing to go on with"):
        answers.with_answers(splits, SimpleNamespace(kind="completion"), cap=4, watch=lambda *words: None)  # type: ignore[arg-type]


def test_a_teacher_writes_what_is_asked_or_what_it_says_of_itself(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hflm.data.examples import Example
    from hflm.distill_config import DistillConfig
    from hflm.distilling import answers
    from hflm.distilling.lessons import _cap
    from hflm.inference.trained import open_trained

    folder = shutil.copytree(tiny("gpt2"), tmp_path / "teacher")
    teacher, config = open_trained(str(folder)), DistillConfig(max_target_length=200)
    assert _cap(config, teacher) == (200, False), "it says nothing of itself"
    teacher.model.generation_config.max_new_tokens = 40
    teacher.model.generation_config.save_pretrained(folder)
    teacher = open_trained(str(folder))
    assert _cap(config, teacher) == (40, True) == _cap(DistillConfig(max_target_length=40), teacher)
    assert _cap(DistillConfig(max_target_length=30), teacher) == (30, False)
    # What the note advises is of use.
    monkeypatch.setenv("HFLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(answers, "write_rows", lambda *words, **more: ([{"prediction": "dos"}], 1))
    for cap, own in ((40, True), (30, False)):
        said: list[str] = []
        answers.write_answers(teacher, [Example("a", {"prompt": "one"})], cap=cap, own=own,
                              watch=lambda kind, content, said=said: said.append(str(content.get("text"))))  # fmt: skip
        assert f"cap of {cap} tokens" in said[-1] and ("--max-target-length" in said[-1]) is not own


def test_settings_of_a_distillation_are_those_of_a_finetuning() -> None:
    from hflm.distill_config import resolve_distill
    from hflm.recipe_files import load_task

    def of(task: str, file: dict[str, Any], **flags: Any) -> Any:
        flags = {"teacher": "t", "model": "m", **flags}
        return resolve_distill(load_task(task), name=task, file=file, flags=flags, where="a test")

    assert of("sentiment", {}, early_stopping=True).patience == 2
    assert of("sentiment", {"num_train_epochs": 3.0}).epochs == 3.0
    assert of("summarization", {}, lora_rank=8).learning_rate == 2e-4
    assert of("summarization", {}, lora_rank=8, learning_rate=1e-3).learning_rate == 1e-3
    told = of("sentiment", {"data": ["a.jsonl"]}, train_file="b.jsonl")
    assert told.train_file == "b.jsonl" and not told.data


@pytest.mark.parametrize(
    ("task", "flags", "said"),
    [
        ("sentiment", {"keep_layers": "first"}, "--keep-layers chooses layers of the teacher"),
        ("pretraining", {"test_fraction": 0.3}, "--test-fraction means nothing for distilling a language model"),
    ],
)
def test_what_does_nothing_is_refused(task: str, flags: dict[str, Any], said: str) -> None:
    from hflm.distill_config import resolve_distill
    from hflm.recipe_files import load_task

    with pytest.raises(UsageError, match=said):
        resolve_distill(
            load_task(task), name=task, file={}, flags={"teacher": "t", "model": "m", **flags}, where="a test"
        )


def test_on_raw_text_options_are_called_as_the_command_calls_them(
    run_distill: Run, text_file: Path, tmp_path: Path
) -> None:
    held, said = tmp_path / "held.txt", list[str]()
    held.write_text(" ".join(map(str, range(1, 31))) + "\n")
    with pytest.raises(DataError, match="--validation-file holds no text to evaluate on"):
        run_distill("pretraining", data=[str(text_file)], validation_file=str(held), eval_fraction=0.2, decay=0.2,
                    schedule="linear", watch=lambda kind, content: said.append(str(content.get("text"))))  # fmt: skip
    assert "cleaning of --validation-file: dropped 1: quality: few letters" in said
    assert [line.partition(": without")[0] for line in said if "without effect" in line] == [
        "--eval-fraction", "--decay"
    ]  # fmt: skip
    assert not any("--eval-data" in line for line in said)


def test_on_raw_text_what_does_nothing_is_said() -> None:
    from hflm.distill_config import DistillConfig, resolve_distill
    from hflm.distilling.lessons import as_pretraining
    from hflm.pretraining.assemble import without_effect
    from hflm.recipe_files import load_task

    def said(objective: str, **flags: Any) -> list[str]:
        flags = {"teacher": "t", "model": "m", **flags}
        config = resolve_distill(load_task("pretraining"), name="pretraining", file={}, flags=flags, where="a test")
        usual = as_pretraining(DistillConfig(), "m", objective)
        return without_effect(as_pretraining(config, "m", objective), usual)

    assert said("clm") == said("mlm") == said("mlm", mlm_probability=0.3) == said("clm", eval_fraction=0.2) == []
    assert said("clm", mlm_probability=0.3) == ["--mlm-probability: without effect, as every next token is predicted"]
    assert said("mlm", eval_fraction=0.2, validation_file="v.txt") == [
        "--eval-fraction: without effect, as --validation-file is evaluated on"
    ]


def test_a_student_on_the_command_line_puts_out_the_one_of_a_file() -> None:
    from hflm.distill_config import resolve_distill
    from hflm.recipe_files import load_task

    one, other = {"model": "small"}, {"student_layers": 2}
    for file, flags in ((one, other), (other, one)):
        found = resolve_distill(load_task("sentiment"), name="sentiment", file={"teacher": "t", **file}, flags=flags,
                                where="a test")  # fmt: skip
        assert (found.model, found.student_layers) == (flags.get("model"), flags.get("student_layers"))

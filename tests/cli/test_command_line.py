"""What a line says twice or in the wrong place is refused before anything is read; what a file outvotes is told."""

from pathlib import Path
from typing import Any, NoReturn

import pytest

from hflm.cli.app import load, main
from hflm.errors import UsageError


def parsed(line: str) -> dict[str, Any]:
    """Parse a command line, and run nothing."""
    name, *words = line.split()
    command: Any = load(name)
    if name == "data":
        command = command.commands[words.pop(0)]
    return dict(command.make_context(name, words).params)


@pytest.mark.parametrize(
    "line",
    [
        "pretrain train.txt --eval-data held/a.txt held/b.txt held/c.txt",
        "pretrain --eval-data held/a.txt held/b.txt train.txt",
        "pretrain --eval-data held/a.txt held/b.txt held/c.txt",
        "pretrain --config settings.yaml --eval-data held/a.txt held/b.txt",
        "pretrain --config settings.yaml --eval-data held/a.txt texts/2b.md",
        "pretrain train.txt --eval-data held/1/a.txt held/2/a.txt",
        "finetune --task tagging --data train.jsonl --validation-file held/a.jsonl held/b.jsonl",
        "finetune --task tagging --data train.jsonl --eval-file held/a.jsonl held/b.jsonl",
        "finetune --task tagging --train-file train.jsonl --test-file held/a.jsonl held/b.jsonl",
        "plan --task tagging --data train.jsonl --validation-file held/a.jsonl held/b.jsonl",
        "distill --teacher mood train.jsonl --test-file held/a.jsonl held/b.jsonl",
        "data check test.jsonl --task tagging --against train-1.jsonl train-2.jsonl",
        "data check --against train-1.jsonl train-2.jsonl test.jsonl",
    ],
)
def test_files_of_an_option_are_not_taken_for_data(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text("data: train.txt\n")
    with pytest.raises(UsageError, match="takes one file, .*[1a].*: .*[2b].* behind it .* the pattern"):
        parsed(line)


@pytest.mark.parametrize(
    ("line", "data"),
    [
        ("pretrain --eval-data held.txt train.txt", ["train.txt"]),
        ("pretrain --eval-data held.txt texts more", ["texts", "more"]),
        ("pretrain --config numbers.yaml --eval-data held.txt train.txt", ["train.txt"]),
        ("pretrain train.txt --eval-data held/a.txt --eval-data held/b.txt", ["train.txt"]),
        ("pretrain train.txt --eval-data=held/a.txt more.txt", ["train.txt", "more.txt"]),
        ("pretrain --data a.txt b.txt --eval-data held.txt", ["b.txt"]),
        ("finetune --validation-file held.jsonl --test-file test.jsonl train.jsonl", ["train.jsonl"]),
        ("data check --against train.jsonl test.jsonl", ["test.jsonl"]),
    ],
)
def test_a_word_behind_a_file_is_the_data_where_nothing_else_is(
    line: str, data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("numbers.yaml").write_text("learning_rate: 1e-3\n")
    found = parsed(line)
    assert [*(found.get("data_words") or found.get("files"))] == data


@pytest.mark.parametrize(
    "words",
    [
        "--lr 1e-3 --learning-rate 2e-3",
        "--warmup-ratio 0.1 --warmup-steps 0",
        "--eval-file=a.jsonl --validation-file b",
    ],
)
def test_two_names_of_an_option_have_one_value(words: str) -> None:
    with pytest.raises(UsageError, match="are one setting. Keep one"):
        parsed(f"finetune {words}")


def test_the_same_value_twice_and_one_name_twice_are_taken() -> None:
    assert parsed("finetune --lr 1e-3 --learning-rate 0.001")["learning_rate"] == 1e-3
    assert parsed("finetune --lr 1e-3 --lr 2e-3")["learning_rate"] == 2e-3
    assert parsed("finetune --warmup-steps 0 --warmup-ratio 0.1")["warmup"] == 0.1
    assert parsed("finetune --learning-rate 2e-3 --lr 1e-3 --lr 2e-3")["learning_rate"] == 2e-3
    # Its bare word is the model.
    assert str(parsed("stress --validation-file held.jsonl mood --data rows.jsonl")["model"]) == "mood"
    assert parsed("launch -n 2 -- mine.py --eval-data a b")["words"] == ["mine.py", "--eval-data", "a", "b"]


OF_SCRATCH = "learning_rate: 4e-3\noptimizer: muon\nschedule: trapezoid\n"
OF_A_TASK = "model: a\nlearning_rate: 1e-4\noptimizer: adamw\nschedule: linear\n"
BY_MODEL = "learning rate 0.0001 stays as it.yaml has it; with --model it goes by the model"


@pytest.mark.parametrize(
    ("line", "file", "told"),
    [
        (
            f"{job} --model b", f"recipe: pretraining\n{OF_SCRATCH}",
            ["learning rate 0.004 stays as it.yaml has it; with --model it is usually 0.0001"],
        )
        for job in ("pretrain", "plan")
    ]
    + [(f"{job} --task sentiment --model b", OF_A_TASK, [BY_MODEL]) for job in ("finetune", "plan")]
    + [
        ("distill --task sentiment --student b", f"teacher: t\n{OF_A_TASK}", [BY_MODEL]),
        (
            "finetune --task sentiment --lora-rank 8", OF_A_TASK,
            ["learning rate 0.0001 stays as it.yaml has it; with --lora-rank it is usually 0.0002"],
        ),
        (
            "finetune --task sentiment --arch bert", OF_A_TASK,
            [
                "learning rate 0.0001 stays as it.yaml has it; with --arch it is usually 0.002",
                "optimizer adamw stays as it.yaml has it; with --arch it is usually muon",
                "schedule linear stays as it.yaml has it; with --arch it is usually trapezoid",
            ],
        ),
        (
            "finetune --task sentiment --model b --lora-rank 8", OF_A_TASK,
            ["learning rate 0.0001 stays as it.yaml has it; with --model and --lora-rank it is usually 0.0002"],
        ),
        ("finetune --task sentiment --lora-rank 16", f"{OF_A_TASK}lora_rank: 8\n", []),
        ("pretrain --model b", f"model: a\n{OF_SCRATCH}", []),
        ("finetune --task sentiment --model a", OF_A_TASK, []),
        ("finetune --task sentiment --model b --lr 1e-5", OF_A_TASK, []),
        ("finetune --task sentiment --seed 2", OF_A_TASK, []),
        ("pretrain --arch bert", OF_SCRATCH, []),
    ],
)  # fmt: skip
def test_numbers_of_a_file_that_stay_beside_a_flag_are_told(
    line: str, file: str, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def ended(*_: object, **__: object) -> NoReturn:
        raise UsageError("That is enough.", fix="Stop here.")

    for job in ("pretrain.pretrain", "finetune.finetune", "distill.distill", "plan.plan",
                "plan_pretraining.plan_pretraining"):  # fmt: skip
        monkeypatch.setattr(f"hflm.{job}", ended)
    monkeypatch.chdir(tmp_path)
    Path("it.yaml").write_text(file)
    assert main([*line.split(), "--config", "it.yaml"]) == 2
    shown = capsys.readouterr()
    assert [text for text in shown.out.splitlines() if " stays as " in text] == told
    assert "That is enough." in shown.err

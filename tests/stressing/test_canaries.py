"""Planted secrets: how they are made and hidden, and how their rank becomes an exposure."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hflm.cli.app import main
from hflm.errors import DataError, UsageError
from hflm.inference.trained import open_trained
from hflm.stressing import canaries as module
from hflm.stressing.canaries import FORM, Canary, expose, make_canaries, plant, read_canaries, sequence_losses


def test_canaries_are_made_by_the_seed_and_planted_as_often_as_asked() -> None:
    made = make_canaries(repeats=[1, 5], controls=2, form=FORM, seed=1)
    assert made == make_canaries(repeats=[1, 5], controls=2, form=FORM, seed=1)
    assert [canary.repeats for canary in made] == [1, 5, 0, 0] and len({canary.text for canary in made}) == 4
    texts = [f"Text {n}." if n % 3 else "" for n in range(30)]
    planted = plant(texts, made, seed=1)
    for canary in made:
        assert sum(canary.text in text for text in planted) == canary.repeats
    assert all(new.startswith(old) and bool(new) == bool(old) for old, new in zip(texts, planted, strict=True))


def test_what_cannot_be_planted_is_refused() -> None:
    with pytest.raises(UsageError, match="no form|--form"):
        make_canaries(repeats=[1], controls=0, form="a secret", seed=0)
    with pytest.raises(UsageError, match="9 repeats .* do not fit 2 texts"):
        plant(["a", "b"], [Canary("x {secret}", "1", 9)], seed=0)


def test_the_rank_among_others_is_the_exposure(monkeypatch: pytest.MonkeyPatch) -> None:
    def losses(trained: Any, texts: list[str]) -> Any:
        assert len(set(texts)) == 128
        ahead = 0 if texts[0].startswith("first") else 31
        return np.array([5.0, *[4.0] * ahead, *[6.0] * (127 - ahead)])

    monkeypatch.setattr(module, "sequence_losses", losses)
    rows = [Canary("first {secret}", "1 2 3", 3), Canary("other {secret}", "1 2 3", 1), Canary("none {secret}", "1", 0)]
    found = expose(None, rows, others=127, seed=0)  # type: ignore[arg-type]
    assert [row["exposure"] for row in found["canaries"]] == [7.0, 2.0, 2.0]
    assert (found["planted"], found["found"], found["controls"], found["controls_found"]) == (2, 1, 1, 0)


def test_a_tie_is_not_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "sequence_losses", lambda trained, texts: np.zeros(len(texts)))
    found = expose(None, [Canary("a {secret}", "1", 1)], others=127, seed=0)  # type: ignore[arg-type]
    assert found["canaries"][0]["exposure"] == 0.0 and found["found"] == 0


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_losses_are_those_of_the_text_alone(lively: Any, kind: str) -> None:
    import torch

    trained = open_trained(lively(kind), precision="fp32")
    texts = ["one two", "a merry film, number 3.", "書"]
    found = sequence_losses(trained, texts)
    tokenizer = trained.family.tokenizer
    for text, loss in zip(texts, found, strict=True):
        ids = tokenizer(f" {text}")["input_ids"]
        ids = torch.tensor([ids if ids[0] == tokenizer.bos_token_id else [tokenizer.eos_token_id, *ids]])
        with torch.no_grad():
            one = trained.model(input_ids=ids, labels=ids).loss * (ids.size(1) - 1)
        assert loss == pytest.approx(float(one), rel=1e-4)


def test_few_texts_are_read_at_once_where_the_vocabulary_is_large(lively: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = open_trained(lively("gpt2"), precision="fp32")
    texts = [f"a merry film, number {n}." for n in range(12)]
    whole, sizes = sequence_losses(trained, texts), list[int]()
    trained.model.register_forward_pre_hook(
        lambda module, words, named: sizes.append(named["input_ids"].numel()), with_kwargs=True
    )
    monkeypatch.setattr(module, "LEAST", 1)
    monkeypatch.setattr(module, "LOGITS", 60 * trained.model.config.vocab_size)
    assert sequence_losses(trained, texts) == pytest.approx(whole, rel=1e-4)
    assert len(sizes) > 1 and max(sizes) <= 60


def test_the_command_plants_text_and_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "book.txt"
    text.write_text("".join(f"Line {n}.\n" for n in range(80)), encoding="utf-8")
    assert main(["data", "canaries", str(text), "-o", str(tmp_path / "p.txt"), "--repeats", "2,3"]) == 0
    planted = (tmp_path / "p.txt").read_text(encoding="utf-8")
    listed = read_canaries(tmp_path / "p.canaries.jsonl")
    assert [planted.count(canary.text) for canary in listed] == [2, 3, 0, 0, 0, 0]
    assert planted.count("\n") == 80 and "5 sentences with a secret" in capsys.readouterr().out
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": f"行 {n}", "id": n}) + "\n" for n in range(9)), encoding="utf-8")
    form = "{name}的密码是{secret}。"
    assert main(["data", "canaries", str(rows), "-o", str(tmp_path / "q.jsonl"), "--repeats", "4", "--form", form]) == 0
    lines = [json.loads(line) for line in (tmp_path / "q.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in lines] == list(range(9)) and sum("的密码是" in line["text"] for line in lines) == 4


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--repeats", "a"], "--repeats is 'a'"),
        (["--repeats", "0"], "--repeats is '0'"),
        (["--repeats", "99"], "do not fit"),
        (["--repeats", ",".join(["1"] * 4093)], "4,097 canaries need 4,097 names, and there are 4,096"),
        (["--controls", "5000"], "--controls"),
        (["--form", "none"], "--form is 'none'"),
        (["-o", "taken.txt"], "taken.txt exists"),
        (["-o", "p.csv"], "cannot be planted"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("book.txt", "taken.txt"):
        (tmp_path / name).write_text("A line.\nAnother.\n")
    assert main(["data", "canaries", "book.txt", "-o", "p.txt", *words]) == 2
    told = capsys.readouterr().err
    assert problem in told and told.count("\n") == 1 and not (tmp_path / "p.txt").exists()


@pytest.mark.parametrize("fails", ["write_json_lines", "write_text"])
def test_no_secret_is_planted_without_its_list(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, planted, listed = (tmp_path / name for name in ("book.txt", "p.txt", "p.canaries.jsonl"))
    text.write_text("A line.\nAnother.\n")

    def full(path: Path, content: Any) -> None:
        # Killed at this moment, it would leave no text.
        assert not planted.exists() and listed.exists() is (fails == "write_text")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(f"hflm.plant_canaries.{fails}", full)
    assert main(["data", "canaries", str(text), "-o", str(planted), "--repeats", "1"]) == 5
    assert capsys.readouterr().err.startswith("error: The disk is full")
    assert not planted.exists() and not listed.exists()


def test_what_is_no_canary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    for form, times, problem in (("x", 1, "is no canary"), ("x {secret}", 0, "no canary that was planted")):
        row = {"form": form, "secret": "1", "repeats": times}
        path.write_text(json.dumps(row) + "\n")
        with pytest.raises(DataError, match=problem):
            read_canaries(path)


@pytest.mark.slow
def test_what_was_planted_is_found_and_the_controls_are_not(
    text_file: Path, run_pretrain: Any, tmp_path: Path
) -> None:  # fmt: skip
    made = make_canaries(repeats=[40, 40], controls=4, form=FORM, seed=2)
    lines = plant(text_file.read_text(encoding="utf-8").splitlines(), made, seed=2)
    path = tmp_path / "planted.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    run = run_pretrain(data=[str(path)], objective="clm", arch="llama", max_steps=600, max_length=64,
                       learning_rate=3e-3, eval_steps=600, save_steps=600)  # fmt: skip
    found = expose(open_trained(str(run), precision="fp32"), made, others=255, seed=0)
    assert found["found"] == 2 and found["controls_found"] <= 1

"""Bad input costs a line and no time: exit 2, what was found, a remedy, nothing left behind."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hflm.cli.app import main

TINY = ["--layers", "2", "--width", "64", "--heads", "2", "--max-steps", "2", "--max-length", "32"]
Make = Callable[[Path], list[str]]


def file(name: str, content: bytes, *flags: str) -> Make:
    """A case: one file with this content, and these flags."""

    def make(folder: Path) -> list[str]:
        (folder / name).write_bytes(content)
        return [str(folder / name), *flags]

    return make


def with_text(*flags: str) -> Make:
    """A case: good text, and these flags."""
    return file("good.txt", ("\n".join(f"Sentence number {n} of a plain text." for n in range(400))).encode(), *flags)


def yaml(content: str) -> Make:
    """A case: good text and a settings file."""
    return yaml_bytes(content.encode())


def yaml_bytes(content: bytes) -> Make:
    """The same with a file of these bytes."""

    def make(folder: Path) -> list[str]:
        (folder / "settings.yaml").write_bytes(content)
        return [*with_text()(folder), "--config", str(folder / "settings.yaml")]

    return make


def folder_with(*names: str) -> Make:
    """A case: a folder with empty files of these names."""

    def make(folder: Path) -> list[str]:
        (folder / "data").mkdir()
        for name in names:
            (folder / "data" / name).touch()
        return [str(folder / "data")]

    return make


def misspelt(folder: Path) -> list[str]:
    with_text()(folder)
    return [str(folder / "god.txt")]


# name: (words, what the message says was found, the remedy that it names)
CASES: dict[str, tuple[Make, str, str]] = {
    "no such file": (misspelt, r"No such file: .*god\.txt", r"Did you mean .*good\.txt\?"),
    "empty file": (file("empty.txt", b""), r"empty\.txt is empty", "Name a file with text"),
    "empty gzip": (file("a.txt.gz", b""), r"a\.txt\.gz is (empty|cut off)", "text in it|gzip -t"),
    "blank file": (file("blank.txt", b"\n \n\n"), "holds no text", "Check"),
    "empty folder": (folder_with(), "has no files", r"\.txt"),
    "folder with nothing readable": (folder_with("a.png", "b.doc"), "nothing readable; found .*png", r"\.txt"),
    "folder with empty files": (folder_with("a.txt"), "only empty files: a.txt", r"\.txt"),
    "unknown extension": (file("a.xyz", b"text"), r"extension \.xyz", r"\.txt"),
    "invalid UTF-8": (file("bad.txt", b"one\ntwo\nth\xffree\n" * 50), r"bad\.txt, line 3\b", "(?i)utf-8"),
    "binary file": (file("bad.txt", bytes(range(256)) * 20), r"bad\.txt", "."),
    "damaged gzip": (file("a.txt.gz", b"\x1f\x8b\x08\x00not really"), "cut off or damaged gzip|not gzip", "gzip"),
    "broken JSON": (file("a.jsonl", b'{"text": "one"}\n{"text": \n'), r"a\.jsonl, line 2\b", "."),
    "no text column": (file("a.csv", b"id,body\n1,one\n"), "body", "--text-column"),
    "unknown text column": (
        file("a.csv", b"id,text\n1,one\n", "--text-column", "txt"), "'?txt'?", "text"
    ),
    "short text": (file("short.txt", b"Too short a text to train on, by far."), r"\d+ tokens", "Give more text"),
    "large vocabulary": (with_text("--vocab-size", "20000"), "vocabulary of 20000", r"--vocab-size \d+"),
    "heads that do not divide": (with_text("--heads", "7"), "7 heads do not divide a width of 64", "--heads 8"),
    "unknown option": (with_text("--learnign-rate", "1"), "--learnign-rate", "--learning-rate"),
    "unknown YAML key": (yaml("batchsize: 8\n"), "Unknown setting 'batchsize' in .*yaml", "Did you mean 'batch_size'"),
    "wrong YAML type": (yaml("batch_size: many\n"), "'batch_size' in .*yaml is 'many'", "a whole number"),
    "YAML true for a number": (yaml("batch_size: true\n"), "is True", "a whole number"),
    "YAML number for a recipe": (yaml("recipe: 3\n"), "'recipe' in .*yaml is 3", "must be text"),
    "YAML without a recipe": (yaml("recipe:\n"), "'recipe' in .*yaml is None", "must be text"),
    "not YAML": (yaml("a: [1\n"), "is not YAML", "name: value"),
    "YAML list": (yaml("- a\n"), "holds no settings", "name: value"),
    "no settings file": (with_text("--config", "none.yaml"), "Cannot read none.yaml", "--config"),
    "unknown transformers setting": (yaml("training_arguments: {nonsense: 1}\n"), "'nonsense'", "training_arguments"),
    "hub id offline": (lambda _: ["nobody/nothing"], "'nobody/nothing' is no file here", "name a file"),
    "hub model offline": (with_text("--model", "nobody/nothing"), "No model 'nobody/nothing'", "At hand"),
    "hub tokenizer offline": (with_text("--tokenizer", "nobody/nothing"), "'nobody/nothing'", "Name a folder"),
    "two lengths": (with_text("--budget", "1m"), "--budget and --max-steps contradict", "one of them"),
    "two lengths again": (with_text("--epochs", "1"), "--max-steps and --epochs contradict", "one of them"),
    "bad budget": (with_text("--budget", "soon", "--no-length"), "--budget 'soon'", "10m"),
    "an empty model": (with_text("--model", ""), "--model is empty", "leave it away"),
    "an empty tokenizer": (with_text("--tokenizer", ""), "--tokenizer is empty", "leave it away"),
    "a setting twice": (yaml("seed: 1\nlr: 1\nseed: 2\n"), "settings.yaml, line 3: 'seed' .* line 1 too", "Keep"),
    "a setting twice, otherwise spelt": (
        yaml("save-steps: 1\nsave_steps: 2\n"), "line 2: 'save_steps' stands in line 1 too", "Keep"
    ),
    "two names of a setting": (
        yaml("lr: 1e-3\nlearning_rate: 2e-3\n"), "'lr' is '1e-3' and 'learning_rate' is '2e-3' in .*yaml", "Keep one"
    ),
    "two names of an option": (with_text("--lr", "1", "--learning-rate", "2"), "--lr 1 and --learning-rate 2", "Keep"),
    "a day that is none": (yaml("license: 2024-13-45\n"), "settings.yaml is not YAML", "name: value"),
    "a glob behind an option": (with_text("--eval-data", "a.txt", "b.txt"), "a.txt: b.txt behind it", "Repeat --eval"),
    "a recipe beside another one's file": (
        lambda folder: [*yaml("recipe: pretraining\nlr: 1e-3\n")(folder), "--recipe", "classic"],
        r"--recipe is classic, and .*settings\.yaml is made for pretraining", "--recipe or --config"
    ),
    "a file of PowerShell": (yaml_bytes("seed: 1\n".encode("utf-16")), "is not UTF-8: byte 0xff", "so"),
    "a recipe of a task": (with_text("--recipe", "sentiment"), "sentiment is a recipe of a task", "finetune --task"),
    "unknown architecture": (with_text("--arch", "brt"), "no architecture 'brt'", "Did you mean 'bert'"),
    "encoder with clm": (with_text("--arch", "bert", "--objective", "clm"), "bert is an encoder", "--arch llama"),
    "decoder with mlm": (with_text("--arch", "llama"), "llama is a decoder", "--objective clm"),
    "unknown objective": (with_text("--objective", "mln"), "'mln'", "Did you mean 'mlm'"),
    "unknown filter": (with_text("--clean", "exat"), "exat", "exact"),
    "unknown recipe": (with_text("--recipe", "clasic"), "no recipe 'clasic'", "Did you mean 'classic'"),
    "unknown tracker": (with_text("--report-to", "paper"), "'paper' is unknown", "tensorboard"),
    "tracker not installed": (with_text("--report-to", "trackio"), "not installed", "pip install trackio"),
    "model and arch": (with_text("--model", "x", "--arch", "bert"), "--model .* --arch", "one of them"),
    "negative learning rate": (with_text("--lr", "-1"), "--learning-rate is -1", "0 or more"),
    "learning rate nan": (with_text("--lr", "nan"), "--learning-rate is nan", "."),
    "learning rate infinite": (with_text("--lr", "inf"), "--learning-rate is inf", "."),
    "no steps": (with_text("--max-steps", "0"), "--max-steps is 0", "more than 0"),
    "mask nothing": (with_text("--mlm-probability", "0"), "--mlm-probability is 0", "share"),
    "mask more than all": (with_text("--mlm-probability", "15"), "--mlm-probability is 15", "share"),
    "length without room": (with_text("--max-length", "2"), "--max-length is 2", "8"),
    "no length": (with_text("--max-length", "0"), "--max-length is 0", "more than 0"),
    "half a step": (with_text("--max-steps", "1.5"), "--max-steps.* valid integer", "--help"),
    "uneven split": (with_text("--batch-size", "8", "--micro-batch-size", "3"), "no multiple", "--micro-batch-size 2"),
    "fp16 on a CPU": (with_text("--precision", "fp16"), "needs a CUDA device|fp16", "bf16"),
    "resume of nothing": (with_text("--resume"), "out is no run folder", "hflm runs"),
    "wrong type for transformers": (
        yaml("training_arguments: {dataloader_num_workers: many}\n"), "'dataloader_num_workers' is 'many'", "be int"
    ),
    "bool for a number of transformers": (
        yaml("training_arguments: {dataloader_num_workers: true}\n"), "is True", "be int"
    ),
    "bad value for transformers": (yaml("training_arguments: {debug: nonsense}\n"), "training_arguments: ", "values"),
    "hflm's own setting past hflm": (
        yaml("training_arguments: {max_steps: abc, optim: 3}\n"), "sets 'max_steps'", "Set --max-steps"
    ),
    "hflm's own setting under another name": (
        yaml("training_arguments: {lr_scheduler_type: cosine}\n"), "'lr_scheduler_type'", "Set --schedule"
    ),
    "a setting that would change nothing": (
        yaml("training_arguments: {adam_beta2: 0.9}\n"), "'adam_beta2', which hflm has no use for", "Leave it away"
    ),
    "budget without room": (
        with_text("--budget", "0.01s", "--no-length"), r"--budget 0.01s holds 0 steps of \d", "--threads"
    ),
}  # fmt: skip


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command line that must be refused, and return its one line."""
    capsys.readouterr()
    begin = time.monotonic()
    code = main(words)
    took = time.monotonic() - begin
    err = capsys.readouterr().err
    assert code == 2, err
    (line,) = err.splitlines()
    assert line.startswith("error: ") and "Traceback" not in line
    assert took < 10
    return line


@pytest.mark.promise("D1")
@pytest.mark.parametrize("case", CASES)
def test_refused_with_one_line(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, found, remedy = CASES[case]
    if case == "fp16 on a CPU":
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    if case == "tracker not installed":
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    given = make(tmp_path)
    own = {word for word in given if word.startswith("--")}
    if "--no-length" in own:
        given.remove("--no-length")
        own.add("--max-steps")
    usual = [w for n in range(0, len(TINY), 2) if TINY[n] not in own for w in TINY[n : n + 2]]
    line = refused(["pretrain", "-o", "out", *given, *usual], capsys)
    assert re.search(found, line), line
    assert re.search(remedy, line), line
    assert not (tmp_path / "out").exists()


def test_a_file_where_the_output_should_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = with_text()(tmp_path)
    line = refused(["pretrain", *words, "-o", words[0]], capsys)
    assert "is a file" in line and "--output-dir" in line


def test_a_folder_that_holds_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("dear")
    for more in ([], ["--overwrite"]):
        line = refused(["pretrain", *with_text()(tmp_path), "-o", str(tmp_path / "out"), *more], capsys)
        assert "holds files that no run wrote" in line
        assert (tmp_path / "out" / "mine").read_text() == "dear"


def test_an_earlier_run(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(finished.rglob("*"))
    line = refused(["pretrain", *with_text()(tmp_path), "-o", str(finished)], capsys)
    assert "is not empty" in line and "--resume" in line and "--overwrite" in line
    # Refused for another reason, an earlier run is not replaced either.
    refused(["pretrain", str(tmp_path / "none.txt"), "-o", str(finished), "--overwrite"], capsys)
    assert before == sorted(finished.rglob("*"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_the_right_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    line = refused(["pretrain", *with_text()(tmp_path), "-o", str(tmp_path / "closed" / "out")], capsys)
    assert "Cannot write to" in line and "--output-dir" in line


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    line = refused(["pretrain", *with_text()(tmp_path), "-o", str(tmp_path / "out")], capsys)
    assert "Cannot write to" in line and "--output-dir" in line


def test_resuming_what_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such folder" in refused(["pretrain", "-o", str(tmp_path / "none"), "--resume"], capsys)
    assert "no config.yaml" in refused(["pretrain", "-o", str(tmp_path), "--resume"], capsys)
    assert "--output-dir RUN" in refused(["pretrain", "--resume"], capsys)


@pytest.mark.parametrize("job", ["pretrain", "finetune", "distill"])
def test_options_that_would_do_nothing(job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [job, "-o", str(tmp_path / "out")]
    assert "--overwrite replaces it. Give one" in refused([*words, "--resume", "--overwrite"], capsys)
    assert "a run that goes on. Pass --resume" in refused([*words, "--allow-change"], capsys)


def test_a_name_that_is_no_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(["pretrain", str(tmp_path / "none\udcff.txt"), "-o", str(tmp_path / "out")], capsys)
    assert "none\\udcff.txt" in line


@pytest.mark.parametrize("content", ["a: 1\n", "seed: 1\nbatch_size: 8\n", "- a\n", ": {\n", "\udce9"])
def test_a_folder_of_another_program_is_not_emptied(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Others call their settings config.yaml too."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.yaml").write_bytes(content.encode(errors="surrogateescape"))
    (out / "mine").write_text("dear")
    line = refused(["pretrain", *with_text()(tmp_path), "-o", str(out), "--overwrite"], capsys)
    assert "holds files that no run wrote" in line and (out / "mine").read_text() == "dear"
    (out / "config.yaml").unlink()
    (out / "mine").rename(out / "mine.part")
    refused(["pretrain", *with_text()(tmp_path), "-o", str(out)], capsys)
    assert (out / "mine.part").read_text() == "dear"

"""`hflm generate` as a command: what it prints, and what it refuses."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hflm.cli.app import main

Tiny = Callable[[str], str]


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str, stdin: str = "") -> Any:
    monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    capsys.readouterr()
    assert main(["generate", *words]) == 0
    return capsys.readouterr()


def test_the_command(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ("--model", tiny("llama"), "--max-new-tokens", "5")
    plain = run(monkeypatch, capsys, "one", *model)
    assert plain.out.strip() and "by its chat template" in plain.err and "tokens/s" in plain.err
    assert run(monkeypatch, capsys, *model, stdin="one\n").out == plain.out
    assert "goes on with the text" in run(monkeypatch, capsys, "one", *model, "--no-chat").err
    found = json.loads(run(monkeypatch, capsys, "one", *model, "--json", "-n", "2", "--seed", "4", "--explain").out)
    assert [answer["tokens"] for answer in found["answers"]] == [5, 5] and found["seed"] == 4
    assert len(found["answers"][0]["candidates"][0]["candidates"]) == 5 and found["chat_template"] is True
    assert "%" in run(monkeypatch, capsys, "one", *model, "--explain").out
    assert "seed 4" in run(monkeypatch, capsys, "one", *model, "--temperature", "1", "--seed", "4").err
    assert run(monkeypatch, capsys, "one", *model, "--num-beams", "2").out.strip()
    started = run(monkeypatch, capsys, "one", *model, "--assistant-prefix", "So:", "--system", "Be brief").out
    assert started.startswith("So:")
    source, target = tmp_path / "a file.txt", tmp_path / "out.jsonl"
    source.write_text("one\n二\n", encoding="utf-8")
    assert (
        "wrote 2 rows"
        in run(monkeypatch, capsys, *model, "--input-file", str(source), "--output-file", str(target)).out
    )
    rows = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == ["one", "二"] and rows[0]["generated"] == plain.out.rstrip("\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([" "], "The prompt is empty"),
        (["a", "--temperature", "-1"], "--temperature is -1.0"),
        (["a", "--temperature", "nan"], "--temperature is nan"),
        (["a", "--top-p", "0"], "--top-p is 0.0"),
        (["a", "--top-k", "-2"], "--top-k is -2"),
        (["a", "--min-p", "2"], "--min-p is 2.0"),
        (["a", "--repetition-penalty", "0"], "--repetition-penalty is 0.0"),
        (["a", "--max-new-tokens", "0"], "--max-new-tokens is 0"),
        (["a", "--truncate", "up"], "--truncate is 'up'"),
        (["a", "--n", "2", "--temperature", "0"], "greedily all answers are the same"),
        (["a", "--temperature", "0", "--top-k", "5"], "--top-k says which ones to draw from"),
        (["a", "--temperature", "0", "--top-p", "0.9"], "--top-p says which ones to draw from"),
        (["a", "--temperature", "0", "--min-p", "0.1"], "--min-p says which ones to draw from"),
        (["a", "--n", "0"], "--n"),
        (["a", "--quantize", "int3"], "--quantize is 'int3'"),
        (["a", "--num-beams", "2", "--n", "2"], "--num-beams goes with a single prompt"),
        (["a", "--num-beams", "2", "--json"], "--num-beams goes with a single prompt"),
        (["a", "--num-beams", "2", "--temperature", "0.8"], "--num-beams goes with a single prompt"),
        (["a", "--num-beams", "2", "--repetition-penalty", "1.2"], "--num-beams goes with a single prompt"),
        (["--input-file", "x.txt", "--output-file", "y", "--json"], "--json and --explain are for a single prompt"),
        (["a", "--json-schema", "x.json", "--assistant-prefix", "b"], "and so does --assistant-prefix"),
        (["a", "--input-file", "x.txt", "--output-file", "y"], "a prompt and an --input-file"),
        (["--input-file", "x.txt"], "belong together"),
        (["--input-file", "none.txt", "--output-file", "y.jsonl"], "none.txt"),
        (["--input-file", "empty.txt", "--output-file", "y.jsonl"], "empty.txt"),
        (["a", "--no-chat", "--system", "b"], "--system needs a chat"),
        (["a", "--system", "caf\udce9"], "is not UTF-8: byte 0xe9"),
        (["a", "--assistant-prefix", "caf\udce9"], "is not UTF-8: byte 0xe9"),
        (["a", "--stop", "b", "--stop", "caf\udce9"], "is not UTF-8: byte 0xe9"),
        (["a", "--json-schema", "none.json"], "none.json cannot be read"),
        (["a " * 900], "tokens, and"),
        (["a", "--model", "TINY:bert"], "Fill blanks with it: `hflm fill-mask"),
        (["a", "--model", "TINY:gpt2", "--chat"], "has no chat template"),
        (["a", "--model", "TINY:gpt2", "--system", "b"], "has no chat template"),
        (["a", "--model", "TINY:gpt2", "--quantize", "int8"], "--quantize int8 is for llama"),
        (["a", "--model", "TINY:t5", "--assistant-prefix", "b"], "--assistant-prefix is for decoders"),
        (["a", "--model", "nowhere/at/all"], "is no model folder"),
    ],
)
def test_wrong_commands(
    words: list[str], said: str, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").touch()
    given = [tiny(word[5:]) if word.startswith("TINY:") else word for word in words]
    model = [] if "--model" in words else ["--model", tiny("llama")]
    capsys.readouterr()
    assert main(["generate", *given, *model]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and said in lines[0]


def test_ctrl_c_shows_what_there_is(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hflm.models.lean import Lean

    step, calls = Lean.step, []

    def interrupted(self: Any, ids: list[int], cache: Any) -> Any:
        calls.append(ids)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step(self, ids, cache)

    monkeypatch.setattr(Lean, "step", interrupted)
    monkeypatch.setattr("hflm.cli.generate.is_terminal", lambda stream=None: True)
    assert main(["generate", "one", "--model", tiny("llama")]) == 130
    said = capsys.readouterr()
    assert said.out.strip() and "3 tokens" in said.err and said.err.endswith("stopped\n")
    monkeypatch.setattr("hflm.cli.generate.is_terminal", lambda stream=None: False)
    for more in ([], ["-n", "2"], ["--json"]):
        calls.clear()
        assert main(["generate", "one", "--model", tiny("llama"), "--seed", "1", *more]) == 130
        said = capsys.readouterr()
        assert said.out.strip() and said.err.endswith("stopped\n")
    assert json.loads(said.out)["answers"][0]["ended"] == "interrupted"


def test_the_column_of_the_prompts_is_named(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for name, content in (("rows.jsonl", '{"source": "a book", "question": "one"}\n'), ("lines.txt", "one\n")):
        (tmp_path / name).write_text(content)
        files = ("--input-file", str(tmp_path / name), "-o", str(tmp_path / f"{name}.out"))
        said.append(run(monkeypatch, capsys, "--model", tiny("llama"), "--max-new-tokens", "2", *files).err)
    assert "prompts: column question\n" in said[0] and "column" not in said[1]


def test_no_prompt_at_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("hflm.cli.generate.is_terminal", lambda stream=None: True)
    assert main(["generate"]) == 2
    assert "There is no prompt. Give one:" in capsys.readouterr().err


def test_a_model_with_damaged_weights(
    lively: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(lively("gpt2"), folder)
    weights = load_file(folder / "model.safetensors")
    weights["transformer.ln_f.weight"].fill_(float("nan"))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert main(["generate", "one", "--model", str(folder)]) == 4
    assert "not finite" in capsys.readouterr().err


def test_runs_of_hflm_write(
    run_pretrain: Callable[..., Path], run_finetune: Callable[..., Path], tiny: Tiny, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from tests.tiny import pairs, write

    trained = run_pretrain(arch="llama", objective="clm", max_steps=2)
    assert (
        "goes on with the text"
        in run(monkeypatch, capsys, "It was", "--model", str(trained), "--max-new-tokens", "4").err
    )
    data = write(tmp_path / "pairs.jsonl", pairs())
    for kind in ("t5", "gpt2"):
        summarizer = run_finetune("summarization", model=tiny(kind), data=[str(data)], max_steps=2)
        found = run(monkeypatch, capsys, "one two", "--model", str(summarizer), "--max-new-tokens", "4", "--json")
        assert json.loads(found.out)["answers"][0]["tokens"] >= 1

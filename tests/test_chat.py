"""`hflm chat`: turns, room, commands, transcripts, Ctrl-C."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hflm.cli.app import main
from hflm.errors import DataError, ModelError, UsageError
from hflm.inference.asking import Ask
from hflm.inference.chat_commands import COMMANDS, run_command
from hflm.inference.conversation import Conversation, open_conversation
from hflm.inference.decoding import Timing
from hflm.inference.sampling import Sampling
from hflm.inference.writer import Writer, open_writer

Tiny = Callable[[str], str]
QUESTIONS = ["one two three", "四五六", "سبعة ثمانية"]


@pytest.fixture(scope="module")
def writer(tiny: Tiny) -> Writer:
    # It never ends by itself: an answer is as long as it may be.
    return replace(open_writer(tiny("llama")), ends=frozenset())


def begin(writer: Writer, *, max_new_tokens: int = 8, system: str = "") -> Conversation:
    ask = Ask(max_new_tokens=max_new_tokens, system=system)
    return open_conversation(writer, sampling=Sampling(), ask=ask, seed=0)


def say(chat: Conversation, text: str, heard: list[str] | None = None, forgot: list[int] | None = None) -> str:
    pieces: list[str] = [] if heard is None else heard
    answer = chat.say(
        text, listen=lambda place, number, piece: pieces.append(piece), timing=Timing(),
        forgot=None if forgot is None else forgot.append,
    )  # fmt: skip
    return answer.text


def test_an_answer_hangs_on_what_was_said_before(writer: Writer) -> None:
    chat, heard = begin(writer), []
    first = say(chat, QUESTIONS[0], heard)
    assert "".join(heard) == first and len(heard) > 1, "it streams"
    say(chat, QUESTIONS[1])
    assert [turn["role"] for turn in chat.turns] == ["user", "assistant"] * 2
    assert chat.turns[1]["content"] == first.strip()
    prompt = writer.tokenizer.apply_chat_template(chat.turns[:3], add_generation_prompt=True, tokenize=False)
    assert all(turn["content"] in prompt for turn in chat.turns[:3])
    again = begin(writer)
    again.turns = [dict(turn) for turn in chat.turns[:2]]
    assert say(again, QUESTIONS[1]).strip() == chat.turns[3]["content"]


def test_the_oldest_turns_are_forgotten_whole(writer: Writer) -> None:
    chat, forgot = begin(writer, max_new_tokens=40, system="be brief"), []
    for number in range(12):
        say(chat, f"question {number} " + "long " * 4, forgot=forgot)
        assert chat.turns[0]["role"] == "user" and chat.messages()[0] == {"role": "system", "content": "be brief"}
        ids = writer.tokenizer.apply_chat_template(chat.messages(), add_generation_prompt=True)["input_ids"]
        assert len(ids) <= writer.limit + 40
    assert forgot and all(turns % 2 == 0 for turns in forgot)
    assert len(chat.turns) + sum(forgot) == 24 and "question 11" in chat.turns[-2]["content"]


def test_a_question_beyond_the_context_changes_nothing(writer: Writer) -> None:
    chat = begin(writer)
    say(chat, QUESTIONS[0])
    before = [dict(turn) for turn in chat.turns]
    with pytest.raises(DataError, match=r"The prompt has [\d,]+ tokens, and .* reads 256") as caught:
        say(chat, "word " * 400)
    assert chat.turns == before and caught.value.fix


def test_ctrl_c_stops_the_answer_and_not_the_chat(writer: Writer) -> None:
    chat, heard = begin(writer, max_new_tokens=60), []

    def listen(place: int, number: int, piece: str) -> None:
        heard.append(piece)
        if len(heard) == 4:
            raise KeyboardInterrupt

    answer = chat.say(QUESTIONS[0], listen=listen, timing=Timing())
    assert answer.ended == "interrupted" and answer.text.startswith("".join(heard[:4]))
    assert chat.turns[-1] == {"role": "assistant", "content": answer.text.strip()}
    assert say(chat, QUESTIONS[1]) and len(chat.turns) == 4


def test_an_answer_without_a_word_leaves_no_turn(writer: Writer) -> None:
    chat = begin(replace(writer, ends=frozenset(range(len(writer.tokenizer)))))
    assert say(chat, QUESTIONS[0]) == "" and chat.turns == []


def test_every_command(writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chat, path = begin(writer), tmp_path / "a talk.jsonl"
    monkeypatch.setenv("HOME", str(tmp_path))
    first = say(chat, QUESTIONS[0])
    say(chat, QUESTIONS[1])
    assert run_command(chat, "!undo") == "took the last question back" and len(chat.turns) == 2
    assert run_command(chat, "!system Du bist kurz") and chat.messages()[0]["content"] == "Du bist kurz"
    assert run_command(chat, "!save ~/a talk.jsonl") == f"saved 2 turns to {path}"
    assert run_command(chat, "!clear") and chat.turns == []
    assert run_command(chat, "!undo") == "there is nothing to take back"
    assert run_command(chat, "!system") == "no system text" and chat.messages() == []
    assert run_command(chat, "!load ~/a talk.jsonl") == f"loaded 2 turns from {path}"
    assert chat.turns[1]["content"] == first.strip() and chat.ask.system == "Du bist kurz"
    assert run_command(chat, "!set temperature=0.2") == "temperature is 0.2" and chat.sampling.temperature == 0.2
    assert run_command(chat, "!set max-new-tokens = 5") and chat.ask.max_new_tokens == 5
    assert run_command(chat, "!set seed=9") and chat.seed == 9
    shown = run_command(chat, "!set")
    assert shown and "temperature=0.2" in shown and "max_new_tokens=5" in shown and "seed=9" in shown
    told = run_command(chat, "!help")
    assert told and all(f"!{name}" in told for name in COMMANDS)
    assert run_command(chat, "!exit") is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("!sav x", r"!sav is no command. Did you mean !save\?"),
        ("!quack", "!help shows"),
        ("!", "is no command"),
        ("!set temperature", "there is no value. Say !set temperature=0.2"),
        ("!set temperature=-1", "temperature is -1.0"),
        ("!set temperature=nan", "temperature is nan"),
        ("!set top_p=2", "top-p is 2.0"),
        ("!set top_k=1.5", "this is no number"),
        ("!set max_new_tokens=0", "max-new-tokens is 0"),
        ("!set heat=1", "there is no such setting. There are temperature,"),
        ("!save t.jsonl", "There is nothing to save yet"),
        ("!load none.jsonl", "Cannot read none.jsonl: No such file"),
        ("!load .", "Cannot read .: Is a directory"),
    ],
)
def test_what_cannot_be_done_is_said(
    line: str, said: str, writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chat = begin(writer)
    with pytest.raises((UsageError, DataError), match=said):
        run_command(chat, line)
    assert (chat.turns, chat.sampling, chat.ask.max_new_tokens) == ([], Sampling(), 8)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b"not json", "is not JSON Lines"),
        (b"", "is empty"),
        (b"[1]", "line 1"),
        (b'{"messages": []}', "line 1"),
        (b'{"messages": [{"role": "user"}]}', "line 1"),
        (b'{"messages": [{"role": "user", "content": "a"}]}', "line 1: the last turn is the user's"),
    ],
)
def test_a_damaged_transcript(content: bytes, said: str, writer: Writer, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    chat = begin(writer)
    say(chat, QUESTIONS[0])
    before = list(chat.turns)
    with pytest.raises((UsageError, DataError), match=said):
        run_command(chat, f"!load {path}")
    assert chat.turns == before


def test_a_transcript_that_cannot_be_written(writer: Writer) -> None:
    chat = begin(writer)
    say(chat, QUESTIONS[0])
    with pytest.raises(UsageError, match="Cannot write"):
        chat.save(Path("/dev/null/t.jsonl"))


def piped(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, *words: str) -> Any:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    capsys.readouterr()
    assert main(["chat", *words]) == 0
    return capsys.readouterr()


def test_a_piped_chat_is_saved_and_fine_tunes(
    tiny: Tiny, run_finetune: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / "t.jsonl"
    lines = ["one two", "!set temperature=0", "", "!bad", "你好", f"!save {path}", "!exit", "never said"]
    heard = piped(
        monkeypatch, capsys, "\n".join(lines), "--model", tiny("llama"), "--seed", "1", "--max-new-tokens", "6"
    )
    (row,) = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    roles = [turn["role"] for turn in row["messages"]]
    assert roles == ["user", "assistant"] * 2 and "error: !bad is no command" in heard.err
    assert all(turn["content"] in heard.out for turn in row["messages"][1::2]) and "never said" not in heard.out
    run = run_finetune("generation", model=tiny("llama"), data=[str(path)], max_steps=2)
    assert json.loads((run / "metrics.json").read_text())["steps"] == 2


def test_json_is_a_line_an_answer(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", tiny("llama"), "--json", "--max-new-tokens", "4", "--temperature", "0"]
    rows = [json.loads(line) for line in piped(monkeypatch, capsys, "a\nb", *words).out.splitlines()]
    assert [set(row) for row in rows] == [{"role", "content", "tokens", "ended"}] * 2 and rows[0]["tokens"] <= 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "TINY:gpt2"], "has no chat template"),
        (["--model", "TINY:bert"], "hflm fill-mask"),
        (["--model", "nowhere/at/all"], "is no model folder"),
        (["--model", "TINY:llama", "--temperature", "-1"], "--temperature is -1.0"),
        (["--model", "TINY:llama", "--max-new-tokens", "0"], "--max-new-tokens is 0"),
        (["--model", "TINY:llama", "--quantize", "int3"], "--quantize is 'int3'"),
    ],
)
def test_wrong_commands(words: list[str], said: str, tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    given = [tiny(word[5:]) if word.startswith("TINY:") else word for word in words]
    capsys.readouterr()
    assert main(["chat", *given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and said in line


@pytest.mark.slow
def test_ctrl_c_at_a_terminal(tiny: Tiny, tmp_path: Path) -> None:
    """A real terminal, a real signal: the answer ends, the next question is answered, Ctrl-D leaves with 0."""
    ours, theirs = pty.openpty()
    program = "import sys; from hflm.cli.app import main; sys.exit(main(sys.argv[1:]))"
    words = ["chat", "--model", tiny("llama"), "--max-new-tokens", "200"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    shown = b""

    def wait_for(text: bytes) -> None:
        nonlocal shown
        until = time.monotonic() + 120
        while text not in shown:
            assert time.monotonic() < until, shown.decode(errors="replace")
            shown += os.read(ours, 4096)

    wait_for(b"> ")
    os.write(ours, b"hello\n")
    wait_for(b"hello\r\n")
    before = len(shown)
    while len(shown) < before + 5:
        shown += os.read(ours, 4096)
    os.kill(process.pid, signal.SIGINT)
    wait_for(b"stopped")
    os.write(ours, b"!set max_new_tokens=3\nagain\n")
    wait_for(b"cut after 3 tokens")
    shown = shown.partition(b"cut after 3 tokens")[2]
    wait_for(b"> ")
    os.write(ours, b"\x04")
    assert process.wait(timeout=60) == 0 and b"Traceback" not in shown
    os.close(ours)


def test_a_file_of_somebody_else_is_not_replaced(writer: Writer, tmp_path: Path) -> None:
    """Yesterday's chat, or a folder; the file of this chat may be written again."""
    path, chat, other = tmp_path / "chat.jsonl", begin(writer), begin(writer)
    path.write_text("yesterday")
    # Signs that end a line in other programs.
    chat.turns = [{"role": "user", "content": "one\u2028two\u0085three"}, {"role": "assistant", "content": "yes"}]
    for taken in (path, tmp_path, Path(".")):
        with pytest.raises(UsageError, match="exists"):
            chat.save(taken)
    assert path.read_text() == "yesterday"
    for one, two in ((chat, other), (chat, other), (other, chat)):
        one.save(tmp_path / "new.jsonl")
        two.load(tmp_path / "new.jsonl")
        assert other.turns == chat.turns


def test_a_question_that_cannot_be_asked_leaves_nothing_behind(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = begin(writer)

    def refuse(*words: Any, **more: Any) -> Any:
        raise ModelError("The template refuses the role system.", fix="Leave it out.")

    monkeypatch.setattr("hflm.inference.conversation.make_prompt", refuse)
    with pytest.raises(ModelError):
        say(chat, QUESTIONS[1])
    assert chat.turns == []

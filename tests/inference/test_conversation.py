"""A conversation that outgrows its model, is interrupted, or is typed in other bytes."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hflm.cli.app import main
from hflm.errors import DataError
from hflm.inference.asking import Ask, make_prompt
from hflm.inference.conversation import open_conversation
from hflm.inference.sampling import Sampling
from hflm.inference.writer import open_writer

Tiny = Callable[[str], str]


def test_what_is_forgotten_is_found_in_few_looks(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = replace(open_writer(tiny("llama")), ends=frozenset())
    chat = open_conversation(writer, sampling=Sampling(), ask=Ask(max_new_tokens=40, system="be brief"), seed=0)
    for number in range(60):
        chat.turns.append({"role": "user", "content": f"question {number} " + "long " * (number % 5)})
        chat.turns.append({"role": "assistant", "content": "yes"})
    chat.turns = [*chat.turns, {"role": "user", "content": "the last"}]
    turns, looks = list(chat.turns), list[int]()

    def make(start: int) -> Any:
        return make_prompt(writer, [chat.messages()[0], *turns[start:]], chat.ask)

    def room(start: int) -> int:
        try:
            return int(make(start).most)
        except DataError:
            return 0

    def look(*words: Any, **more: Any) -> Any:
        looks.append(1)
        return make_prompt(*words, **more)

    wanted = next(start for start in range(0, len(turns), 2) if room(start) >= 40)
    monkeypatch.setattr("hflm.inference.conversation.make_prompt", look)
    prompt, forgotten = chat.trim()
    assert 0 < wanted == forgotten < len(turns) - 1 and chat.turns == turns[wanted:]
    assert prompt.ids == make(wanted).ids and len(looks) <= 14
    looks.clear()
    assert chat.trim()[1] == 0 and len(looks) == 1, "what fits is read once"


def piped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, *words: str
) -> tuple[list[Any], str]:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    capsys.readouterr()
    assert main(["chat", "--json", "--max-new-tokens", "4", "--temperature", "0", *words]) == 0
    said = capsys.readouterr()
    return [json.loads(line) for line in said.out.splitlines()], said.err


def test_ctrl_c_while_a_chat_is_read_does_not_end_it(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = list[int]()

    def interrupted(*words: Any, **more: Any) -> Any:
        looks.append(1)
        if len(looks) == 1:
            raise KeyboardInterrupt
        return make_prompt(*words, **more)

    monkeypatch.setattr("hflm.inference.conversation.make_prompt", interrupted)
    # Somebody types, and the answers go into a file.
    monkeypatch.setattr("hflm.cli.chat.is_terminal", lambda stream=None: stream is not None)
    rows, said = piped(monkeypatch, capsys, "one\ntwo\n", "--model", tiny("llama"))
    assert len(rows) == 1 and "stopped" in said


def test_ctrl_c_ends_a_chat_that_is_piped(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*words: Any, **more: Any) -> Any:
        raise KeyboardInterrupt

    model = tiny("llama")
    monkeypatch.setattr("hflm.inference.conversation.make_prompt", interrupted)
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    assert main(["chat", "--model", model]) == 130
    assert capsys.readouterr().err.count("stopped") == 1


def test_words_that_are_not_utf8_are_said_and_the_chat_goes_on(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, said = piped(monkeypatch, capsys, "caf\udce9\n!system \udce9\none\n", "--model", tiny("llama"))
    assert len(rows) == 1 and said.count("is not UTF-8: byte 0xe9") == 2
    assert main(["chat", "--system", "caf\udce9", "--model", tiny("llama")]) == 2
    assert "is not UTF-8: byte 0xe9" in capsys.readouterr().err

"""What begins with an exclamation mark in a chat: a table of commands."""

import difflib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hflm.errors import UsageError
from hflm.inference.conversation import Conversation


def _clear(chat: Conversation, _: str) -> str:
    chat.turns = []
    return "cleared"


def _system(chat: Conversation, text: str) -> str:
    chat.ask = replace(chat.ask, system=text)
    return "system text set" if text else "no system text"


def _set(chat: Conversation, rest: str) -> str:
    if not rest:
        shown = {**vars(chat.sampling), "max_new_tokens": chat.ask.max_new_tokens, "seed": chat.seed}
        return ", ".join(f"{name}={value}" for name, value in shown.items())
    name, equals, value = rest.partition("=")
    if not equals:
        raise UsageError(f"!set {rest}: there is no value.", fix="Say !set temperature=0.2")
    chat.set(name, value.strip())
    return f"{name.strip()} is {value.strip()}"


def _save(chat: Conversation, rest: str) -> str:
    path = _path(rest)
    chat.save(path)
    return f"saved {len(chat.turns)} turns to {path}"


def _load(chat: Conversation, rest: str) -> str:
    path = _path(rest)
    chat.load(path)
    return f"loaded {len(chat.turns)} turns from {path}"


def _path(rest: str) -> Path:
    """Return the file that is named; in a chat no shell puts the home folder in the place of ~."""
    return Path(os.path.expanduser(rest or "chat.jsonl"))


def _undo(chat: Conversation, _: str) -> str:
    return "took the last question back" if chat.undo() else "there is nothing to take back"


def _help(_: Conversation, __: str) -> str:
    return "\n".join(f"{usage:24}{meaning}" for usage, meaning, _ in COMMANDS.values())


Command = Callable[[Conversation, str], str | None]
COMMANDS: dict[str, tuple[str, str, Command]] = {
    "clear": ("!clear", "forget all turns", _clear),
    "system": ("!system TEXT", "tell the model who it is", _system),
    "set": ("!set temperature=0.2", "change a setting; alone: show them", _set),
    "save": ("!save FILE", "write the chat as a row of messages", _save),
    "load": ("!load FILE", "go on with a saved chat", _load),
    "undo": ("!undo", "take the last question back", _undo),
    "help": ("!help", "show this", _help),
    "exit": ("!exit", "leave; so does the end of the input", lambda chat, rest: None),
}


def run_command(chat: Conversation, line: str) -> str | None:
    """Do what a line with an exclamation mark says and return what to show; None: leave.

    Raises UsageError for an unknown command.
    """
    name, _, rest = line.removeprefix("!").partition(" ")
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        fix = f"Did you mean !{near[0]}?" if near else "!help shows what there is."
        raise UsageError(f"!{name} is no command.", fix=fix)
    return COMMANDS[name][2](chat, rest.strip())

"""What is wrong with a row by itself: nothing to read, nothing to learn, words and tags that do not go together."""

from collections.abc import Mapping, Sequence
from typing import Any

from hflm.data.examples import Example
from hflm.errors import DataError

# What is read, and what is to be learned, by the roles that hold it.
READ = ("text", "source", "prompt", "instruction", "tokens", "messages", "conversations")
# All that is read: of an instruction, also what it is about, which may be empty.
SEEN = (*READ, "input")
LEARNED = ("label", "target", "completion", "output", "tags")
# Soft hyphen, zero-width space and joiners, marks of direction, word joiner, byte-order mark.
UNSEEN = dict.fromkeys([0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF])


def row_problem(example: Example, columns: Mapping[str, str]) -> DataError | None:
    """Say what keeps a row from being learned or scored, by itself; None where nothing does."""
    if silent(example):
        fix = "Only what the assistant says is learned: add it, or leave the row out."
        return DataError(f"{example.where}: no message of the assistant.", fix=fix)
    values = example.values
    for role in (*READ, *LEARNED):
        if role in values and blank(values[role]):
            column = columns.get(role, role)
            return DataError(f"{example.where}, column {column!r}: it is empty.", fix="Fill it, or leave the row out.")
    if "tags" in values and len(values["tokens"]) != len(values["tags"]):
        problem = f"{example.where}: {len(values['tokens'])} words and {len(values['tags'])} tags."
        return DataError(problem, fix="Give one tag for every word.")
    return None


def silent(example: Example) -> bool:
    """Tell whether a row is a conversation in which the assistant says nothing."""
    turns: Sequence[Mapping[str, str]] = example.values.get("messages") or example.values.get("conversations") or []
    return bool(turns) and not any(
        turn["role"] == "assistant" and (not blank(turn["content"]) or "tool_calls" in turn) for turn in turns
    )


def blank(value: Any) -> bool:
    """Tell whether a value holds nothing to read: spaces, and marks that are not seen, are nothing."""
    if isinstance(value, list):
        return all(isinstance(one, str) and blank(one) for one in value)
    return isinstance(value, str) and not value.translate(UNSEEN).strip()

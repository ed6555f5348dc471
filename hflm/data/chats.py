"""Conversations in the shapes that people keep them in, as messages of a role and a content."""

from collections.abc import Mapping
from typing import Any

from hflm.data.records import show
from hflm.errors import DataError

# What other tools call those who speak.
SPEAKERS = {
    "human": "user", "user": "user", "prompter": "user", "gpt": "assistant", "assistant": "assistant",
    "bot": "assistant", "model": "assistant", "chatgpt": "assistant", "function_call": "assistant",
    "system": "system", "developer": "system", "tool": "tool", "function": "tool", "observation": "tool",
    "function_response": "tool", "tool_response": "tool", "ipython": "tool",
}  # fmt: skip
# The roles whose values are conversations.
CHATS = ("messages", "conversations")
FIX = 'Write [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}].'

Messages = list[dict[str, Any]]


def messages(value: Any, where: str) -> Messages:
    """Return a conversation as role and content, from OpenAI's or ShareGPT's names for them.

    Parts of a content that are text are joined; `tool_calls` and `reasoning_content` are kept. Raises DataError for
    anything else.
    """
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: found {show(value)}, which is no list of messages.", fix=FIX)
    return [_message(turn, f"{where}, message {number}") for number, turn in enumerate(value, start=1)]


def asked(value: Any, where: str, text: Any) -> Any:
    """Return a prompt: a text, or the messages that come before the answer."""
    return messages(value, where) if isinstance(value, list) else text(value, where)


def answered(value: Any, where: str, text: Any) -> Any:
    """Return a completion: a text, which one message of the assistant is too, or several messages."""
    if not isinstance(value, list):
        return text(value, where)
    turns = messages(value, where)
    if not any(turn["role"] == "assistant" for turn in turns):
        raise DataError(f"{where}: no message of the assistant.", fix=FIX)
    alone = len(turns) == 1 and not {"tool_calls", "reasoning_content"} & turns[0].keys()
    return turns[0]["content"] if alone else turns


def _message(turn: Any, where: str) -> dict[str, Any]:
    if not isinstance(turn, dict):
        raise DataError(f"{where}: found {show(turn)}.", fix=FIX)
    speaker, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    calls = turn.get("tool_calls") or ([{"function": turn["function_call"]}] if turn.get("function_call") else None)
    if isinstance(content, list):
        content = _joined(content, where)
    if content is None and calls:
        content = ""
    if not isinstance(speaker, str) or speaker.lower() not in SPEAKERS or not isinstance(content, str):
        raise DataError(f"{where}: found {show(turn)}.", fix=FIX)
    found = {"role": SPEAKERS[speaker.lower()], "content": content}
    thought = turn.get("reasoning_content")
    if isinstance(thought, str) and thought.strip():
        found["reasoning_content"] = thought
    return {**found, "tool_calls": calls} if calls else found


def has_thoughts(turns: Any) -> bool:
    """Tell whether an answer, a text or turns, comes with the thoughts before it, beside its content or in it."""
    if isinstance(turns, str):
        return "</think>" in turns
    return isinstance(turns, list) and any(
        isinstance(turn, Mapping) and ("reasoning_content" in turn or "</think>" in str(turn.get("content")))
        for turn in turns
    )


def _joined(parts: list[Any], where: str) -> str:
    """Join the parts of a content, [{"type": "text", "text": "..."}, ...]; raises DataError where one is no text."""
    found = []
    for part in parts:
        text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            raise DataError(f"{where}: found {show(part)}, and only text is read.", fix="Leave out what is no text.")
        found.append(text)
    return "\n".join(found)

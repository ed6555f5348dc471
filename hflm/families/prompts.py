"""How a decoder-only model is asked, and where its answer begins."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hflm.families.encoded import IGNORED, beginning
from hflm.models.chat_template import render

Messages = list[dict[str, Any]]


def as_messages(values: Mapping[str, Any], *, instruction: str) -> Messages | None:
    """Turn an example of any shape into a conversation; None for plain text."""
    if "text" in values:
        return None
    for role in ("messages", "conversations"):
        if role in values:
            return list(values[role])
    if "instruction" in values:
        ask = asked_about(values["instruction"], values.get("input", ""), first=True)
        answer = values.get("output")
    elif "prompt" in values:
        ask, answer = values["prompt"], values.get("completion")
        if isinstance(ask, str):
            ask = asked_about(ask, values.get("input", ""))
        if isinstance(ask, list) or isinstance(answer, list):
            return [*_turns("user", ask), *_turns("assistant", answer)]
    else:
        ask, answer = f"{instruction}\n\n{values['source']}", values.get("target")
    turns = [{"role": "user", "content": ask}]
    return turns if answer is None else [*turns, {"role": "assistant", "content": answer}]


def asked_about(ask: str, about: str, *, first: bool = False) -> str:
    """Join what is asked and what it is about, where that is given: an instruction comes first, a question last."""
    return "\n\n".join(part for part in ((ask, about) if first else (about, ask)) if part)


def _turns(role: str, said: Messages | str | None) -> Messages:
    if isinstance(said, list):
        return said
    return [] if said is None else [{"role": role, "content": said}]


def spans(tokenizer: Any, messages: Messages) -> tuple[list[int], list[int]]:
    """Return the ids of a conversation and its labels: those of what the assistant says, its end included.

    With a chat template, what it renders; without one, the turns as lines and an end-of-text after each answer.
    """
    messages = _told(tokenizer, messages)
    ids, labels, _ = _walk(tokenizer, messages)
    if not ids:
        ids = prompt_ids(tokenizer, messages)
        labels = [IGNORED] * len(ids)
    return ids, labels


def prompt_ids(tokenizer: Any, messages: Messages) -> list[int]:
    """Return the ids after which the assistant speaks, the same as `spans` has there."""
    messages = _told(tokenizer, messages)
    ids, _, before = _walk(tokenizer, messages)
    return _ask(tokenizer, messages, ids, before)[0]


def turn_end(tokenizer: Any) -> int | None:
    """Return the special token with which a template ends an answer, where that is not the end of a text.

    Of base models that come with a template the two differ, and what is learned to be written must end a text, too.
    """
    if not tokenizer.chat_template:
        return None
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "a"}]
    answer = [label for label in spans(tokenizer, turns)[1] if label != IGNORED]
    special = set(tokenizer.all_special_ids) - {tokenizer.eos_token_id}
    return None if tokenizer.eos_token_id in answer else next((one for one in answer if one in special), None)


def _told(tokenizer: Any, messages: Messages) -> Messages:
    """Write calls of tools as JSON behind the content, where the model's template knows no word for them."""
    if "tool_calls" in str(tokenizer.chat_template):
        return messages
    found = []
    for turn in messages:
        calls = [json.dumps(call.get("function", call), ensure_ascii=False) for call in turn.get("tool_calls", ())]
        content = "\n".join(part for part in (turn["content"], *calls) if part)
        found.append({"role": turn["role"], "content": content})
    return found


def _walk(tokenizer: Any, messages: Messages) -> tuple[list[int], list[int], str | None]:
    """Return ids and labels up to the end of the last answer, and the text that they stand for, where it is known."""
    ids: list[int] = []
    labels: list[int] = []
    before: str | None = ""
    for number, turn in enumerate(messages):
        if turn["role"] == "assistant":
            asked, text, went_on = _ask(tokenizer, messages[:number], ids, before)
            # A template may tell of earlier turns in another way: then only what comes after them is learned.
            labels = [*labels, *[IGNORED] * (len(asked) - len(ids))] if went_on else [IGNORED] * len(asked)
            ids, before = _answer(tokenizer, messages[: number + 1], asked, text)
            labels += ids[len(asked) :]
    return ids, labels, before


def _ask(tokenizer: Any, messages: Messages, ids: list[int], before: str | None) -> tuple[list[int], str, bool]:
    """Return the ids of a prompt, its text, and whether it goes on from `ids`, the ids of the text `before`."""
    if not messages:
        # The assistant speaks first: a template has nothing to ask with.
        return ids, "", True
    text = _render(tokenizer, messages, ask=True)
    if before is None or not text.startswith(before):
        return _extend(tokenizer, [], "", text), text, False
    return _extend(tokenizer, ids, before, text), text, True


def _answer(tokenizer: Any, messages: Messages, asked: list[int], text: str) -> tuple[list[int], str | None]:
    whole = _render(tokenizer, messages, ask=False)
    if not whole.startswith(text):
        content = tokenizer(messages[-1]["content"], add_special_tokens=False)["input_ids"]
        return [*asked, *content, tokenizer.eos_token_id], None
    ids = _extend(tokenizer, asked, text, whole)
    # Some templates put a line end after the mark that ends a turn, where generation has stopped already.
    end = _last(ids, tokenizer.eos_token_id, least=len(asked))
    if end is None:
        return ids, whole
    return ids[: end + 1], whole[: whole.rindex(tokenizer.eos_token) + len(tokenizer.eos_token)]


def _extend(tokenizer: Any, ids: list[int], before: str, text: str) -> list[int]:
    """Return the ids of a text that begins with `before`, whose `ids` stay as they are."""
    joint = list(tokenizer(text, add_special_tokens=not tokenizer.chat_template)["input_ids"])
    if joint[: len(ids)] == ids:
        return joint
    # Across the border the two would melt into other tokens: a line end into the next, a space into a word.
    return [*ids, *tokenizer(text[len(before) :], add_special_tokens=False)["input_ids"]]


def _render(tokenizer: Any, messages: Messages, *, ask: bool) -> str:
    if tokenizer.chat_template:
        return render(tokenizer, messages, ask=ask)
    return _plain(tokenizer, messages) + ("\n\n" if ask else "")


def _last(ids: Sequence[int], wanted: int, *, least: int) -> int | None:
    return next((at for at in range(len(ids) - 1, least - 1, -1) if ids[at] == wanted), None)


def _plain(tokenizer: Any, messages: Messages) -> str:
    ended = tokenizer.eos_token or ""
    return "\n\n".join(turn["content"] + (ended if turn["role"] == "assistant" else "") for turn in messages)


def shorten(tokenizer: Any, text: str, *, most: int) -> tuple[str, bool]:
    """Cut a text after `most` tokens; tell whether anything was cut."""
    # Four bytes a token is usual, sixteen rare: most texts need no counting.
    if len(text.encode("utf-8", "replace")) <= most:
        return text, False
    start = beginning(text, most=most)
    found = tokenizer(start, add_special_tokens=False, return_offsets_mapping=tokenizer.is_fast)
    if len(found["input_ids"]) <= most:
        return start, len(start) < len(text)
    if tokenizer.is_fast:
        return text[: found["offset_mapping"][most - 1][1]], True
    return str(tokenizer.decode(found["input_ids"][:most])), True

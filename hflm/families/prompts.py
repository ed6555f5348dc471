"""How a decoder-only model is asked, and where its answer begins."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from hflm.data.chats import CHATS
from hflm.errors import ModelError
from hflm.families.encoded import IGNORED, beginning
from hflm.models.chat_template import render

Messages = list[dict[str, Any]]
# An answer that no template has in itself.
PROBE = "\u00a7answer\u00a7"


def as_messages(values: Mapping[str, Any], *, instruction: str) -> Messages | None:
    """Turn an example of any shape into a conversation; None for plain text."""
    if "text" in values:
        return None
    for role in CHATS:
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


def spans(tokenizer: Any, messages: Messages) -> list[tuple[list[int], list[int]]]:
    """Return the ids of a conversation and their labels: those of what the assistant says, its end included.

    With a chat template, what it renders; without one, the turns as lines and an end-of-text after each answer. A
    template that tells of earlier turns in another way, as one that drops what was thought, makes several rows of a
    conversation: each ends where the next would not go on from it.
    """
    messages = _told(tokenizer, messages)
    rows, _ = _walk(tokenizer, messages)
    if not rows:
        ids = prompt_ids(tokenizer, messages)
        rows = [(ids, [IGNORED] * len(ids))]
    return rows


def prompt_ids(tokenizer: Any, messages: Messages, *, opening: str = "") -> list[int]:
    """Return the ids after which the assistant speaks, the same as `spans` has there; `opening` stands behind them."""
    messages = _told(tokenizer, messages)
    rows, before = _walk(tokenizer, messages)
    ids, text, _ = _ask(tokenizer, messages, rows[-1][0] if rows else [], before)
    return _extend(tokenizer, ids, text, text + opening) if opening else ids


def answer_opening(tokenizer: Any) -> str:
    """Return what a template puts before an answer that was not thought about, as an empty block of thoughts; or "".

    It is nothing that the model is to learn to write.
    """
    return _opening(tokenizer, str(tokenizer.chat_template)) if tokenizer.chat_template else ""


@lru_cache(maxsize=8)
def _opening(tokenizer: Any, template: str) -> str:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": PROBE}]
    try:
        text, whole = _render(tokenizer, turns[:1], ask=True), _render(tokenizer, turns, ask=False)
    except ModelError:  # it wants a system text, or other speakers
        return ""
    rest = whole[len(text) :] if whole.startswith(text) else ""
    opening = rest[: max(rest.find(PROBE), 0)]
    return opening if opening.strip() else ""


def before_answer(turns: Messages) -> Messages:
    """Leave out the answers at the end of a conversation: they are not to be read before they are written."""
    end = len(turns)
    while end and turns[end - 1]["role"] == "assistant":
        end -= 1
    return turns[:end]


def turn_end(tokenizer: Any) -> int | None:
    """Return the special token with which a template ends an answer, where that is not the end of a text.

    Of base models that come with a template the two differ, and what is learned to be written must end a text, too.
    Raises ModelError for a template that refuses a question and its answer.
    """
    if not tokenizer.chat_template:
        return None
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "a"}]
    try:
        rows = spans(tokenizer, turns)
    except ModelError:  # it may want a system text
        rows = spans(tokenizer, [{"role": "system", "content": "a"}, *turns])
    answer = [label for label in rows[-1][1] if label != IGNORED]
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
        thought = {"reasoning_content": turn["reasoning_content"]} if "reasoning_content" in turn else {}
        found.append({"role": turn["role"], "content": content, **thought})
    return found


def _walk(tokenizer: Any, messages: Messages) -> tuple[list[tuple[list[int], list[int]]], str | None]:
    """Return rows of ids and labels up to the end of the last answer, and the text of the last, where it is known."""
    rows: list[tuple[list[int], list[int]]] = []
    ids: list[int] = []
    labels: list[int] = []
    before: str | None = ""
    for number, turn in enumerate(messages):
        if turn["role"] == "assistant":
            asked, text, went_on = _ask(tokenizer, messages[:number], ids, before)
            if not went_on and ids:
                rows.append((ids, labels))
                labels = []
            ids, before, start = _answer(tokenizer, messages[: number + 1], asked, text)
            labels = [*labels, *[IGNORED] * (start - len(labels)), *ids[start:]]
    return [*rows, (ids, labels)] if ids else rows, before


def _ask(tokenizer: Any, messages: Messages, ids: list[int], before: str | None) -> tuple[list[int], str, bool]:
    """Return the ids of a prompt, its text, and whether it goes on from `ids`, the ids of the text `before`."""
    if not messages:
        # The assistant speaks first: a template has nothing to ask with.
        return ids, "", True
    text = _render(tokenizer, messages, ask=True)
    if before is None or not text.startswith(before):
        return _extend(tokenizer, [], "", text), text, False
    return _extend(tokenizer, ids, before, text), text, True


def _answer(tokenizer: Any, messages: Messages, asked: list[int], text: str) -> tuple[list[int], str | None, int]:
    """Return ids with the answer, their text where it is known, and where the answer begins among them."""
    whole = _render(tokenizer, messages, ask=False)
    if not whole.startswith(text):
        content = tokenizer(messages[-1]["content"], add_special_tokens=False)["input_ids"]
        return [*asked, *content, tokenizer.eos_token_id], None, len(asked)
    opening = answer_opening(tokenizer)
    if opening and whole.startswith(text + opening):
        asked, text = _extend(tokenizer, asked, text, text + opening), text + opening
    ids = _extend(tokenizer, asked, text, whole)
    # Some templates put a line end after the mark that ends a turn, where generation has stopped already.
    end = _last(ids, tokenizer.eos_token_id, least=len(asked))
    if end is None:
        return ids, whole, len(asked)
    return ids[: end + 1], whole[: whole.rindex(tokenizer.eos_token) + len(tokenizer.eos_token)], len(asked)


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

"""How a decoder-only model is asked, and where its answer begins."""

from collections.abc import Mapping, Sequence
from typing import Any

from hflm.families.encoded import IGNORED

Messages = list[dict[str, str]]


def as_messages(values: Mapping[str, Any], *, instruction: str) -> Messages | None:
    """Turn an example of any shape into a conversation; None for plain text."""
    if "text" in values:
        return None
    for role in ("messages", "conversations"):
        if role in values:
            return list(values[role])
    if "instruction" in values:
        ask = "\n\n".join(part for part in (values["instruction"], values.get("input", "")) if part)
        answer = values.get("output")
    elif "prompt" in values:
        ask, answer = values["prompt"], values.get("completion")
    else:
        ask, answer = f"{instruction}\n\n{values['source']}", values.get("target")
    turns = [{"role": "user", "content": ask}]
    return turns if answer is None else [*turns, {"role": "assistant", "content": answer}]


def spans(tokenizer: Any, messages: Messages) -> tuple[list[int], list[int]]:
    """Return the ids of a conversation and its labels: those of what the assistant says, its end included.

    With a chat template, what it renders; without one, the turns as lines and an end-of-text after each answer.
    """
    ids: list[int] = []
    labels: list[int] = []
    for number, turn in enumerate(messages):
        if turn["role"] != "assistant":
            continue
        asked = prompt_ids(tokenizer, messages[:number])
        whole = _whole_ids(tokenizer, messages[: number + 1], asked)
        # What lies between the last answer and this prompt belongs to the other side.
        labels += [IGNORED] * (len(asked) - len(ids)) if len(asked) >= len(ids) else []
        ids = whole
        labels = labels[: len(asked)] + whole[len(asked) :]
    if not ids:
        ids = prompt_ids(tokenizer, messages)
        labels = [IGNORED] * len(ids)
    return ids, labels


def prompt_ids(tokenizer: Any, messages: Messages) -> list[int]:
    """Return the ids after which the assistant speaks."""
    if tokenizer.chat_template:
        found = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
        return list(found["input_ids"])
    return list(tokenizer(_plain(tokenizer, messages) + "\n\n")["input_ids"])


def _whole_ids(tokenizer: Any, messages: Messages, asked: list[int]) -> list[int]:
    if tokenizer.chat_template:
        found = list(tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"])
        if found[: len(asked)] == asked:
            # Some templates put a line end after the mark that ends a turn, where generation has stopped already.
            end = _last(found, tokenizer.eos_token_id, least=len(asked))
            return found[: end + 1] if end is not None else found
    answer = tokenizer(messages[-1]["content"], add_special_tokens=False)["input_ids"]
    return [*asked, *answer, tokenizer.eos_token_id]


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
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=tokenizer.is_fast)
    if len(found["input_ids"]) <= most:
        return text, False
    if tokenizer.is_fast:
        return text[: found["offset_mapping"][most - 1][1]], True
    return str(tokenizer.decode(found["input_ids"][:most])), True

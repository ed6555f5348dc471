"""Prompts as a model reads them: the chat template, the words a fine-tuned model knows, and the room that is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hflm.errors import DataError, UsageError
from hflm.families.encoded import beginning
from hflm.families.prompts import as_messages, prompt_ids
from hflm.inference.decoding import Prompt
from hflm.inference.writer import Writer

SIDES = ("left", "right")


@dataclass(frozen=True, kw_only=True)
class Ask:
    """How prompts are put: as a chat or not (None: as the model was made), with which system text and first words."""

    max_new_tokens: int = 256
    chat: bool | None = None
    system: str = ""
    start: str = ""
    truncate: str | None = None

    def __post_init__(self) -> None:
        """Raise UsageError for options that say nothing."""
        if self.max_new_tokens < 1:
            raise UsageError(f"--max-new-tokens is {self.max_new_tokens}.", fix="Give 1 or more.")
        if self.truncate is not None and self.truncate not in SIDES:
            raise UsageError(f"--truncate is {self.truncate!r}.", fix="Choose left or right.")
        if self.chat is False and self.system:
            raise UsageError("--system needs a chat, and --no-chat asks for none.", fix="Leave one of them out.")


def is_chat(writer: Writer, ask: Ask) -> bool:
    """Tell whether prompts go through the chat template; raises UsageError where the model cannot do what is asked."""
    if ask.chat and not writer.has_template:
        raise UsageError(f"--chat: {writer.name} has no chat template.", fix="Leave --chat out.")
    chat = writer.has_template if ask.chat is None else ask.chat
    if not chat and ask.system:
        raise UsageError(f"--system: {writer.name} has no chat template.", fix="Put it into the prompt.")
    if writer.kind == "seq2seq" and ask.start:
        raise UsageError("--assistant-prefix is for decoders.", fix="Leave it out.")
    return chat


def make_prompt(writer: Writer, text: str | Sequence[Mapping[str, str]], ask: Ask, *, row: int = 0) -> Prompt:
    """Encode a prompt, or the messages of a chat, and say how many tokens may follow.

    Raises DataError where it is longer than the model reads, unless `ask.truncate` names the side to cut.
    """
    if ask.truncate and isinstance(text, str):
        text = _within_reach(writer, text, ask.truncate)
    ids = _encode(writer, text, ask)
    over = len(ids) - writer.limit
    if over > 0 and ask.truncate and isinstance(text, str):
        ids = _encode(writer, _shorten(writer, text, ask), ask)
        over = len(ids) - writer.limit
    if over > 0:
        raise DataError(
            f"The prompt has {len(ids):,} tokens, and {writer.name} reads {writer.limit:,}.",
            fix="Shorten it, or pass --truncate left or right." if isinstance(text, str) else "Shorten it.",
        )
    if not ids:
        raise DataError("The prompt is empty.", fix="Give some words.")
    # The last token that is written is not read any more; an encoder-decoder writes beside what it reads.
    room = writer.output_limit if writer.kind == "seq2seq" else writer.limit - len(ids) + 1
    return Prompt(ids, min(ask.max_new_tokens, room), row, ask.start)


def _encode(writer: Writer, text: str | Sequence[Mapping[str, str]], ask: Ask) -> list[int]:
    tokenizer = writer.tokenizer
    if writer.kind == "seq2seq":
        if not isinstance(text, str):
            raise DataError("An encoder-decoder reads a text, not messages.", fix="Give a text.")
        return list(tokenizer(writer.prefix + text)["input_ids"])
    chat = is_chat(writer, ask)
    if not chat and not (writer.asked and ask.chat is None):
        if not isinstance(text, str) and (writer.has_template or writer.asked):
            raise DataError("--no-chat goes on with a text, and these are messages.", fix="Leave --no-chat out.")
        if not isinstance(text, str):
            raise DataError(f"Messages are for chats, and {writer.name} has no chat template.", fix="Give texts.")
        return list(_plain(tokenizer, text + ask.start))
    messages: list[dict[str, Any]] = [dict(turn) for turn in text] if not isinstance(text, str) else []
    if isinstance(text, str):
        values = {"source": text} if writer.instruction else {"prompt": text}
        messages = list(as_messages(values, instruction=writer.instruction) or [])
    if ask.system and not (messages and messages[0]["role"] == "system"):
        messages = [{"role": "system", "content": ask.system}, *messages]
    ids = prompt_ids(tokenizer, messages, opening=writer.opening)
    return [*ids, *tokenizer(ask.start, add_special_tokens=False)["input_ids"]] if ask.start else ids


def _plain(tokenizer: Any, text: str) -> list[int]:
    """Return the ids of a text that is to go on: without the token that would end it."""
    ids: list[int] = list(tokenizer(text)["input_ids"])
    while ids and ids[-1] == tokenizer.eos_token_id and tokenizer.eos_token and not text.endswith(tokenizer.eos_token):
        ids.pop()
    return ids or ([tokenizer.bos_token_id] if tokenizer.bos_token_id is not None and not text else ids)


def _within_reach(writer: Writer, text: str, side: str) -> str:
    """Return as much of a text as can matter where it is cut: what is piped in may be gigabytes."""
    kept = beginning(text, most=writer.limit)
    return kept if side == "right" else text[len(text) - len(kept) :]


def _shorten(writer: Writer, text: str, ask: Ask) -> str:
    """Cut the text itself, not what a template puts around it, until there is room for an answer too."""
    found = writer.tokenizer(text, add_special_tokens=False, return_offsets_mapping=writer.tokenizer.is_fast)
    answer = 0 if writer.kind == "seq2seq" else min(ask.max_new_tokens, writer.limit // 2) - 1
    around = len(_encode(writer, "", ask)) if writer.kind == "seq2seq" or is_chat(writer, ask) or writer.asked else 1
    # Where a template leaves little, the answer is shortened before the text is.
    most = next((limit for limit in (writer.limit - answer, writer.limit - 1) if limit > around), 0)
    room = most - around
    while room > 0:
        shorter = _part(writer.tokenizer, text, found, room, left=ask.truncate == "left")
        over = len(_encode(writer, shorter, ask)) - most
        if over <= 0 and shorter:
            return shorter
        # At a border that was cut, a text may take more tokens than it did.
        room -= max(over, 1)
    # Nothing of it fits, which is said as of any text that is too long.
    return text


def _part(tokenizer: Any, text: str, found: Any, room: int, *, left: bool) -> str:
    """Return the end or the beginning of a text that has `room` of the tokens `found` in it, in whole characters.

    A byte-level token may be a part of a character, and then its offsets are those of all of it.
    """
    ids: list[int] = found["input_ids"]
    if room >= len(ids):
        return text
    if tokenizer.is_fast:
        offsets: list[tuple[int, int]] = found["offset_mapping"]
        if left:
            return text[offsets[-room - 1][1] :]
        return text[: min(offsets[room - 1][1], offsets[room][0])]
    shorter = str(tokenizer.decode(ids[-room:] if left else ids[:room], skip_special_tokens=True))
    if "\ufffd" in text:
        return shorter
    # Bytes of a character that was cut in two.
    return shorter.lstrip("\ufffd") if left else shorter.rstrip("\ufffd")

"""Prompts as a model reads them: the chat template, the words a fine-tuned model knows, and the room that is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hflm.errors import DataError, UsageError
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
    room = writer.limit if writer.kind == "seq2seq" else writer.limit - len(ids) + 1
    return Prompt(ids, min(ask.max_new_tokens, room), row, ask.start)


def _encode(writer: Writer, text: str | Sequence[Mapping[str, str]], ask: Ask) -> list[int]:
    tokenizer = writer.tokenizer
    if writer.kind == "seq2seq":
        if not isinstance(text, str):
            raise DataError("An encoder-decoder reads a text, not messages.", fix="Give a text.")
        return list(tokenizer(writer.prefix + text)["input_ids"])
    chat = is_chat(writer, ask)
    if not chat and not (writer.asked and ask.chat is None):
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


def _shorten(writer: Writer, text: str, ask: Ask) -> str:
    """Cut the text itself, not what a template puts around it, until there is room for an answer too."""
    kept = writer.tokenizer(text, add_special_tokens=False)["input_ids"]
    answer = 0 if writer.kind == "seq2seq" else min(ask.max_new_tokens, writer.limit // 2) - 1
    around = len(_encode(writer, "", ask)) if writer.kind == "seq2seq" or is_chat(writer, ask) or writer.asked else 1
    # Where a template leaves little, the answer is shortened before the text is.
    most = next((limit for limit in (writer.limit - answer, writer.limit - 1) if limit > around), 0)
    room = most - around
    while room > 0:
        part = kept[-room:] if ask.truncate == "left" else kept[:room]
        shorter = str(writer.tokenizer.decode(part, skip_special_tokens=True))
        over = len(_encode(writer, shorter, ask)) - most
        if over <= 0 and shorter:
            return shorter
        # At a border that was cut, a text may take more tokens than it did.
        room -= max(over, 1)
    # Nothing of it fits, which is said as of any text that is too long.
    return text

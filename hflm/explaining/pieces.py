"""A text as a model reads it: tokens, and where each stands in the text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hflm.errors import UsageError
from hflm.explaining.opened import Opened
from hflm.inference.fill_mask import BLANK
from hflm.words import word_pattern

# What has no ink is shown by a sign.
SIGNS = {"\n": "⏎", "\t": "⇥", " ": "␣", "\u00a0": "␣", "\r": "⏎"}


@dataclass(frozen=True)
class Piece:
    """A token: its id and name in the vocabulary, the characters [start, end) of the text that it stands for.

    `opens`: a word of the text begins with it.
    """

    id: int
    token: str
    text: str
    start: int
    end: int
    special: bool
    opens: bool = False


@dataclass(frozen=True)
class Segment:
    """Characters of the text and the tokens [first, last) that they became; none for what lies between tokens."""

    text: str
    first: int = 0
    last: int = 0
    special: bool = False


@dataclass(frozen=True)
class Read:
    """A text cut into tokens; `cut` counts those left out, from the side named."""

    text: str
    pieces: list[Piece]
    cut: int
    side: str

    @property
    def ids(self) -> list[int]:
        """The ids [T]."""
        return [piece.id for piece in self.pieces]


def read_text(opened: Opened, text: str, *, max_tokens: int) -> Read:
    """Tokenize a text as the model does; of a long one the part is kept that the answer hangs on.

    A decoder goes on with the end of a text, every other model reads its beginning. Raises UsageError for no text.
    """
    if not text.strip():
        raise UsageError("The text is empty.", fix="Give some words.")
    tokenizer, room = opened.tokenizer, min(max_tokens, opened.limit)
    side = "left" if opened.kind == "next" else "right"
    whole = opened.prefix + text
    if tokenizer.mask_token and opened.kind in ("masked", "body"):
        whole = BLANK.sub(lambda found: str(tokenizer.mask_token), whole)
    all_ids = _encode(tokenizer, whole)
    ids, spans = all_ids
    while opened.kind == "next" and len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
        ids, spans = ids[:-1], spans[:-1]  # a text that is to go on has not ended
    if not ids:
        raise UsageError("The text has no tokens.", fix="Give some words.")
    cut = max(len(ids) - room, 0)
    keep = _kept(ids, set(tokenizer.all_special_ids), cut, side=side)
    pieces = [_piece(tokenizer, whole, ids[place], spans[place]) for place in keep]
    return Read(whole, _opening(whole, pieces), cut, side)


def _encode(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    if not tokenizer.is_fast:
        ids = list(tokenizer(text, verbose=False)["input_ids"])
        return ids, [(0, 0)] * len(ids)
    found = tokenizer(text, return_offsets_mapping=True, verbose=False)
    return list(found["input_ids"]), [(int(start), int(end)) for start, end in found["offset_mapping"]]


def _kept(ids: Sequence[int], special: set[int], cut: int, *, side: str) -> list[int]:
    """Return the places that stay; tokens that open or close a text stay where they are."""
    first = 1 if ids[0] in special else 0
    last = len(ids) - (1 if len(ids) > 1 and ids[-1] in special else 0)
    inner = list(range(first, last))
    left = inner[cut:] if side == "left" else inner[: max(len(inner) - cut, 0)]
    return [*range(first), *left, *range(last, len(ids))]


def _piece(tokenizer: Any, text: str, token_id: int, span: tuple[int, int]) -> Piece:
    token = str(tokenizer.convert_ids_to_tokens(token_id))
    start, end = span
    # A word that is not in the vocabulary is a word still.
    unknown = token_id == tokenizer.unk_token_id and end > start and text[start:end] != token
    special = token_id in tokenizer.all_special_ids and not unknown
    # Some tokenizers count the space before a word as part of it.
    while end - start > 1 and text[start].isspace():
        start += 1
    shown = text[start:end] if end > start and not special else ""
    return Piece(token_id, token, sign(shown or _name(tokenizer, token_id, token, special)), start, end, special)


def _opening(text: str, pieces: Sequence[Piece]) -> list[Piece]:
    """Mark the pieces that are the first of a word, as words are given to a tagger."""
    starts = {match.start() for match in word_pattern(signs=True).finditer(text)}
    found = []
    for piece in pieces:
        # A piece may be no more than the space before a word.
        start = piece.start
        while start < len(text) and text[start].isspace():
            start += 1
        opens = not piece.special and piece.end > piece.start and start in starts
        if opens:
            # A letter may be several pieces.
            starts.remove(start)
        found.append(replace(piece, opens=opens))
    return found


def _name(tokenizer: Any, token_id: int, token: str, special: bool) -> str:
    return token if special else str(tokenizer.decode([token_id])).strip() or token


def tagged_places(pieces: Sequence[Piece]) -> list[int]:
    """Return the places where a tagger has an answer: the first pieces of words, for it learns no tag of the others."""
    first = [place for place, piece in enumerate(pieces) if piece.opens]
    return first or [place for place, piece in enumerate(pieces) if not piece.special] or [0]


def sign(text: str) -> str:
    """Return a text with signs for what has no ink."""
    return "".join(SIGNS.get(letter, letter) for letter in text)


def written(tokenizer: Any, ids: Sequence[int]) -> list[Piece]:
    """Return the tokens that a model wrote, which stand in no text."""
    special = set(tokenizer.all_special_ids)
    return [
        Piece(one, token := str(tokenizer.convert_ids_to_tokens(one)),
              sign(_name(tokenizer, one, token, one in special)), 0, 0, one in special)
        for one in ids
    ]  # fmt: skip


def segments(read: Read) -> list[Segment]:
    """Return the text in order, cut where tokens begin; tokens that share a character share a segment.

    A letter of Chinese or a sign may be several tokens of bytes. Letters of an Arabic word stay next to each other,
    so that they are still drawn joined.
    """
    found: list[Segment] = []
    at = min((piece.start for piece in read.pieces if piece.end > piece.start), default=0)
    for place, piece in enumerate(read.pieces):
        if piece.special or piece.end <= piece.start:
            if piece.special and piece.end > piece.start:
                found.append(Segment(read.text[at : piece.start]))
                at = max(at, piece.end)
            found.append(Segment(piece.text, place, place + 1, piece.special))
        elif piece.start < at and found and found[-1].last == place:
            before = found[-1]
            found[-1] = Segment(before.text + read.text[at : piece.end], before.first, place + 1)
            at = max(at, piece.end)
        else:
            found += [Segment(read.text[at : piece.start])] if piece.start > at else []
            found.append(Segment(read.text[piece.start : piece.end], place, place + 1))
            at = piece.end
    return [one for one in found if one.text]

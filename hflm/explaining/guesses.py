"""What a model expects at every token of a text, where it can say."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hflm.explaining.opened import Opened
from hflm.explaining.pieces import Piece, sign, tagged_places
from hflm.explaining.questions import Candidate
from hflm.explaining.reading import Reading
from hflm.models.heads import saved_labels

# Tokens that are hidden in turn: each costs a pass. Of them so many at once, and no more logits than ROOM.
MOST = 64
AT_ONCE, ROOM = 16, 2**26


@dataclass(frozen=True)
class Guess:
    """A token of the text, how likely it was to the model, and what it expected there."""

    token: str
    probability: float
    expected: list[Candidate]


@torch.no_grad()
def guesses(opened: Opened, pieces: Sequence[Piece], reading: Reading, *, top: int) -> list[Guess]:
    """Return what was expected: at each hidden token, or after the tokens before it; a tagger's tags of the words.

    For a masked language model each token is hidden in turn, at most MOST of them.
    """
    places = [place for place, piece in enumerate(pieces) if not piece.special]
    if opened.kind == "tagging" and reading.logits is not None:
        labels = saved_labels(opened.model.config)
        chances = reading.logits[0].softmax(-1)
        return [_guess(pieces[at], chances[at], None, top, labels) for at in tagged_places(pieces)]
    if opened.kind == "next" and reading.logits is not None:
        chances = reading.logits[0].softmax(-1)  # [T, V]
        later = [at for at in places if at][-MOST:]
        return [_guess(pieces[at], chances[at - 1], pieces[at].id, min(top, 3), opened) for at in later]
    if opened.kind == "masked":
        return _hidden(opened, pieces, places[:MOST], min(top, 3))
    return []


def _hidden(opened: Opened, pieces: Sequence[Piece], places: list[int], top: int) -> list[Guess]:
    ids = torch.tensor([piece.id for piece in pieces], device=opened.device)
    never = [one for one in opened.tokenizer.all_special_ids if one < opened.model.config.vocab_size]
    found = []
    at_once = max(1, min(AT_ONCE, ROOM // (opened.model.config.vocab_size * len(pieces))))
    for start in range(0, len(places), at_once):
        some = places[start : start + at_once]
        rows = ids.repeat(len(some), 1)
        rows[range(len(some)), some] = opened.tokenizer.mask_token_id
        logits = opened.model(input_ids=rows, attention_mask=torch.ones_like(rows)).logits.float()  # [B, T, V]
        logits[:, :, never] = -torch.inf
        for row, at in zip(logits, some, strict=True):
            found.append(_guess(pieces[at], row[at].softmax(-1), pieces[at].id, top, opened))
    return found


def _guess(
    piece: Piece, chances: torch.Tensor, truth: int | None, top: int, names: Opened | Sequence[str]
) -> Guess:  # fmt: skip
    best = chances.topk(min(top, len(chances)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    if isinstance(names, Opened):
        expected = [Candidate(sign(str(names.tokenizer.decode([number]))), chance) for number, chance in pairs]
    else:
        expected = [Candidate(names[number], chance) for number, chance in pairs]
    return Guess(piece.text, float(chances[truth]) if truth is not None else expected[0].probability, expected)

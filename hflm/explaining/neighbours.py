"""Which tokens a model's table of embeddings holds to be alike, before it has read anything."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hflm.explaining.opened import Opened
from hflm.explaining.pieces import Piece, sign
from hflm.explaining.questions import Candidate

# Tokens of the text that are looked up.
MOST = 24


@dataclass(frozen=True)
class Neighbours:
    """A token, and those whose embeddings point the same way most, with their cosine."""

    token: str
    nearest: list[Candidate]


@torch.no_grad()
def neighbours(opened: Opened, pieces: Sequence[Piece], *, top: int) -> list[Neighbours]:
    """Return the nearest tokens by cosine of the input embeddings [V, D], for each different token of the text."""
    chosen = list(dict.fromkeys(piece.id for piece in pieces if not piece.special))[:MOST]
    names = {piece.id: piece.text for piece in reversed(pieces)}
    table = opened.model.get_input_embeddings().weight.float()
    table = torch.nn.functional.normalize(table[: len(opened.tokenizer)], dim=-1)
    found = []
    for token_id in chosen:
        like = table @ table[token_id]  # [V]
        like[[token_id, *(one for one in opened.tokenizer.all_special_ids if one < len(like))]] = -torch.inf
        best = like.topk(min(top, len(like) - 1))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        nearest = [Candidate(_name(opened, number), cosine) for number, cosine in pairs if cosine > -2]
        found.append(Neighbours(names[token_id], nearest))
    return found


def _name(opened: Opened, token_id: int) -> str:
    return sign(
        str(opened.tokenizer.decode([token_id])).strip() or str(opened.tokenizer.convert_ids_to_tokens(token_id))
    )

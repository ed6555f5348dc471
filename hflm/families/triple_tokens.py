"""Which tokens may come next while triples are written, so that every output is a line of triples.

The parts of a line are told apart by tokens that are nothing but the mark, which works for every tokenizer: head and
tail are any text without it, the relation is one of those known, along the tokens that spell it. The end may come
after a tail, or after `none`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hflm.errors import ModelError
from hflm.models.spacing import set_solid
from hflm.triples import MARK, NONE, from_line, tidy, whole_part

# What tokenizers write for a space or a line end, and one byte of the mark where bytes are written out.
SPACES = "Ġ▁ĊĉčĠ \t\n\r"
BYTE = "<0x7C>"
# Tokens within which `none` is looked for.
SHORT = 8
Node = dict[int | None, Any]


@dataclass(frozen=True, slots=True)
class State:
    """Where a line stands: parts that are done, whether this one has a letter, its place among the relations."""

    parts: int = 0
    filled: bool = False
    node: Any = None
    opening: tuple[int, ...] = ()


class TripleTokens:
    """The tokens of a tokenizer as parts of triples, for the relations that a model knows."""

    def __init__(self, tokenizer: Any, relations: Sequence[str]) -> None:
        """Raise ModelError where the tokenizer cannot write the mark, or a relation."""
        self.tokenizer, self.relations = tokenizer, tuple(relations)
        pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        marked = [i for i, piece in enumerate(pieces) if piece and (MARK in piece or piece == BYTE)]
        self.bars = frozenset(i for i in marked if tokenizer.decode([i]).strip() == MARK)
        self.special = frozenset(tokenizer.all_special_ids)
        self.blank = frozenset(i for i, piece in enumerate(pieces) if piece is None or not piece.strip(SPACES))
        self.text = torch.ones(len(tokenizer), dtype=torch.bool)
        self.text[[*marked, *self.special]] = False
        self.spelled: dict[str, str] = {}
        self.root: Node = {}
        for relation, ids in zip(self.relations, self._spell(self.relations), strict=True):
            self._learn(relation, ids)

    def _spell(self, relations: Sequence[str]) -> list[list[int]]:
        """Return the ids between the marks around each relation."""
        found = []
        lines = [f"a {MARK} {relation} {MARK} a" for relation in relations]
        for relation, ids in zip(
            relations, self.tokenizer(text_target=lines, add_special_tokens=False)["input_ids"], strict=True
        ):
            marks = [at for at, token in enumerate(ids) if token in self.bars]
            if len(marks) != 2 or marks[1] == marks[0] + 1:
                raise ModelError(
                    f"The tokenizer of {self.tokenizer.name_or_path} cannot write {MARK!r} around {relation!r}.",
                    fix="Name a model whose tokenizer knows that sign.",
                )
            found.append(ids[marks[0] + 1 : marks[1]])
        return found

    def _learn(self, relation: str, ids: Sequence[int]) -> None:
        spelled = tidy(set_solid(self.tokenizer, self.tokenizer.decode(ids, skip_special_tokens=True)))
        if not spelled:
            raise ModelError(
                f"The tokenizer of {self.tokenizer.name_or_path} has no letters for the relation {relation!r}.",
                fix="Rename the relation, or name another model.",
            )
        self.spelled.setdefault(spelled, relation)
        node = self.root
        for token in ids:
            node = node.setdefault(token, {})
        node[None] = True

    def step(self, state: State, token: int) -> State:
        """Return the state after a token."""
        if token in self.special:
            return state
        if token in self.bars:
            parts = state.parts + 1
            return State(parts, node=self.root if parts % 3 == 1 else None)
        if state.parts % 3 == 1:
            return State(state.parts, True, (state.node or {}).get(token, {}))
        opening = (*state.opening, token) if not state.parts and len(state.opening) < SHORT else state.opening
        return State(state.parts, state.filled or token not in self.blank, None, opening)

    def allowed(self, state: State, ends: Iterable[int], *, size: int) -> Tensor:
        """Return which of a model's `size` tokens may come: booleans [V]."""
        found = torch.zeros(size, dtype=torch.bool)
        if state.parts % 3 == 1:
            node: Node = state.node or {}
            found[[token for token in node if token is not None]] = True
            if None in node:
                found[list(self.bars)] = True
            return found
        known = min(size, len(self.text))
        found[:known] = self.text[:known]
        found[list(ends)] = False
        if state.filled:
            found[list(self.bars)] = True
        if (state.filled and state.parts % 3 == 2) or self._is_none(state):
            found[list(ends)] = True
        return found

    def _is_none(self, state: State) -> bool:
        if state.parts or not 0 < len(state.opening) < SHORT:
            return False
        return tidy(self.tokenizer.decode(list(state.opening), skip_special_tokens=True)).casefold() == NONE

    def close(self, line: str) -> str:
        """Return a line as it is kept: without a triple that was cut off, its relations by their own names."""
        parts = [tidy(part) for part in whole_part(line).split(MARK)]
        named = [self.spelled.get(part, part) if at % 3 == 1 else part for at, part in enumerate(parts)]
        return f" {MARK} ".join(named)

    def chances(self, ids: Sequence[int], logs: Sequence[float]) -> list[float]:
        """Return the probability of each whole triple: the product over its tokens, given all before it."""
        sums, parts = [0.0], 0
        for token, log in zip(ids, logs, strict=False):
            sums[-1] += log
            if token in self.bars:
                parts += 1
                if parts % 3 == 0:
                    sums.append(0.0)
        return [round(float(torch.tensor(total).exp()), 4) for total in sums]


def relations_of(lines: Iterable[str]) -> list[str]:
    """Return the relations that stand in lines of triples, sorted."""
    return sorted({relation for line in lines for _, relation, _ in from_line(line) or ()})

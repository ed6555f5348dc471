"""Writing triples and nothing else, with `generate` of transformers: greedy or by beams."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from hflm.families.triple_tokens import State, TripleTokens


class OnlyTriples(LogitsProcessor):
    """Takes away what may not come next; remembers how likely what comes was, where tokens are taken greedily."""

    def __init__(self, tokens: TripleTokens, *, prompt: int, ends: frozenset[int]) -> None:
        self.tokens, self.prompt, self.ends = tokens, prompt, ends
        self.states: dict[tuple[int, ...], State] = {(): State()}
        self.logs: list[list[float]] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores [B, V] with those of other tokens at minus infinity."""
        masked = scores.clone()
        seen: dict[tuple[int, ...], State] = {}
        for row, ids in enumerate(input_ids[:, self.prompt :].tolist()):
            written = tuple(ids)
            if self.ends.intersection(written):
                continue
            before = self.states.get(written[:-1], State())
            state = self.states[()] if not written else self.tokens.step(before, written[-1])
            seen[written] = state
            allowed = self.tokens.allowed(state, self.ends, size=scores.size(1)).to(scores.device)
            # Where the model's own rules leave one token, as a language's code, that one comes.
            if (allowed & torch.isfinite(scores[row])).any():
                masked[row].masked_fill_(~allowed, -torch.inf)
        self.states = {(): State(), **seen}
        best = masked.argmax(dim=-1, keepdim=True)
        self.logs.append(torch.log_softmax(scores.float(), dim=-1).gather(1, best)[:, 0].tolist())
        return masked

    def chances(self, written: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return the probability of every triple of each row of what was written after the prompts."""
        found = []
        for row, ids in enumerate(written):
            end = next((at + 1 for at, token in enumerate(ids) if token in self.ends), len(ids))
            found.append(self.tokens.chances(ids[:end], [logs[row] for logs in self.logs[:end]]))
        return found


def only_triples(family: Any, *, prompt: int, ends: set[int]) -> OnlyTriples | None:
    """Return what holds a family to triples; None where it writes any text."""
    tokens = getattr(family, "triples", None)
    if tokens is None:
        return None
    return OnlyTriples(tokens, prompt=prompt, ends=frozenset(ends))

"""How the next token is chosen: greedily, or drawn, each row by a generator of its own."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hflm.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Temperature (0: the likeliest token), the cuts of the distribution, and the penalty on what was said."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        """Raise UsageError for a number out of its range."""
        # `not (a <= x)` refuses a NaN too.
        if not 0 <= self.temperature <= 100:
            raise UsageError(f"--temperature is {self.temperature}.", fix="Give 0, for the likeliest token, or more.")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"--top-p is {self.top_p}.", fix="Give a share above 0 and at most 1.")
        if self.top_k < 0:
            raise UsageError(f"--top-k is {self.top_k}.", fix="Give a number of tokens, or 0 for all.")
        if not 0 <= self.min_p <= 1:
            raise UsageError(f"--min-p is {self.min_p}.", fix="Give a share from 0 to 1 of the likeliest token's.")
        if not 0 < self.repetition_penalty <= 100:
            raise UsageError(
                f"--repetition-penalty is {self.repetition_penalty}.", fix="Give 1 for none, or a number above it."
            )


def generator_of(seed: int, row: int, answer: int) -> torch.Generator:
    """Return the generator of one answer: the same whatever stands in the batch beside it."""
    digest = hashlib.sha256(f"{seed}/{row}/{answer}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def penalize(logits: Tensor, said: Sequence[int], penalty: float) -> Tensor:
    """Return logits [V] with those of tokens `said` before made smaller (Keskar et al. 2019, 4.1)."""
    places = torch.tensor(sorted(set(said)), dtype=torch.long, device=logits.device)
    old = logits[places]
    return logits.index_copy(0, places, torch.where(old < 0, old * penalty, old / penalty))


def choose(logits: Tensor, sampling: Sampling, draw: torch.Generator) -> int:
    """Return the next token, from logits [V]."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    chances = cut(logits.cpu().float() / sampling.temperature, sampling).softmax(dim=-1)
    return int(torch.multinomial(chances, 1, generator=draw))


def cut(logits: Tensor, sampling: Sampling) -> Tensor:
    """Return logits [V] with those of the tokens that may not be drawn at minus infinity.

    The cuts come one after the other: top-k, top-p, min-p.
    """
    if 0 < sampling.top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(sampling.top_k).values[-1], -torch.inf)
    if sampling.top_p < 1:
        ordered, places = logits.sort(descending=True, stable=True)
        chances = ordered.softmax(dim=-1)
        # A token stays while those before it do not yet make up the share: the first always does.
        over = chances.cumsum(dim=-1) - chances >= sampling.top_p
        logits = logits.index_fill(0, places[over], -torch.inf)
    if sampling.min_p > 0:
        chances = logits.softmax(dim=-1)
        logits = logits.masked_fill(chances < sampling.min_p * chances.max(), -torch.inf)
    return logits

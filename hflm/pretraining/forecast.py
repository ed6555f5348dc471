"""What loss a run from scratch will come to: a law fitted over runs of the bench (`python -m bench.forecast`).

Before it has learned anything a model guesses by frequency, and its loss is that of the unigram model, which the text
gives away before training. From there the loss falls with the tokens that are read, towards a floor:

    loss = unigram x (floor + (1 - floor) / (1 + (D / d) ** slope)),  d = half x (N / 1e6) ** -half_power

N parameters without the embedding, D tokens read; those of a second and later pass count for less and less, as if no
more than `passes` passes more could be had of them (Muennighoff et al. 2023, whose number is taken). Where a run is
scored on another text than it is trained on, its floor is `elsewhere` times as high. It is a law of one recipe, hflm's
own, and of runs of minutes: where sizes part ways for good it has not seen.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Law:
    """The constants, and `error`: how far, in the logarithm of the loss, it was from runs that it had not seen."""

    floor: float = 0.388587
    half: float = 682_497
    half_power: float = 0.167435
    slope: float = 1.58692
    passes: float = 15.0
    elsewhere: float = 1.28930
    error: float = 0.0686


LAW = Law()
# What the law has seen: twice the tokens of its longest run, and from half of its smallest model to twice its largest.
LONGEST, BODIES = 1.6e7, (224_000, 26_200_000)


def is_beyond(*, body: int, tokens: float) -> bool:
    """Tell whether a run is far from those that the law was fitted over."""
    return tokens > LONGEST or not BODIES[0] <= body <= BODIES[1]


def forecast(
    *, body: int, tokens: float, unique: float, unigram_loss: float, elsewhere: bool = False, law: Law = LAW
) -> float:
    """Return the loss, in nats a token, of a run over `tokens` tokens, `unique` of them in a pass.

    `body` is the number of parameters without the embedding; `elsewhere` says that the run is scored on another text.
    """
    half = law.half * math.pow(body / 1e6, -law.half_power)
    read = worth(tokens, unique=unique, passes=law.passes)
    floor = law.floor * (law.elsewhere if elsewhere else 1.0)
    share = floor + (1 - floor) / (1 + math.pow(read / half, law.slope))
    return unigram_loss * share


def worth(tokens: float, *, unique: float, passes: float) -> float:
    """Return how many tokens read once teach as much as these, of which the same are read again and again."""
    if tokens <= unique:
        return tokens
    again = tokens / unique - 1
    return unique * (1 + passes * (1 - math.exp(-again / passes)))


def body_parameters(model: "PreTrainedModel") -> int:
    """Count the parameters without the embedding of the vocabulary."""
    table = model.get_input_embeddings().weight
    return sum(weight.numel() for weight in model.parameters() if weight is not table)

"""Whether the sizes that a configuration asks for fit the weights that are there: looked at before memory is taken."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hflm.errors import ModelError

# Names of settings that make matrices wider, and of those that make more of them.
WIDE = re.compile(r"(size|dim|inner|embd|ffn|positions?|heads|labels|buckets|ctx|experts|_ff|_kv|d_model|n_embd)$")
DEEP = re.compile(r"(layers?|blocks|depth|repeats|groups)$")
WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embed_dim")
USUAL_WIDTH = 1024
MAX_LAYERS = 10_000
# Many times what an honest model has more in its shape than in its file: shared layers, a new head, a mask.
FACTOR, SLACK = 16, 10**8
# Where the weights are not here yet.
UNKNOWN = 10**12
# Settings of generation that multiply memory or time.
GENERATION = {
    "num_beams": 1024, "num_return_sequences": 1024, "num_beam_groups": 1024, "top_k": 10**7, "max_length": 10**7,
    "max_new_tokens": 10**7, "min_length": 10**7, "min_new_tokens": 10**7, "no_repeat_ngram_size": 10**6,
}  # fmt: skip


def check_sizes(config: Mapping[str, Any], held: int | None, *, where: str) -> None:
    """Raise ModelError where a configuration asks for far more than the `held` numbers that the weights have."""
    most = FACTOR * (UNKNOWN if held is None else held) + SLACK
    have = "no file holds as much" if held is None else f"the weights hold {held:,} numbers"
    for part in _parts(config):
        width = max((_number(part.get(name)) for name in WIDTHS), default=0) or USUAL_WIDTH
        for name, value in _numbers(part):
            layers = bool(DEEP.search(name))
            if not layers and not WIDE.search(name):
                continue
            needed = value * width * (width if layers else 1)
            if needed > most or (layers and value > MAX_LAYERS):
                raise ModelError(f"{where} asks for {name} {str(value)[:16]}, and {have}.", fix="Name a whole model.")


def check_generation(config: Mapping[str, Any], *, where: str) -> None:
    """Raise ModelError where the settings of generation would fill memory or never end."""
    for name, most in GENERATION.items():
        if _number(config.get(name)) > most:
            raise ModelError(f"{where} asks for {name} {str(config[name])[:16]}.", fix=f"Set it to {most} or less.")


def _parts(config: Mapping[str, Any], depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Yield a configuration and those inside it, as an encoder-decoder has."""
    yield config
    if depth < 5:
        for value in config.values():
            if isinstance(value, dict):
                yield from _parts(value, depth + 1)


def _numbers(part: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in part.items():
        for each in value if isinstance(value, list) else [value]:
            if number := _number(each):
                yield str(name), number


def _number(value: Any) -> float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0

"""What a model is made of: its parameters by part, the matrices of a layer, and how it knows the order of words."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hflm.explaining.opened import Opened
from hflm.models.architecture import position_offset

NORM = re.compile(r"norm|ln_|layernorm", re.IGNORECASE)
POSITION = re.compile(r"(position_embedding|wpe|embed_positions|position_embeddings)", re.IGNORECASE)
EMBEDDING = re.compile(r"(embed|wte|^shared)", re.IGNORECASE)
ATTENTION = re.compile(r"(attn|attention)", re.IGNORECASE)
LAYER = re.compile(r"\.(\d+)\.")
PARTS = ("token embeddings", "positions", "attention", "feed-forward", "norms", "head and pooler")


@dataclass(frozen=True)
class Part:
    """Parameters of one kind, and their share of all."""

    name: str
    parameters: int
    share: float


@dataclass(frozen=True)
class Matrix:
    """A parameter of the first layer: its name there, shape, and part."""

    name: str
    shape: tuple[int, ...]
    part: str


@dataclass(frozen=True)
class Positions:
    """How the order of words is known: `kind`, what it says, and for a table the mean cosine by distance 0, 1, ..."""

    kind: str
    told: str
    cosines: list[float]


def part_of(name: str) -> str:
    """Return the part that a parameter belongs to, by its name."""
    inside = LAYER.search(name) is not None
    if NORM.search(name):
        return "norms"
    if POSITION.search(name) or "relative_attention_bias" in name:
        return "positions"
    if inside:
        return "attention" if ATTENTION.search(name) else "feed-forward"
    return "token embeddings" if EMBEDDING.search(name) else "head and pooler"


def parts(model: Any) -> list[Part]:
    """Return the parts with their parameters; weights that are used twice count once."""
    counts = dict.fromkeys(PARTS, 0)
    for name, parameter in model.named_parameters():
        counts[part_of(name)] += parameter.numel()
    total = max(sum(counts.values()), 1)
    return [Part(name, count, count / total) for name, count in counts.items() if count]


def first_layer(model: Any) -> list[Matrix]:
    """Return the parameters of the first layer, in the order in which the model holds them."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if LAYER.search(name)]
    if not named:
        return []
    found = LAYER.search(named[0][0])
    assert found
    opening = named[0][0][: found.end()]
    return [
        Matrix(name.removeprefix(opening), tuple(parameter.shape), part_of(name))
        for name, parameter in named
        if name.startswith(opening)
    ]


def positions(opened: Opened, *, length: int) -> Positions:
    """Say how the model knows the order of the `length` tokens that it reads."""
    model = opened.model
    named = ((name, one) for name, one in model.named_parameters() if POSITION.search(name) and one.dim() == 2)
    name, table = next(named, ("", None))
    if table is not None:
        return _table(table.detach(), length, first=_first_row(model, name))
    bias = next((p for name, p in model.named_parameters() if "relative_attention_bias" in name), None)
    if bias is not None:
        ranges, heads = bias.shape
        told = f"a number for each of {ranges} ranges of distance and each of {heads} heads is added to the score"
        return Positions("relative", told, [])
    if any("rotary" in name for name, _ in model.named_modules()):
        return _rotary(model.config)
    return Positions("unknown", "this architecture tells them in a way that hflm does not know", [])


def _first_row(model: Any, name: str) -> int:
    """Return the row of a table of positions that the first token gets: BART and OPT, like RoBERTa, spare some."""
    module = model.get_submodule(name.rpartition(".")[0])
    # A pair of two models has a configuration for each; the encoder's comes first, as its table does.
    kind = getattr(getattr(model.config, "encoder", None), "model_type", model.config.model_type)
    offset = position_offset(kind, pad_token_id=getattr(module, "padding_idx", None))
    return int(getattr(module, "offset", offset))


def _table(table: torch.Tensor, length: int, *, first: int) -> Positions:
    used = table[first : first + max(2, length)]
    rows = torch.nn.functional.normalize(used.float(), dim=-1)
    like = rows @ rows.T  # [T, T]
    cosines = [float(like.diagonal(distance).mean()) for distance in range(min(len(rows), 32))]
    told = f"a table of {table.shape[0]:,} vectors of {table.shape[1]:,} numbers; "
    if first:
        told += f"the first {first} are for no place in a text, and the (t + {first})-th is added to the t-th token"
    else:
        told += "the t-th is added to the t-th token"
    return Positions("table", told, cosines)


def _rotary(config: Any) -> Positions:
    rope: Any = getattr(config, "rope_parameters", None) or {}
    # ModernBERT keeps one for each sort of layer.
    sorts = [one for one in rope.values() if isinstance(one, dict)] if isinstance(rope, dict) else []
    thetas = [float(one["rope_theta"]) for one in (sorts or [rope]) if isinstance(one, dict) and "rope_theta" in one]
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    told = f"pairs of the {width} numbers of each query and key are turned by an angle that grows with the place"
    if thetas:
        longest = 2 * math.pi * max(thetas) ** (1 - 2 / width)
        told += f": the fastest pair once in {2 * math.pi:.1f} tokens, the slowest once in {longest:,.0f}"
    return Positions("rotary", told, [])


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as it is written on the page."""
    return " × ".join(f"{size:,}" for size in shape)

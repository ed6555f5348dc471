"""One pass through a model with everything that it held on the way.

Shapes: L layers, H heads, R rows that look (queries), C columns that are looked at (keys), D width, F width of a
feed-forward layer.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hflm.errors import ModelError, NumericsError, UsageError
from hflm.explaining.opened import Opened
from hflm.explaining.pieces import Piece, written

Floats = NDArray[np.float32]
# Attention weights that are held at once, in bytes.
ROOM = 2 * 2**30


@dataclass(frozen=True)
class View:
    """Attention weights [L, H, R, C] of one sort, and the tokens of their rows and columns; each row sums to 1."""

    name: str
    title: str
    rows: list[Piece]
    columns: list[Piece]
    weights: Floats


@dataclass(frozen=True)
class Active:
    """How many hidden units [T] of a feed-forward layer of width F were above zero, as a share."""

    width: int
    shares: list[float]


@dataclass(frozen=True)
class Reading:
    """Logits, attention by sort, lengths [L + 1, T] of the hidden states, and their changes [L, T]."""

    logits: Tensor | None
    views: list[View]
    lengths: Floats
    changes: Floats
    active: list[Active]
    written: list[int]


def check_room(opened: Opened, length: int) -> None:
    """Raise UsageError where the attention of a text of so many tokens would not fit into memory."""
    config = getattr(opened.model.config, "encoder", None) or opened.model.config
    heads = getattr(config, "num_attention_heads", None)
    if not heads:
        raise _no_attention(opened)
    layers = int(config.num_hidden_layers)
    needed = 4 * layers * heads * length**2
    if needed > ROOM:
        most = int((ROOM / (4 * layers * heads)) ** 0.5)
        raise UsageError(
            f"Attention over {length:,} tokens in {layers * heads} heads takes {needed / 2**30:.1f} GiB.",
            fix=f"Pass --max-tokens {most} or less.",
        )


@torch.no_grad()
def read_through(opened: Opened, pieces: Sequence[Piece]) -> Reading:
    """Let a model read; raises ModelError where it has no attention, NumericsError where its numbers are not finite."""
    model = opened.model
    ids = torch.tensor([[piece.id for piece in pieces]], device=opened.device)  # [1, T]
    more: dict[str, Any] = {}
    if opened.kind == "seq2seq":
        more["decoder_input_ids"] = _write(opened, ids)
    with _watch_activations(model, beside="decoder." if more else "") as active:
        found = model(
            input_ids=ids, attention_mask=torch.ones_like(ids), output_attentions=True, output_hidden_states=True,
            use_cache=False, **more,
        )  # fmt: skip
    wrote = more["decoder_input_ids"][0].tolist() if more else []
    views = _views(opened, found, list(pieces), written(opened.tokenizer, wrote))
    states = torch.stack(tuple(found["encoder_hidden_states" if more else "hidden_states"]))[
        :, 0
    ].float()  # [L+1, T, D]
    logits = found.get("logits")
    if not torch.isfinite(states).all() or (logits is not None and not torch.isfinite(logits).all()):
        raise NumericsError(f"The numbers of {opened.name} are not finite: its weights are damaged.", fix="Train anew.")
    lengths = states.norm(dim=-1)
    changes = (states[1:] - states[:-1]).norm(dim=-1) / lengths[:-1].clamp_min(1e-9)
    return Reading(
        None if logits is None else logits.float(), views, lengths.cpu().numpy(), changes.cpu().numpy(), active, wrote
    )


def _write(opened: Opened, ids: Tensor) -> Tensor:
    """Return what an encoder-decoder writes greedily, [1, R], with its start token."""
    made = opened.model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), num_beams=1, do_sample=False,
        max_new_tokens=min(opened.max_new_tokens, 40),
    )  # fmt: skip
    return torch.as_tensor(made)


def _views(opened: Opened, found: Any, read: list[Piece], wrote: list[Piece]) -> list[View]:
    if opened.kind != "seq2seq":
        return [View("self", "tokens looking at tokens", read, read, _stack(opened, found.get("attentions")))]
    sorts = (
        ("encoder_attentions", "encoder", "the source looking at itself", read, read),
        ("cross_attentions", "cross", "the output looking at the source", wrote, read),
        ("decoder_attentions", "decoder", "the output looking at itself", wrote, wrote),
    )
    return [View(name, title, r, c, _stack(opened, found.get(key))) for key, name, title, r, c in sorts]


def _stack(opened: Opened, attentions: Any) -> Floats:
    layers = [one for one in attentions or () if one is not None]
    if not layers:
        raise _no_attention(opened)
    if len({one.shape for one in layers}) > 1:
        raise ModelError(f"The layers of {opened.name} differ in their heads.", fix="Name another model.")
    stacked: Floats = torch.stack([one[0].float() for one in layers]).cpu().numpy()
    return stacked


def _no_attention(opened: Opened) -> ModelError:
    made = type(opened.model).__name__
    return ModelError(f"{opened.name} ({made}) has no attention to show.", fix="Name a transformer.")


@contextmanager
def _watch_activations(model: Any, *, beside: str) -> Iterator[list[Active]]:
    """Count the units above zero after the activation of each layer; none where a layer keeps it to itself.

    Modules whose name holds `beside` are left out.
    """
    from transformers.activations import ACT2CLS

    named = tuple({made[0] if isinstance(made, tuple) else made for made in ACT2CLS.values()})
    kinds: tuple[Any, ...] = tuple(one for one in named if isinstance(one, type))
    seen: list[Active] = []

    def look(module: Any, given: Any, found: Any) -> None:
        flat = found.reshape(-1, found.shape[-1])
        seen.append(Active(int(found.shape[-1]), (flat > 0).float().mean(-1).tolist()))

    hooks = [
        module.register_forward_hook(look)
        for name, module in model.named_modules()
        if isinstance(module, kinds) and re.search(r"\.\d+\.", name) and not (beside and beside in name)
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()

"""A row as token ids, and rows as padded tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# transformers' mark for a position without a target.
IGNORED = -100
# Rows that a tokenizer is given at once.
PART = 1000


@dataclass(frozen=True, slots=True)
class Encoded:
    """A row's ids [t] and its targets: a class, or one id or class a position; None where it has none.

    `cut` tells that text was left out to fit; `targets` how many positions count in the loss; `words` are the
    numbers of the words that these targets belong to, where a row has `size` words. `example` is the number of the
    example, where one may become several rows.
    """

    ids: list[int]
    labels: Any
    cut: bool = False
    targets: int = 1
    words: tuple[int, ...] = ()
    size: int = 0
    example: int | None = None

    @property
    def length(self) -> int:
        """Tokens of the longer side."""
        return max(len(self.ids), len(self.labels) if isinstance(self.labels, list) else 0)


def in_parts(encode: Callable[[Sequence[Any]], list[Encoded]], rows: Sequence[Any]) -> list[Encoded]:
    """Encode rows a part at a time: what a tokenizer finds takes many times the room of the ids that are kept."""
    return [one for start in range(0, len(rows), PART) for one in encode(rows[start : start + PART])]


def beginning(text: str, *, most: int) -> str:
    """Return as much of a text as can matter to its first `most` tokens.

    A tokenizer reads all that it is given, and takes some hundred bytes a character: gigabytes for a row of a few
    megabytes.
    """
    return text[: max(100 * most, 100_000)]


def was_cut(tokenizer: Any, found: Any, row: int, text: str, *, most: int, target: bool = False) -> bool:
    """Tell whether a text, encoded as `row` of what a tokenizer found, is longer than the `most` tokens kept of it."""
    if len(found["input_ids"][row]) < most:
        return False
    if found.encodings:
        return bool(found.encodings[row].overflowing)
    # A tokenizer in Python does not say what it left out.
    given: dict[str, Any] = {"text_target": text} if target else {"text": text}
    return len(tokenizer(**given, verbose=False)["input_ids"]) > most


def pad(rows: Sequence[list[int]], *, value: int, left: bool = False) -> Tensor:
    """Pad rows of ids to one tensor [B, T] of the longest row's length."""
    longest = max(len(row) for row in rows)
    padded = [[value] * (longest - len(row)) + row if left else row + [value] * (longest - len(row)) for row in rows]
    return torch.tensor(padded, dtype=torch.long)


def mask_of(rows: Sequence[list[int]], *, left: bool = False) -> Tensor:
    """Return the attention mask [B, T] of padded rows: 1 where a token stands."""
    return pad([[1] * len(row) for row in rows], value=0, left=left)

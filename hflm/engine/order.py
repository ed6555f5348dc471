"""The order of rows in a run: a function of (seed, epoch), the same for every split and number of processes."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from torch.utils.data import Dataset, Sampler

from hflm.data.packing import Row
from hflm.families.language_model import Item

Place = tuple[int, int]


class Readable(Protocol):
    """Rows by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Row: ...


class Order(Sampler[Place]):
    """All (epoch, row) places of a run, one after the other; epochs follow each other without a short batch."""

    def __init__(self, rows: int, *, total: int, seed: int, shuffle: bool = True) -> None:
        self.rows, self.total, self.seed, self.shuffle = rows, total, seed, shuffle

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[Place]:
        for start in range(0, self.total, self.rows):
            epoch = start // self.rows
            draw = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
            order = draw.permutation(self.rows) if self.shuffle else np.arange(self.rows)
            yield from ((epoch, int(row)) for row in order[: self.total - start])


class Placed(Dataset[Item]):
    """Rows by their place in the run."""

    def __init__(self, rows: Readable) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Item:
        epoch, index = place
        return Item(self.rows[index], epoch, index)

"""The order of rows in a run: a function of (seed, epoch), the same for every split and number of processes."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from hflm.families.family import Item

Place = tuple[int, int]


class Readable(Protocol):
    """Rows by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


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
            # A stream counts as very many rows: their numbers are not written out.
            order = draw.permutation(self.rows) if self.shuffle else range(self.rows)
            yield from ((epoch, int(row)) for row in order[: self.total - start])


class LikeLengths(Order):
    """An order whose batches hold rows of like length: less padding, and the order still a function of the seed.

    Each epoch is shuffled, sorted by length within stretches of 50 batches, cut into batches, and these shuffled.
    """

    def __init__(self, lengths: Sequence[int], *, total: int, seed: int, batch_size: int) -> None:
        super().__init__(len(lengths), total=total, seed=seed)
        self.lengths, self.batch_size = np.asarray(lengths), batch_size

    def __iter__(self) -> Iterator[Place]:
        for start in range(0, self.total, self.rows):
            epoch = start // self.rows
            order = self._epoch(epoch, open_batch=start % self.batch_size)
            yield from ((epoch, int(row)) for row in order[: self.total - start])

    def _epoch(self, epoch: int, *, open_batch: int) -> NDArray[np.int64]:
        draw = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        order, stretch = draw.permutation(self.rows), 50 * self.batch_size
        parts = [order[at : at + stretch] for at in range(0, self.rows, stretch)]
        order = np.concatenate([part[np.argsort(self.lengths[part], kind="stable")] for part in parts])
        # The first rows fill the batch that the epoch before left open.
        first = (self.batch_size - open_batch) % self.batch_size
        body = (self.rows - first) // self.batch_size * self.batch_size
        if body <= 0:
            return order
        batches = order[first : first + body].reshape(-1, self.batch_size)
        shuffled = batches[draw.permutation(len(batches))].ravel()
        return np.concatenate([order[:first], shuffled, order[first + body :]])


class Placed(Dataset[Item]):
    """Rows by their place in the run."""

    def __init__(self, rows: Readable) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Item:
        epoch, index = place
        return Item(self.rows[index], epoch, index)

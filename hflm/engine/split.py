"""How a global batch is split: micro-batch x accumulation x processes."""

from dataclasses import dataclass

from hflm.errors import UsageError

# Tokens of one forward pass that keep two cores or a GPU busy without filling the memory.
TOKENS_CPU = 4096
TOKENS_GPU = 65536
# What a CPU run may hold between forward and backward, and what a layer holds of each token, in multiples of its
# width: measured at 30 to 40 numbers of two bytes for Llama and BERT.
ACTIVATIONS, PER_WIDTH = 2 << 30, 68


@dataclass(frozen=True)
class Split:
    """micro_batch x accumulation x processes = the global batch."""

    micro_batch: int
    accumulation: int
    processes: int

    def __str__(self) -> str:
        whole = self.micro_batch * self.accumulation * self.processes
        parts = f"{self.micro_batch} (micro-batch) x {self.accumulation} (accumulation) x {self.processes} (processes)"
        return f"{whole} = {parts}"


def eval_batch(longest: int, *, gpu: bool) -> int:
    """Return the rows of an evaluation that are read at once, of which the longest has so many tokens.

    No more tokens than a micro-batch may have, or than 32 short rows: beside logits for a large vocabulary, long rows
    take gigabytes.
    """
    return max(1, min(32, (TOKENS_GPU if gpu else TOKENS_CPU) // max(longest, 1)))


def split_batch(
    batch_size: int, *, micro_batch: int | None, processes: int, max_length: int, gpu: bool, layers_x_width: int = 0
) -> Split:
    """Solve the split; raises UsageError where the batch cannot be split evenly, naming the nearest that can.

    `layers_x_width` tells how large the model is: large ones get smaller micro-batches on a CPU, as fast and leaner.
    """
    share = check_share(batch_size, processes=processes, micro_batch=micro_batch)
    if micro_batch is None:
        tokens = TOKENS_GPU if gpu else min(TOKENS_CPU, ACTIVATIONS // max(layers_x_width * PER_WIDTH, 1))
        room = max(1, tokens // max_length)
        micro_batch = max(n for n in range(1, min(room, share) + 1) if share % n == 0)
    return Split(micro_batch, share // micro_batch, processes)


def check_share(batch_size: int, *, processes: int, micro_batch: int | None) -> int:
    """Return the sequences of a batch that fall to each process; raises UsageError where they cannot be shared."""
    if batch_size % processes:
        low = max(batch_size // processes, 1) * processes
        raise UsageError(
            f"--batch-size {batch_size} cannot be split over {processes} processes.",
            fix=f"Pass --batch-size {low} or {low + processes}.",
        )
    share = batch_size // processes
    if micro_batch and share % micro_batch:
        near = max(n for n in range(1, min(micro_batch, share) + 1) if share % n == 0)
        raise UsageError(
            f"{share} sequences a process cannot be split into micro-batches of {micro_batch}.",
            fix=f"Pass --micro-batch-size {near}.",
        )
    return share

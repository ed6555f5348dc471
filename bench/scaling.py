"""What 8, 64 and 512 GPUs would do with DDP and FSDP2: worked out, not measured.

python -m bench.scaling            # the table of docs/launching.md
python -m bench.scaling --network slow --utilisation 0.5 --tokens 8192
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass

GPUS = (8, 64, 512)
TOKENS = 16_384
# Bytes that DDP sends in one all-reduce: torch's own default.
BUCKET = 25 << 20
# Weights, gradients and two moments in float32; weights are gathered in bfloat16.
STATE, GRADIENT, GATHERED = 16, 4, 2


@dataclass(frozen=True)
class Model:
    """A decoder: its weights, and its layers, which FSDP2 gathers one by one."""

    name: str
    weights: float
    layers: int


@dataclass(frozen=True)
class Cluster:
    """What is assumed: bytes a second that a ring moves in a node and between nodes, and seconds that a hop takes."""

    flops: float
    utilisation: float
    inside: float
    between: float
    hop_inside: float = 3e-6
    hop_between: float = 10e-6
    memory: float = 80e9
    # Of the step's compute, the share behind which messages can hide: the backward pass for DDP, all of it for FSDP2.
    hides_ddp: float = 2 / 3
    hides_fsdp: float = 0.9

    def seconds(self, size: float, gpus: int) -> float:
        """Return how long one gather, or one scatter of sums, takes: each GPU sends size x (n - 1) / n bytes."""
        speed = self.inside if gpus <= 8 else min(self.inside, self.between)
        hops = self.hop_inside * math.log2(min(gpus, 8)) + self.hop_between * math.log2(max(gpus / 8, 1))
        return size * (gpus - 1) / gpus / speed + hops


MODELS = (Model("135M", 135e6, 30), Model("1.5B", 1.5e9, 28), Model("7B", 7e9, 32))
# H100 SXM: 989 TFLOP/s dense in bfloat16, NVLink 450 GB/s each way, of which four fifths are reached; eight network
# cards of 400 Gbit/s a node, or one of 100.
NETWORKS = {"fast": 8 * 50e9 * 0.8, "slow": 12.5e9 * 0.8}


def compute(model: Model, cluster: Cluster, tokens: int) -> float:
    """Return the seconds of a step's products on one GPU: six operations a weight and token."""
    return 6 * model.weights * tokens / (cluster.flops * cluster.utilisation)


def ddp(model: Model, cluster: Cluster, *, gpus: int, tokens: int) -> tuple[float, float, float]:
    """Return seconds of a step, seconds of messages, and bytes of state on a GPU.

    An all-reduce is a scatter of sums and a gather; the last bucket has nothing left to hide behind.
    """
    size, busy = GRADIENT * model.weights, compute(model, cluster, tokens)
    buckets = math.ceil(size / BUCKET)
    one = 2 * cluster.seconds(size / buckets, gpus)
    talk = buckets * one
    return busy + max(one, talk - cluster.hides_ddp * busy), talk, STATE * model.weights


def fsdp(model: Model, cluster: Cluster, *, gpus: int, tokens: int) -> tuple[float, float, float]:
    """Return the same for FSDP2: each layer gathered forward and backward, and its gradients summed.

    The first gather and the last sum have nothing to hide behind.
    """
    busy, layer = compute(model, cluster, tokens), model.weights / model.layers
    gather, scatter = cluster.seconds(GATHERED * layer, gpus), cluster.seconds(GRADIENT * layer, gpus)
    talk = model.layers * (2 * gather + scatter)
    shown = max(gather + scatter, talk - cluster.hides_fsdp * busy)
    return busy + shown, talk, STATE * model.weights / gpus + 2 * GATHERED * layer


def table(cluster: Cluster, *, tokens: int = TOKENS) -> Iterator[str]:
    """Yield the rows of the table in Markdown."""
    yield "| model | GPUs | products | DDP: messages, speed-up | FSDP2: messages, speed-up | state of each, GB |"
    yield "|---|---|---|---|---|---|"
    for model in MODELS:
        busy = compute(model, cluster, tokens)
        for gpus in GPUS:
            cells = []
            held = []
            for way in (ddp, fsdp):
                step, talk, state = way(model, cluster, gpus=gpus, tokens=tokens)
                fits = state < cluster.memory
                cells.append(
                    f"{1000 * talk:,.0f} ms, {_range(gpus * busy, busy + talk, step)}" if fits else "does not fit"
                )
                held.append(f"{state / 1e9:,.2f}")
            row = (model.name, str(gpus), f"{1000 * busy:,.0f} ms", *cells, f"{' / '.join(held)}")
            yield f"| {' | '.join(row)} |"


def _range(alone: float, least: float, most: float) -> str:
    """Write the speed-up where nothing is hidden behind the products, and where all is that can be."""
    low, high = f"{alone / least:,.0f}", f"{alone / most:,.0f}"
    return f"{low} x" if low == high else f"{low} to {high} x"


def cluster_of(network: str, *, utilisation: float = 0.4) -> Cluster:
    """Return a cluster of H100s with one of the networks."""
    return Cluster(flops=989e12, utilisation=utilisation, inside=450e9 * 0.8, between=NETWORKS[network])


def main() -> None:
    """Print the table for the assumptions given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", choices=list(NETWORKS), action="append", help="default: each")
    parser.add_argument("--utilisation", type=float, default=0.4, help="share of the peak that products reach")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="tokens of a step on each GPU")
    options = parser.parse_args()
    for name in options.network or NETWORKS:
        cluster = cluster_of(name, utilisation=options.utilisation)
        print(f"{name} network: {cluster.between / 1e9:.0f} GB/s between nodes\n")
        print("\n".join(table(cluster, tokens=options.tokens)), end="\n\n")


if __name__ == "__main__":
    main()

"""How many floating-point operations a model needs: what its speed is measured against."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# Where ALBERT keeps its layers: groups of weights, each used by several layers.
SHARED = "albert_layer_groups"


@dataclass(frozen=True)
class FlopsShape:
    """What the count depends on: weights of the layers' matrices, and of the head's, layers and width."""

    layer_weights: int
    head_weights: int
    layers: int
    width: int


def flops_shape(model: "PreTrainedModel") -> FlopsShape:
    """Read the shape off a model: every two-dimensional weight but the embeddings is a matrix product.

    The head is what stands outside `base_model`; a tied output matrix counts once, as vocabulary x width.
    """
    import torch

    tables = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    base = {id(weight) for weight in model.base_model.parameters()}
    layer = sum(
        w.numel() * (_rounds(model.config) if SHARED in name else 1)
        for name, w in model.base_model.named_parameters()
        if w.dim() == 2 and id(w) not in tables
    )
    output = model.get_output_embeddings()
    tied = output.weight.numel() if output is not None else 0
    head = sum(
        w.numel()
        for w in model.parameters()
        if w.dim() == 2 and id(w) not in base and (output is None or w is not output.weight)
    )
    config = model.config
    return FlopsShape(layer, head + tied, config.num_hidden_layers, config.hidden_size)


def _rounds(config: "PretrainedConfig") -> int:
    return int(config.num_hidden_layers // config.num_hidden_groups)


def forward_flops(shape: FlopsShape, *, tokens: int, sequence_length: int, predicted: int) -> int:
    """Count the operations of a forward pass, two a multiply-add; training takes three times as many.

    tokens x layer weights + predicted positions x head weights + attention scores and their product with
    the values (2 x tokens x sequence length x width a layer), all times two. Source: Kaplan et al. 2020, 2.1.
    """
    attention = 2 * tokens * sequence_length * shape.width * shape.layers
    return 2 * (tokens * shape.layer_weights + predicted * shape.head_weights + attention)


def muon_flops(model: "PreTrainedModel") -> int:
    """Count the operations of one step of Muon's products: five rounds on every matrix of the layers."""
    import torch

    tables = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    matrices = [w for w in model.parameters() if w.dim() == 2 and id(w) not in tables]
    sides = [sorted(w.shape) for w in matrices]
    # A round: short x long x short twice, and one product of the short side's square.
    return sum(5 * (4 * short * short * long + 2 * short**3) for short, long in sides)

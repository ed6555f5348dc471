"""Weights that are shared out among the ranks (FSDP2): from whole tensors to shards, and back.

Accelerate leaves its own plugin for FSDP2 aside on CPUs, where hflm is tested. So torch is asked itself, on every
device alike: what the tests see is what runs.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from hflm.engine import ranks


@dataclass(frozen=True)
class Before:
    """A module as it was before it was sharded: its class, the names of its attributes, its hooks."""

    module: nn.Module
    kind: type[nn.Module]
    names: frozenset[str]
    hooks: Mapping[str, Any]

    @classmethod
    def of(cls, module: nn.Module) -> "Before":
        """Take note of a module."""
        own = module.__dict__
        hooks = {name: copy(value) for name, value in own.items() if "hook" in name and isinstance(value, dict)}
        return cls(module, type(module), frozenset(own), hooks)

    def restore(self) -> None:
        """Make the module again what it was, its weights left aside."""
        self.module.__class__ = self.kind
        for name in set(self.module.__dict__) - self.names:
            del self.module.__dict__[name]
        for name, kept in self.hooks.items():
            hooks = self.module.__dict__[name]
            hooks.clear()
            hooks.update(kept)


def shard(model: nn.Module, *, device: torch.device, dtype: torch.dtype) -> list[Before]:
    """Leave of each weight this rank's share of the rows; return what `make_whole` needs.

    The layers are gathered one after the other when they are computed, what stands around them all the time. In
    bfloat16 they are gathered as that, and gradients are summed in float32.
    """
    before = [Before.of(module) for module in model.modules()]
    mesh = init_device_mesh(device.type, (ranks.world(),))
    policy = MixedPrecisionPolicy()
    if dtype != torch.float32:
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for layer in [each for each in model.modules() if isinstance(each, GradientCheckpointingLayer)]:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    return before


def make_whole(model: nn.Module, before: list[Before]) -> None:
    """Give every rank the whole model again, as it was before `shard` but for what its weights have learned."""
    gather_up(model)
    found: dict[int, tuple[nn.Parameter, nn.Parameter]] = {}
    for each in before:
        for name, weight in each.module._parameters.items():
            if not isinstance(weight, DTensor):
                continue
            if id(weight) not in found:
                # Both are kept: an id is free for others when its tensor is gone.
                whole = nn.Parameter(weight.full_tensor().detach().clone(), requires_grad=weight.requires_grad)
                found[id(weight)] = (whole, weight)
            each.module._parameters[name] = found[id(weight)][0]
        each.restore()


def gather_up(model: nn.Module) -> None:
    """Put the shards back in their places, where a forward pass has left whole weights."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the whole state of a sharded model to rank 0, and nothing to the others; all must ask together."""
    gather_up(model)
    named = dict(model.named_parameters(remove_duplicate=False))
    state: dict[str, Tensor] = {}
    found: dict[int, Tensor] = {}
    for name, value in model.state_dict().items():
        # What is tied stays one tensor.
        key = id(named.get(name, value))
        if key not in found:
            found[key] = _whole(value)
        state[name] = found[key]
    return state if ranks.first() else {}


def whole_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of an optimizer with whole tensors, as one process would have it; all must ask together."""
    held = {index: {name: _whole(value) for name, value in each.items()} for index, each in state["state"].items()}
    return {**state, "state": held}


def share_of_state(state: Mapping[str, Any], groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Return this rank's share of what `whole_state` gave, for the weights of an optimizer's groups."""
    weights = [weight for group in groups for weight in group["params"]]
    held = {
        index: {name: _share(value, weights[index]) for name, value in each.items()}
        for index, each in state["state"].items()
    }
    return {**state, "state": held}


def full(tensor: Any) -> Any:
    """Return a tensor in whole; all must ask together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _whole(value: Any) -> Any:
    """Gather a tensor; it stays in memory on rank 0 alone, and on the CPU."""
    if not isinstance(value, DTensor):
        return value
    gathered = value.full_tensor().detach()
    return gathered.cpu() if ranks.first() else gathered.new_empty(0)


def _share(value: Any, weight: Any) -> Any:
    if not isinstance(weight, DTensor) or not isinstance(value, Tensor) or value.shape != weight.shape:
        return value
    whole = value.to(weight.device)
    # Every rank has read the whole of it: no source, nothing is sent.
    return distribute_tensor(whole, weight.device_mesh, weight.placements, src_data_rank=None)

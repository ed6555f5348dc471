"""Optimizers: AdamW, and Muon for the matrices inside the layers beside it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

# The quintic of Jordan et al. 2024: steepest at zero, so that five rounds bring every singular value near one.
QUINTIC = (3.4445, -4.7750, 2.0315)
ROUNDS = 5
MOMENTUM = 0.95
# Numbers in matrices that are orthogonalized at once: small ones take half the time so, and large ones only memory.
TOGETHER = 4_000_000


def orthogonalize(matrices: Tensor, *, dtype: torch.dtype) -> Tensor:
    """Bring the singular values of each of some matrices [N, m, n] near one by Newton-Schulz rounds in `dtype`."""
    a, b, c = QUINTIC
    held = matrices.to(dtype)
    held = held / held.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    # The products with itself are of the shorter side, and nothing is transposed for it.
    tall = held.size(1) > held.size(2)
    for _ in range(ROUNDS):
        gram = held.mT @ held if tall else held @ held.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        held = torch.baddbmm(held, *((held, polynomial) if tall else (polynomial, held)), beta=a)
    return held


def alike(weights: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Put weights of the same shape together, no more than TOGETHER numbers, or one weight that is larger."""
    groups: dict[tuple[torch.Size, torch.device], list[list[nn.Parameter]]] = {}
    for weight in weights:
        known = groups.setdefault((weight.shape, weight.device), [[]])
        if known[-1] and (len(known[-1]) + 1) * weight.numel() > TOGETHER:
            known.append([])
        known[-1].append(weight)
    return [group for known in groups.values() for group in known]


class Muon(Optimizer):
    """Muon (Jordan et al. 2024) for matrices, its updates scaled to the size of AdamW's (Liu et al. 2025, 2.2).

    torch.optim.Muon iterates in bfloat16 whatever the run computes in. That makes the weights of a float32 run
    depend on how its batch was split, and is slow where the machine has no bfloat16: here `dtype` decides.
    """

    def __init__(self, matrices: list[nn.Parameter], *, lr: float, weight_decay: float, dtype: torch.dtype) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            for weights in alike([weight for weight in group["params"] if weight.grad is not None]):
                sought = torch.stack([self._direction(weight) for weight in weights])
                # 0.2 is the root mean square of AdamW's usual update.
                scale = 0.2 * max(weights[0].shape) ** 0.5
                for weight, update in zip(weights, orthogonalize(sought, dtype=self.dtype), strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(update, alpha=-group["lr"] * scale)

    def _direction(self, weight: nn.Parameter) -> Tensor:
        """Return the gradient of a weight [m, n] with Nesterov's momentum, which is moved on."""
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        momentum = state["momentum_buffer"].lerp_(weight.grad, 1 - MOMENTUM)
        return weight.grad.lerp(momentum, MOMENTUM)


class MuonWithAdamW(Optimizer):
    """Muon for the matrices, AdamW for the rest, as one optimizer with one learning rate and one schedule."""

    def __init__(
        self, matrices: list[nn.Parameter], rest: list[dict[str, Any]], *, lr: float, weight_decay: float,
        dtype: torch.dtype,
    ) -> None:  # fmt: skip
        super().__init__([{"params": matrices, "weight_decay": weight_decay}, *rest], {"lr": lr})
        self.parts: tuple[Optimizer, ...] = (
            Muon(matrices, lr=lr, weight_decay=weight_decay, dtype=dtype),
            AdamW([dict(group) for group in rest], lr=lr, betas=(0.9, 0.98), fused=True),
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step both parts at the learning rates that the schedule set."""
        groups = [group for part in self.parts for group in part.param_groups]
        for mine, group in zip(self.param_groups, groups, strict=True):
            group["lr"] = mine["lr"]
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both parts."""
        return {"parts": [part.state_dict() for part in self.parts], "lr": [group["lr"] for group in self.param_groups]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of both parts."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        for group, lr in zip(self.param_groups, state_dict["lr"], strict=True):
            group["lr"] = lr


def parts_of(optimizer: Any) -> tuple[Optimizer, ...]:
    """Return the optimizers that step: the parts of one that has parts, inside of Accelerate's wrapper or not."""
    own = getattr(optimizer, "optimizer", optimizer)
    parts: tuple[Optimizer, ...] = getattr(own, "parts", (own,))
    return parts


def is_untouched(optimizer: Any) -> bool:
    """Tell whether an optimizer has moved no weight yet, though it may have made room for its moments."""
    states = [values for part in parts_of(optimizer) for values in part.state.values()]
    # AdamW makes room for all of its moments before it moves a weight, Muon for one group of matrices after the other.
    return not any(float(values.get("step", 1)) for values in states)


def build_optimizer(
    model: nn.Module, *, name: str, lr: float, weight_decay: float, dtype: torch.dtype = torch.float32
) -> Optimizer:
    """Build an optimizer; biases, norms and embeddings are not decayed, as is usual.

    `dtype` is what Muon's own products are computed in: bfloat16, or float32 for a run in anything else.
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [p for p in trained if p.dim() == 2 and id(p) not in tables]
    rest = [p for p in trained if p.dim() != 2 or id(p) in tables]
    output = getattr(model, "get_output_embeddings", lambda: None)()
    if name == "muon":
        # An output matrix of its own is a table of words, not a map between hidden states.
        own = [p for p in matrices if output is not None and p is output.weight]
        matrices = [p for p in matrices if all(p is not q for q in own)]
        groups = [{"params": rest, "weight_decay": 0.0}]
        if own:
            groups.append({"params": own, "weight_decay": weight_decay})
        if matrices:
            return MuonWithAdamW(matrices, groups, lr=lr, weight_decay=weight_decay, dtype=dtype)
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return AdamW(
        [group for group in groups if group["params"]],
        lr=lr,
        betas=(0.9, 0.98 if name == "muon" else 0.999),
        fused=True,
    )

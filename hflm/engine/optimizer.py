"""Optimizers: AdamW, and Muon for the matrices inside the layers beside it."""

from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer


class MuonWithAdamW(Optimizer):
    """Muon (Jordan et al. 2024) for the matrices, AdamW for the rest, as one optimizer with one schedule.

    Muon's updates are scaled to the size of AdamW's (Liu et al. 2025, 2.2), so that both take one learning rate.
    """

    def __init__(
        self, matrices: list[nn.Parameter], rest: list[dict[str, Any]], *, lr: float, weight_decay: float
    ) -> None:
        super().__init__([{"params": matrices, "weight_decay": weight_decay}, *rest], {"lr": lr})
        self.parts: tuple[Optimizer, ...] = (
            Muon(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
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


def build_optimizer(model: nn.Module, *, name: str, lr: float, weight_decay: float) -> Optimizer:
    """Build an optimizer; biases, norms and embeddings are not decayed, as is usual."""
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
            return MuonWithAdamW(matrices, groups, lr=lr, weight_decay=weight_decay)
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return AdamW(
        [group for group in groups if group["params"]],
        lr=lr,
        betas=(0.9, 0.98 if name == "muon" else 0.999),
        fused=True,
    )

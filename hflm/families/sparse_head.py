"""Logits only where they are needed: the head sees the predicted positions and nothing else.

A head works on each position by itself, so gathering hidden states before it gives the same logits at a
fraction of the work and of the memory: B x T x V numbers become M x V. It holds for every encoder whose
head follows `base_model`; `fits` tries it on the model at hand.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# oneDNN compiles a matrix product anew for each shape, which takes longer than the product: so few shapes.
MULTIPLE = 64


class SparseHead:
    """Between a model's body and its head, while `positions` is set."""

    def __init__(self, model: nn.Module) -> None:
        self.positions: Tensor | None = None
        self._handle = model.base_model.register_forward_hook(self._gather)  # type: ignore[union-attr]

    def logits(self, model: Any, positions: Tensor, **inputs: Any) -> Tensor:
        """Return the logits [M, V] of a model that reads `inputs`, at positions [M] of the flattened batch."""
        # The first position fills the last of the MULTIPLE, and is cut off again.
        self.positions = functional.pad(positions, (0, -len(positions) % MULTIPLE))
        try:
            found: Tensor = model(**inputs).logits[0, : len(positions)]
        finally:
            self.positions = None
        return found

    def remove(self) -> None:
        """Take the hook off the model."""
        self._handle.remove()

    def _gather(self, module: nn.Module, args: Any, output: Any) -> Any:
        if self.positions is None:
            return output
        # [B, T, D] -> [1, M, D]
        kept = output[0].flatten(0, 1).index_select(0, self.positions).unsqueeze(0)
        if isinstance(output, tuple):
            return (kept, *output[1:])
        output.last_hidden_state = kept
        return output


@torch.no_grad()
def fits(model: Any) -> bool:
    """Try the sparse head on two short rows: True where its logits are those of the whole head."""
    was_training = model.training
    body = model.base_model
    attention = getattr(body, "attention_type", None)
    model.eval()
    ids = torch.arange(8, device=model.device).remainder(model.config.get_text_config().vocab_size).view(2, 4)
    mask = torch.ones_like(ids)
    positions = torch.tensor([1, 3, 6], device=model.device)
    head = SparseHead(model)
    try:
        whole = model(input_ids=ids, attention_mask=mask).logits.flatten(0, 1)[positions]
        head.positions = positions
        sparse = model(input_ids=ids, attention_mask=mask).logits
        return sparse.shape == (1, *whole.shape) and torch.allclose(sparse[0], whole, atol=1e-4)
    except (RuntimeError, IndexError, AttributeError, TypeError):
        return False
    finally:
        head.remove()
        if getattr(body, "attention_type", None) != attention:
            # On rows as short as these BigBird gives up its sparse attention, for good.
            body.set_attention_type(attention)
        model.train(was_training)

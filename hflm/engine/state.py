"""What a checkpoint holds beside the weights: random states, and how many bytes all of it takes."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hflm.engine.ranks import local


def random_states() -> dict[str, Any]:
    """Return the global random states that a checkpoint holds."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    return {"python": random.getstate(), "numpy": np.random.get_state(), "cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_states(states: dict[str, Any]) -> None:
    """Go back to random states."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["cpu"])
    if states["cuda"] is not None:
        torch.cuda.set_rng_state_all(states["cuda"])


def checkpoint_bytes(model: Any, optimizer: Any) -> int:
    """Count the bytes of the weights and of what the optimizer holds beside them."""
    weights = {local(weight).data_ptr(): weight.nbytes for weight in model.state_dict().values()}
    held = [optimizer.state_dict()] if optimizer is not None else []
    return int(sum(weights.values())) + _tensor_bytes(held)


def _tensor_bytes(state: Any) -> int:
    if isinstance(state, Tensor):
        return int(state.nbytes)
    inner = state.values() if isinstance(state, dict) else state if isinstance(state, (list, tuple)) else ()
    return sum(_tensor_bytes(each) for each in inner)

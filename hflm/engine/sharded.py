"""The Trainer of a model that is shared out among the ranks: it trains on shards and saves whole tensors.

A checkpoint is the one that a run of one process would have written, so any number of ranks can go on from it.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim import Optimizer

from hflm.engine import sharding
from hflm.engine.restoring import rates_of_now
from hflm.engine.trainer import EngineTrainer
from hflm.errors import UsageError

# As transformers calls them.
OPTIMIZER, SCHEDULER = "optimizer.pt", "scheduler.pt"


class ShardedTrainer(EngineTrainer):
    """An EngineTrainer whose weights, gradients and optimizer are shared out by FSDP2 while it trains."""

    def __init__(self, **options: Any) -> None:
        if options["args"].fp16:
            raise UsageError(
                "--strategy fsdp2 computes in bf16 or fp32, and this device has float16.", fix="Pass --precision fp32."
            )
        super().__init__(**options)
        self._before: list[sharding.Before] = []
        # As with a model that transformers has sharded on loading: nobody is to wrap it in DDP.
        self.is_distributed_loading_by_transformers = True
        # A rank that has no row left goes forward all the same: the others need its share of the weights.
        self.in_step = True

    def create_optimizer(self, model: Any = None) -> Optimizer:
        """Shard the model, whose weights are loaded by now, and build the optimizer over the shards."""
        if not self._before:
            dtype = torch.bfloat16 if self.args.bf16 else torch.float32
            self._before = sharding.shard(self.model, device=self.args.device, dtype=dtype)  # type: ignore[arg-type]
        return super().create_optimizer(model)

    def make_whole(self) -> None:
        """Give every rank the whole model, for the best weights, the test and the model folder."""
        if self._before:
            sharding.make_whole(self.model, self._before)  # type: ignore[arg-type]
        self._before, self.in_step = [], False

    @contextmanager
    def _defer_fsdp_gradient_reduction(self) -> Iterator[None]:
        # To wait for the last micro-batch would mean to keep whole gradients until then.
        yield

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        if grad_norm is None:
            grad_norm = self.accelerator.clip_grad_norm_(model.parameters(), math.inf)
        return super()._get_grad_norm(model, grad_norm=sharding.full(grad_norm))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Gather the weights on rank 0, which writes them."""
        state = sharding.whole_weights(self.model)  # type: ignore[arg-type]
        if self.args.should_save:
            self._save(output_dir, state_dict=state)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        assert self.optimizer is not None and self.lr_scheduler is not None
        state = sharding.whole_state(self.optimizer.state_dict())
        if self.args.should_save:
            torch.save(state, os.path.join(output_dir, OPTIMIZER))
            torch.save(self.lr_scheduler.state_dict(), os.path.join(output_dir, SCHEDULER))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        assert self.optimizer is not None and self.lr_scheduler is not None
        state = torch.load(os.path.join(checkpoint, OPTIMIZER), map_location="cpu", weights_only=True)
        with rates_of_now(self.optimizer, self.lr_scheduler):
            self.optimizer.load_state_dict(sharding.share_of_state(state, self.optimizer.param_groups))
            self.lr_scheduler.load_state_dict(torch.load(os.path.join(checkpoint, SCHEDULER), weights_only=True))

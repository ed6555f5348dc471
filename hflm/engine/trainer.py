"""The one Trainer subclass: summed losses, an order that is a function of the seed, whole checkpoints."""

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from hflm.engine import checkpoints
from hflm.engine.order import Order, Placed, Readable
from hflm.errors import NumericsError
from hflm.families.family import Batch, Family


class EngineTrainer(Trainer):
    """A Trainer whose loss does not depend on how a global batch is split, and whose runs can be repeated.

    The loss of a global batch is the sum over its targets divided by their number, over all micro-batches and
    processes (transformers 5 divides wrongly for most encoders: transformers#47688). The whole run is one
    pass over `order`, so the loader is built once and never draws from the global random state.
    """

    def __init__(
        self,
        *,
        model: Any,
        args: TrainingArguments,
        family: Family,
        rows: Readable,
        eval_rows: Readable,
        order: Order,
        make_optimizer: Callable[[Any], Optimizer],
        rate: Callable[[int], float],
        keep: int,
        **rest: Any,
    ) -> None:
        super().__init__(model=model, args=args, train_dataset=Placed(rows), eval_dataset=Placed(eval_rows), **rest)
        self.family, self.order, self.keep = family, order, keep
        self.rows, self.eval_rows = rows, eval_rows
        self._make_optimizer, self._rate = make_optimizer, rate
        self._staging: Path | None = None
        # compute_loss divides by the targets of the whole global batch: nothing is left to scale.
        self.loss_is_scaled_for_ga = True

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Load micro-batches in the run's order; the generator keeps torch's own draws off the global state."""
        loader: DataLoader[Any] = DataLoader(
            Placed(self.rows),
            batch_size=self.args.per_device_train_batch_size,
            sampler=self.order,
            collate_fn=self.family.collate,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory and torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(0),
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def create_optimizer(self, model: Any = None) -> Optimizer:
        """Build the optimizer that the settings ask for."""
        if self.optimizer is None:
            self.optimizer = self._make_optimizer(model or self.model)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LambdaLR:
        """Build the schedule that the settings ask for."""
        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(optimizer or self.create_optimizer(), self._rate)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _get_num_items_in_batch(self, batch_samples: list[Batch], device: torch.device) -> Tensor:
        count = torch.tensor(float(sum(self.family.count(batch) for batch in batch_samples)), device=device)
        total: Tensor = self.accelerator.reduce(count, "sum") if self.args.world_size > 1 else count
        return total

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Return this micro-batch's share of the global batch's mean loss."""
        loss = self.family.sums(model, inputs).loss
        if not torch.isfinite(loss):
            raise self._bad_numbers(f"The loss is {loss.item()}")
        # DDP averages over the ranks what must be summed.
        share: Tensor = loss * (self.args.world_size / num_items_in_batch)
        return share

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]
        # Called right before the optimizer's step. The scaler of fp16 looks for itself, and skips such a step.
        if norm is not None and not self.args.fp16 and not math.isfinite(float(norm)):
            raise self._bad_numbers(f"The gradient's norm is {float(norm)}")
        return norm

    def _bad_numbers(self, what: str) -> NumericsError:
        return NumericsError(
            f"{what} at step {self.state.global_step + 1}, learning rate {self._get_learning_rate():g}.",
            fix="The last checkpoint is kept; try a lower --learning-rate or --precision fp32.",
        )

    def floating_point_ops(self, inputs: Any) -> int:
        """Leave the count to hflm.models.flops, which knows of the sparse head."""
        return 0

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Score every evaluation row exactly once, keeping sums and no logits."""
        loss, correct, count = eval_sums(
            self.model, self.eval_rows, family=self.family, batch_size=self.args.per_device_eval_batch_size,
            context=self.compute_loss_context_manager, rank=self.args.process_index, world_size=self.args.world_size,
            device=self.args.device,
        )  # fmt: skip
        sums = torch.tensor([loss, correct, count], dtype=torch.float64, device=self.args.device)
        if self.args.world_size > 1:
            sums = self.accelerator.reduce(sums, "sum")
        loss, correct, count = sums.tolist()
        metrics = {f"{metric_key_prefix}_loss": loss / count, f"{metric_key_prefix}_accuracy": correct / count}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._staging) if self._staging else str(self.args.output_dir)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(str(self.args.output_dir))
        name = f"{checkpoints.PREFIX}{self.state.global_step}"
        self._staging = folder / ".staging"
        try:
            if self.args.should_save:
                shutil.rmtree(self._staging, ignore_errors=True)
            self.accelerator.wait_for_everyone()
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                # Pickled settings are of no use to a resume, and a pickle is code.
                (self._staging / name / "training_args.bin").unlink(missing_ok=True)
                checkpoints.commit(self._staging / name, folder / name)
                checkpoints.rotate(folder, keep=self.keep, best_step=self.state.best_global_step)
            self.accelerator.wait_for_everyone()
        finally:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging = None


@torch.no_grad()
def eval_sums(
    model: Any, rows: Readable, *, family: Family, batch_size: int, context: Callable[[], Any], rank: int = 0,
    world_size: int = 1, device: Any = "cpu",
) -> tuple[float, int, float]:  # fmt: skip
    """Sum loss, right predictions and targets over this rank's share of the rows."""
    model.eval()
    loss, correct, count = 0.0, 0, 0.0
    share = range(rank, len(rows), world_size)
    data = Placed(rows)
    for start in range(0, len(share), batch_size):
        items = [data[0, index] for index in share[start : start + batch_size]]
        batch = {name: value.to(device) for name, value in family.collate_eval(items).items()}
        with context():
            sums = family.sums(model, batch)
        loss += sums.loss.item()
        correct += int(sums.correct) if sums.correct is not None else 0
        count += sums.count
    model.train()
    return loss, correct, count


def quiet_libraries() -> None:
    """Leave the talking to hflm: no bars, no advice from the libraries below."""
    import transformers
    from transformers.utils import logging

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    transformers.logging.set_verbosity_error()
    logging.disable_progress_bar()

"""The Trainer of every run: summed losses, an order that is a function of the seed, whole checkpoints."""

import math
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import TrainingArguments

from hflm.engine import checkpoints, ranks
from hflm.engine.evaluating import Stopped, eval_sums
from hflm.engine.memory import in_halves
from hflm.engine.numbers import MOST_SKIPPED, check_weights, culprits, name_places, places_of_step, skipped_steps
from hflm.engine.order import Order, Placed, Readable
from hflm.engine.restoring import Restoring
from hflm.engine.state import checkpoint_bytes, random_states, set_random_states
from hflm.engine.workers import worker_options
from hflm.errors import NumericsError
from hflm.families.family import Batch, Family
from hflm.space import check_room, full_disk_named

# Between the seeds of the ranks: far more than anybody tries seeds in a row.
SPREAD = 1_000_003


class EngineTrainer(Restoring):
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
        skip_bad: bool = False,
        name_row: Callable[[int], str] = "row {}".format,
        say: Callable[[str], None] = lambda text: None,
        stopped: Callable[[], bool] = lambda: False,
        **rest: Any,
    ) -> None:
        super().__init__(model=model, args=args, train_dataset=Placed(rows), eval_dataset=Placed(eval_rows), **rest)
        # Accelerate's bfloat16 would copy every output of the model to float32, the logits first of all, which the
        # cross-entropy reads piece by piece; the scaler of fp16 is its own affair.
        self.accelerator.native_amp = self.accelerator.native_amp and not args.bf16
        self.family, self.order, self.keep = family, order, keep
        self.rows, self.eval_rows = rows, eval_rows
        self._make_optimizer, self._rate = make_optimizer, rate
        self._skip_bad, self._name_row, self._say, self._stopped = skip_bad, name_row, say, stopped
        self._staging: Path | None = None
        # What is wrong with the numbers of the step at work, as far as its forward passes show it.
        self._bad: str | None = None
        # The random states before the first forward pass of a step; and the step whose update is under way.
        self._drawn: tuple[int, dict[str, Any]] = (-1, {})
        self.updating = -1
        self._eval_batch = args.per_device_eval_batch_size
        # What each rank drops is its own affair: the same draws on all of them would be no noise of their own.
        if not ranks.first():
            torch.manual_seed(args.seed + SPREAD * ranks.rank())
        # Whether all ranks must go forward equally often, as where each has only a share of the weights.
        self.in_step = False
        # compute_loss divides by the targets of the whole global batch: nothing is left to scale.
        self.loss_is_scaled_for_ga = True

    def make_whole(self) -> None:
        """Give every rank the whole model; here it has it."""

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Load micro-batches in the run's order; the generator keeps torch's own draws off the global state."""
        loader: DataLoader[Any] = DataLoader(
            Placed(self.rows),
            batch_size=self.args.per_device_train_batch_size,
            sampler=self.order,
            collate_fn=self.family.collate,
            **worker_options(self.args.dataloader_num_workers),
            pin_memory=self.args.dataloader_pin_memory and torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(0),
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> AbstractContextManager[Any]:
        """Compute in bfloat16 where the run does."""
        if not self.args.bf16:
            return nullcontext()
        return torch.autocast(self.args.device.type, torch.bfloat16, cache_enabled=bool(cache_enabled))

    def create_optimizer(self, model: Any = None) -> Optimizer:
        """Build the optimizer that the settings ask for."""
        self.optimizer = self.optimizer or self._make_optimizer(model or self.model)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LambdaLR:
        """Build the schedule that the settings ask for."""
        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(optimizer or self.create_optimizer(), self._rate)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _get_num_items_in_batch(self, batch_samples: list[Batch], device: torch.device) -> Tensor:
        count = torch.tensor(float(sum(self.family.count(batch) for batch in batch_samples)), device=device)
        return ranks.summed(count)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Go forward and back; a loss that is no number is kept out of what is logged."""
        if self._drawn[0] != self.state.global_step:
            self._drawn = (self.state.global_step, random_states())
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        return torch.zeros_like(loss) if self._bad else loss

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Return this micro-batch's share of the global batch's mean loss."""
        loss = self.family.sums(model, inputs).loss
        if not torch.isfinite(loss):
            # Judged before the optimizer's step: every rank must reach it, or the others would wait for ever.
            self._bad = f"The loss is {loss.item()}"
        # DDP averages over the ranks what must be summed.
        share: Tensor = loss * (self.args.world_size / num_items_in_batch)
        return share

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Return the norm; called right before the optimizer's step, and the last place where it can be prevented."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]
        self.updating = self.state.global_step
        if ranks.anywhere(self._bad is not None):
            # Before the gradient: that of all ranks is spoiled by the loss of one.
            rank, what = next((rank, found) for rank, found in enumerate(ranks.gathered(self._bad)) if found)
            what = what if ranks.world() == 1 else f"{what} on rank {rank}"
        elif norm is not None and not self.args.fp16 and not math.isfinite(float(norm)):
            # The scaler of fp16 looks for itself, and skips such a step.
            what = f"The gradient's norm is {float(norm)}"
        else:
            return norm
        self._refuse_step(what)
        self._bad = None
        for weight in model.parameters():
            # Without a gradient the optimizer leaves weights and moments as they are.
            weight.grad = weight.grad if self.args.fp16 else None
        return 0.0

    def _refuse_step(self, what: str) -> None:
        """Raise NumericsError, or say that the step is left out where that was asked for and is not the rule."""
        step, rate = self.state.global_step + 1, self._get_learning_rate()
        found = f"{what} at step {step}, learning rate {rate:g}, {self._rows_at_fault()}."
        if not self._skip_bad:
            fix = "The last checkpoint is kept; try a lower --learning-rate, --precision fp32 or --on-nan skip."
            raise NumericsError(found, fix=fix)
        skipped = skipped_steps(self.state.log_history)
        if len(skipped) >= MOST_SKIPPED:
            raise NumericsError(
                f"{found} It would be the {len(skipped) + 1}th step left out.",
                fix="The last checkpoint is kept; look at the data, or try a lower --learning-rate.",
            )
        self.state.log_history.append({"step": step, "skipped": len(skipped) + 1})
        self._say(f"{found} The step is left out ({len(skipped) + 1} of {MOST_SKIPPED} that may be).")

    def _rows_at_fault(self) -> str:
        batch = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        places = places_of_step(self.order, self.state.global_step, batch_size=batch)
        alone = culprits(
            self.model, family=self.family, rows=self.rows, places=places, device=self.args.device,
            context=self.compute_loss_context_manager,
        )  # fmt: skip
        if alone:
            return f"from {name_places(alone, name=self._name_row)}"
        return f"in one of {name_places(places, name=self._name_row)}"

    def floating_point_ops(self, inputs: Any) -> int:
        """Leave the count to hflm.models.flops, which knows of the sparse head."""
        return 0

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Score every evaluation row exactly once, keeping sums and no logits."""
        loss, correct, count = self._eval_sums()
        loss, correct, count = ranks.summed(torch.tensor([loss, correct, count], dtype=torch.float64)).tolist()
        metrics = {f"{metric_key_prefix}_loss": loss / count, f"{metric_key_prefix}_accuracy": correct / count}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _eval_sums(self) -> tuple[float, int, float]:
        def summed(size: int) -> tuple[float, int, float]:
            return eval_sums(
                self.model, self.eval_rows, family=self.family, batch_size=size,
                context=self.compute_loss_context_manager, device=self.args.device, stopped=self._stopped,
                in_step=self.in_step,
            )  # fmt: skip

        def tell(size: int) -> None:
            self._say(f"out of memory in an evaluation: it goes on with batches of {size}")

        sums, self._eval_batch = in_halves(summed, self._eval_batch, told=tell)
        return sums

    def _evaluate(self, trial: Any, ignore_keys_for_eval: Any, skip_scheduler: bool = False) -> dict[str, float]:
        """Evaluate between steps; a signal breaks it off, and the run that goes on does it again."""
        try:
            metrics: dict[str, float] = super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler)
        except Stopped:
            self.control.should_save = self.control.should_training_stop = True
            self.control.should_evaluate = False
            return {}
        return metrics

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        return bool(metrics) and super()._determine_best_metric(metrics, trial)

    def _init_training_state(self, max_steps: int, *words: Any, **named: Any) -> tuple[int, int]:
        found: tuple[int, int] = super()._init_training_state(max_steps, *words, **named)
        # The state of a checkpoint brings the intervals of its own run, which may have been changed on purpose.
        self.state.compute_steps(self.args, max_steps)
        return found

    def _run_epoch(self, *words: Any, **named: Any) -> None:
        # What was done on beginning may have found that there is nothing left to do.
        if not self.control.should_training_stop:
            super()._run_epoch(*words, **named)  # type: ignore[no-untyped-call]

    def catch_up(self) -> None:
        """Do the evaluation that was due when a signal came: the best model and patience hang on it."""
        step, every = self.state.global_step, self.state.eval_steps
        due = step > 0 and (step % every == 0 or step >= self.state.max_steps)
        if due and not any(line["step"] == step and "eval_loss" in line for line in self.state.log_history):
            self._determine_best_metric(self._evaluate(None, None), None)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._staging) if self._staging else str(self.args.output_dir)

    def save_last_step(self) -> Path | None:
        """Save the last whole step, where the one after it broke off before it moved a weight; return where.

        Returns None where no step was done since the run began or went on, or where an update broke off half-way.
        """
        step = self.state.global_step
        # Not set before the first step: memory may run out on the way there.
        if getattr(self, "_initial_global_step", step) == step or self.updating == step:
            return None
        folder = Path(str(self.args.output_dir)) / f"{checkpoints.PREFIX}{step}"
        if not folder.exists():
            if self._drawn[0] == step:
                set_random_states(self._drawn[1])
            self._save_checkpoint(self.model, None)
        return folder

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(str(self.args.output_dir))
        name = f"{checkpoints.PREFIX}{self.state.global_step}"
        check_weights(self.model, step=self.state.global_step)
        self._staging = folder / ".staging"
        try:
            if self.args.should_save:
                shutil.rmtree(self._staging, ignore_errors=True)
                check_room(folder, need=checkpoint_bytes(self.model, self.optimizer), what="A checkpoint")
            self.accelerator.wait_for_everyone()
            with full_disk_named(folder):
                super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                # Pickled settings are of no use to a resume, and a pickle is code.
                (self._staging / name / "training_args.bin").unlink(missing_ok=True)
                with full_disk_named(folder):
                    checkpoints.commit(self._staging / name, folder / name)
                step, best = self.state.global_step, self.state.best_global_step
                checkpoints.rotate(folder, keep=self.keep, newest=step, best_step=best)
            self.accelerator.wait_for_everyone()
        finally:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging = None


def quiet_libraries() -> None:
    """Leave the talking to hflm: no bars, no advice from the libraries below."""
    import transformers
    from transformers.utils import logging

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    transformers.logging.set_verbosity_error()
    logging.disable_progress_bar()

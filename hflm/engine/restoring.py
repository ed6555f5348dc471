"""What a run that goes on takes from its checkpoint: every weight, the optimizer's state, and no rate that was changed.

transformers writes weights under the names that they were loaded by, which for some models are not those in memory:
`LayerNorm.gamma` in BERT's first files, `embed_out` of GPT-NeoX, experts one by one. Its Trainer reads a checkpoint
without renaming anything, and leaves what it finds no name for as it was, without a word (transformers#48805).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from transformers import Trainer

from hflm.engine.optimizer import parts_of
from hflm.errors import CheckpointError


def unlike(model: Any, checkpoint: Path) -> str | None:
    """Say which weights a checkpoint lacks or has too many, or None where they are the model's."""
    from safetensors import safe_open

    names: set[str] = set()
    for file in checkpoint.glob("*.safetensors"):
        with safe_open(file, framework="pt") as stored:
            names |= set(stored.keys())
    held = model.state_dict()
    # Of weights that are one, as the word table and the output layer often are, one name is written.
    given = {held[name].data_ptr() for name in names & set(held)}
    ignored = set(getattr(model, "_keys_to_ignore_on_save", None) or ())
    lacking = [name for name in held if name not in names | ignored and held[name].data_ptr() not in given]
    if not lacking and names <= set(held):
        return None
    other = sorted(names - set(held))
    return f"{len(lacking)} weights are missing and {len(other)} have other names, as {(lacking + other)[0]}"


@contextmanager
def rates_of_now(optimizer: Any, scheduler: Any) -> Iterator[None]:
    """Keep learning rate and weight decay as they are set, where a state is loaded that was saved with others."""
    scheduler = getattr(scheduler, "scheduler", scheduler)  # inside of Accelerate's
    rates, decays = list(scheduler.base_lrs), [group["weight_decay"] for group in _groups(optimizer)]
    yield
    for group, decay in zip(_groups(optimizer), decays, strict=True):
        group["weight_decay"] = decay
    if scheduler.base_lrs != rates:
        scheduler.base_lrs = rates
        factors = (rate(scheduler.last_epoch) for rate in scheduler.lr_lambdas)
        for group, rate, factor in zip(optimizer.param_groups, rates, factors, strict=True):
            group["initial_lr"], group["lr"] = rate, rate * factor
        scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]


def _groups(optimizer: Any) -> list[dict[str, Any]]:
    """Return the groups that an optimizer steps with, those of its parts where it has parts."""
    return [group for part in parts_of(optimizer) for group in part.param_groups]


class Restoring(Trainer):
    """A Trainer that finds every weight of its checkpoints again, and keeps the rates that it was told."""

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        model: Any = self.model
        model.save_pretrained = partial(model.save_pretrained, save_original_format=False)
        try:
            super()._save(output_dir, state_dict)
        finally:
            del model.save_pretrained

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        if wrong := unlike(self.model if model is None else model, folder):
            raise CheckpointError(f"{folder} does not hold this model: {wrong}.", fix="Start again with --overwrite.")
        super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and not self.is_deepspeed_enabled:
            with rates_of_now(self.optimizer, self.lr_scheduler):
                super()._load_optimizer_and_scheduler(checkpoint)
        else:
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_scaler(self, checkpoint: str | None) -> None:
        # A run that was begun in fp16 may go on in another precision, which has no scaler.
        if self.accelerator.scaler is not None:
            super()._load_scaler(checkpoint)

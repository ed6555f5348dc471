"""Settings that do nothing for the model at hand, so that nobody takes them for done."""

from dataclasses import fields

from hflm.data.splits import Splits
from hflm.finetune_config import FROM_SCRATCH, FinetuneConfig
from hflm.models.heads import WRITING
from hflm.settings import flag
from hflm.task import Task

# Settings of some kinds of models alone.
OF_KINDS = {
    "prefix": (("seq2seq",), "encoder-decoders"), "instruction": (("completion",), "decoders"),
    "class_weights": (("classification",), "classes"), "num_beams": (WRITING, "models that write"),
    "max_target_length": (WRITING, "models that write"),
}  # fmt: skip
# Shares of the training rows that are held out for a split, and the file that may be named for it instead.
HELD = (("eval_fraction", "eval", "validation_file"), ("test_fraction", "test", "test_file"))


def without_effect(config: FinetuneConfig, task: Task, kind: str, splits: Splits) -> list[str]:
    """Say which settings do nothing for a model of a kind and these rows: what neither defaults nor recipe have set."""
    usual = {item.name: item.default for item in fields(FinetuneConfig)} | dict(task.defaults)
    given = {name for name, value in usual.items() if getattr(config, name) != value}
    shape = [f"--{flag(name)}" for name in FROM_SCRATCH if name in given]
    said = [f"{', '.join(shape)}: without effect, as {config.model} is as it is"] if shape and not config.arch else []
    for name, (wanted, what) in OF_KINDS.items():
        if name in given and kind not in wanted:
            said.append(f"--{flag(name)}: without effect, it is for {what}")
    for share, split, file in HELD:
        # A folder or a data set of the hub may bring the split.
        brought = getattr(splits, split) and split not in splits.held_out
        if share in given and (brought or getattr(config, file)):
            why = f"--{flag(file)} is named" if getattr(config, file) else f"the data brings rows to {split}"
            said.append(f"--{flag(share)}: without effect, as {why}")
    if "decay" in given and config.schedule == "linear":
        said.append("--decay: without effect, a linear schedule falls from its warm-up on")
    return said

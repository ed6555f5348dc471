"""The settings of `hflm finetune` and `hflm plan`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from hflm.errors import UsageError
from hflm.settings import build, check_numbers, checked, flag, overlay, own_names, setting
from hflm.task import OPTIONS, Task
from hflm.training_settings import PUTS_OUT, TrainingSettings

# Evaluations that --early-stopping waits.
PATIENCE = 2


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(TrainingSettings):
    """Everything that decides what `hflm finetune` does; `None` means: worked out, and printed."""

    job: ClassVar[str] = "finetune"

    task: str = setting("", "A recipe of `hflm recipes list`, or your own .py file.", group="Task")
    model: str | None = setting(
        None, "Weights to start from: a folder, a run or a hub id.", group="Task", flags=("--model-name-or-path",)
    )

    data: tuple[str, ...] = setting(
        (), "Files, a folder or a hub data set id; files named train, validation and test are taken as such.",
        group="Data", flags=("--dataset-name",),
    )  # fmt: skip
    train_file: str | None = setting(None, "Rows to train on.", group="Data")
    validation_file: str | None = setting(
        None, "Rows to choose the best model by; default: a tenth of the training rows. Several files: quote a glob.",
        group="Data", flags=("--eval-file",),
    )  # fmt: skip
    test_file: str | None = setting(
        None, "Rows to score once, at the end; default: a tenth of the training rows. Several files: quote a glob.",
        group="Data",
    )  # fmt: skip
    eval_fraction: float = setting(0.1, "Share of the rows held out where no validation is given.", group="Data")
    test_fraction: float = setting(0.1, "Share of the rows held out where no test is given; 0: none.", group="Data")
    max_train_samples: int | None = setting(None, "Train on this many rows, drawn by the seed.", group="Data")
    max_eval_samples: int | None = setting(None, "Validate on this many rows, drawn by the seed.", group="Data")
    max_test_samples: int | None = setting(
        None, "Test on this many rows, drawn by the seed.", group="Data", flags=("--max-predict-samples",)
    )

    text_column: str | None = setting(None, "Column with the text.", group="Columns")
    label_column: str | None = setting(None, "Column with the label.", group="Columns")
    source_column: str | None = setting(None, "Column with the text to read.", group="Columns")
    target_column: str | None = setting(None, "Column with the text to write.", group="Columns")
    tokens_column: str | None = setting(None, "Column with the list of words.", group="Columns")
    tags_column: str | None = setting(None, "Column with the list of tags.", group="Columns")
    prompt_column: str | None = setting(None, "Column with the prompt.", group="Columns")
    completion_column: str | None = setting(None, "Column with the completion.", group="Columns")
    messages_column: str | None = setting(None, "Column with the list of messages.", group="Columns")
    source_lang: str | None = setting(None, "Language that is read, as en or eng_Latn.", group="Columns")
    target_lang: str | None = setting(None, "Language that is written.", group="Columns")

    arch: str | None = setting(
        None, "Train from scratch: t5, mbart or another encoder-decoder, bert, llama, ...; in place of --model.",
        group="From scratch",
    )  # fmt: skip
    size: str = setting(
        "mini", "With --arch: tiny (2 x 128), mini (4 x 256), small (4 x 512) or base (12 x 768), on either side.",
        group="From scratch",
    )  # fmt: skip
    layers: int | None = setting(None, "Number of layers; overrides --size.", group="From scratch")
    heads: int | None = setting(None, "Number of attention heads; overrides --size.", group="From scratch")
    width: int | None = setting(None, "Hidden width; overrides --size.", group="From scratch")
    vocab_size: int | None = setting(
        None, "Pieces of the vocabulary, trained on the training rows; default: by their amount.", group="From scratch"
    )
    dropout: float = setting(0.0, "Dropout everywhere in a model from scratch.", group="From scratch")

    learning_rate: float | None = setting(
        None, "Peak learning rate; default: the task's, else by the model's width.", group="Training", flags=("--lr",)
    )

    max_source_length: int = setting(
        512, "Tokens of a text that are read.", group="Model", flags=("--max-length", "--max-seq-length")
    )
    max_target_length: int = setting(128, "Tokens of a target; longer ones are cut.", group="Model")
    cut_all: bool = setting(False, "Train though every row is far too long, and is cut.", group="Model")
    prefix: str | None = setting(None, "Text before every source of an encoder-decoder.", group="Model")
    instruction: str | None = setting(None, "What a decoder-only model is asked to do.", group="Model")
    lora_rank: int | None = setting(None, "Train small matrices of this rank beside the weights (LoRA).", group="Model")
    freeze: int | None = setting(None, "Leave the embeddings and the first N layers as they are.", group="Model")
    gradient_checkpointing: bool = setting(False, "Trade time for memory.", group="Model")
    label_smoothing: float = setting(
        0.0, "Share of each target given to all others.", group="Model", flags=("--label-smoothing-factor",)
    )
    class_weights: str | None = setting(None, "balanced: rare classes count for more.", group="Model")
    num_beams: int = setting(1, "Beams when texts are written; 1: one token after the other.", group="Model")
    no_repeat_ngram_size: int = setting(0, "Write no run of so many tokens twice; 0: as it comes.", group="Model")
    length_penalty: float = setting(1.0, "With beams, above 1 for longer texts, below for shorter ones.", group="Model")

    early_stopping: bool = setting(
        False, f"Stop when {PATIENCE} evaluations in a row are no better; --patience says another number.",
        group="Saving",
    )  # fmt: skip

    def check(self) -> None:
        """Raise UsageError where a value is out of its range or two settings contradict each other."""
        super().check()
        check_numbers(self, positive=POSITIVE, not_negative=("freeze", "no_repeat_ngram_size"))
        for name in ("eval_fraction", "test_fraction", "label_smoothing", "dropout"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise UsageError(f"--{flag(name)} is {value}.", fix="It is a share, such as 0.1.")
        if self.eval_fraction + self.test_fraction >= 1:
            raise UsageError("--eval-fraction and --test-fraction leave no rows to train on.", fix="Make them smaller.")
        if self.data and self.train_file:
            raise UsageError("--data and --train-file both name the training rows.", fix="Give one of them.")
        if self.model and self.arch:
            raise UsageError("--model goes on from weights and --arch starts from scratch.", fix="Give one of them.")
        if self.arch and (self.freeze is not None or self.lora_rank):
            raise UsageError("--freeze and --lora-rank keep weights as they are, and --arch has none yet.",
                             fix="Leave them away, or name a --model.")  # fmt: skip
        if self.freeze is not None and self.lora_rank:
            raise UsageError(
                "--freeze and --lora-rank contradict each other: LoRA leaves every weight as it is.",
                fix="Give one of them.",
            )
        if not math.isfinite(self.length_penalty):
            raise UsageError(f"--length-penalty is {self.length_penalty}.", fix="It is a number, such as 1.5.")
        if self.length_penalty != 1 and self.num_beams == 1:
            raise UsageError(
                "--length-penalty ranks the texts of several beams, and there is one.", fix="Pass --num-beams 4."
            )
        if self.class_weights not in (None, "balanced"):
            raise UsageError(f"--class-weights is {self.class_weights!r}.", fix="Write balanced, or leave it away.")
        if bool(self.source_lang) != bool(self.target_lang):
            raise UsageError("One language is named.", fix="Pass --source-lang and --target-lang.")

    @property
    def columns(self) -> dict[str, str]:
        """Role -> column, for the roles that the user named."""
        named = {role: getattr(self, f"{role}_column") for role in OPTIONS}
        return {role: column for role, column in named.items() if column}


POSITIVE = (
    "max_source_length", "max_target_length", "max_train_samples", "max_eval_samples", "max_test_samples", "lora_rank",
    "num_beams", "layers", "heads", "width", "vocab_size",
)  # fmt: skip
# Settings of models from scratch.
FROM_SCRATCH = ("arch", "size", "layers", "heads", "width", "vocab_size", "dropout")
# Numbers for fine-tuning where neither recipe nor user says otherwise.
USUAL: Mapping[str, Any] = {"schedule": "linear", "optimizer": "adamw", "epochs": 3.0, "batch_size": 32}
# LoRA learns at a rate of its own: its matrices start at nothing.
LORA_RATE = 2e-4
# A model from scratch has all to learn: Muon for its matrices, and a rate held for long.
SCRATCH: Mapping[str, Any] = {"optimizer": "muon", "schedule": "trapezoid", "learning_rate": 2e-3}


def given_settings(
    kind: type[FinetuneConfig], file: Mapping[str, Any], flags: Mapping[str, Any], *, where: str
) -> dict[str, Any]:  # fmt: skip
    """Return what a user gives, in hflm's own names: flags win over the file, and early stopping is some patience."""
    given = overlay(own_names(kind, file, where=where), flags, puts_out=PUTS_OUT)
    return {**given, **stopping(flags, given)}


def stopping(flags: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the patience that early stopping means, where a flag or the settings together ask for it or against it.

    A run's own file names every setting, those that are nothing too.
    """
    if flags.get("patience") is not None:
        return {}
    if flags.get("early_stopping") is False:
        return {"patience": None}
    wanted = flags.get("early_stopping") or (given.get("early_stopping") and given.get("patience") is None)
    return {"patience": PATIENCE} if wanted else {}


def resolve_finetune(
    task: Task, *, name: str, file: Mapping[str, Any], flags: Mapping[str, Any], where: str
) -> FinetuneConfig:
    """Put a configuration together: usual numbers, the recipe's, the file, the flags."""
    if task.family == "masked_lm":
        raise UsageError(f"{task.name} is a recipe of pretraining.", fix="Run `hflm pretrain`, or name another task.")
    recipe = checked(FinetuneConfig, task.defaults, where=f"the recipe {name}")
    given = given_settings(FinetuneConfig, file, flags, where=where)
    usual = overlay(USUAL, recipe)
    if given.get("arch"):
        usual = overlay(usual, SCRATCH)
    if given.get("lora_rank"):
        usual["learning_rate"] = LORA_RATE
    return build(FinetuneConfig, {**overlay(usual, given, puts_out=PUTS_OUT), "task": name}, where=where)

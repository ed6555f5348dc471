"""The settings of `hflm distill`: those of a fine-tuning, and what the teacher has to say."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from hflm.errors import UsageError
from hflm.finetune_config import FROM_SCRATCH, LORA_RATE, USUAL, FinetuneConfig, given_settings
from hflm.settings import build, check_choices, check_numbers, checked, flag, overlay, setting
from hflm.task import OPTIONS, Task
from hflm.training_settings import PUTS_OUT


@dataclass(frozen=True, kw_only=True)
class DistillConfig(FinetuneConfig):
    """Everything that decides what `hflm distill` does; `None` means: worked out, and printed."""

    job: ClassVar[str] = "distill"

    teacher: str | None = setting(None, "Model to learn from: a run, a folder or a hub id.", group="Distillation")
    model: str | None = setting(
        None, "The student, weights to start from: a folder, a run or a hub id.", group="Distillation",
        flags=("--student",),
    )  # fmt: skip
    student_layers: int | None = setting(
        None, "Or a copy of the teacher with so many of its layers.", group="Distillation"
    )
    keep_layers: str = setting(
        "evenly", "Which layers a copy has: evenly chosen ones, or the first.", group="Distillation"
    )
    temperature: float = setting(
        2.0,
        "Divides the logits of both before they are compared: higher is softer; 1: as they are.",
        group="Distillation",
    )
    soft_share: float = setting(
        0.5, "Share of the loss that compares with the teacher; the labels make the rest.", group="Distillation"
    )
    hidden_weight: float = setting(
        0.0, "Weight of the cosine distance between the last hidden states; 0: they are not compared.",
        group="Distillation",
    )  # fmt: skip

    mlm_probability: float = setting(0.15, "Of a masked language model: share of tokens to predict.", group="Text")
    documents: str = setting(
        "auto", "What a document is in a .txt file: line, paragraph (blank lines), file or auto.", group="Text"
    )
    clean: str = setting(
        "default", "Cleaning filters of raw text: default, all, none, a list, or changes such as +near.", group="Text"
    )
    max_documents: int | None = setting(None, "Read no more documents than this.", group="Text")

    def check(self) -> None:
        """Raise UsageError where a value is out of its range or two settings contradict each other."""
        super().check()
        check_choices(self, {"documents": ("auto", "line", "paragraph", "file"), "keep_layers": ("evenly", "first")})
        check_numbers(
            self, positive=("student_layers", "temperature", "max_documents"), not_negative=("hidden_weight",)
        )
        if not 0 <= self.soft_share <= 1:
            raise UsageError(f"--soft-share is {self.soft_share}.", fix="It is a share, such as 0.5.")
        if not 0 < self.mlm_probability < 1:
            raise UsageError(f"--mlm-probability is {self.mlm_probability}.", fix="It is a share, such as 0.15.")
        if self.model and self.student_layers:
            raise UsageError(
                "--student names weights, and --student-layers makes them from the teacher's.", fix="Give one of them."
            )
        if self.model and self.keep_layers != "evenly":
            raise UsageError(
                "--keep-layers chooses layers of the teacher, and --student names weights.", fix="Give one of them."
            )


# Numbers for raw text; and what a student of any kind learns at, where neither recipe nor user says otherwise.
OF_TEXT: Mapping[str, Any] = {
    "schedule": "trapezoid", "batch_size": 16, "learning_rate": 5e-4, "max_source_length": 128,
}  # fmt: skip
# What has no meaning for any student, or for a family of tasks.
FOR_LOGITS = ("temperature", "soft_share", "hidden_weight")
FOR_TEXT = ("mlm_probability", "documents", "clean", "max_documents")
FOR_ROWS = (
    "lora_rank", "freeze", "gradient_checkpointing", "label_smoothing", "class_weights", "test_file", "num_beams",
    "no_repeat_ngram_size", "length_penalty", "max_train_samples", "max_eval_samples", "max_test_samples",
    "test_fraction", "max_target_length", "cut_all", "prefix", "instruction", "source_lang", "target_lang",
    *(f"{role}_column" for role in OPTIONS if role != "text"),
)  # fmt: skip


def resolve_distill(
    task: Task, *, name: str, file: Mapping[str, Any], flags: Mapping[str, Any], where: str
) -> DistillConfig:
    """Put a configuration together: usual numbers, the recipe's, the file, the flags.

    Raises UsageError where teacher or student are not named, or a setting has no meaning for the task.
    """
    given = given_settings(DistillConfig, file, flags, where=where)
    recipe: Mapping[str, Any] = OF_TEXT
    if task.family != "masked_lm":
        known = checked(DistillConfig, task.defaults, where=f"the recipe {name}")
        recipe = {key: value for key, value in known.items() if key != "model"}
    usual = overlay(USUAL, recipe)
    if given.get("lora_rank"):
        usual["learning_rate"] = LORA_RATE
    config = build(DistillConfig, {**overlay(usual, given, puts_out=PUTS_OUT), "task": name}, where=where)
    if not config.teacher:
        raise UsageError("No teacher is named.", fix="Pass --teacher with a run, a folder or a hub id.")
    if not config.model and not config.student_layers:
        raise UsageError(
            "No student is named.", fix="Pass --student with a model, or --student-layers for a copy of the teacher."
        )
    check_meaning(config, task)
    return config


def check_meaning(config: DistillConfig, task: Task) -> None:
    """Raise UsageError for a setting that does nothing for this task."""
    reasons = {
        "masked_lm": (FOR_ROWS, "distilling a language model on raw text"),
        "text_to_text": ((*FOR_LOGITS, *FOR_TEXT), "a student that learns the teacher's texts"),
        "causal_lm": ((*FOR_LOGITS, *FOR_TEXT), "a student that learns the teacher's texts"),
    }
    names, what = reasons.get(task.family, (FOR_TEXT, "rows with labels"))
    usual = {item.name: item.default for item in fields(DistillConfig)}
    scratch = next((name for name in FROM_SCRATCH if getattr(config, name) != usual[name]), None)
    if scratch:
        raise UsageError(
            f"--{flag(scratch)} is for models from scratch, which a student is not.",
            fix="Pass --student-layers, or --student with a model that `hflm pretrain` made.",
        )
    for name in names:
        if getattr(config, name) != usual[name]:
            raise UsageError(f"--{flag(name)} means nothing for {what}.", fix="Leave it away.")

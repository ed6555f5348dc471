"""Student and teacher brought together: the rows, the student's family, and what it hears of the teacher."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from hflm.config import PretrainConfig
from hflm.distill_config import DistillConfig
from hflm.distilling.answers import with_answers
from hflm.distilling.teacher import check_tokenizers, check_widths, class_order, freeze, open_teacher, with_teacher
from hflm.distilling.teacher import student_folder as folder_of
from hflm.engine import ranks
from hflm.engine.device import choose_device, use_fast_attention, whole_attention
from hflm.errors import UsageError
from hflm.families.distilled import Distilled
from hflm.families.language_model import MaskedLM
from hflm.finetuning.fitting import Fitted, fit, name_languages, read_data
from hflm.finetuning.idle import without_effect
from hflm.inference.testing import check_answers, check_metric
from hflm.inference.trained import TrainedModel
from hflm.models.architecture import count_parameters
from hflm.models.attention import supports_packing
from hflm.models.heads import family_of, load_config, max_positions
from hflm.models.load import load_language_model, model_folder
from hflm.models.tokenizer import load_tokenizer
from hflm.pretraining.assemble import Setup, set_up
from hflm.run import RunFolder
from hflm.task import Task
from hflm.training.training import Say
from hflm.training_settings import TrainingSettings

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch

# What a teacher must be for the tasks of a family.
KINDS = {
    "classification": ("classification",), "tagging": ("tagging",), "text_to_text": ("seq2seq", "completion"),
    "causal_lm": ("completion",),
}  # fmt: skip
PRETRAINED = "pretraining"
# Tokens that a model of which nothing is known writes, when nobody asks for more.
UNSAID = 128


class OfText(PretrainConfig):
    """The settings by which a distillation reads its text and trains on it, as a pretraining does."""

    job: ClassVar[str] = DistillConfig.job


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A student fitted to rows, its frozen teacher, and the family by which the one follows the other."""

    origin: str
    fitted: Fitted
    teacher: TrainedModel
    family: Any
    inputs: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class TextLesson:
    """The same for language models on raw text; `taught` is the family that reads the teacher."""

    name: str
    origin: str
    setup: Setup
    teacher: Any
    taught: Any
    family: Distilled
    inputs: Mapping[str, str]


def prepare_lesson(config: DistillConfig, task: Task, *, recipe: str, say: Say, watch: "Watch") -> Lesson:
    """Read the rows, open the teacher, let it write where that is what is learned, and fit the student."""
    asked = config.max_source_length
    with ranks.first_ahead():
        splits = read_data(config, task)
        teacher = open_teacher(config, recipe=recipe, kinds=KINDS[task.family])
        student = folder_of(config, teacher.model, teacher.family.tokenizer)
    arch, size = teacher.model.config.model_type, count_parameters(teacher.model)
    say(f"teacher: {teacher.name}, {arch} as {teacher.kind}, {size:,} parameters")
    check_metric(task.metric, family_of(task.family, load_config(student), name=student))
    check_answers(splits.test, task.metric)
    if task.family in ("text_to_text", "causal_lm"):
        cap, own = _cap(config, teacher)
        # It is tested as it taught.
        teacher = replace(teacher, max_new_tokens=cap)
        say(f"the teacher writes to {len(splits.train):,} training rows, at most {cap} tokens each")
        splits = with_answers(splits, teacher, cap=cap, own=own, watch=watch)
    else:
        config = replace(config, max_source_length=min(asked, max_positions(teacher.model.config)))
    with ranks.first_ahead():
        fitted = fit(name_languages(config, task, splits), task, splits, start=student)
    for line in without_effect(fitted.config, task, fitted.kind, fitted.splits):
        say(line)
    say(introduce(origin(config), fitted.model))
    # The family reads no more than the teacher; the settings stay those that were asked for, with which it goes on.
    fitted = replace(fitted, config=replace(fitted.config, max_source_length=asked))
    inputs = with_teacher(fitted.inputs, config, model=teacher.model, tokenizer=teacher.family.tokenizer)
    family = _family(fitted, teacher, student)
    return Lesson(origin=origin(config), fitted=fitted, teacher=teacher, family=family, inputs=inputs)


def _cap(config: DistillConfig, teacher: TrainedModel) -> tuple[int, bool]:
    """Return how many tokens a teacher writes at most, and whether that is its own limit, which no setting raises."""
    most, said = teacher.max_new_tokens, getattr(teacher.model.generation_config, "max_new_tokens", None)
    own = (said is not None or most != UNSAID) and most <= config.max_target_length
    return (most, True) if own else (config.max_target_length, False)


def origin(config: DistillConfig) -> str:
    """Say where the student's first weights come from."""
    return config.model or f"{config.student_layers} of the teacher's layers"


def introduce(origin: str, student: Any) -> str:
    """Say what the student is, in one line."""
    trained = sum(weight.numel() for weight in student.parameters() if weight.requires_grad)
    arch, size = student.config.model_type, count_parameters(student)
    return f"student: {origin}, {arch}, {size:,} parameters, {trained:,} of them trained"


def _family(fitted: Fitted, teacher: TrainedModel, student: str) -> Any:
    """Return the family that follows the teacher's probabilities; that of the student alone where it learns texts."""
    config = fitted.config
    assert isinstance(config, DistillConfig)
    if fitted.kind not in ("classification", "tagging"):
        return fitted.family
    check_tokenizers(fitted.family.tokenizer, teacher.family.tokenizer, names=(student, teacher.name))
    return _distilled(config, fitted.family, student=fitted.model, teacher=teacher.model,
                      order=class_order(fitted.labels, teacher))  # fmt: skip


def _distilled(config: DistillConfig, family: Any, *, student: Any, teacher: Any, **more: Any) -> Distilled:
    found = Distilled(family, teacher, config.temperature, config.soft_share, config.hidden_weight, **more)
    if config.hidden_weight:
        check_widths(student, teacher)
        found.listen(student)
    return found


def prepare_text_lesson(config: DistillConfig, run: RunFolder, *, say: Say, resume: bool) -> TextLesson:
    """Open the teacher, then prepare the text and the student as a pretraining does."""
    name = str(config.teacher)
    made = " ".join(load_config(name).architectures or ())
    objective = "mlm" if "MaskedLM" in made or "ForPreTraining" in made else "clm"
    teacher, tokenizer = load_language_model(name, objective=objective), load_tokenizer(model_folder(name))
    freeze(teacher)
    student = folder_of(config, teacher, tokenizer)
    most = min(config.max_source_length, max_positions(teacher.config))
    plain = as_pretraining(replace(config, max_source_length=most), student, objective)
    usual = as_pretraining(DistillConfig(), student, objective)
    check_tokenizers(load_tokenizer(model_folder(student)), tokenizer, names=(student, name))
    say(f"teacher: {name}, {teacher.config.model_type}, {count_parameters(teacher):,} parameters")
    setup = set_up(plain, run, arch="", say=say, resume=resume, usual=usual)
    _check_packing(setup.model, teacher)
    device = choose_device(config.precision)
    if supports_packing(teacher.config):
        use_fast_attention(teacher, device, usual=most)
    whole_attention(teacher, device)
    teacher.to(device.kind)  # type: ignore[arg-type]
    taught: Any = setup.family
    if isinstance(setup.family, MaskedLM):
        # A hook of its own on a model of its own.
        taught = MaskedLM(setup.family.masking)
        taught.prepare(teacher)
    family = _distilled(config, setup.family, student=setup.model, teacher=teacher, teacher_family=taught)
    inputs = with_teacher(setup.inputs, config, model=teacher, tokenizer=tokenizer)
    return TextLesson(
        name=name, origin=origin(config), setup=setup, teacher=teacher, taught=taught, family=family, inputs=inputs
    )


def as_pretraining(config: DistillConfig, student: str, objective: str) -> PretrainConfig:
    """Return the settings of a pretraining that goes on from the student's first weights."""
    shared = {item.name: getattr(config, item.name) for item in fields(TrainingSettings)}
    data: Sequence[str] = config.data or ([config.train_file] if config.train_file else ())
    held = (config.validation_file,) if config.validation_file else ()
    return OfText(
        **shared, data=tuple(data), eval_data=held, eval_fraction=config.eval_fraction, documents=config.documents,
        text_column=config.text_column, clean=config.clean, max_documents=config.max_documents, model=student,
        max_length=config.max_source_length, objective=objective, mlm_probability=config.mlm_probability,
        recipe=PRETRAINED,
    )  # fmt: skip


def _check_packing(student: Any, teacher: Any) -> None:
    """Raise UsageError where the student's rows hold several documents, and the teacher would mix them up."""
    if supports_packing(student.config) and not supports_packing(teacher.config):
        raise UsageError(
            f"Rows of several documents, as {student.config.model_type} reads them, are not for "
            f"{teacher.config.model_type}.",
            fix="Take a student of the teacher's architecture, as --student-layers makes one.",
        )

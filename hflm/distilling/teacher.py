"""The teacher: opened, frozen, and held against the student that is to learn from it."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from hflm.cache import cache_folder, in_cache, staged
from hflm.distill_config import DistillConfig
from hflm.errors import ModelError, UsageError
from hflm.inference.trained import TrainedModel, open_trained
from hflm.models.fingerprints import tokenizer_key, weights_key
from hflm.models.heads import load_config, saved_labels
from hflm.models.load import model_folder
from hflm.models.safety import check_folder
from hflm.models.shallow import save_shallow
from hflm.recipe_files import recipe_paths

# Texts on which two tokenizers must agree: cases, accents, scripts, numbers, an odd space.
PROBES = ("It's 1,234.5 Ünïcode tests!", "ABC abc  Abc", "很好的电影", "فيلم رائع", "Ñandú\tcafé", "a_b-c/d@e.f")

# Counts up when the same teacher gives another copy with fewer layers.
COPIER = 2


def task_of(name: str) -> str:
    """Return the recipe of the task that a teacher was trained for; raises UsageError where it does not say."""
    config = load_config(name)
    made = " ".join(config.architectures or ())
    if "MaskedLM" in made or "ForPreTraining" in made:
        return "pretraining"
    saved: Any = getattr(config, "task_specific_params", None) or {}
    told = next((key for key, value in saved.items() if isinstance(value, dict) and "family" in value), "")
    if told in recipe_paths():
        return str(told)
    usual = {"SequenceClassification": "sentiment", "TokenClassification": "tagging"}
    found = next((recipe for head, recipe in usual.items() if head in made), None)
    if found is None or told:
        known = f"was trained for {told!r}, a recipe of its own" if told else "does not say what it was trained for"
        raise UsageError(f"{name} {known}.", fix="Pass --task: a recipe of `hflm recipes list`, or a .py file.")
    return found


def open_teacher(config: DistillConfig, *, recipe: str, kinds: Sequence[str]) -> TrainedModel:
    """Open a teacher that does a task, frozen; raises ModelError where it does another."""
    teacher = open_trained(
        str(config.teacher), task=recipe, source_lang=config.source_lang, target_lang=config.target_lang,
        precision=config.precision, kinds=tuple(kinds),
    )  # fmt: skip
    freeze(teacher.model)
    return teacher


def freeze(model: Any) -> None:
    """Leave a model as it is: no dropout, no gradients."""
    model.eval().requires_grad_(False)


def with_teacher(inputs: Mapping[str, str], config: DistillConfig, *, model: Any, tokenizer: Any) -> dict[str, str]:
    """Add the hashes by which a run that goes on knows its teacher again; a copy of it needs none of its own."""
    own = {name: key for name, key in inputs.items() if config.model or name not in ("model", "tokenizer")}
    return {**own, "teacher": weights_key(model), "teacher's tokenizer": tokenizer_key(tokenizer)}


def student_folder(config: DistillConfig, model: Any, tokenizer: Any) -> str:
    """Return the folder or the name of the student's first weights; a shallow copy is made once, in hflm's cache."""
    if config.model:
        return config.model
    assert config.student_layers
    # Labels and tokenizer may be mended beside the same weights.
    told = hashlib.sha256(f"{saved_labels(model.config)} {tokenizer_key(tokenizer)}".encode()).hexdigest()[:8]
    name = f"shallow-{COPIER}-{weights_key(model)}-{told}-{config.student_layers}-{config.keep_layers}"
    folder = cache_folder() / "models" / name
    if not in_cache(folder, opens=check_folder):
        with staged(folder) as staging:
            save_shallow(model, config.student_layers, staging, keep=config.keep_layers)
            tokenizer.save_pretrained(staging)
    return str(folder)


def check_tokenizers(student: Any, teacher: Any, *, names: tuple[str, str]) -> None:
    """Raise ModelError unless both read every text as the same tokens: probabilities are compared one by one."""
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    fix = "Name a student with the teacher's tokenizer, or pass --student-layers."
    if ours != theirs:
        odd = min({*ours.items()} ^ {*theirs.items()}, key=lambda pair: (pair[1], pair[0]))
        raise ModelError(
            f"{names[0]} has a vocabulary of {len(ours):,} tokens, its teacher {names[1]} one of {len(theirs):,}; they "
            f"differ first in token {odd[1]}.",
            fix=fix,
        )
    for text in PROBES:
        if student(text)["input_ids"] != teacher(text)["input_ids"]:
            raise ModelError(f"{names[0]} and its teacher {names[1]} read {text!r} as other tokens.", fix=fix)


def class_order(labels: Sequence[str], teacher: TrainedModel) -> torch.Tensor | None:
    """Return which class of the teacher is each of the student's [C], None where they stand in the same order.

    Raises ModelError where the two do not tell the same classes apart.
    """
    known = teacher.labels
    if set(labels) != set(known):
        missing, new = sorted(set(known) - set(labels)), sorted(set(labels) - set(known))
        what = f"the rows have {new[0]!r}" if new else f"no row has its {missing[0]!r}"
        raise ModelError(
            f"The teacher {teacher.name} knows the labels {known[:8]}, and {what}.",
            fix="Name the labels as it does, in rows of every one of its classes.",
        )
    return None if list(labels) == known else torch.tensor([known.index(label) for label in labels])


def check_widths(student: Any, teacher: Any) -> None:
    """Raise UsageError where hidden states cannot be compared."""
    ours, theirs = (getattr(model.config, "hidden_size", None) for model in (student, teacher))
    if ours != theirs:
        raise UsageError(
            f"--hidden-weight compares vectors of one width; the student's have {ours} numbers, those of the teacher "
            f"{theirs}.",
            fix="Leave it away, or take a student of the teacher's width.",
        )


def teacher_folder(name: str) -> str:
    """Return where the teacher's files lie."""
    return model_folder(name)

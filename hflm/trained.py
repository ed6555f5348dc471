"""A trained model, ready to be used: from a run, a folder or a hub id, with what it was told when it was trained."""

from dataclasses import dataclass
from typing import Any

from hflm.data.columns import language_name
from hflm.engine.device import Device, choose_device
from hflm.engine.trainer import quiet_libraries
from hflm.errors import ModelError
from hflm.families.classification import Classification
from hflm.families.completion import Completion
from hflm.families.seq2seq import Seq2Seq
from hflm.families.tagging import Tagging
from hflm.fitting import T5_LIKE
from hflm.models.heads import load_config, load_tokenizer_for, load_with_head, max_positions, saved_labels
from hflm.models.languages import set_languages
from hflm.recipe_files import load_task
from hflm.task import Task

HEADS = {
    "SequenceClassification": "classification",
    "TokenClassification": "tagging",
    "ConditionalGeneration": "seq2seq",
    "EncoderDecoderModel": "seq2seq",
    "MarianMTModel": "seq2seq",
    "CausalLM": "completion",
    "LMHeadModel": "completion",
}
# Text read where neither model nor user says how much.
USUAL_LENGTH = {"classification": 512, "tagging": 512, "seq2seq": 1024, "completion": 1024}


@dataclass(frozen=True)
class TrainedModel:
    """A model, its family, and the task that it does."""

    name: str
    task: Task
    kind: str
    model: Any
    family: Any
    device: Device
    max_new_tokens: int


def open_trained(
    name: str, *, task: str | None = None, source_lang: str | None = None, target_lang: str | None = None,
    max_new_tokens: int | None = None, precision: str = "auto", kinds: tuple[str, ...] = (),
) -> TrainedModel:  # fmt: skip
    """Open a model for a task: the one that it was trained for, or the one named; `kinds` are those that will do.

    Raises ModelError where it is not of a kind that does the task.
    """
    quiet_libraries()
    config = load_config(name)
    saved = dict(config.task_specific_params or {})
    kind = _kind(config, name)
    if kinds and kind not in kinds:
        raise ModelError(f"{name} is made for {kind}, not {' or '.join(kinds)}.", fix="Name another model.")
    known = next((key for key, value in saved.items() if isinstance(value, dict) and "family" in value), None)
    chosen = load_task(task or known or {"classification": "sentiment", "tagging": "tagging"}.get(kind, "generation"))
    _check_kind(name, kind, chosen)
    told = saved.get(chosen.name) or saved.get(known or "") or {}
    languages = (source_lang or told.get("source_lang"), target_lang or told.get("target_lang"))
    tokenizer = load_tokenizer_for(name, kind, config)
    model = load_with_head(name, kind, trained=True, pad_token_id=tokenizer.pad_token_id).eval()
    device = choose_device(precision)
    model.to(device.kind)
    family = _family(kind, chosen, told, tokenizer=tokenizer, model=model, languages=languages)
    cap = max_new_tokens or getattr(getattr(model, "generation_config", None), "max_new_tokens", None)
    return TrainedModel(name, chosen, kind, model, family, device, int(cap or 128))


def _kind(config: Any, name: str) -> str:
    made = " ".join(config.architectures or ())
    kind = next((kind for mark, kind in HEADS.items() if mark in made), None)
    if kind is None:
        what = f"is a {made}" if made else "does not say what it is"
        raise ModelError(f"{name} {what}: it has no head for a task.", fix="Fine-tune it first: `hflm finetune`.")
    return kind


def _check_kind(name: str, kind: str, task: Task) -> None:
    able = {
        "classification": ("classification",), "tagging": ("tagging",), "text_to_text": ("seq2seq", "completion"),
        "causal_lm": ("completion",),
    }[task.family]  # fmt: skip
    if kind not in able:
        raise ModelError(
            f"{name} is made for {kind}, and {task.name} needs {' or '.join(able)}.", fix="Name another model."
        )


def _family(
    kind: str, task: Task, told: dict[str, Any], *, tokenizer: Any, model: Any, languages: tuple[str | None, str | None]
) -> Any:
    length = told.get("max_source_length") or told.get("max_length") or USUAL_LENGTH[kind]
    most = min(length, max_positions(model.config))
    if kind in ("classification", "tagging"):
        labels = saved_labels(model.config)
        return Classification(tokenizer, labels, most) if kind == "classification" else Tagging(tokenizer, labels, most)
    names = {"source": language_name(languages[0] or ""), "target": language_name(languages[1] or "")}
    target = told.get("max_target_length", 256)
    if kind == "completion":
        instruction = told.get("instruction", task.instruction.format(**names))
        return Completion(tokenizer, instruction, most, target)
    opening = set_languages(tokenizer, model, source=languages[0], target=languages[1])
    usual = task.prefix.format(**names) if model.config.model_type in T5_LIKE else ""
    start = model.config.decoder_start_token_id
    start = start if start is not None else opening if opening is not None else model.config.bos_token_id
    return Seq2Seq(tokenizer, told.get("prefix", usual), most, target, int(start or 0))

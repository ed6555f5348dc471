"""A trained model, ready to be used: from a run, a folder or a hub id, with what it was told when it was trained."""

from dataclasses import dataclass, field, replace
from typing import Any

from hflm.data.columns import language_name
from hflm.engine.device import Device, choose_device
from hflm.engine.trainer import quiet_libraries
from hflm.errors import ModelError, UsageError
from hflm.families.classification import Classification
from hflm.families.completion import Completion
from hflm.families.seq2seq import Seq2Seq
from hflm.families.tagging import Tagging
from hflm.families.triple_tokens import TripleTokens
from hflm.finetuning.fitting import completion_limits, tell
from hflm.inference.predicting import Shortened
from hflm.models.architecture import T5_LIKE
from hflm.models.heads import (
    WRITING,
    give_padding,
    load_config,
    load_tokenizer_for,
    load_with_head,
    max_positions,
    max_target_positions,
    saved_labels,
)
from hflm.models.languages import TOLD, find_opening, kept_languages, language_mark, set_languages, start_token
from hflm.recipe_files import load_task, recipe_paths
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
    languages: tuple[str | None, str | None] = (None, None)
    shortened: Shortened = field(default_factory=Shortened)

    @property
    def labels(self) -> list[str]:
        """The classes or tags that it tells apart."""
        return list(getattr(self.family, "labels", []))

    @property
    def relations(self) -> list[str] | None:
        """The relations that it writes in triples; None where it writes none."""
        return saved_relations(self.model.config)


def saved_relations(config: Any) -> list[str] | None:
    """Return the relations of a model that writes triples; None of any other."""
    told = (getattr(config, "task_specific_params", None) or {}).values()
    return next((list(one["relations"]) for one in told if isinstance(one, dict) and "relations" in one), None)


@dataclass(frozen=True)
class Described:
    """What is known of a model before its weights are read: enough to look at rows."""

    name: str
    task: Task
    kind: str
    config: Any
    languages: tuple[str | None, str | None] = (None, None)

    @property
    def labels(self) -> list[str]:
        """The classes or tags that it tells apart."""
        return saved_labels(self.config) if self.kind in ("classification", "tagging") else []

    @property
    def relations(self) -> list[str] | None:
        """The relations that it writes in triples; None where it writes none."""
        return saved_relations(self.config)


def describe(
    name: str, *, task: str | None = None, source_lang: str | None = None, target_lang: str | None = None,
    kinds: tuple[str, ...] = (),
) -> Described:  # fmt: skip
    """Read what a model is and which task it does: that it was trained for, or the one named.

    `kinds` are those that will do. Raises ModelError where it is not of a kind that does the task.
    """
    quiet_libraries()
    config = load_config(name)
    kind = _kind(config, name)
    if kinds and kind not in kinds:
        raise ModelError(f"{name} is made for {kind}, not {' or '.join(kinds)}.", fix="Name another model.")
    chosen, told = _choose_task(config, kind, task)
    _check_kind(name, kind, chosen)
    languages = (source_lang or told.get("source_lang"), target_lang or told.get("target_lang"))
    _check_languages(name, config, chosen, told, languages)
    return Described(name, chosen, kind, config, languages)


def open_trained(
    name: str, *, task: str | None = None, source_lang: str | None = None, target_lang: str | None = None,
    max_new_tokens: int | None = None, precision: str = "auto", kinds: tuple[str, ...] = (),
) -> TrainedModel:  # fmt: skip
    """Open a model for a task: `describe` it, and load its weights."""
    known = describe(name, task=task, source_lang=source_lang, target_lang=target_lang, kinds=kinds)
    tokenizer = load_tokenizer_for(name, known.kind, known.config)
    languages = known.languages
    if known.kind == "seq2seq":
        languages = _kept(languages, tokenizer, known.config)
        find_opening(tokenizer, known.config, source=languages[0], target=languages[1])
    model = load_with_head(name, known.kind, trained=True, pad_token_id=tokenizer.pad_token_id).eval()
    device = choose_device(precision)
    # In float16 some overflow, and write nonsense without a word.
    wide = precision == "auto" and device.precision == "fp16" and known.kind in WRITING
    device = Device(device.kind, "fp32") if wide else device
    model.to(device.kind)
    return ready(name, model, tokenizer, recipe=task, languages=languages, device=device, max_new_tokens=max_new_tokens)


def ready(
    name: str, model: Any, tokenizer: Any, *, recipe: str | None, languages: tuple[str | None, str | None],
    device: Device, max_new_tokens: int | None,
) -> TrainedModel:  # fmt: skip
    """Give a loaded model and its tokenizer the family of a task; raises ModelError where it cannot do it."""
    kind = _kind(model.config, name)
    chosen, told = _choose_task(model.config, kind, recipe)
    _check_kind(name, kind, chosen)
    give_padding(tokenizer, name, kind)
    languages = (languages[0] or told.get("source_lang"), languages[1] or told.get("target_lang"))
    _check_languages(name, model.config, chosen, told, languages)
    if kind == "seq2seq":
        languages = _kept(languages, tokenizer, model.config)
    family = _family(kind, chosen, told, tokenizer=tokenizer, model=model, languages=languages)
    cap = max_new_tokens or _usual_cap(model, kind, told)
    return TrainedModel(name, chosen, kind, model, family, device, cap, languages)


def _kept(languages: tuple[str | None, str | None], tokenizer: Any, config: Any) -> tuple[str | None, str | None]:
    """Return the languages named, or else those that the model keeps."""
    kept = kept_languages(tokenizer, config)
    return languages[0] or kept[0], languages[1] or kept[1]


def _usual_cap(model: Any, kind: str, told: dict[str, Any]) -> int:
    """Return how many tokens a model writes: as it was trained, as the hub's habits say, or 128."""
    usual = getattr(model, "generation_config", None)
    cap = getattr(usual, "max_new_tokens", None)
    if cap is None and kind == "seq2seq" and "family" not in told:
        whole = told.get("max_length") or getattr(usual, "max_length", None)
        # 20 is the libraries' own number, and says nothing of the model; the start counts as one.
        cap = whole - 1 if isinstance(whole, int) and whole > 21 else None
    return int(cap or 128)


# A model that says nothing of a task, and reads what it is given as it is.
PAIRS = {"source": ("source", "text"), "target": ("target",)}
PLAIN = Task(name="text2text", columns=PAIRS, family="text_to_text", metric="rouge")
USUAL_TASK = {"classification": "sentiment", "tagging": "tagging", "completion": "generation"}


def _choose_task(config: Any, kind: str, recipe: str | None) -> tuple[Task, dict[str, Any]]:
    """Return the task named, else the one that the model was trained for, and what the model keeps of it."""
    saved = dict(getattr(config, "task_specific_params", None) or {})
    known = next((key for key, value in saved.items() if isinstance(value, dict) and "family" in value), None)
    name = recipe or known or USUAL_TASK.get(kind)
    own = name == known and name not in recipe_paths()
    # A recipe of the user's own may be gone, and is not run again: what it does is that of its family.
    text = "source" in (saved.get(str(known)) or {}).get("columns", {})
    base = (None if text else USUAL_TASK.get(kind)) if own else name
    chosen = PLAIN if base is None or base == PLAIN.name else load_task(base)
    told = saved.get(str(name)) or saved.get(known or "") or {}
    read = told.get("columns", {})
    columns = {role: (*([read[role]] if role in read else []), *names) for role, names in chosen.columns.items()}
    if name == known:
        # One of the user's own may have kept the name of the built-in one that it is a copy of.
        metric, writes = (str(told.get(key, getattr(chosen, key))) for key in ("metric", "writes"))
        chosen = replace(chosen, name=str(name), metric=metric, writes=writes)
    return replace(chosen, columns=columns), told


def _kind(config: Any, name: str) -> str:
    made = " ".join(config.architectures or ())
    kind = next((kind for mark, kind in HEADS.items() if mark in made), None)
    if kind == "seq2seq" and not config.is_encoder_decoder:
        # Models of text and pictures have the same name.
        kind = "completion"
    if kind is None:
        what = f"is a {made}" if made else "does not say what it is"
        raise ModelError(f"{name} {what}: it has no head for a task.", fix="Fine-tune it first: `hflm finetune`.")
    if kind == "classification":
        _check_one_class(config, name)
    return kind


def _check_one_class(config: Any, name: str) -> None:
    """Refuse a head whose outputs are no classes of which one is right: a softmax of them would mean nothing."""
    problem = getattr(config, "problem_type", None)
    if problem == "multi_label_classification":
        what = "gives a text several labels or none"
    elif problem == "regression" or len(saved_labels(config)) == 1:
        what = "gives a text a number"
    else:
        return
    raise ModelError(
        f"{name} {what}, and one class of several is asked for here.",
        fix=f"Look at one text with `hflm explain {name} TEXT`, or use transformers' own pipeline.",
    )


def _check_kind(name: str, kind: str, task: Task) -> None:
    if task.family == "masked_lm":
        raise UsageError(f"{task.name} is a recipe of pretraining.", fix="Leave --task away, or name a task.")
    ways = {"text_to_text": ("seq2seq", "completion"), "causal_lm": ("completion",)}
    able = ways.get(task.family, (task.family,))
    if kind not in able:
        raise ModelError(
            f"{name} is made for {kind}, and {task.name} needs {' or '.join(able)}.", fix="Name another model."
        )


def _names(languages: tuple[str | None, str | None]) -> dict[str, str]:
    return {"source": language_name(languages[0] or ""), "target": language_name(languages[1] or "")}


def _told_again(told: dict[str, Any], key: str, task: Task, names: dict[str, str]) -> str:
    """Return a saved prefix or instruction; one that names the languages of the training names those of today."""
    saved, template = str(told.get(key, "")), str(getattr(task, key))
    return template.format(**names) if _names_languages(told, key, task) else saved


def _names_languages(told: dict[str, Any], key: str, task: Task) -> bool:
    trained = _names((told.get("source_lang"), told.get("target_lang")))
    template = str(getattr(task, key))
    return "{target}" in template and told.get(key) == template.format(**trained)


def _check_languages(
    name: str, config: Any, task: Task, told: dict[str, Any], languages: tuple[str | None, str | None]
) -> None:
    """Raise UsageError where a model is asked for languages that it was not trained on and cannot be told."""
    trained = (told.get("source_lang"), told.get("target_lang"))
    if not all(trained) or _names(trained) == _names(languages) or config.model_type in TOLD:
        return
    if not any(_names_languages(told, key, task) for key in ("prefix", "instruction")):
        raise UsageError(
            f"{name} translates {trained[0]} to {trained[1]}, and cannot be told {languages[0]} to {languages[1]}.",
            fix="Leave the languages away, or name another model.",
        )
    for code in languages:
        if code and len(code) < 4 and language_name(code) == code:
            raise UsageError(f"The language {code!r} is not known.", fix="Write its English name, as --to Quechua.")


def _family(
    kind: str, task: Task, told: dict[str, Any], *, tokenizer: Any, model: Any, languages: tuple[str | None, str | None]
) -> Any:
    # Under `max_length` models of the hub keep how much they write, and only what hflm trained how much it reads.
    length = told.get("max_source_length") or ("family" in told and told.get("max_length")) or USUAL_LENGTH[kind]
    most = min(length, max_positions(model.config))
    if kind in ("classification", "tagging"):
        labels = saved_labels(model.config)
        if kind == "tagging":
            return Tagging(tokenizer, labels, most)
        plain, temperature = bool(model.config.is_encoder_decoder), float(told.get("temperature", 1.0))
        return Classification(tokenizer, labels, most, temperature=temperature, plain=plain)
    names = _names(languages)
    target = told.get("max_target_length", 256)
    triples = TripleTokens(tokenizer, told["relations"]) if "relations" in told else None
    if kind == "completion":
        # What was trained to go on with text, or to answer, was told nothing, and can be told of another task.
        untold = not told.get("instruction") and "source" not in told.get("columns", {"source": ""})
        known = "instruction" in told and not untold
        instruction = _told_again(told, "instruction", task, names) if known else tell(task.instruction, names)
        limits = completion_limits(model.config, source=length, target=target)
        return Completion(tokenizer, instruction, *limits, triples=triples, thinks=told.get("thinks", "family" in told))
    set_languages(tokenizer, model, source=languages[0], target=languages[1])
    opening = find_opening(tokenizer, model.config, source=languages[0], target=languages[1])
    needed = "prefix" not in told and model.config.model_type in T5_LIKE
    prefix = tell(task.prefix, names) if needed else _told_again(told, "prefix", task, names)
    if "prefix" not in told and model.config.model_type not in TOLD | T5_LIKE:
        prefix += language_mark(tokenizer, source=languages[0], target=languages[1])
    start = start_token(model.config, opening) or 0
    return Seq2Seq(tokenizer, prefix, most, min(target, max_target_positions(model.config)), start, triples=triples)

"""From a task, a model and examples to what fine-tuning needs: labels, family, model with its head, encoded rows."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hflm.data.chats import CHATS, has_thoughts
from hflm.data.checks import check_examples, label_list, named_labels, tag_list, usable
from hflm.data.columns import language_code, language_name
from hflm.data.examples import Example, Shape
from hflm.data.hub import looks_like_hub_id
from hflm.data.overlap import text_of
from hflm.data.row_problems import LEARNED, READ
from hflm.data.samples import sample_files
from hflm.data.sources import find_sources, fingerprint
from hflm.data.splits import Splits, content_key, read_splits
from hflm.engine.device import Device, choose_device, use_fast_attention
from hflm.errors import ModelError, UsageError
from hflm.families.classification import Classification
from hflm.families.completion import ANSWERS, Completion
from hflm.families.encoded import Encoded
from hflm.families.prompts import turn_end
from hflm.families.seq2seq import Seq2Seq
from hflm.families.tagging import Tagging
from hflm.families.triple_tokens import TripleTokens, relations_of
from hflm.finetune_config import FinetuneConfig
from hflm.finetuning.rates import usual_rate
from hflm.models.adapters import add_lora, freeze_layers, recompute
from hflm.models.architecture import T5_LIKE
from hflm.models.fingerprints import tokenizer_key, weights_key
from hflm.models.heads import (
    check_text_alone,
    family_of,
    load_config,
    load_tokenizer_for,
    load_with_head,
    max_positions,
    max_target_positions,
    saved_labels,
)
from hflm.models.languages import find_opening, language_mark, set_languages, start_token
from hflm.models.writing import also_end, without_sampling
from hflm.task import Task

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# Of rows that are all cut, how many are looked at, to which length, and what share of them must be left.
SOME, LONG, LEAST_KEPT = 64, 100_000, 0.1


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A task fitted to a model: `train` and `eval` are encoded, `test` is kept as it was read."""

    config: FinetuneConfig
    task: Task
    kind: str
    splits: Splits
    skipped: int
    labels: Sequence[str]
    family: Any
    model: "PreTrainedModel"
    device: Device
    train: Sequence[Encoded]
    eval: Sequence[Encoded]
    key: str
    inputs: Mapping[str, str]


def read_data(config: FinetuneConfig, task: Task) -> Splits:
    """Read the splits that the settings name, or the recipe's sample; raises DataError for anything wrong in them."""
    files = {"train": config.train_file, "eval": config.validation_file, "test": config.test_file}
    data = config.data if config.data or config.train_file else sample_files(task)
    languages = (config.source_lang, config.target_lang)
    if not config.data and not config.train_file and task.name == "translation" and not any(languages):
        languages = ("en", "es")
    shape = Shape(
        roles=task.columns, shapes=task.complete, given=config.columns, source_lang=languages[0],
        target_lang=languages[1], by_place=task.by_place, writes=task.writes,
    )  # fmt: skip
    splits = read_splits(
        data=data, files=files, shape=shape, seed=config.seed,
        fractions={"eval": config.eval_fraction, "test": config.test_fraction},
        most={"train": config.max_train_samples, "eval": config.max_eval_samples, "test": config.max_test_samples},
        skip_bad=config.on_bad_row == "skip",
    )  # fmt: skip
    check_examples(splits)
    return splits


def _files(config: FinetuneConfig, task: Task) -> dict[str, str]:
    """Hash the files of the rows, byte by byte; a data set of the hub has its rows' own hash alone."""
    data = config.data if config.data or config.train_file else sample_files(task)
    named = {"training data": data if data else (config.train_file,), "validation data": (config.validation_file,),
             "test data": (config.test_file,)}  # fmt: skip
    paths = {name: [path for path in found if path] for name, found in named.items()}
    return {
        name: fingerprint(find_sources(found))[:24]
        for name, found in paths.items()
        if found and not (len(found) == 1 and looks_like_hub_id(found[0]))
    }


def name_languages(config: FinetuneConfig, task: Task, splits: Splits) -> FinetuneConfig:
    """Take the languages of a translation from its columns, where they are called by codes and nothing else is said."""
    source, target = (language_code(splits.columns.get(role, "")) for role in ("source", "target"))
    if config.source_lang or "{source}" not in task.instruction + task.prefix or not source or not target:
        return config
    return replace(config, source_lang=source, target_lang=target)


def fit(config: FinetuneConfig, task: Task, splits: Splits, *, start: str | None = None) -> Fitted:
    """Load the model with its head and encode the rows; raises an HflmError for what does not fit together.

    `start` is the folder of the model where that is not the one which the settings name.
    """
    name = start or str(config.model)
    splits, skipped = usable(named_labels(splits) if task.family == "classification" else splits)
    if not splits.train:
        raise UsageError("Every training row is empty.", fix="Look at the columns: `hflm plan` prints them.")
    pretrained = load_config(name)
    check_text_alone(pretrained, name)
    if config.learning_rate is None:
        config = replace(config, learning_rate=usual_rate(pretrained))
    kind = family_of(task.family, pretrained, name=name)
    if config.no_repeat_ngram_size and kind != "seq2seq":
        raise UsageError(
            f"--no-repeat-ngram-size is for encoder-decoder models: {name} would count its prompt as its text.",
            fix="Leave it away.",
        )
    device = _device(config, pretrained)
    tokenizer = load_tokenizer_for(name, kind, pretrained)
    labels = _labels(task, splits, pretrained)
    family = make_family(config, task, kind, tokenizer=tokenizer, pretrained=pretrained, labels=labels, splits=splits)
    _check_room(family, splits.train)
    train, held = family.encode(splits.train), family.encode(splits.eval)
    if kind == "completion":
        family.encode(splits.test)  # a chat template may refuse a row: that is told before minutes are spent
    _check_targets(train)
    if not config.cut_all:
        _check_cut(train, splits.train, tokenizer, kind=kind)
    # All that can be wrong with rows, lengths and languages is told by now.
    model = load_with_head(name, kind, labels=labels, seed=config.seed, pad_token_id=tokenizer.pad_token_id)
    if kind in ("seq2seq", "completion"):
        _make_writer(model, tokenizer, kind, config)
    inputs = {**_files(config, task), "model": weights_key(model), "tokenizer": tokenizer_key(tokenizer)}
    usual = int(np.percentile([row.length for row in train], 95))
    use_fast_attention(model, device, usual=usual, longest=max(row.length for row in (*train, *held)))
    if config.gradient_checkpointing:
        recompute(model)
    if config.freeze is not None:
        freeze_layers(model, config.freeze)
    if config.lora_rank:
        add_lora(model, rank=config.lora_rank, seed=config.seed)
    if isinstance(family, Completion):
        family.prepare(model)
    model.to(device.kind)  # type: ignore[arg-type]
    return Fitted(
        config=config, task=task, kind=kind, splits=splits, skipped=skipped, labels=labels, family=family,
        model=model, device=device, train=train, eval=held, key=content_key(splits), inputs=inputs,
    )  # fmt: skip


def _make_writer(model: Any, tokenizer: Any, kind: str, config: FinetuneConfig) -> None:
    without_sampling(model)
    if kind == "completion":
        # What a row is taught to end with; the model's own configuration may name another token, or none.
        also_end(model, tokenizer.eos_token_id)
        with suppress(ModelError):
            also_end(model, turn_end(tokenizer))
        # They would count the words of the source for said.
        model.generation_config.repetition_penalty = model.generation_config.no_repeat_ngram_size = None
    else:
        set_languages(tokenizer, model, source=config.source_lang, target=config.target_lang)


def _device(config: FinetuneConfig, pretrained: "PretrainedConfig") -> Device:
    if pretrained.model_type in T5_LIKE and config.precision == "fp16":
        raise UsageError(f"{pretrained.model_type} overflows in fp16.", fix="Pass --precision bf16 or fp32.")
    device = choose_device(config.precision)
    if pretrained.model_type in T5_LIKE and device.precision == "fp16":
        return Device(device.kind, "fp32")
    return device


def _labels(task: Task, splits: Splits, pretrained: "PretrainedConfig") -> list[str]:
    known = saved_labels(pretrained) if "Classification" in " ".join(pretrained.architectures or ()) else []
    if task.family == "classification":
        return label_list(splits, known=known)
    return tag_list(splits, known=known) if task.family == "tagging" else []


def make_family(
    config: FinetuneConfig, task: Task, kind: str, *, tokenizer: Any, pretrained: "PretrainedConfig",
    labels: Sequence[str], splits: Splits | None = None,
) -> Any:  # fmt: skip
    """Build the family with limits that a model of this configuration keeps to."""
    most = min(config.max_source_length, max_positions(pretrained))
    if kind == "classification":
        weights = _balanced(splits, labels) if config.class_weights and splits else None
        plain = bool(pretrained.is_encoder_decoder)
        return Classification(tokenizer, labels, most, config.label_smoothing, weights, plain=plain)
    if kind == "tagging":
        return Tagging(tokenizer, labels, most, config.label_smoothing)
    triples = TripleTokens(tokenizer, _relations(splits)) if task.writes == "triples" and splits else None
    languages = {
        "source": language_name(config.source_lang or ""),
        "target": language_name(config.target_lang or ""),
    }
    if kind == "completion":
        instruction = config.instruction if config.instruction is not None else tell(task.instruction, languages)
        limits = completion_limits(pretrained, source=config.max_source_length, target=config.max_target_length)
        rows, written = splits.train if splits else (), {*CHATS, *ANSWERS}
        thinks = any(has_thoughts(value) for row in rows for role, value in row.values.items() if role in written)
        return Completion(tokenizer, instruction, *limits, config.label_smoothing, triples, thinks)
    known = pretrained.model_type in T5_LIKE
    prefix = config.prefix if config.prefix is not None else tell(task.prefix, languages) if known else ""
    if config.prefix is None and getattr(tokenizer, "supported_language_codes", None):
        prefix += language_mark(tokenizer, source=None, target=config.target_lang)
    opening = find_opening(tokenizer, pretrained, source=config.source_lang, target=config.target_lang)
    start = start_token(pretrained, opening)
    if start is None:
        raise ModelError(f"{config.model} does not say with which token it starts to write.", fix="Name another model.")
    target = min(config.max_target_length, max_target_positions(pretrained))
    return Seq2Seq(tokenizer, prefix, most, target, start, config.label_smoothing, triples)


def _relations(splits: Splits) -> list[str]:
    """Return the relations of all rows: they are the task's, and a small draw of training rows may lack a rare one."""
    return relations_of(e["target"] for e in (*splits.train, *splits.eval, *splits.test))


def tell(template: str, languages: Mapping[str, str]) -> str:
    """Fill in the languages that a prefix or an instruction names; raises UsageError where they are not known."""
    if "{source}" in template and not all(languages.values()):
        raise UsageError("The languages are not named.", fix="Pass --source-lang en --target-lang fr, or your own.")
    return template.format(**languages)


def completion_limits(config: Any, *, source: int, target: int) -> tuple[int, int]:
    """Return how many tokens of source and target a decoder reads, together no more than it has positions for."""
    positions = max_positions(config)
    target = min(target, max(positions // 4, 1))
    return min(source, positions - target), target


def _balanced(splits: Splits, labels: Sequence[str]) -> torch.Tensor:
    """Weigh each class [C] by rows / (classes x its rows), as scikit-learn's `balanced` does."""
    counts = np.array([sum(e["label"] == label for e in splits.train) for label in labels])
    return torch.tensor(counts.sum() / (len(labels) * np.maximum(counts, 1)), dtype=torch.float32)


def _check_room(family: Any, examples: Sequence[Example]) -> None:
    """Raise UsageError where what stands around a source leaves no room for it."""
    # A template may want a system text, which chats have and a source has not.
    if not any("source" in example.values for example in examples):
        return
    most, around = getattr(family, "max_source_length", None), getattr(family, "around_source", 0)
    if most is not None and around >= most:
        raise UsageError(
            f"What is put around every source takes {around} of the {most} tokens that are read, and leaves none for "
            "a text.",
            fix="Raise --max-source-length, or shorten --instruction or --prefix.",
        )


def _check_targets(rows: Sequence[Encoded]) -> None:
    """Raise UsageError where cutting left nothing to learn from."""
    empty = sum(row.targets == 0 for row in rows)
    if empty == len(rows):
        raise UsageError(
            f"None of {len(rows)} training rows has a target left after cutting.",
            fix="Raise --max-source-length or --max-target-length, or check the columns.",
        )


def _check_cut(rows: Sequence[Encoded], examples: Sequence[Example], tokenizer: Any, *, kind: str) -> None:
    """Raise UsageError where no row keeps its end and little is kept: the limits, or the columns, are hardly meant."""
    if not all(row.cut for row in rows) or len(rows) != len(examples):
        return
    some = [text_of(example.values, (*READ, *LEARNED)) for example in examples[:SOME]]
    whole = sum(len(tokenizer(text[:LONG], add_special_tokens=False, verbose=False)["input_ids"]) for text in some)
    # A decoder's row holds its target; an encoder-decoder's stands beside it.
    kept = sum(len(row.ids) + (len(row.labels) if kind == "seq2seq" else 0) for row in rows[:SOME])
    if kept < LEAST_KEPT * whole:
        raise UsageError(
            f"All {len(rows):,} training rows are too long: {kept / whole:.0%} of their tokens are read and learned.",
            fix="Raise --max-source-length or --max-target-length; if they are to be cut: --cut-all.",
        )


def layers_x_width(config: Any) -> int:
    """Return how large a model is, for what its layers keep of each token; 0 where its configuration does not say."""
    plain = getattr(config, "encoder", config)
    return int(getattr(plain, "num_hidden_layers", 0) * getattr(plain, "hidden_size", 0))

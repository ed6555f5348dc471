"""Weights with the head that a task needs, and the tokenizer that fits them."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hflm.errors import ModelError
from hflm.models.architecture import T5_LIKE, position_offset
from hflm.models.hub import from_cache_or_hub
from hflm.models.load import model_folder
from hflm.models.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# Family of a task -> what the head must be called among a model's architectures.
FACTORIES = {
    "classification": "AutoModelForSequenceClassification",
    "tagging": "AutoModelForTokenClassification",
    "seq2seq": "AutoModelForSeq2SeqLM",
    "completion": "AutoModelForCausalLM",
    # No head at all: what an encoder is before it is trained for anything.
    "body": "AutoModel",
}
# Kinds of models that write texts.
WRITING = ("seq2seq", "completion")
FIX = "Name a model folder, a run, or a hub id that is in the cache."
# What the longest text is called: by most, by GPT, by MPT, and by LED, which reads more than it writes.
LIMITS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_encoder_position_embeddings")


def load_config(name: str) -> "PretrainedConfig":
    """Load a model's configuration; raises ModelError where there is no such model."""
    from transformers import AutoConfig

    where = model_folder(name, weights=False)
    found: PretrainedConfig = from_cache_or_hub(
        lambda local: AutoConfig.from_pretrained(where, trust_remote_code=False, local_files_only=local),
        where, what="model", fix=FIX,
    )  # fmt: skip
    return found


def family_of(task_family: str, config: "PretrainedConfig", *, name: str) -> str:
    """Return the family that solves a task with this model: text-to-text follows the model's architecture.

    Raises ModelError where the model is of the wrong kind.
    """
    if task_family in ("classification", "tagging"):
        _check_head(task_family, config, name)
        return task_family
    made = " ".join(config.architectures or ())
    if config.is_encoder_decoder:
        if task_family == "causal_lm":
            raise ModelError(f"{name} is an encoder-decoder ({made}).", fix="Name a decoder, such as a GPT or a Llama.")
        return "seq2seq"
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    classifier = any(head in made for head in ("SequenceClassification", "TokenClassification"))
    decoder = "CausalLM" in made or "LMHead" in made
    known = config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    encoder = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if classifier or not known or (encoder and not decoder):
        what = f"a classifier ({made})" if classifier else f"an encoder ({made or config.model_type})"
        raise ModelError(f"{name} is {what} and writes no text.", fix="Name an encoder-decoder or a decoder.")
    return "completion"


def _check_head(family: str, config: "PretrainedConfig", name: str) -> None:
    """Raise ModelError for a kind of model that transformers has no head of classes or tags for."""
    from transformers.models.auto import modeling_auto

    heads = {
        "classification": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
        "tagging": modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
    }  # fmt: skip
    if config.model_type not in heads[family]:
        what = {"classification": "classes", "tagging": "tags"}[family]
        kind = "" if config.model_type in name else f" ({config.model_type})"
        raise ModelError(f"{name}{kind} has no head for {what}.", fix="Take an encoder, such as bert, or a decoder.")


def load_tokenizer_for(name: str, family: str, config: "PretrainedConfig") -> Any:
    """Load a model's tokenizer; a model that has no padding token gets one that it never reads."""
    tokenizer: Any = load_tokenizer(model_folder(name, weights=False))
    give_padding(tokenizer, name, family)
    return tokenizer


def give_padding(tokenizer: Any, name: str, family: str) -> None:
    """Pad and cut on the right, by a token that is there; raises ModelError where texts cannot be ended."""
    if tokenizer.pad_token_id is None:
        # Padding is masked, so any token serves; the end-of-text is usual, and keeps the vocabulary as it is.
        spare = tokenizer.unk_token if tokenizer.unk_token and tokenizer.unk_token != tokenizer.eos_token else None
        tokenizer.pad_token = spare or tokenizer.eos_token
    if family == "completion" and tokenizer.eos_token_id is None:
        raise ModelError(f"The tokenizer of {name} has no end-of-text token.", fix="Name another model.")
    tokenizer.truncation_side = "right"
    tokenizer.padding_side = "right"


def pad_as_used(tokenizer: Any, family: str) -> None:
    """Let a tokenizer that is saved pad as others use it: plain `generate` goes on behind the last token of a row.

    Classes and tags stay padded on the right, as they were trained: some models count their places from the left.
    """
    if family == "completion":
        # A side that is not among these is not written.
        tokenizer.padding_side = tokenizer.init_kwargs["padding_side"] = "left"


def load_with_head(
    name: str, family: str, *, labels: Sequence[str] = (), seed: int = 1, pad_token_id: int | None = None,
    trained: bool = False, dtype: Any = None,
) -> "PreTrainedModel":  # fmt: skip
    """Load weights with the head of a family, in float32 unless told; a new head's weights are drawn from `seed`.

    `trained` refuses weights that lack the head. Raises ModelError where weights are missing.
    """
    import torch
    import transformers

    factory = getattr(transformers, FACTORIES[family])
    where = model_folder(name)
    extra: dict[str, Any] = {}
    if labels:
        extra = {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {label: number for number, label in enumerate(labels)},
            "ignore_mismatched_sizes": not trained,
        }
    if labels and family == "classification":
        # The pipeline reads it, and a model of several labels or of numbers says something else there.
        extra["problem_type"] = "single_label_classification"

    def load(local: bool) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return factory.from_pretrained(
                where, trust_remote_code=False, use_safetensors=True, output_loading_info=True,
                dtype=dtype or torch.float32, local_files_only=local, **extra,
            )  # fmt: skip

    model, found = from_cache_or_hub(load, where, what="weights of", fix=FIX)
    _check_shapes(model, found["mismatched_keys"], name)
    missing = sorted(found["missing_keys"])
    head = [key for key in missing if not _in_head(model, key)]
    if head or (missing and (trained or family in ("seq2seq", "completion"))):
        key = (head or missing)[0]
        raise ModelError(f"{name} lacks weights: {key} and {len(missing) - 1} more.", fix="Name a whole model.")
    text = model.config.get_text_config()
    own = getattr(text, "pad_token_id", None)
    # A classification head of a decoder looks for the last token that is not padding: of the tokenizer's padding. Where
    # positions are counted from the padding on, as in RoBERTa, it stays what it is.
    free = family == "classification" and not position_offset(text.model_type, pad_token_id=own)
    if pad_token_id is not None and (own is None or free):
        text.pad_token_id = pad_token_id
    loaded: PreTrainedModel = model
    return loaded


def _check_shapes(model: Any, other: Iterable[tuple[str, Any, Any]], name: str) -> None:
    """Refuse weights of another shape in the body: they would be drawn anew, and a head alone may be."""
    for key, stored, shape in sorted(other):
        if not _in_head(model, key):
            raise ModelError(
                f"{name} has {key} of shape {tuple(stored)}, and its config.json says {tuple(shape)}.",
                fix="Mend config.json, or name a whole model.",
            )


def _in_head(model: Any, key: str) -> bool:
    """Tell whether a weight belongs to the head or the pooler before it, which a task trains anew."""
    if model.base_model is model:
        return "pooler" in key.split(".")
    body = f"{model.base_model_prefix}."
    return not key.startswith(body) or ".pooler." in key or "pooler" in key.split(".")[1:2]


def saved_labels(config: "PretrainedConfig") -> list[str]:
    """Return the labels of a trained classifier, in the order of its outputs."""
    names: Any = config.id2label
    return [str(names[number]) for number in sorted(names)]


# Tokens that a model reads where nothing bounds them.
UNLIMITED = 10**6


def max_positions(config: "PretrainedConfig") -> int:
    """Return how many tokens a model reads at most: as many as its encoder, its decoder and its text part do."""
    inner = (getattr(config, name, None) for name in ("encoder", "decoder", "text_config"))
    return min(_positions(part) for part in (config, *inner) if hasattr(part, "model_type"))


def max_target_positions(config: "PretrainedConfig") -> int:
    """Return how many tokens an encoder-decoder writes at most: LED has fewer places for them than for a source."""
    own = getattr(config, "max_decoder_position_embeddings", None)
    return min(max_positions(config), int(own or UNLIMITED))


def _positions(config: Any) -> int:
    limit = next((found for name in LIMITS if (found := getattr(config, name, None))), None)
    # XLNet says -1: no limit. T5 and its kin look at distances alone, whatever they say.
    if not limit or limit < 0 or config.model_type in T5_LIKE:
        return UNLIMITED
    return int(limit) - position_offset(config.model_type, pad_token_id=getattr(config, "pad_token_id", None))


def check_text_alone(config: Any, name: str) -> None:
    """Raise ModelError for a model that reads pictures or sound too: what it needs beside a text is not at hand."""
    others = [part for part in ("vision_config", "audio_config") if getattr(config, part, None) is not None]
    if others:
        raise ModelError(
            f"{name} ({config.model_type}) reads {' and '.join(o.removesuffix('_config') for o in others)} too, and "
            "only models of text are trained.",
            fix="Name a model of text: smaller ones of a kind often are, as google/gemma-3-1b-it.",
        )

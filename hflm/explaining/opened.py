"""A model opened to be looked into: float32, attention computed in the open, its weights fixed."""

from dataclasses import dataclass
from typing import Any

from hflm.engine.device import choose_device
from hflm.engine.trainer import quiet_libraries
from hflm.errors import ModelError
from hflm.inference.trained import USUAL_TASK, TrainedModel, open_trained
from hflm.models.heads import load_config, load_tokenizer_for, load_with_head, max_positions
from hflm.models.load import load_language_model

# What a head's name tells of the question that it answers; the first that fits counts.
KINDS = {
    "MaskedLM": "masked",
    "ForPreTraining": "masked",
    "SequenceClassification": "classification",
    "TokenClassification": "tagging",
    "ConditionalGeneration": "seq2seq",
    "EncoderDecoderModel": "seq2seq",
    "MarianMTModel": "seq2seq",
    "CausalLM": "next",
    "LMHeadModel": "next",
}
TITLES = {
    "masked": "masked language model", "classification": "classifier", "tagging": "tagger",
    "seq2seq": "encoder-decoder", "next": "next-token language model", "body": "encoder without a head",
}  # fmt: skip


@dataclass(frozen=True)
class Opened:
    """A model and its tokenizer; `kind` is a key of TITLES, `limit` the tokens that it reads at most.

    Logits of classes are divided by `temperature` before they become probabilities.
    """

    name: str
    kind: str
    model: Any
    tokenizer: Any
    limit: int
    prefix: str = ""
    max_new_tokens: int = 0
    temperature: float = 1.0

    @property
    def device(self) -> Any:
        """Where the weights are."""
        return self.model.device

    @property
    def causal(self) -> bool:
        """Whether it is a decoder, whose tokens look at what came before them alone."""
        from transformers.models.auto.modeling_auto import (
            MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
            MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        )

        kind = self.model.config.model_type
        decodes = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
        return self.kind != "seq2seq" and decodes


def open_model(name: str, *, source_lang: str | None = None, target_lang: str | None = None) -> Opened:
    """Open a run, a folder or a hub id to be explained; the languages are for models that must be told them.

    Raises ModelError where there is no model, or its attention cannot be seen.
    """
    quiet_libraries()
    config = load_config(name)
    made = " ".join(config.architectures or ())
    kind = next((kind for mark, kind in KINDS.items() if mark in made), "body")
    if kind == "seq2seq":
        trained = open_trained(
            name, precision="fp32", kinds=("seq2seq",), source_lang=source_lang, target_lang=target_lang
        )  # fmt: skip
        return _ready(name, kind, trained.model, trained.family.tokenizer, trained=trained)
    if config.is_encoder_decoder:
        raise ModelError(
            f"{name} ({made}) is an encoder-decoder that writes nothing.",
            fix="Name one that writes, an encoder or a decoder.",
        )
    family = {"next": "completion", "body": "classification", "masked": "classification"}.get(kind, kind)
    tokenizer = load_tokenizer_for(name, family, config)
    if kind == "masked":
        model: Any = load_language_model(name, objective="mlm")
    else:
        head = {"next": "completion"}.get(kind, kind)
        model = load_with_head(name, head, trained=kind != "body", pad_token_id=tokenizer.pad_token_id)
    if kind == "masked" and tokenizer.mask_token_id is None:
        raise ModelError(f"{name} has no mask token.", fix="Name another model.")
    return _ready(name, kind, model, tokenizer)


def _ready(name: str, kind: str, model: Any, tokenizer: Any, *, trained: TrainedModel | None = None) -> Opened:
    """Show attention: kernels that never hold its weights are swapped for the plain product."""
    try:
        model.set_attn_implementation("eager")
    except (ValueError, NotImplementedError) as error:
        raise ModelError(f"The attention of {name} cannot be seen: {error}.", fix="Name another model.") from error
    model = model.float().eval().requires_grad_(False).to(choose_device("fp32").kind)
    if trained is None:
        limit, told = max_positions(model.config), _told(model.config, kind)
        # What it was trained to read, and what the commands that classify read.
        limit = min(limit, told.get("max_source_length") or ("family" in told and told.get("max_length")) or limit)
        temperature = float(told.get("temperature", 1.0)) if kind == "classification" else 1.0
        return Opened(name, kind, model, tokenizer, limit, temperature=temperature)
    read: Any = trained.family
    return Opened(name, kind, model, tokenizer, read.max_source_length, read.prefix, trained.max_new_tokens)


def _told(config: Any, kind: str) -> dict[str, Any]:
    """Return what a classifier or a tagger keeps of its task, found as where it is asked for its answers."""
    if kind not in ("classification", "tagging"):
        return {}
    saved = getattr(config, "task_specific_params", None) or {}
    own = next((one for one in saved.values() if isinstance(one, dict) and "family" in one), None)
    return dict(own or saved.get(USUAL_TASK[kind]) or {})

"""Models from scratch: any encoder or decoder of transformers, by its model type and a size."""

import difflib
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hflm.errors import ModelError, UsageError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Shape:
    """Layers, hidden width and attention heads of a model."""

    layers: int
    width: int
    heads: int


# The miniatures of Turc et al. 2019, with heads of 64.
SIZES: Mapping[str, Shape] = {
    "tiny": Shape(2, 128, 2),
    "mini": Shape(4, 256, 4),
    "small": Shape(4, 512, 8),
    "base": Shape(12, 768, 12),
}
# Tokens of a block of BigBird's sparse attention.
BLOCK = 64
DEFAULT_ARCH = {"mlm": "modernbert", "wwm": "modernbert", "clm": "llama"}
# What writes text after what it has read: the objective of an encoder-decoder.
SEQ2SEQ = "seq2seq"
# Objective -> what transformers calls its models, what such a model is, and architectures to try.
KINDS: Mapping[str, tuple[str, str, str]] = {
    "mlm": ("MASKED_LM", "an encoder", "modernbert, bert or roberta"),
    "clm": ("CAUSAL_LM", "a decoder", "llama, qwen3 or gpt2"),
    SEQ2SEQ: ("SEQ_TO_SEQ_CAUSAL_LM", "an encoder-decoder", "t5, mbart or bart"),
}
# Rotary positions turn pairs of numbers, so a head of theirs is even.
ROTARY = {
    "modernbert", "eurobert", "nomic_bert", "llama", "qwen2", "qwen3", "mistral", "gemma", "gpt_neox", "olmo2", "phi",
    "smollm3",
}  # fmt: skip
# A gated feed-forward layer has three matrices: 8/3 of the width makes as many parameters as 4 x with two.
GATED = {
    "t5", "mt5", "umt5", "modernbert", "eurobert", "nomic_bert", "llama", "qwen2", "qwen3", "mistral", "gemma", "olmo2",
    "smollm3",
}  # fmt: skip
# RoBERTa and its kin count positions from the padding id on: the first of a text is pad_token_id + 1.
ROBERTA_LIKE = {
    "roberta", "xlm-roberta", "camembert", "data2vec-text", "mpnet", "roberta-prelayernorm", "ibert", "luke", "xmod",
    "xlm-roberta-xl", "longformer", "esm",
}  # fmt: skip


# Encoder-decoders that are told their task by words before the text, and overflow in float16.
T5_LIKE = {"t5", "mt5", "umt5", "longt5", "switch_transformers"}


def position_offset(model_type: str, *, pad_token_id: int | None = 1) -> int:
    """Return how many rows of the position table stand before the first position of a text: 0 for most models."""
    return (1 if pad_token_id is None else pad_token_id) + 1 if model_type in ROBERTA_LIKE else 0


def choose_shape(*, size: str, layers: int | None, width: int | None, heads: int | None) -> Shape:
    """Take a size by its name and override what is given; a width alone brings heads of 64."""
    if size not in SIZES:
        guess = difflib.get_close_matches(size, SIZES, 1)
        fix = f"Did you mean {guess[0]!r}?" if guess else f"Choose one of {', '.join(SIZES)}."
        raise UsageError(f"--size is {size!r}.", fix=fix)
    base = SIZES[size]
    if width is not None and heads is None:
        heads = max(1, width // 64)
    return Shape(
        base.layers if layers is None else layers,
        base.width if width is None else width,
        base.heads if heads is None else heads,
    )


def check_shape(arch: str, shape: Shape, *, objective: str) -> None:
    """Raise ModelError where the architecture is unknown, does not fit the objective, or the heads do not fit."""
    for name, value in asdict(shape).items():
        if value < 1:
            raise ModelError(f"--{name} is {value}.", fix="Pass 1 or more.")
    _check_kind(arch, objective)
    if shape.width % shape.heads:
        near = min((n for n in range(1, shape.width + 1) if shape.width % n == 0), key=lambda n: abs(n - shape.heads))
        raise ModelError(f"{shape.heads} heads do not divide a width of {shape.width}.", fix=f"Pass --heads {near}.")
    if arch in ROTARY and (shape.width // shape.heads) % 2:
        raise ModelError(
            f"{arch} needs heads of an even width; {shape.width} / {shape.heads} is {shape.width // shape.heads}.",
            fix="Change --heads or --width.",
        )


def _architectures(kind: str) -> Mapping[str, Any]:
    """Return the model types that transformers has for a kind of KINDS."""
    from transformers.models.auto import modeling_auto

    found: Mapping[str, Any] = getattr(modeling_auto, f"MODEL_FOR_{kind}_MAPPING_NAMES")
    return found


def objective_of(arch: str, *, writes: bool) -> str:
    """Return the objective that an architecture is built for: what it is decides, and then whether it is to write.

    Raises ModelError where transformers does not have it, or it cannot write and is to.
    """
    tables = {objective: _architectures(kind) for objective, (kind, _, _) in KINDS.items()}
    if not any(arch in table for table in tables.values()):
        guess = difflib.get_close_matches(arch, [name for table in tables.values() for name in table], 1)
        fix = f"Did you mean {guess[0]!r}?" if guess else "Try t5, mbart, modernbert, bert, llama or gpt2."
        raise ModelError(f"transformers has no architecture {arch!r} of language models.", fix=fix)
    if _is_encoder_decoder(arch):
        return SEQ2SEQ
    if writes and arch in tables["mlm"]:
        raise ModelError(f"{arch} is an encoder and writes no text.", fix=f"Try --arch {KINDS[SEQ2SEQ][2]}, or llama.")
    return "clm" if writes or arch not in tables["mlm"] else "mlm"


def _is_encoder_decoder(arch: str) -> bool:
    from transformers import CONFIG_MAPPING

    return arch in CONFIG_MAPPING and getattr(CONFIG_MAPPING[arch], "is_encoder_decoder", False) is True


def _check_kind(arch: str, objective: str) -> None:
    """Raise ModelError where transformers has no such architecture for the objective."""
    kind, wanted, instead = KINDS.get(objective, KINDS["mlm"])
    names, masked, causal = _architectures(kind), _architectures("MASKED_LM"), _architectures("CAUSAL_LM")
    if _is_encoder_decoder(arch) and objective != SEQ2SEQ:
        problem = f"{arch} is an encoder-decoder; --objective {objective} needs {wanted}."
        raise ModelError(problem, fix=f"Try --arch {instead}.")
    if objective == "clm" and arch in masked:
        raise ModelError(
            f"{arch} is an encoder and predicts masked tokens.", fix="Pass --objective mlm, or --arch llama."
        )
    if arch in names:
        return
    if arch in causal and objective != SEQ2SEQ:
        raise ModelError(f"{arch} is a decoder and predicts next tokens.", fix="Pass --objective clm, or --arch bert.")
    guess = difflib.get_close_matches(arch, list(names), 1)
    fix = f"Did you mean {guess[0]!r}?" if guess else f"Try {instead}."
    raise ModelError(f"transformers has no architecture {arch!r} for --objective {objective}.", fix=fix)


def build_config(
    *,
    arch: str,
    shape: Shape,
    vocab_size: int,
    max_length: int,
    tokenizer: "PreTrainedTokenizerBase",
    dropout: float = 0.0,
) -> "PretrainedConfig":
    """Build the configuration of a model from scratch; every special id comes from the tokenizer.

    Raises ModelError where the architecture refuses the shape, or does not take it from these settings.
    """
    from transformers import AutoConfig

    kind = type(AutoConfig.for_model(arch))
    defaults = kind().to_dict()
    known = set(defaults)
    names = kind.attribute_map
    values: dict[str, Any] = {
        "vocab_size": vocab_size,
        names.get("hidden_size", "hidden_size"): shape.width,
        names.get("num_hidden_layers", "num_hidden_layers"): shape.layers,
        names.get("num_attention_heads", "num_attention_heads"): shape.heads,
        **_feed_forward(arch, shape.width),
        "num_key_value_heads": shape.heads,
        "head_dim": shape.width // shape.heads,
        "embedding_size": shape.width,
        **_both_sides(shape, vocab_size),
        **_positions(arch, max_length, tokenizer.pad_token_id),
        **_special_ids(tokenizer),
        **{name: dropout for name, value in defaults.items() if _is_dropout(name, value)},
        **{name: 0.0 for name in defaults if "layerdrop" in name},
        **EXTRAS.get(arch, {}),
    }
    known |= {"tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id"} | set(names)
    if defaults.get("is_encoder_decoder"):
        known.add("decoder_start_token_id")
    settings = {"tie_word_embeddings": True, **{name: value for name, value in values.items() if name in known}}
    with _one_line(arch, shape):
        config = kind(**settings)
    found = tuple(getattr(config, name, None) for name in ("num_hidden_layers", "hidden_size", "vocab_size"))
    if found != (shape.layers, shape.width, vocab_size):
        raise ModelError(
            f"{arch} does not take layers, width and vocabulary from the usual settings.", fix="Choose another --arch."
        )
    return config


def _special_ids(tokenizer: "PreTrainedTokenizerBase") -> dict[str, int | None]:
    names = ("pad", "bos", "eos", "cls", "sep")
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id", None) for name in names}
    # The decoder of an encoder-decoder must start with something: padding, as T5 and Marian do. BART and its kin force
    # an end upon a text that is cut short; by default it is an id of their own vocabulary.
    return {**ids, "decoder_start_token_id": tokenizer.pad_token_id, "forced_eos_token_id": tokenizer.eos_token_id}


def _is_dropout(name: str, value: object) -> bool:
    # Some switches have "drop" in their name too; and layerdrop leaves out whole layers, which is another thing.
    return (
        "drop" in name
        and "layerdrop" not in name
        and name != "classifier_dropout"
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    )


@contextmanager
def _one_line(arch: str, shape: Shape) -> Iterator[None]:
    """Turn whatever an architecture says against its settings into one line."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        reason = textwrap.shorten(str(error), 160, placeholder=" ...").rstrip(".") or type(error).__name__
        ordered = f"{shape.layers} layers, width {shape.width} and {shape.heads} heads"
        raise ModelError(
            f"{arch} cannot be built with {ordered}: {reason}.",
            fix="Change --width and --heads, or choose another --arch.",
        ) from error


EXTRAS: Mapping[str, Mapping[str, Any]] = {
    # Hiding words teaches the first token of a row little: a class is read off the mean of all (docs/performance.md).
    "modernbert": {"classifier_pooling": "mean"},
    # T5 1.1: a gated feed-forward layer, as in mT5 (Shazeer 2020).
    "t5": {"feed_forward_proj": "gated-gelu"},
    # Disentangled attention (He et al. 2021): content to position and back, positions in the scores only.
    "deberta-v2": {
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "position_buckets": 64,
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "type_vocab_size": 0,
    },
}


def _feed_forward(arch: str, width: int) -> dict[str, int]:
    size = -(-width * 8 // 3 // 64) * 64 if arch in GATED else 4 * width
    names = ("intermediate_size", "hidden_dim", "n_inner", "ffn_dim", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim")
    return dict.fromkeys(names, size)


def _both_sides(shape: Shape, vocab_size: int) -> dict[str, int]:
    """Name the shape of an encoder-decoder's two sides, which are alike."""
    return {
        "encoder_layers": shape.layers, "decoder_layers": shape.layers, "num_decoder_layers": shape.layers,
        "encoder_attention_heads": shape.heads, "decoder_attention_heads": shape.heads,
        "d_kv": shape.width // shape.heads, "decoder_vocab_size": vocab_size,
    }  # fmt: skip


def _positions(arch: str, max_length: int, pad_token_id: int | None) -> dict[str, int]:
    # Where the padding is 0, MPNet still counts from 1.
    size = max_length + position_offset(arch, pad_token_id=pad_token_id or 1)
    if arch == "big_bird":
        # It fills a row up to whole blocks, which have places too.
        size = -(-size // BLOCK) * BLOCK
    return {"max_position_embeddings": size, "n_positions": size}


def build_model(config: "PretrainedConfig", *, objective: str, seed: int) -> "PreTrainedModel":
    """Build a model with weights drawn from `seed`; the global random state is left as it was."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

    factories = {"clm": AutoModelForCausalLM, SEQ2SEQ: AutoModelForSeq2SeqLM}
    factory: Any = factories.get(objective, AutoModelForMaskedLM)
    shape = Shape(config.num_hidden_layers, config.hidden_size, config.num_attention_heads)
    with torch.random.fork_rng(devices=[]), _one_line(config.model_type, shape):
        torch.manual_seed(seed)
        model: PreTrainedModel = factory.from_config(config)
    return model


def count_parameters(model: "PreTrainedModel") -> int:
    """Count the parameters, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())

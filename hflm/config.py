"""The settings of `hflm pretrain`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from hflm.errors import UsageError
from hflm.settings import build, check_choices, check_numbers, flag, overlay, own_names, setting
from hflm.training_settings import PUTS_OUT, TrainingSettings


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainingSettings):
    """Everything that decides what `hflm pretrain` does; `None` means: worked out, and printed."""

    job: ClassVar[str] = "pretrain"

    data: tuple[str, ...] = setting(
        (), "Files, folders, globs or a hub data set id. Default: a small corpus of novels.", group="Data"
    )
    eval_data: tuple[str, ...] = setting(
        (), "Text to evaluate on; default: a part of the data is held out. Several files: repeat it, or quote a glob.",
        group="Data",
    )  # fmt: skip
    eval_fraction: float = setting(0.05, "Share of the data held out where no --eval-data is given.", group="Data")
    documents: str = setting(
        "auto", "What a document is in a .txt file: line, paragraph (blank lines), file or auto.", group="Data"
    )
    text_column: str | None = setting(None, "Column with the text in .jsonl, .csv and .parquet files.", group="Data")
    clean: str = setting(
        "default", "Cleaning filters: default, all, none, a list, or changes such as +near,-exact.", group="Data"
    )
    max_documents: int | None = setting(None, "Read no more documents than this.", group="Data")
    streaming: bool = setting(False, "Read and tokenize while training: for data larger than the disk.", group="Data")

    tokenizer: str | None = setting(
        None, "wordpiece, bpe or unigram (trained on the data), or an existing tokenizer.", group="Tokenizer"
    )
    vocab_size: int | None = setting(
        None, "Size of a trained vocabulary; default: by the amount of text, at most 32768.", group="Tokenizer"
    )
    lowercase: bool = setting(False, "Lowercase the text in a trained tokenizer.", group="Tokenizer")

    model: str | None = setting(None, "Go on from these weights: a folder, a run or a hub id.", group="Model")
    arch: str | None = setting(
        None,
        "Architecture from scratch: modernbert, bert, roberta, distilbert, deberta-v2, llama, gpt2, ...",
        group="Model",
    )
    size: str = setting("mini", "tiny (2 x 128), mini (4 x 256), small (4 x 512) or base (12 x 768).", group="Model")
    layers: int | None = setting(None, "Number of layers; overrides --size.", group="Model")
    heads: int | None = setting(None, "Number of attention heads; overrides --size.", group="Model")
    width: int | None = setting(None, "Hidden width; overrides --size.", group="Model")
    dropout: float = setting(0.0, "Dropout everywhere in the model.", group="Model")
    max_length: int = setting(128, "Tokens in a packed sequence.", group="Model")

    objective: str = setting(
        "mlm", "mlm (masked tokens), wwm (whole words masked) or clm (next token).", group="Objective"
    )
    mlm_probability: float = setting(
        0.30, "Share of tokens to predict in training; evaluation always uses 0.15.", group="Objective"
    )

    recipe: str = setting(
        "pretraining",
        "Numbers to start from: pretraining, classic (BERT, Devlin et al. 2019), or your own .py.",
        group="Training",
    )

    def check(self) -> None:
        """Raise UsageError where a value is out of its range or two settings contradict each other."""
        super().check()
        check_choices(self, CHOICES)
        check_numbers(self, positive=POSITIVE)
        if self.max_length < SHORTEST:
            raise UsageError(f"--max-length is {self.max_length}.", fix=f"It must be {SHORTEST} or more.")
        for name in SHARES:
            value = getattr(self, name)
            if not 0 <= value < 1 or (name == "mlm_probability" and value == 0):
                raise UsageError(f"--{flag(name)} is {value}.", fix="It is a share, such as 0.1.")
        if self.learning_rate is None:
            raise UsageError("The learning rate is empty.", fix="Give a number, or leave it away.")
        if self.model and self.arch:
            raise UsageError("--model goes on from weights and --arch starts from scratch.", fix="Give one of them.")


CHOICES: dict[str, tuple[str, ...]] = {
    "documents": ("auto", "line", "paragraph", "file"),
    "objective": ("mlm", "wwm", "clm"),
}
POSITIVE = ("max_length", "vocab_size", "layers", "heads", "width", "max_documents")
# Tokens in a sequence: the two that frame a text, and some text between them.
SHORTEST = 8
# What is said of a vocabulary that is trained, and of a model from scratch, by a recipe too; and the learning rate for
# weights that know something already.
VOCABULARY = ("vocab_size", "lowercase")
SHAPE = ("size", "layers", "heads", "width", "dropout", *VOCABULARY)
FROM_SCRATCH = ("arch", *SHAPE)
ONWARD_RATE = 1e-4
SHARES = ("mlm_probability", "dropout", "eval_fraction")


def resolve(
    *,
    recipe: Mapping[str, Any],
    file: Mapping[str, Any] | None = None,
    flags: Mapping[str, Any] | None = None,
    where: str = "the command line",
) -> PretrainConfig:
    """Put a configuration together: the recipe's numbers, then the file, then the flags.

    Raises UsageError for an unknown key, a value of the wrong type or out of its range.
    """
    given = overlay(own_names(PretrainConfig, file or {}, where=where), flags or {}, puts_out=PUTS_OUT)
    # A recipe that starts from scratch gives way to weights that the user names.
    usual = {name: value for name, value in recipe.items() if not (name in FROM_SCRATCH and given.get("model"))}
    if given.get("objective") == "clm" and recipe.get("objective") != "clm":
        for name in ("arch", "mlm_probability"):
            usual.pop(name, None)
    # The rate of a recipe that starts from scratch is none for weights that know something.
    if given.get("model") and ("arch" in recipe or "learning_rate" not in recipe):
        usual["learning_rate"] = ONWARD_RATE
    elif recipe.get("model") and not given.get("arch"):
        usual.setdefault("learning_rate", ONWARD_RATE)
    return build(PretrainConfig, overlay(usual, given, puts_out=PUTS_OUT), where=where)

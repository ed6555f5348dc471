"""Tokenizers: trained on the user's own text, or loaded; and what they do to it, in numbers."""

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hflm.errors import DataError, ModelError
from hflm.models.architecture import ROBERTA_LIKE, SEQ2SEQ
from hflm.models.hub import from_cache_or_hub
from hflm.models.resolve import resolve_model
from hflm.models.safety import check_tokenizer
from hflm.models.trainers import TRAINERS
from hflm.models.wheels import find_wheel
from hflm.words import LETTERS, count_words

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

KINDS = ("wordpiece", "bpe", "unigram")
# A share of unknown tokens that no vocabulary has of a text which it was made for.
MUCH_UNKNOWN = 0.1
# Letters of words between which no spaces are set; Tibetan, New Tai Lue, Tai Tham, Balinese and Javanese too.
SPACELESS = re.compile(f"[{LETTERS}\u0f00-\u0fff\u1980-\u19df\u1a20-\u1aaf\u1b00-\u1b7f\ua980-\ua9df]")
BERT_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
# RoBERTa's order: its positions are counted from the padding id, 1.
ROBERTA_TOKENS = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
CLM_TOKENS = {"eos": "<|endoftext|>", "pad": "<|padding|>", "unk": "<|unknown|>"}
# T5's order; the end is all that is put around a text.
SEQ2SEQ_TOKENS = {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}


def train_tokenizer(
    texts: Iterable[str],
    *,
    kind: str,
    vocab_size: int,
    arch: str,
    max_length: int,
    objective: str = "mlm",
    lowercase: bool = False,
    strict: bool = False,
) -> "PreTrainedTokenizerBase":
    """Train a tokenizer, the same from the same texts in every process; accents, case and scripts are kept.

    With `strict`, a vocabulary that the text cannot fill raises DataError; otherwise it is as large as it gets.
    """
    special = _special_tokens(arch, objective)
    tokenizer = TRAINERS[kind](
        texts, size=vocab_size, special=list(special.values()), unk=special["unk"], lowercase=lowercase
    )
    if "mask" in special and kind != "wordpiece":
        tokenizer = _with_space(tokenizer, special["mask"])
    found = tokenizer.get_vocab_size()
    if strict and found < 0.9 * vocab_size:
        raise DataError(
            f"A vocabulary of {vocab_size} is larger than the text supports ({found} pieces found).",
            fix=f"Pass --vocab-size {found} or give more text.",
        )
    if objective == SEQ2SEQ:
        _wrap(tokenizer, "", special["eos"])
    elif objective != "clm":
        _wrap(tokenizer, special["cls"], special["sep"])
    return _fast(tokenizer, special, max_length)


def _special_tokens(arch: str, objective: str) -> dict[str, str]:
    if objective in ("clm", SEQ2SEQ):
        return CLM_TOKENS if objective == "clm" else SEQ2SEQ_TOKENS
    return ROBERTA_TOKENS if arch in ROBERTA_LIKE else BERT_TOKENS


def _with_space(tokenizer: "Tokenizer", mask: str) -> "Tokenizer":
    """Let the mask take the space before it, which is in the piece that it hides: alone it would be a piece more."""
    from tokenizers import Tokenizer

    told = json.loads(tokenizer.to_str())
    for token in told["added_tokens"]:
        token["lstrip"] = token["lstrip"] or token["content"] == mask
    made: Tokenizer = Tokenizer.from_str(json.dumps(told))
    return made


def _wrap(tokenizer: "Tokenizer", first: str, last: str) -> None:
    """Put tokens around every text; an empty `first` puts none before it."""
    from tokenizers import processors

    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}".strip(),
        pair=f"{first} $A {last} $B:1 {last}:1".strip(),
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in (first, last) if name],
    )


def _fast(tokenizer: "Tokenizer", special: dict[str, str], max_length: int) -> "PreTrainedTokenizerBase":
    from transformers import PreTrainedTokenizerFast

    names = {f"{role}_token": token for role, token in special.items()}
    if special is CLM_TOKENS:
        names["bos_token"] = special["eos"]
    elif special is ROBERTA_TOKENS:
        names |= {"bos_token": special["cls"], "eos_token": special["sep"]}
    fast: PreTrainedTokenizerBase = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=max_length, clean_up_tokenization_spaces=False, **names
    )
    return fast


def load_tokenizer(name_or_path: str) -> "PreTrainedTokenizerBase":
    """Load an existing tokenizer from a folder, a run, the hub or its cache; no code of its own is run."""
    from transformers import AutoTokenizer

    named = resolve_model(name_or_path, weights=False) if find_wheel(name_or_path) else name_or_path
    path = Path(os.path.expanduser(named))
    if path.is_dir() and not any(
        (path / name).exists() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt")
    ):
        inner = path / "model"
        if not inner.is_dir():
            raise ModelError(f"{path} holds no tokenizer.", fix="Name a folder with a tokenizer.json.")
        path = inner
    elif not path.is_dir() and (path.is_absolute() or name_or_path.startswith(".") or name_or_path.count("/") > 1):
        raise ModelError(f"There is no folder {name_or_path}.", fix="Check the path.")

    if path.is_dir():
        check_tokenizer(path)

    def load(local: bool) -> "PreTrainedTokenizerBase":
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(path), trust_remote_code=False, local_files_only=local
        )
        # Where only the configuration is in the cache, transformers makes a tokenizer of special tokens alone.
        if len(tokenizer) <= len(tokenizer.all_special_ids):
            raise ModelError("its vocabulary is missing", fix="")
        return tokenizer

    fix = f"Name a folder, or train one with --tokenizer {KINDS[0]}."
    return from_cache_or_hub(load, str(path), what="tokenizer", fix=fix)


@dataclass(frozen=True)
class TokenizerReport:
    """What a tokenizer makes of a text; words are what stands between spaces, so read characters for Chinese."""

    vocab_size: int
    tokens_per_word: float
    characters_per_token: float
    unknown_rate: float

    def lines(self) -> list[str]:
        """Return the report as sentences to show."""
        return [
            f"vocabulary {self.vocab_size:,}; {self.tokens_per_word:.2f} tokens a word, "
            f"{self.characters_per_token:.2f} characters a token, {self.unknown_rate:.2%} unknown"
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return asdict(self)


def tokenizer_report(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> TokenizerReport:
    """Measure a tokenizer on sample texts."""
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    tokens = sum(len(ids) for ids in encoded)
    unknown = sum(ids.count(tokenizer.unk_token_id) for ids in encoded)
    words = sum(count_words(text) for text in texts)
    characters = sum(len(text) for text in texts)
    return TokenizerReport(
        vocab_size=len(tokenizer),
        tokens_per_word=round(tokens / max(words, 1), 3),
        characters_per_token=round(characters / max(tokens, 1), 3),
        unknown_rate=round(unknown / max(tokens, 1), 6),
    )


def special_flags(tokenizer: "PreTrainedTokenizerBase") -> NDArray[np.bool_]:
    """Mark the ids [V] that stand for no text."""
    flags = np.zeros(len(tokenizer), dtype=bool)
    flags[list(tokenizer.all_special_ids)] = True
    return flags


def continuation_flags(tokenizer: "PreTrainedTokenizerBase") -> NDArray[np.bool_]:
    """Mark the ids [V] that go on with the word before them, by the mark that this kind of vocabulary uses.

    WordPiece marks what goes on (`##`); the others mark what starts: `Ġ` byte-level, `▁` otherwise. Raises ModelError
    for a tokenizer that is written in Python, whose marks are its own.
    """
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(
            f"{tokenizer.name_or_path}: where its words begin is not known of a {type(tokenizer).__name__}.",
            fix="Pass --objective mlm.",
        )
    kind = type(backend.model).__name__
    if kind == "WordLevel":
        flags = [False] * len(pieces)
    elif kind == "WordPiece":
        # The pieces decide nothing here: a vocabulary of Chinese characters may have no ## at all. Where no spaces are
        # set a sentence would be one word: there every piece is one.
        mark = backend.model.continuing_subword_prefix
        flags = [
            piece.startswith(mark) and piece != mark and not SPACELESS.match(piece.removeprefix(mark))
            for piece in pieces
        ]
    else:
        # Bytes of white space show as letters from Ā to Ġ: Ċ is a line end, ĉ a tab.
        bytewise = _byte_level(backend)
        starts = ("Ġ", "Ċ", "ĉ", "č") if bytewise else ("▁",)
        shown = [tokenizer.convert_tokens_to_string([piece]) for piece in pieces] if bytewise else pieces
        flags = [
            not piece.startswith(starts) and not SPACELESS.match(text)
            for piece, text in zip(pieces, shown, strict=True)
        ]
    return np.array(flags, dtype=bool) & ~special_flags(tokenizer)


def _byte_level(backend: Any) -> bool:
    return backend is not None and "ByteLevel" in f"{backend.pre_tokenizer!r} {backend.decoder!r}"


def check_opens(arch: str) -> None:
    """Raise ModelError for an architecture whose folders transformers opens with a tokenizer class of its own.

    That class takes vocabulary and merges from the folder, and cuts and normalizes text in its own way: the model
    would read other pieces than it was trained on.
    """
    from transformers.models.auto import tokenization_auto

    known = getattr(tokenization_auto, "MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS", ())
    own = getattr(tokenization_auto, "TOKENIZER_MAPPING_NAMES", {}).get(arch)
    if arch in known and own not in (None, "TokenizersBackend"):
        raise ModelError(
            f"transformers opens every {arch} with its own {own}, and not with a vocabulary that is trained here.",
            fix="Choose another --arch, or name a --tokenizer of that kind.",
        )

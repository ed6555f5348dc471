"""The tokenizer of a run: trained on its text and kept by content, or an existing one."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hflm.cache import cache_folder, in_cache, staged
from hflm.config import PretrainConfig
from hflm.data.rows import cache_key
from hflm.data.vocabulary import Again, enough, lines, vocabulary_size
from hflm.errors import UsageError
from hflm.models.architecture import ROBERTA_LIKE
from hflm.models.fingerprints import tokenizer_key
from hflm.models.load import model_folder
from hflm.models.tokenizer import KINDS, check_opens, load_tokenizer, train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Say = Callable[[str], None]

# Counts up when the same text gives another vocabulary: what was trained before is not taken from the cache then.
TRAINER = 4


def obtain_tokenizer(
    config: PretrainConfig, texts: Callable[[], Iterator[str]], *, arch: str, max_length: int, key: str, say: Say,
    settled: Callable[[], None] = lambda: None,
) -> "PreTrainedTokenizerBase":  # fmt: skip
    """Return the tokenizer that the settings name, or train one; `key` stands for the content of the text.

    `settled` raises an error where the text has changed since: then none is kept.
    """
    if config.tokenizer and config.tokenizer not in KINDS and not config.model:
        named = load_tokenizer(config.tokenizer)
        # The model that is built reads no more, whatever the one reads that the tokenizer comes from.
        named.model_max_length = min(named.model_max_length, max_length)
        return named
    if config.model:
        if config.tokenizer:
            raise UsageError(
                f"--model {config.model} comes with a tokenizer of its own.",
                fix="Leave --tokenizer away, or start from scratch.",
            )
        return load_tokenizer(model_folder(config.model))
    check_opens(arch)
    kind = config.tokenizer or ("bpe" if config.objective == "clm" else "wordpiece")
    style = "roberta" if arch in ROBERTA_LIKE else "bert"
    name = cache_key(
        data=key, fraction=config.eval_fraction, held=bool(config.eval_data), size=config.vocab_size, kind=kind,
        style=style, objective=config.objective, lowercase=config.lowercase, max_length=max_length, trainer=TRAINER,
        # A stream holds out other documents than a file that is read whole.
        **({"streaming": True} if config.streaming and not config.eval_data else {}),
    )  # fmt: skip
    folder = cache_folder() / f"tokenizer-{name}"
    if in_cache(folder, opens=lambda place: load_tokenizer(str(place))):
        return load_tokenizer(str(folder))
    size = config.vocab_size or vocabulary_size(enough(texts()))
    say(f"training a {kind} tokenizer of {size:,} pieces")
    tokenizer = train_tokenizer(
        Again(lambda: lines(enough(texts()))), kind=kind, vocab_size=size, arch=arch, max_length=max_length,
        objective=config.objective, lowercase=config.lowercase, strict=config.vocab_size is not None,
    )  # fmt: skip
    with staged(folder) as staging:
        tokenizer.save_pretrained(staging)
        settled()
    return load_tokenizer(str(folder))


def vocabulary_key(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Hash what a tokenizer makes of a text, without its chat template."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return cache_key(tokenizer=backend.to_str()) if backend is not None else tokenizer_key(tokenizer)

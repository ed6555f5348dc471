"""Train a vocabulary of each kind, the same one in every process."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from hflm.errors import DataError
from hflm.words import JOINERS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Scripts that put no spaces between words and that BERT's splitter does not know, unlike Chinese characters: a whole
# sentence would be one word, and one unknown letter would make all of it unknown. Each letter with its marks stands
# alone instead, as Chinese characters do.
WITHOUT_SPACES = r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tai_Tham}\p{New_Tai_Lue}\p{Javanese}\p{Balinese}]\p{M}*"
# What byte-level BPE takes for a word: GPT-2's pattern, but that the marks and joiners behind a letter belong to it.
# Those of Hindi, Thai or vowelled Arabic would cut a word at every vowel, and pieces never join over a cut.
PIECES = rf"'(?:s|t|re|ve|m|ll|d)| ?\p{{L}}[\p{{L}}\p{{M}}{JOINERS}]*| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+"
# Far above the noise of sums in another order (1e-10), far below what a segmentation would notice.
DIGITS = 4
# The trainer puts rare letters this far apart, in the order of a hash map.
STEP = 1e-4


def train_wordpiece(texts: Iterable[str], *, size: int, special: list[str], unk: str, lowercase: bool) -> "Tokenizer":
    """Train WordPiece; `##` starts the pieces inside a word.

    The trainer numbers single `##` letters in the order of a hash map and breaks ties by these numbers. So a first
    round over the different words, without merges, finds the letters, and the second gets them sorted. The texts are
    read twice, and kept in memory only where they can be read but once.
    """
    from tokenizers import trainers

    lines = list(texts) if isinstance(texts, Iterator) else texts
    inner = _inner_letters({word for line in lines for word in line.split(" ")}, unk, lowercase)
    trained = _blank_wordpiece(unk, lowercase)
    trained.train_from_iterator(
        lines, trainers.WordPieceTrainer(vocab_size=size, special_tokens=[*special, *inner], show_progress=False)
    )
    # Letters given as special tokens would be cut out of words: the final tokenizer takes the vocabulary alone.
    tokenizer = _blank_wordpiece(unk, lowercase, vocabulary=trained.get_vocab())
    tokenizer.add_special_tokens(special)
    return tokenizer


def _inner_letters(words: set[str], unk: str, lowercase: bool) -> list[str]:
    from tokenizers import trainers

    letters = _blank_wordpiece(unk, lowercase)
    letters.train_from_iterator(words, trainers.WordPieceTrainer(vocab_size=0, show_progress=False))
    return sorted(piece for piece in letters.get_vocab() if len(piece) > 2 and piece.startswith("##"))


def _blank_wordpiece(unk: str, lowercase: bool, vocabulary: dict[str, int] | None = None) -> "Tokenizer":
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    # NFC keeps é one character; stripping accents would make Spanish or French unlearnable.
    clean = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=lowercase
    )
    tokenizer = Tokenizer(models.WordPiece(vocabulary or {}, unk_token=unk, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), clean])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(WITHOUT_SPACES), "isolated"), pre_tokenizers.BertPreTokenizer()]
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def train_bpe(texts: Iterable[str], *, size: int, special: list[str], unk: str, lowercase: bool) -> "Tokenizer":
    """Train byte-level BPE: no text is unknown to it, and `unk` stays unused."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = _plain_normalizer(lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    return tokenizer


def train_unigram(texts: Iterable[str], *, size: int, special: list[str], unk: str, lowercase: bool) -> "Tokenizer":
    """Train a unigram model; `▁` starts the pieces that start a word.

    The trainer sums in the order of a hash map and sorts by the sums: scores are rounded and sorted anew here. Pieces
    that the text values alike to the last digit could still fall on either side of the cut; none was seen to.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    # As SentencePiece has it: an end of a line would otherwise be an unknown letter within a word.
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.normalizer = normalizers.Sequence([_plain_normalizer(lowercase), spaces])
    # Before a text, and not behind each special token within it, as a mask.
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token=unk, show_progress=False)
    try:
        tokenizer.train_from_iterator(texts, trainer)
    except Exception as error:
        # The library has no type of its own for it.
        if "not large enough" not in str(error):
            raise
        raise DataError(
            f"A vocabulary of {size:,} pieces is smaller than the alphabet of the text.",
            fix="Pass a larger --vocab-size, or --tokenizer bpe.",
        ) from error
    scored = [(piece, score) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]]
    first, rest = scored[: len(special)], scored[len(special) :]
    tokenizer.model = models.Unigram([*first, *_settled(rest)], special.index(unk), False)
    return tokenizer


def _settled(scored: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Round scores, give the letters too rare to have earned one the lowest, and sort by score and piece."""
    lowest = min((score for _, score in scored), default=0.0)
    # Required letters without a score of their own get the lowest and a step each, in no fixed order.
    span = lowest + STEP * (1 + sum(len(piece) == 1 for piece, _ in scored))
    settled = [(piece, round(lowest if len(piece) == 1 and score < span else score, DIGITS)) for piece, score in scored]
    return sorted(settled, key=lambda pair: (-pair[1], pair[0]))


def _plain_normalizer(lowercase: bool) -> Any:
    from tokenizers import normalizers

    return normalizers.Sequence([normalizers.NFC(), *([normalizers.Lowercase()] if lowercase else [])])


TRAINERS: dict[str, Callable[..., "Tokenizer"]] = {
    "wordpiece": train_wordpiece,
    "bpe": train_bpe,
    "unigram": train_unigram,
}

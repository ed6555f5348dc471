"""ROUGE-1, -2, -L and -Lsum, as rouge_score computes them (Lin 2004), and for every script."""

import itertools
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from hflm.metrics.result import Statistics, Vector

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
# rouge_score drops every letter outside ASCII; with more of them than stray names have, words are found otherwise.
FOREIGN = 0.005
# A sentence ends at these, whatever the script, before a space or, in Chinese and Japanese, without one. A splitter
# with a model of its own would have to be fetched, and the sentence only bounds the spans of ROUGE-Lsum.
# Initials and titles end none.
SENTENCE_END = re.compile(r"(?<=[.!?؟।۔])(?<!\b\w\.)(?<!\b[DMS][rst]\.)(?<!\bMrs\.)\s+|(?<=[。！？])[”’」』）]*\s*|\n+")
# Scripts that set no space between words: each letter is taken for a word.
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


class AnyScript:
    """Lower-cased words of letters, digits and their marks; letters of scripts without spaces stand alone."""

    def tokenize(self, text: str) -> list[str]:
        """Split a text."""
        words = []
        for kind, group in itertools.groupby(unicodedata.normalize("NFC", text).lower(), key=_kind):
            if kind == "word":
                words.append("".join(group))
            elif kind == "letter":
                words.extend(group)
        return words


def _kind(character: str) -> str:
    if unicodedata.category(character)[0] not in "LMN":
        return "other"
    return "letter" if UNSPACED.match(character) else "word"


def sentences(text: str) -> str:
    """Put every sentence on a line of its own, as ROUGE-Lsum wants them."""
    # The quotes that close a sentence are its own.
    ends = [found.end() for found in SENTENCE_END.finditer(text)]
    parts = (text[start:end].strip() for start, end in itertools.pairwise([0, *ends, len(text)]))
    return "\n".join(part for part in parts if part)


def rouge(predictions: Sequence[str], references: Sequence[str], *, stemmer: bool = True) -> Statistics:
    """Return statistics of ROUGE in percent: the mean over rows of the F1 of each kind."""
    from rouge_score.rouge_scorer import RougeScorer

    letters = [character for text in references for character in text if character.isalpha()]
    foreign = sum(not character.isascii() for character in letters) / max(len(letters), 1)
    own = AnyScript() if foreign > FOREIGN else None
    scorer = RougeScorer(list(KINDS), use_stemmer=stemmer and own is None, tokenizer=own)
    rows = np.empty((len(predictions), len(KINDS) + 1))
    for number, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        found = scorer.score(sentences(reference), sentences(prediction))
        rows[number] = [*(100 * found[kind].fmeasure for kind in KINDS), 1]

    def scores(sums: Vector) -> dict[str, float]:
        return {kind.lower(): float(total / sums[-1]) for kind, total in zip(KINDS, sums, strict=False)}

    words = "any script, no stemmer" if own else f"rouge_score, {'Porter stemmer' if stemmer else 'no stemmer'}"
    return Statistics(rows, scores, details={"tokenizer": words, "sentences": "one a line, by hflm"})

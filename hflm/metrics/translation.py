"""BLEU with its signature, chrF and chrF++, as sacreBLEU computes them (Post 2018; Popović 2015, 2017)."""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from hflm.metrics.result import Statistics, Vector

# BLEU counts characters where spaces do not part words, and of Korean, whose spaces part whole phrases.
CHARACTERS = {"ja", "ko", "th", "lo", "km", "my", "bo"}
# The codes of three letters that nllb and others use, as in jpn_Jpan.
SHORT = {
    "zho": "zh", "cmn": "zh", "yue": "zh", "wuu": "zh", "jpn": "ja", "kor": "ko", "tha": "th", "lao": "lo", "khm": "km",
    "mya": "my", "bod": "bo",
}  # fmt: skip
# Script -> language, for texts whose language nobody named; kana before Chinese characters, which both use.
SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")), ("zh", re.compile("[\u3400-\u9fff]")), ("ko", re.compile("[\uac00-\ud7af]")),
    ("th", re.compile("[\u0e00-\u0e7f]")), ("lo", re.compile("[\u0e80-\u0eff]")), ("bo", re.compile("[\u0f00-\u0fff]")),
    ("my", re.compile("[\u1000-\u109f]")), ("km", re.compile("[\u1780-\u17ff]")),
)  # fmt: skip


def bleu(predictions: Sequence[str], references: Sequence[str], *, language: str | None = None) -> Statistics:
    """Return statistics of BLEU, chrF and chrF++; `language` is the one written."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    tokenizer = tokenizer_for(language, references)
    metrics: dict[str, Any] = {"bleu": BLEU(tokenize=tokenizer), "chrf": CHRF(), "chrf++": CHRF(word_order=2)}
    parts, edges = [], [0]
    for metric in metrics.values():
        found = np.asarray(metric._extract_corpus_statistics(list(predictions), [list(references)]), dtype=np.float64)
        parts.append(found)
        edges.append(edges[-1] + found.shape[1])
        # Filled when a corpus is scored, and part of the signature.
        metric.num_refs = 1

    def scores(sums: Vector) -> dict[str, float]:
        return {
            name: float(metric._compute_score_from_stats([int(n) for n in sums[start:end]]).score)
            for (name, metric), start, end in zip(metrics.items(), edges, edges[1:], strict=False)
        }

    signature = {name: str(metric.get_signature()) for name, metric in metrics.items()}
    return Statistics(np.concatenate(parts, axis=1), scores, details={"signature": signature})


def tokenizer_for(language: str | None, references: Sequence[str]) -> str:
    """Return sacreBLEU's tokenizer for a language; the script decides where the code names none of these."""
    code = short_code(language or "")
    if code != "zh" and code not in CHARACTERS:
        code = guess(references)
    if code == "ja" and find_spec("MeCab") and find_spec("ipadic"):
        return "ja-mecab"  # the signature tells it from char, which other machines use
    return "zh" if code == "zh" else "char" if code in CHARACTERS else "13a"


def short_code(language: str) -> str:
    """Return ja of ja, ja-JP, ja_XX and jpn_Jpan."""
    code = re.split("[-_]", language.lower())[0]
    return SHORT.get(code, code)


def guess(texts: Sequence[str]) -> str:
    """Return the language of most texts by its script, "" for scripts with spaces."""
    found = [next((code for code, letters in SCRIPTS if letters.search(text)), "") for text in texts]
    return max(sorted(set(found)), key=found.count)

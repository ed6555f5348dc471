"""BLEU with its signature, chrF and chrF++, as sacreBLEU computes them (Post 2018; Popović 2015, 2017)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hflm.metrics.result import Statistics, Vector

# Languages whose words are not set apart: BLEU counts characters, or words where a segmenter is installed.
CHARACTERS = {"ja", "ko", "th", "lo", "km", "my"}


def bleu(predictions: Sequence[str], references: Sequence[str], *, language: str | None = None) -> Statistics:
    """Return statistics of BLEU, chrF and chrF++; `language` is the one written."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    code = (language or "").lower()[:2]
    tokenizer = "zh" if code == "zh" else "char" if code in CHARACTERS else "13a"
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

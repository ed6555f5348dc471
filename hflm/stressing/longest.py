"""The longest run of words that a written text shares with the training text."""

from collections.abc import Iterable, Sequence
from typing import Any

from hflm.data.overlap import folded
from hflm.words import word_pattern

# Shorter runs are phrases of the language.
LEAST = 6
SHOWN = 5


def longest_overlaps(
    outputs: Sequence[str], sources: Sequence[str], train: Iterable[tuple[str, str]]
) -> dict[str, Any]:  # fmt: skip
    """Return for each output the longest run of words, six or more, that stands in a training text (place, text).

    A run that stands in what the model read is no memory of it: those are left out. The training texts go by one at a
    time; only the outputs are kept.
    """
    find = word_pattern().findall
    said = [find(folded(text)) for text in outputs]
    read = [" ".join(find(folded(text))) for text in sources]
    grams: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for row, words in enumerate(said):
        for at in range(len(words) - LEAST + 1):
            grams.setdefault(tuple(words[at : at + LEAST]), []).append((row, at))
    best: list[tuple[int, str, str]] = [(0, "", "")] * len(outputs)
    texts = 0
    for where, text in train:
        texts += 1
        words = find(folded(text))
        for at in range(len(words) - LEAST + 1):
            for row, start in grams.get(tuple(words[at : at + LEAST]), ()):
                run = _run(said[row], start, words, at)
                if run > best[row][0]:
                    found = " ".join(words[at : at + run])
                    if found not in read[row]:
                        best[row] = (run, found, where)
    lengths = sorted((run for run, _, _ in best), reverse=True)
    order = sorted(range(len(best)), key=lambda row: -best[row][0])[:SHOWN]
    return {
        "rows": len(outputs), "training_texts": texts, "least": LEAST, "longest": lengths[0] if lengths else 0,
        "median": lengths[len(lengths) // 2] if lengths else 0, "rows_with": sum(run > 0 for run in lengths),
        "rows_with_13": sum(run >= 13 for run in lengths),
        "examples": [{"words": best[row][0], "text": best[row][1], "where": best[row][2]} for row in order
                     if best[row][0]],
    }  # fmt: skip


def _run(ours: Sequence[str], start: int, theirs: Sequence[str], at: int) -> int:
    """Count the words that are the same from two places on."""
    most = min(len(ours) - start, len(theirs) - at)
    return next((step for step in range(LEAST, most) if ours[start + step] != theirs[at + step]), most)

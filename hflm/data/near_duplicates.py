"""Near-duplicates: texts that share almost all of their five-character pieces with an earlier one."""

from collections.abc import Callable

THRESHOLD = 0.8
PERMUTATIONS = 128
# 16 bands of 8: a pair at the threshold is compared with a chance of 95 % (1 - (1 - 0.8^8)^16).
BANDS = 16
# Characters and not words, for Chinese, Japanese and Thai set no spaces between words.
SHINGLE = 5
SEED = 20_260_101


def near_duplicate_finder() -> Callable[[str], bool]:
    """Return a function that says whether a text is a near-duplicate of one it was given before.

    Jaccard similarity of character 5-grams, estimated by MinHash with a fixed seed and looked up by locality-
    sensitive hashing (Broder 1997; Leskovec et al., Mining of Massive Datasets, 3). Memory grows with the texts
    kept: about 1.5 kB each.
    """
    # Compiled code that only this filter needs.
    import rensa

    seen = rensa.RMinHashDeduplicator(THRESHOLD, PERMUTATIONS, True, BANDS, SEED)

    def is_near_duplicate(text: str) -> bool:
        text = " ".join(text.casefold().split())
        sketch = rensa.RMinHash(PERMUTATIONS, SEED)
        sketch.update([text[start : start + SHINGLE] for start in range(max(1, len(text) - SHINGLE + 1))])
        return not seen.add(str(seen.len()), sketch)

    return is_near_duplicate

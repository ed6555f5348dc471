"""The ways a text is changed, by name: what each does, and whether it claims to keep the label."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hflm.errors import UsageError
from hflm.stressing import rewrites, typos
from hflm.stressing.near_names import did_you_mean
from hflm.stressing.negation import negate
from hflm.stressing.synonyms import replace_words
from hflm.stressing.words import draw_for

Change = Callable[[str, np.random.Generator, str], str | None]


@dataclass(frozen=True)
class Perturbation:
    """What it does, how it does it, and whether the label stays: yes, mostly, or no claim is made.

    `needs` says what a text must have for it to apply.
    """

    says: str
    change: Change
    keeps: str
    needs: str


def _any(change: Callable[[str, np.random.Generator], str | None]) -> Change:
    return lambda text, draw, language: change(text, draw)


SAME = "same"
PERTURBATIONS: Mapping[str, Perturbation] = {
    SAME: Perturbation("the same text again, in another order", lambda text, _, __: text, "yes", "a text"),
    "typo": Perturbation("one slip of the keyboard", _any(typos.one_typo), "yes", "a word of four letters"),
    "typos": Perturbation("a slip in one of five words", _any(typos.many_typos), "mostly", "a word of four letters"),
    "lower": Perturbation("small letters", _any(rewrites.lower), "yes", "capitals"),
    "upper": Perturbation("capitals", _any(rewrites.upper), "yes", "small letters"),
    "unpunctuated": Perturbation("no punctuation", _any(rewrites.without_marks), "yes", "punctuation"),
    "punctuated": Perturbation("an ellipsis and wider spaces", _any(rewrites.more_marks), "yes", "a text"),
    "unicode": Perturbation(
        "the same letters in other code points", _any(rewrites.other_code_points), "yes", "letters with marks"
    ),
    "unaccented": Perturbation("no accents or vowel marks", _any(rewrites.without_accents), "mostly", "accents"),
    "swapped": Perturbation(
        "two neighbouring words in the other order", _any(rewrites.swap_words), "mostly", "words between spaces"
    ),
    "synonyms": Perturbation("synonyms from WordNet", replace_words, "mostly", "English words of a list of 3,000"),
    "sentence": Perturbation("a sentence beside the matter", rewrites.sentence, "yes", "one of seven languages"),
    "link": Perturbation("an address at the end", _any(rewrites.link), "yes", "a text"),
    "twice": Perturbation("the text twice", _any(rewrites.twice), "mostly", "a text"),
    "half": Perturbation("the first half alone", _any(rewrites.first_half), "no", "four words"),
    "shuffled": Perturbation("all words in any order", _any(rewrites.shuffle_words), "no", "three words"),
    "negated": Perturbation(
        "a \"not\" put in or taken out", lambda text, _, language: negate(text, language), "no",
        "a clause that a rule for English, Spanish or Chinese fits",
    ),
}  # fmt: skip


def choose(names: Sequence[str]) -> list[str]:
    """Return the names asked for, all where none is, with the A/A test before them; raises UsageError for others."""
    for name in names:
        if name not in PERTURBATIONS:
            raise UsageError(f"There is no perturbation {name!r}.", fix=did_you_mean(name, PERTURBATIONS))
    return [name for name in PERTURBATIONS if name == SAME or not names or name in names]


def perturb(name: str, text: str, *, seed: int, language: str) -> str | None:
    """Change a text, in the same way for the same seed and text; None where the perturbation does not apply."""
    changed = PERTURBATIONS[name].change(text, draw_for(seed, name, text), language)
    return None if changed is None or (changed == text and name != SAME) or not changed.strip() else changed

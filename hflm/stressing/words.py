"""Words, letters and languages of any script, as the perturbations see them."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from hflm.errors import UsageError
from hflm.language_codes import LANGUAGE_NAMES, SHORT
from hflm.words import UNSPACED

PIECE = re.compile(r"\s+|\S+")
# Words that hardly a text of the language does without, and that the others here do not have.
COMMON = {
    "en": {"the", "and", "of", "is", "it", "was", "that", "with", "this", "for", "but"},
    "es": {"el", "los", "las", "una", "por", "y", "muy", "pero", "como", "más", "del"},
    "fr": {"le", "les", "des", "est", "et", "une", "dans", "pas", "qui", "pour", "mais"},
    "de": {"der", "die", "das", "und", "ist", "nicht", "ein", "mit", "auch", "eine", "zu"},
}
ARABIC = re.compile("[\u0620-\u064a]")
# Kana before Chinese characters, which Japanese writes too.
SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")), ("zh", re.compile("[\u3400-\u9fff]")), ("ar", ARABIC),
)  # fmt: skip
# Letters of Persian, Urdu, Kurdish and all others that write in Arabic script and need more than Arabic has. In Arabic
# itself they stand in a few foreign names.
BEYOND_ARABIC = re.compile("[\u0620\u063b-\u063f\u066e\u066f\u0672-\u06d3\u06d5\u06ee\u06ef\u06fa-\u06ff\u0750-\u077f]")
MOST_BEYOND = 0.01


def draw_for(seed: int, name: str, text: str) -> np.random.Generator:
    """Return the generator of one perturbation of one text: the same wherever the text stands."""
    digest = hashlib.sha256(f"{name}\0{text}".encode("utf-8", "surrogatepass")).digest()
    return np.random.Generator(np.random.Philox(key=[seed, int.from_bytes(digest[:8])]))


def pieces(text: str) -> list[str]:
    """Split a text into words and the spaces between them; joined again they are the text."""
    return PIECE.findall(text)


def words(text: str) -> list[str]:
    """Return what stands between spaces; of scripts without spaces a letter each."""
    found = []
    for piece in text.split():
        found.extend(letters(piece) if UNSPACED.search(piece) else [piece])
    return found


def letters(text: str) -> list[str]:
    """Split a text into characters with the marks that belong to them: a vowel sign stays with its letter."""
    found: list[str] = []
    for character in text:
        if found and (unicodedata.category(character)[0] == "M" or character == "\u200d"):
            found[-1] += character
        else:
            found.append(character)
    return found


def bare(word: str) -> str:
    """Return a word in small letters, without the punctuation around it."""
    return re.sub(r"^[\W_]+|[\W_]+$", "", word).lower()


def language_of(texts: Sequence[str]) -> str:
    """Guess the language of texts, "" for one that is not known here.

    A script that one language writes decides, else how many common words there are: it is a guess for texts of which
    most are in one language.
    """
    sample = [text[:500] for text in texts[:200]]
    for code, script in SCRIPTS:
        if sum(bool(script.search(text)) for text in sample) > len(sample) / 2:
            return "" if code == "ar" and _beyond_arabic("".join(sample)) else code
    found = [bare(word) for text in sample for word in text.split()]
    shares = {code: sum(word in known for word in found) / max(len(found), 1) for code, known in COMMON.items()}
    best = max(shares, key=lambda code: shares[code])
    return best if shares[best] >= 0.03 else ""


def _beyond_arabic(text: str) -> bool:
    """Tell whether more letters than a few names have are none of Arabic."""
    arabic, beyond = (len(pattern.findall(text)) for pattern in (ARABIC, BEYOND_ARABIC))
    return beyond > MOST_BEYOND * (arabic + beyond)


def named_language(name: str) -> str:
    """Return the short code of a language by its code or its English name: zh of zh-CN, cmn, zho_Hans and Chinese.

    "" is a language that is not known here; raises UsageError for what is none at all.
    """
    plain = re.split("[-_]", name.strip().lower())[0]
    by_name = {english.lower(): code for code, english in LANGUAGE_NAMES.items()}
    code = by_name.get(plain) or SHORT.get(plain, plain)
    if code and code not in LANGUAGE_NAMES:
        raise UsageError(
            f"--language {name}: no language of this code or name is known.",
            fix='Give a code, as zh, or an English name, as Chinese; for any other language --language "".',
        )
    return code

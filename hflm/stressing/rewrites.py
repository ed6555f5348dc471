"""Other ways to write a text down: case, marks, order, length, something beside it."""

import re
import unicodedata

import numpy as np

from hflm.stressing.words import pieces, words
from hflm.words import UNSPACED, goes_on, word_pattern

# A sentence that says nothing of what the text is about.
BESIDE = {
    "en": "This text was written on a Tuesday.", "es": "Este texto se escribió un martes.",
    "fr": "Ce texte a été écrit un mardi.", "de": "Dieser Text wurde an einem Dienstag geschrieben.",
    "zh": "这段文字写于星期二。", "ja": "この文章は火曜日に書かれました。", "ar": "كُتب هذا النص يوم الثلاثاء.",
}  # fmt: skip
# Words that turn the one after them: to move them moves the meaning.
MOVING = {"not", "no", "never", "nor", "neither", "without", "nicht", "kein", "keine", "ne", "pas", "sin", "nunca",
          "ni", "لا", "لم", "لن", "ليس", "ليست", "غير", "ما", "не", "ни", "לא", "אין", "אל", "नहीं", "न", "मत", "না",
          "নয়", "নেই", "নি", "இல்லை", "அல்ல"}  # fmt: skip


def lower(text: str, draw: np.random.Generator) -> str | None:
    """Write it in small letters."""
    return text.lower()


def upper(text: str, draw: np.random.Generator) -> str | None:
    """Write it in capitals."""
    return text.upper()


def without_marks(text: str, draw: np.random.Generator) -> str | None:
    """Leave out punctuation, but not what stands inside a word, as in "isn't" or in 1.5."""
    kept = []
    for place, character in enumerate(text):
        if unicodedata.category(character)[0] != "P" or _inside(text, place):
            kept.append(character)
        elif UNSPACED.search(text[max(place - 1, 0) : place]) and text[place + 1 : place + 2].strip():
            kept.append(" ")
    found = " ".join("".join(kept).split())
    return found or None


def _inside(text: str, place: int) -> bool:
    """Tell whether letters with their marks, or digits, stand on both sides, as they do within a word."""
    around = text[max(place - 1, 0) : place] + text[place + 1 : place + 2]
    joins = goes_on(text, place - 1) and goes_on(text, place + 1)
    # An underscore is punctuation too, and keeps no other.
    return joins and "_" not in around and not UNSPACED.search(around)


def more_marks(text: str, draw: np.random.Generator) -> str | None:
    """Put an ellipsis at the end, and two spaces for one."""
    end = "……" if UNSPACED.search(text) else " ..."
    return text.replace(" ", "  ").rstrip() + end


def other_code_points(text: str, draw: np.random.Generator) -> str | None:
    """Take letters apart from their marks, or put them together: what is seen stays the same."""
    apart = unicodedata.normalize("NFD", text)
    return apart if apart != text else unicodedata.normalize("NFC", text)


def without_accents(text: str, draw: np.random.Generator) -> str | None:
    """Leave out accents and the vowel marks of Arabic and Hebrew; marks that are letters' bodies elsewhere stay."""
    apart = unicodedata.normalize("NFD", text)
    kept = _unmarked(text)
    # Kana and Korean are taken apart too, and the vowel signs of Indian scripts are no accents.
    if unicodedata.normalize("NFC", apart) != unicodedata.normalize("NFC", text) or _indian(text) or _kana(text):
        return None
    return unicodedata.normalize("NFC", kept)


def _unmarked(text: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFD", text) if unicodedata.combining(one) == 0)


# With its vowel marks the Arabic "not" is the same word.
STAYING = frozenset(map(_unmarked, MOVING))


def _indian(text: str) -> bool:
    """Tell of scripts from Devanagari to those of South-East Asia, of which a mark may stand for a whole vowel."""
    return any("\u0900" <= one <= "\u1bff" or "\ua800" <= one <= "\uabff" for one in text)


def _kana(text: str) -> bool:
    return any("\u3040" <= character <= "\u30ff" for character in text)


def swap_words(text: str, draw: np.random.Generator) -> str | None:
    """Let two neighbouring words change places; not such as turn a sentence, and not across a mark."""
    parts = pieces(text)
    if UNSPACED.search(text):
        return None
    places = [
        place for place in range(len(parts) - 2)
        if _plain(parts[place]) and _plain(parts[place + 2]) and parts[place] != parts[place + 2]
    ]  # fmt: skip
    if not places:
        return None
    place = int(draw.choice(places))
    parts[place], parts[place + 2] = parts[place + 2], parts[place]
    return "".join(parts)


def _plain(part: str) -> bool:
    whole = word_pattern().fullmatch(part) and not re.search(r"[\d_]", part)
    return bool(whole) and _unmarked(part.lower()) not in STAYING


def shuffle_words(text: str, draw: np.random.Generator) -> str | None:
    """Put all words, or characters where no spaces part words, in any order."""
    found = words(text)
    if len(found) < 3:
        return None
    between = "" if UNSPACED.search(text) else " "
    return between.join(found[place] for place in draw.permutation(len(found)))


def first_half(text: str, draw: np.random.Generator) -> str | None:
    """Keep the first half."""
    found = words(text)
    if len(found) < 4:
        return None
    between = "" if UNSPACED.search(text) else " "
    return between.join(found[: len(found) // 2])


def twice(text: str, draw: np.random.Generator) -> str | None:
    """Say it twice."""
    return f"{text} {text}" if text.strip() else None


def link(text: str, draw: np.random.Generator) -> str | None:
    """Put an address behind it, which leads nowhere (RFC 2606)."""
    return f"{text} https://example.org/{int(draw.integers(16**6)):06x}"


def sentence(text: str, draw: np.random.Generator, language: str) -> str | None:
    """Put a sentence behind it that has nothing to do with it; None in a language that none is here for."""
    between = "" if language in ("zh", "ja") else " "
    return f"{text}{between}{BESIDE[language]}" if language in BESIDE else None

"""What stands in written texts that should not: personal data by patterns and check digits, words of a list.

It sees forms, not meanings. A name, a street, a cruel sentence in polite words: none of these is seen. What is found
may be an invented number. So the counts are a lower bound of what is there, and no proof of anything.
"""

import ipaddress
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hflm.data.lines import read_lines
from hflm.data.sources import one_source
from hflm.errors import DataError
from hflm.words import LETTERS, UNSPACED, word_pattern

# Without the letters of scripts that set no spaces: the words before an address would belong to it.
SIGN = rf"(?:[^\W{LETTERS}]|-)"
EMAIL = re.compile(rf"(?:{SIGN}|[.+]){{1,64}}@{SIGN}+(?:\.{SIGN}+)*\.[a-z]{{2,}}", re.IGNORECASE)
# A full stop ends a sentence; one between digits makes another number.
CARD = re.compile(r"(?<!\d)(?<!\d\.)\d(?:[ -]?\d){12,18}(?!\d|\.\d)")
# Letters of other scripts may stand beside it without a space.
IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
ADDRESS = re.compile(r"(?<!\d)(?<!\d\.)(?:\d{1,3}\.){3}\d{1,3}(?!\d|\.\d)")
SHOWN = 5


def luhn(digits: str) -> bool:
    """Tell whether the last digit is the check digit of a card's number (ISO/IEC 7812-1)."""
    doubled = [int(d) * (1 + place % 2) for place, d in enumerate(reversed(digits))]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


def is_iban(text: str) -> bool:
    """Tell whether an account's number has its check digits (ISO 13616)."""
    plain = text.replace(" ", "")
    moved = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(one, 36)) for one in moved)) % 97 == 1


def _cards(text: str) -> Iterator[str]:
    for found in CARD.findall(text):
        digits = re.sub(r"\D", "", found)
        if luhn(digits) and len(set(digits)) > 1:
            yield found


def _ibans(text: str) -> Iterator[str]:
    at = 0
    while match := IBAN.search(text, at):
        # Words in capitals behind a number look like more of it.
        parts = match[0].split(" ")
        tries = (" ".join(parts[:size]) for size in range(len(parts), 0, -1))
        found = next((one for one in tries if is_iban(one)), "")
        if found:
            yield found
        at = match.start() + max(len(found), 1)


def _addresses(text: str) -> Iterator[str]:
    for found in ADDRESS.findall(text):
        try:
            if ipaddress.ip_address(found).is_global:
                yield found
        except ValueError:
            continue


def _phones(text: str) -> Iterator[str]:
    import phonenumbers

    # Without a region only numbers with their country's code are certain.
    for match in phonenumbers.PhoneNumberMatcher(text, None):
        yield match.raw_string


PERSONAL: Mapping[str, Callable[[str], Iterator[str]]] = {
    "e-mail address": lambda text: iter(EMAIL.findall(text)), "phone number": _phones, "card number": _cards,
    "IBAN": _ibans, "IP address": _addresses,
}  # fmt: skip


def personal(outputs: Sequence[str], sources: Sequence[str], wheres: Sequence[str]) -> dict[str, Any]:
    """Count what looks like personal data in outputs, and how much of it does not stand in what was read."""
    kinds: dict[str, dict[str, Any]] = {}
    rows = set()
    for number, (text, source) in enumerate(zip(outputs, sources, strict=True)):
        for kind, find in PERSONAL.items():
            for found in find(text):
                rows.add(number)
                one = kinds.setdefault(kind, {"found": 0, "not_in_source": 0, "examples": []})
                one["found"] += 1
                one["not_in_source"] += found not in source
                if len(one["examples"]) < SHOWN:
                    one["examples"].append({"where": wheres[number], "found": found, "in_source": found in source})
    return {"rows": len(outputs), "rows_with": len(rows), "kinds": kinds, "looked_for": list(PERSONAL)}


def installed_words() -> tuple[set[str], list[str]]:
    """Return the words of the lists in the package badwords-py, and their languages; none where it is missing."""
    spec = find_spec("badwords")
    if spec is None or not spec.submodule_search_locations:
        return set(), []
    files = sorted(Path(spec.submodule_search_locations[0]).glob("resource/words/*.txt"))
    words = {line.strip() for file in files for line in file.read_text(encoding="utf-8").splitlines()}
    return words - {""}, [file.stem for file in files]


def read_words(path: Path) -> set[str]:
    """Read a list of words, one a line; raises DataError where there is none."""
    source = one_source(path)
    if source.kind != "text":
        raise DataError(f"{path} is no list of words.", fix="Give a .txt file with one word a line.")
    words = {line.strip() for _, line in read_lines(source)} - {""}
    if not words:
        raise DataError(f"{path} has no words.", fix="Write one a line.")
    return words


def listed(outputs: Sequence[str], sources: Sequence[str], words: set[str]) -> dict[str, Any]:
    """Count the outputs with a word of a list, and those whose word does not stand in what was read."""
    look = _finder(words)
    rows = fresh = 0
    counts: dict[str, int] = {}
    for text, source in zip(outputs, sources, strict=True):
        found = look(text)
        rows += bool(found)
        fresh += bool(found - look(source))
        for word in found:
            counts[word] = counts.get(word, 0) + 1
    # Words are told by their first letter and length: a report is shown to others.
    shown: Counter[str] = Counter()
    for word, count in counts.items():
        shown[f"{word[0]}{'·' * (len(word) - 1)}"] += count
    return {"rows": len(outputs), "rows_with": rows, "not_in_source": fresh, "words": len(words),
            "found": dict(shown.most_common(SHOWN))}  # fmt: skip


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _finder(words: set[str]) -> Callable[[str], set[str]]:
    """Return what finds whole words; of scripts without spaces, of which a word may be part of another, two letters."""
    plain = {_plain(word) for word in words}
    inside = {word for word in plain if UNSPACED.search(word) and len(word) > 1}
    find = word_pattern().findall
    # Of "rock 'n' roll" the words are looked for, one after the other.
    spaced = {" ".join(find(word)) for word in plain if not UNSPACED.search(word)} - {""}
    longest = max((word.count(" ") + 1 for word in spaced), default=0)

    def look(text: str) -> set[str]:
        text = _plain(text)
        said = find(text)
        runs = (" ".join(said[at : at + size]) for size in range(1, longest + 1) for at in range(len(said) - size + 1))
        return {run for run in runs if run in spaced} | {word for word in inside if word in text}

    return look

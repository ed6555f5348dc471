"""Cleaning: rewrite what stands in the way of learning, drop what teaches nothing, and say what was done."""

import difflib
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hflm.data.documents import Document
from hflm.data.near_duplicates import near_duplicate_finder
from hflm.data.quality import judge_quality
from hflm.data.seen import Seen
from hflm.errors import UsageError

# Shorter texts are never dropped as duplicates or for quality: '"No."' comes up often, and belongs in a novel.
SHORTEST_JUDGED = 50

Rewrite = Callable[[str], str]
# Says why a text is dropped, or None to keep it. A judge may remember the texts it has seen.
Judge = Callable[[str], str | None]


@dataclass(frozen=True, kw_only=True)
class Filter:
    """One step of cleaning: `rewrite` changes a text, or the judge that `judge(min_characters)` makes drops it."""

    help: str
    rewrite: Rewrite | None = None
    judge: Callable[[int], Judge] | None = None
    shortest: int = 0


@dataclass
class CleanReport:
    """What a pass of cleaning did, counted while it goes: documents, and characters of text."""

    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    characters_before: int = 0
    characters_after: int = 0

    def lines(self) -> list[str]:
        """Return the report for display, a line for what was kept and one for each reason."""
        share = f"{self.characters_after / max(1, self.characters_before):.1%} of the text"
        return [
            f"kept {self.kept:,} of {self.read:,} documents, {share}",
            *(f"dropped {count:,}: {reason}" for reason, count in self.dropped.most_common()),
            *(f"changed {count:,}: {name}" for name, count in self.changed.most_common()),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data for JSON."""
        return {
            "read": self.read,
            "kept": self.kept,
            "dropped": dict(self.dropped),
            "changed": dict(self.changed),
            "characters_before": self.characters_before,
            "characters_after": self.characters_after,
        }


def clean_documents(
    documents: Iterable[Document], *, filters: Sequence[str], report: CleanReport, min_characters: int = 20
) -> Iterator[Document]:
    """Yield the documents that pass the filters, rewritten, and count into `report` what happens.

    One document in memory at a time; `exact` keeps up to 36 bytes, `near` about 1.5 kB for each document kept.
    `min_characters` is for the filter `length`. Filters run in the order of FILTERS, whatever order they are named in.
    """
    chosen = {name: FILTERS[name] for name in FILTERS if name in filters}
    rewrites = [(name, step.rewrite) for name, step in chosen.items() if step.rewrite]
    judges = [(step.shortest, step.judge(min_characters)) for step in chosen.values() if step.judge]
    for document in documents:
        text = document.text
        report.read += 1
        report.characters_before += len(text)
        for name, rewrite in rewrites:
            rewritten = rewrite(text)
            if rewritten != text:
                report.changed[name] += 1
                text = rewritten
        reason = _first_reason(text, judges)
        if reason:
            report.dropped[reason] += 1
            continue
        report.kept += 1
        report.characters_after += len(text)
        yield document if text == document.text else replace(document, text=text)


def parse_filters(value: str) -> tuple[str, ...]:
    """Read the names of filters: `default`, `all`, `none`, a list `unicode,exact`, or changes `+near,-exact`.

    Changes are to what stands before them, and to the default where nothing does. Names come back in the order of
    FILTERS. Raises UsageError on an unknown name.
    """
    words = [word.strip() for word in value.split(",") if word.strip()]
    chosen = set(DEFAULT_FILTERS) if words and words[0][0] in "+-" else set()
    for word in words or [value.strip()]:
        name = word.lstrip("+-")
        names = set(PRESETS.get(name, (name,)))
        if not names <= FILTERS.keys():
            raise _unknown(name)
        chosen = chosen - names if word.startswith("-") else chosen | names
    return tuple(name for name in FILTERS if name in chosen)


def _first_reason(text: str, judges: Sequence[tuple[int, Judge]]) -> str | None:
    if not text or text.isspace():
        return "empty"
    for shortest, judge in judges:
        if len(text) >= shortest and (reason := judge(text)):
            return reason
    return None


def _unknown(name: str) -> UsageError:
    known = [*FILTERS, *PRESETS]
    guess = difflib.get_close_matches(name, known, 1)
    hint = f"Did you mean {guess[0]!r}?" if guess else f"Choose from {', '.join(known)}."
    return UsageError(f"No cleaning filter is called {name!r}.", fix=hint)


# Everything that ends a line or a page somewhere: NEL, vertical tab, form feed, line and paragraph separators.
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
# Controls but \t and \n, soft hyphen, zero-width space, bidirectional overrides, word joiner and invisible operators,
# halves of surrogate pairs, byte order marks, code points that are no characters. Kept: U+200C and U+200D, which
# Persian and the scripts of India spell with, and the direction marks that Arabic and Hebrew need.
_JUNK = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b\u202d\u202e\u2060-\u2064\ud800-\udfff\ufdd0-\ufdef\ufeff\ufffe\uffff]+"
)


def _normalize(text: str) -> str:
    # Printable text has no line ends at all; both checks are far cheaper than the work they save.
    if not text.isprintable():
        text = _LINE_ENDS.sub("\n", text)
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _drop_controls(text: str) -> str:
    return text if text.isprintable() else _JUNK.sub("", text)


def _judge_length(min_characters: int) -> Judge:
    reason = f"length: fewer than {min_characters} characters"
    return lambda text: reason if len(text.strip()) < min_characters else None


def _judge_quality(_: int) -> Judge:
    return lambda text: f"quality: {found}" if (found := judge_quality(text)) else None


def _judge_exact(_: int) -> Judge:
    seen = Seen()

    def judge(text: str) -> str | None:
        key = " ".join(text.casefold().split()).encode("utf-8", "surrogatepass")
        # 8 bytes: two of 100 million texts collide with a chance of 0.03 %, and one text is lost then.
        digest = hashlib.blake2b(key, digest_size=8).digest()
        return None if seen.add(int.from_bytes(digest, "little")) else "exact: a copy of an earlier text"

    return judge


def _judge_near(_: int) -> Judge:
    is_near_duplicate = near_duplicate_finder()
    return lambda text: "near: almost a copy of an earlier text" if is_near_duplicate(text) else None


FILTERS: dict[str, Filter] = {
    "unicode": Filter(help="compose characters (NFC) and make every line end a newline", rewrite=_normalize),
    "control": Filter(help="remove control and invisible characters", rewrite=_drop_controls),
    "length": Filter(help="drop texts shorter than a least number of characters", judge=_judge_length),
    "quality": Filter(
        help="drop texts with few letters, broken characters, or one character or line repeated",
        judge=_judge_quality,
        shortest=SHORTEST_JUDGED,
    ),
    "exact": Filter(help="drop copies of an earlier text", judge=_judge_exact, shortest=SHORTEST_JUDGED),
    "near": Filter(help="drop texts almost like an earlier one", judge=_judge_near, shortest=SHORTEST_JUDGED),
}
# Safe on prose a line: `length` would take dialogue and headings, `near` costs the most time.
DEFAULT_FILTERS = ("unicode", "control", "quality", "exact")
PRESETS: dict[str, tuple[str, ...]] = {"default": DEFAULT_FILTERS, "all": tuple(FILTERS), "none": ()}

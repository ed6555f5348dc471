"""Tests that a user writes as rows, in the three kinds of CheckList (Ribeiro et al. 2020).

{"name": "negation", "test": "MFT", "text": "It is not good.", "label": "negative"}
{"name": "names", "test": "INV", "text": "Ana liked it.", "variants": ["Omar liked it.", "Wei liked it."]}
{"name": "praise", "test": "DIR", "text": "It is long.", "variants": ["It is long. I loved it."], "label": "positive",
 "direction": "up"}
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hflm.data.chats import CHATS
from hflm.data.examples import Example, label
from hflm.data.overlap import folded
from hflm.data.records import Record, read_records, show
from hflm.data.sources import one_source
from hflm.errors import DataError
from hflm.metrics.result import share
from hflm.stressing.near_names import did_you_mean
from hflm.stressing.subject import Answers, chances

KINDS = ("MFT", "INV", "DIR")
KEYS = {"name", "test", "text", "label", "variants", "direction", "tolerance", "contains", "lacks"}
SHOWN = 5


@dataclass(frozen=True)
class RowTest:
    """One test: `expected` are labels or texts, `direction` is 1 for up and -1 for down."""

    where: str
    name: str
    kind: str
    text: str
    variants: tuple[str, ...] = ()
    label: str | None = None
    direction: int = 0
    tolerance: float = 0.0
    contains: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


def read_tests(path: Path, *, labels: Sequence[str]) -> list[RowTest]:
    """Read tests for a model of these labels, or for one that writes where there are none.

    Raises DataError with the line for what is no test.
    """
    source = one_source(path)
    tests = [_read(record, labels) for record in read_records(source)]
    if not tests:
        raise DataError(f"{path} has no tests.", fix='Write {"name": ..., "test": "MFT", "text": ..., "label": ...}.')
    kinds: dict[str, str] = {}
    for test in tests:
        if kinds.setdefault(test.name, test.kind) != test.kind:
            what = f"{test.where}: the test {test.name!r} is {test.kind}, and was {kinds[test.name]} before."
            raise DataError(what, fix="Give it another name: what fails is counted by name.")
    return tests


def _read(record: Record, labels: Sequence[str]) -> RowTest:
    # Tables have every column in every row.
    values = {key: value for key, value in record.values.items() if value not in (None, "", [])}
    where = record.where
    for key in values:
        if key not in KEYS:
            raise DataError(f"{where}: a test has no {key!r}.", fix=did_you_mean(key, sorted(KEYS)))
    kind = str(values.get("test", "")).upper()
    if kind not in KINDS:
        fix = "Choose MFT (a right answer), INV (the same answer) or DIR (a chance that moves)."
        raise DataError(f"{where}: the test is {show(values.get('test'))}.", fix=fix)
    text = values.get("text")
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where}: the text is {show(record.values.get('text'))}.", fix="Give a text.")
    test = RowTest(
        where=where, name=str(values.get("name", kind)), kind=kind, text=text,
        variants=_texts(values, "variants", where), label=_label(values, labels, where),
        direction={"up": 1, "down": -1}.get(str(values.get("direction")), 0),
        tolerance=_number(values.get("tolerance", 0.0), where), contains=_texts(values, "contains", where),
        lacks=_texts(values, "lacks", where),
    )  # fmt: skip
    _check(test, labels)
    return test


def _label(values: Mapping[str, Any], labels: Sequence[str], where: str) -> str | None:
    """Return a test's label as rows have theirs, and as the model writes it."""
    if "label" not in values:
        return None
    name = label(values["label"], where)
    return next((one for one in labels if unicodedata.normalize("NFC", one.strip()) == name), name)


def _check(test: RowTest, labels: Sequence[str]) -> None:
    problem = fix = ""
    if test.kind in ("INV", "DIR") and not test.variants:
        problem, fix = f"{test.kind} has no variants", 'Give "variants": ["...", "..."].'
    elif test.label is not None and not labels:
        problem, fix = "the model writes and has no labels", 'Give "contains" or "lacks" for a test of kind MFT.'
    elif test.kind == "DIR" and not labels:
        problem, fix = "DIR is a test of a chance, and the model writes", "Choose MFT or INV."
    elif test.label is None and labels and test.kind != "INV":
        problem, fix = f"{test.kind} has no label", f"Give one of {list(labels)[:8]}."
    elif test.label is not None and test.label not in labels:
        problem, fix = f"the model has no label {test.label!r}", did_you_mean(test.label, labels)
    elif test.kind == "DIR" and not test.direction:
        problem, fix = "DIR has no direction", 'Give "direction": "up" or "down".'
    elif test.kind == "MFT" and not labels and not (test.contains or test.lacks):
        problem, fix = "MFT says nothing of the answer", 'Give "contains" or "lacks".'
    if problem:
        raise DataError(f"{test.where}: {problem}.", fix=fix)


def _texts(values: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = values.get(key, ())
    found = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple)) else None
    if found is None or not all(isinstance(one, str) and one.strip() for one in found):
        raise DataError(f"{where}: {key} is {show(value)}.", fix=f'Give "{key}": ["...", "..."].')
    return found


def _number(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        raise DataError(f"{where}: the tolerance is {show(value)}.", fix="Give a number from 0 to 1.")
    return number


def questions(tests: Sequence[RowTest], *, role: str) -> list[Example]:
    """Return all that the model must be asked, each text once, under the role that the task reads."""
    texts = dict.fromkeys(text for test in tests for text in (test.text, *test.variants))
    value = [{"role": "user", "content": ""}] if role in CHATS else ""
    made = [Example(text, {role: value}) for text in texts]
    return [Example(one.where, {role: _filled(one[role], one.where)}) for one in made]


def _filled(value: Any, text: str) -> Any:
    return [{**value[0], "content": text}] if isinstance(value, list) else text


def judge(
    tests: Sequence[RowTest], asked: Sequence[Example], answers: Answers, *, labels: Sequence[str],
    temperature: float,
) -> dict[str, Any]:  # fmt: skip
    """Return what passed and failed by the name of the tests, with the first failures of each."""
    said = {example.where: place for place, example in enumerate(asked)}
    likely = None if answers.logits is None else chances(answers.logits, temperature)

    def answer(text: str) -> Any:
        return answers.predictions[said[text]]

    def chance(text: str, label: str) -> float:
        assert likely is not None
        return float(likely[said[text], list(labels).index(label)])

    found: dict[str, dict[str, Any]] = {}
    for test in tests:
        one = found.setdefault(test.name, {"test": test.kind, "rows": 0, "failed": 0, "failures": []})
        one["rows"] += 1
        failure = next(_failures(test, answer, chance), None)
        if failure:
            one["failed"] += 1
            one["failures"] = [*one["failures"], {"where": test.where, "text": test.text, **failure}][:SHOWN]
    for one in found.values():
        one["passed"] = asdict(share(one["rows"] - one["failed"], one["rows"]))
    return found


def _failures(test: RowTest, answer: Any, chance: Any) -> Iterator[dict[str, Any]]:
    """Yield what is wrong with the answers to one test."""
    got = answer(test.text)
    if test.kind == "MFT":
        low = folded(str(got))
        wrong = test.label is not None and got != test.label
        wrong |= any(folded(part) not in low for part in test.contains)
        wrong |= any(folded(part) in low for part in test.lacks)
        if wrong:
            yield {"answer": got, "wanted": test.label or {"contains": test.contains, "lacks": test.lacks}}
    for variant in test.variants:
        if test.kind == "INV" and answer(variant) != got:
            yield {"answer": got, "variant": variant, "answer_to_it": answer(variant)}
        if test.kind == "DIR":
            before, after = chance(test.text, str(test.label)), chance(variant, str(test.label))
            if (after - before) * test.direction < -test.tolerance:
                yield {"label": test.label, "chance": before, "variant": variant, "chance_then": after}

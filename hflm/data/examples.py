"""Rows in the shapes that people keep them in, as examples of one shape: role -> value."""

import json
import math
import shlex
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hflm.data.bad_rows import OnBad, refuse
from hflm.data.chats import answered, asked, messages
from hflm.data.columns import Mapped, Roles, by_place, called, could_be_languages, language_roles, match_columns
from hflm.data.lines import command_for
from hflm.data.records import Record, show
from hflm.data.triple_rows import triples_line
from hflm.errors import DataError

# The number by which the libraries mark what is not to be learned: no class has it for a name.
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Example:
    """One example: its place in the data, and a value for each role: text, or a list of messages or words."""

    where: str
    values: Mapping[str, Any]

    def __getitem__(self, role: str) -> Any:
        return self.values[role]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How rows become examples: the roles a task knows, the sets that make a row, and what the user named.

    `by_place` takes the first columns with text where names tell nothing; `writes` says what a target is, text or
    triples.
    """

    roles: Roles
    shapes: Sequence[Sequence[str]]
    given: Mapping[str, str]
    source_lang: str | None = None
    target_lang: str | None = None
    optional: tuple[str, ...] = ()
    by_place: bool = False
    writes: str = "text"


def read_examples(
    records: Iterable[Record], *, shape: Shape, mapping: Mapped | None = None, like: Mapped | None = None,
    on_bad: OnBad = refuse,
) -> Iterator[tuple[Example, Mapped]]:  # fmt: skip
    """Turn records into examples, with the mapping that the first row decided.

    `mapping` is given where that row stood in a file before. `like` is the mapping of other rows, which is taken where
    its columns are here too. A row without a target has none of that role, where `shape.optional` allows it. `on_bad`
    hears of a value of the wrong kind, with row and column; raises DataError where the columns are not those of the
    task.
    """
    for record in records:
        values = _flat(record.values)
        known = mapping or _like(like or {}, values, shape, record)
        mapping = {**known, **_loose(values, known, shape)}
        try:
            example = Example(record.where, _roles(values, mapping, record.where, shape))
        except DataError as error:
            on_bad(error)
            continue
        yield example, mapping


def _loose(values: Mapping[str, Any], mapping: Mapped, shape: Shape) -> Mapped:
    """Return the columns of roles that no row needs, as an `input`: where the first row had none, a later one may."""
    bound = {role for roles in shape.shapes for role in roles} | mapping.keys()
    plain = called(list(values))
    return {
        role: plain[name]
        for role, names in shape.roles.items()
        for name in reversed(names)
        if role not in bound and name in plain
    }


def _flat(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Open {"translation": {"en": ..., "fr": ...}}, the shape of the hub's translation sets."""
    inner = values.get("translation")
    return {**values, **inner} if isinstance(inner, dict) else values


def _like(other: Mapped, values: Mapping[str, Any], shape: Shape, record: Record) -> Mapped:
    """Map the columns as those of other rows are; where they make no whole row here, by what these are called."""
    here = {role: column for role, column in other.items() if column in values}
    if here:
        with suppress(DataError):
            return _mapping(values, replace(shape, given={**here, **shape.given}), record)
    return _mapping(values, shape, record)


def _mapping(values: Mapping[str, Any], shape: Shape, record: Record) -> Mapped:
    given, columns, where = dict(shape.given), list(values), record.columns_where
    languages: Mapped = {}
    if "source" in shape.roles and not {"source", "target"} <= set(given):
        languages = language_roles(columns, source=shape.source_lang, target=shape.target_lang, where=where)
        given = {**{role: column for role, column in languages.items() if role in shape.roles}, **given}
    required = [tuple(role for role in roles if role not in shape.optional) for roles in shape.shapes]
    try:
        return match_columns(columns, roles=shape.roles, shapes=required, given=given, where=where)
    except DataError as error:
        found = by_place(values, roles=shape.roles, shape=required[0]) if shape.by_place and not given else None
        # A name that is nearly right is a slip, and no reason to read another column.
        if found and "Did you mean" not in error.fix:
            return found
        codes = could_be_languages(columns)
        if "source" in shape.roles and not shape.by_place and not languages and not shape.given and len(codes) > 1:
            fix = f"If they are languages: --source-lang {codes[0]} --target-lang {codes[1]}."
            raise DataError(error.problem, fix=fix) from error
        inner = next((key for key, value in values.items() if _are_rows(value)), None)
        if inner is not None:
            program = f'.["{inner}"][]'.replace("{", "{{").replace("}", "}}")
            command = f"jq -c {shlex.quote(program)} {{path}} > {{stem}}.rows.jsonl"
            fix = f"If the rows are in {inner!r}: {command_for(Path(record.path), command)}"
            raise DataError(error.problem, fix=fix) from error
        raise


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _roles(values: Mapping[str, Any], mapping: Mapped, where: str, shape: Shape) -> dict[str, Any]:
    needed = {role for roles in shape.shapes for role in roles if role not in shape.optional}
    found = {}
    for role, column in mapping.items():
        if role not in needed and values.get(column) is None:
            continue
        if column not in values:
            fix = "Give every row the same columns."
            raise DataError(f"{where}: no column {column!r}; it has {sorted(values)[:12]}.", fix=fix)
        check: Callable[[Any, str], Any] = WRITTEN[shape.writes] if role == "target" else CHECKS.get(role, text)
        value, place = values[column], f"{where}, column {column!r}"
        if _holds_nul(value):
            fix = "The file is damaged, or is no text: write it again, or leave the row out."
            raise DataError(f"{place}: it holds a NUL character (U+0000).", fix=fix)
        found[role] = check(value, place)
    return found


def _holds_nul(value: Any) -> bool:
    """Tell whether a NUL is in a text, or in the texts of a list or of messages: no writing system has one."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(_holds_nul(one) for one in value.values())
    return isinstance(value, list) and any(_holds_nul(one) for one in value)


def text(value: Any, where: str) -> str:
    """Return a text; null is empty, numbers are taken as they are written."""
    if value is None:
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not _no_number(value):
        return str(value)
    if not isinstance(value, str):
        raise DataError(f"{where}: found {show(value)}, which is not a string.", fix="Make it one string.")
    return value


def label(value: Any, where: str) -> str:
    """Return a label by its name: a word, a number or a truth value; 1.0 is 1, and é is é however it is written."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    odd = value is None or value == IGNORED or isinstance(value, (list, dict)) or _no_number(value)
    if odd or str(value).strip() == "":
        raise DataError(f"{where}: found {show(value)}, which is no label.", fix="Give every row one label.")
    return unicodedata.normalize("NFC", str(value).strip())


def _no_number(value: Any) -> bool:
    """Tell whether a value is NaN or infinite: what a table writes where nothing is."""
    return isinstance(value, float) and not math.isfinite(value)


def words(value: Any, where: str) -> list[str]:
    """Return a list of strings or numbers, as of words or of tags; a cell of a table may hold it as JSON."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError):
            value = json.loads(value)
    if not isinstance(value, list) or not all(isinstance(one, (str, int)) for one in value):
        raise DataError(f"{where}: found {show(value)}, which is no list of strings.", fix='Write ["a", "b"].')
    return [str(one) for one in value]


def tags(value: Any, where: str) -> list[str]:
    """Return a list of labels, one a word."""
    found = [unicodedata.normalize("NFC", one.strip()) for one in words(value, where)]
    odd = next((one for one in found if one in ("", str(IGNORED))), None)
    if odd is not None:
        raise DataError(f"{where}: found {show(odd)}, which is no tag.", fix="Write O for a word that has none.")
    return found


WRITTEN: Mapping[str, Callable[[Any, str], Any]] = {"text": text, "triples": triples_line}
CHECKS: Mapping[str, Callable[[Any, str], Any]] = {
    "text": text, "source": text, "instruction": text, "output": text,
    "prompt": lambda value, where: asked(value, where, text),
    "completion": lambda value, where: answered(value, where, text),
    "label": label, "label_name": label, "tokens": words, "tags": tags,
    "messages": messages, "conversations": messages,
}  # fmt: skip

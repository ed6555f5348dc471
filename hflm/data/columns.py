"""Which column plays which role: found by name, said aloud, and never guessed in silence."""

import difflib
import re
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from hflm import language_codes
from hflm.errors import DataError, UsageError
from hflm.language_codes import LANGUAGE_NAMES
from hflm.task import OPTIONS

Roles = Mapping[str, tuple[str, ...]]
Mapped = dict[str, str]
# Columns named in a message.
MOST_SHOWN = 12
# What columns are called in other languages -> in English.
NATIVE = {
    "文本": "text", "内容": "content", "內容": "content", "标签": "label", "標籤": "label", "类别": "category",
    "類別": "category", "摘要": "summary", "原文": "source", "译文": "target", "譯文": "target", "问题": "question",
    "問題": "question", "回答": "answer", "テキスト": "text", "ラベル": "label", "要約": "summary",
    "النص": "text", "نص": "text", "التصنيف": "label", "الفئة": "category", "الملخص": "summary",
    "texto": "text", "etiqueta": "label", "resumen": "summary", "pregunta": "question", "respuesta": "answer",
    "texte": "text", "étiquette": "label", "résumé": "summary", "klasse": "class", "kategorie": "category",
    "zusammenfassung": "summary", "frage": "question", "antwort": "answer", "текст": "text", "метка": "label",
    "पाठ": "text", "लेबल": "label",
}  # fmt: skip


def called(columns: Sequence[str]) -> Mapped:
    """Return every name that finds a column: its own, and that in small letters."""
    small = {column.strip().lower(): column for column in reversed(columns)}
    # A model keeps the column that it was trained on as it is written.
    return {**{column: column for column in columns}, **small}


def in_english(columns: Sequence[str]) -> Mapped:
    """Return what NATIVE columns are called in English; asked where no column has one of the English names."""
    names = {column: unicodedata.normalize("NFC", column.strip()).casefold() for column in reversed(columns)}
    return {NATIVE[name]: column for column, name in names.items() if name in NATIVE}


def named(columns: Sequence[str], roles: Roles) -> Mapped:
    """Return the roles whose columns are found by name, the first accepted one of each."""
    plain, native = called(columns), in_english(columns)
    first = {role: next((known[n] for known in (plain, native) for n in names if n in known), None)
             for role, names in roles.items()}  # fmt: skip
    return {role: column for role, column in first.items() if column is not None}


def match_columns(
    columns: Sequence[str], *, roles: Roles, shapes: Sequence[Sequence[str]], given: Mapping[str, str], where: str
) -> Mapped:
    """Map roles to columns: those `given`, else the first accepted name that is there.

    `shapes` are the sets of roles that make a whole row, in order of preference; the first that is complete is
    taken, with the roles that no shape needs where they are found. Raises DataError where none is, or a given column is
    missing, and UsageError for a role that the task does not know.
    """
    for role, column in given.items():
        if role not in roles:
            fix = f"It reads {', '.join(f'--{flag(name)}' for name in roles if name in OPTIONS)}."
            raise UsageError(f"--{flag(role)} {column}: the task has no {role}.", fix=fix)
        if column not in columns:
            raise DataError(
                f"{where}: no column {column!r}; it has {_shown(columns)}.", fix=_guess(column, columns, role)
            )
    plain = called(columns)
    found = {role: plain[name] for role, names in roles.items() for name in reversed(names) if name in plain}
    found |= given
    asked = [shape for shape in shapes if any(role in given for role in shape)]
    if not any(found.keys() >= {*shape} for shape in asked or shapes):
        found = named(columns, roles) | found
    for shape in asked or shapes:
        if all(role in found for role in shape):
            taken = [found[role] for role in shape]
            twice = next((column for column in taken if taken.count(column) > 1), None)
            if twice:
                raise DataError(
                    f"{where}: column {twice!r} cannot be {' and '.join(shape)}.", fix=f"Pass --{flag(shape[0])} NAME."
                )
            others = {role for roles in shapes for role in roles} - set(shape)
            return {role: column for role, column in found.items() if role not in others}
    shape = max(asked or shapes, key=lambda roles: sum(role in found for role in roles))
    missing = next(role for role in shape if role not in found)
    names = ", ".join(repr(name) for name in roles[missing][:6]) or "one"
    problem = f"{where}: no column for the {missing} ({names}); it has {_shown(columns)}."
    if list(columns) == ["text"]:
        # Lines of a .txt file, say, of which the answers stand in another one.
        fix = "Give a table whose first line names its columns; `paste` makes one of two files."
        raise DataError(problem, fix=fix)
    if not found and len(columns) > 1:
        problem += " The first line of a table must name its columns."
    raise DataError(problem, fix=_guess(roles[missing], [c for c in columns if c not in found.values()], missing))


def flag(role: str) -> str:
    """Return the option that names a role's column."""
    return f"{role.replace('_', '-')}-column"


def _guess(wanted: str | Sequence[str], columns: Sequence[str], role: str) -> str:
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    near = [match for name in names for match in difflib.get_close_matches(name, columns, 1)]
    if role not in OPTIONS:
        return f"Did you mean {near[0]!r}? Call it {names[0]!r}." if near else f"Call the column {names[0]!r}."
    if near:
        return f"Did you mean {near[0]!r}? Pass --{flag(role)} {shlex.quote(near[0])}."
    return f"Pass --{flag(role)} NAME."


def _shown(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - MOST_SHOWN} more" if len(columns) > MOST_SHOWN else ""
    return f"{list(columns[:MOST_SHOWN])}{more}"


# Codes that are usual names of columns too: the number of the row, or an English word.
WORDS = {"am", "be", "id", "is", "my", "no", "so"}

# What columns are called besides: languages that have several codes of three letters, by the one for all of them.
SHORT = {**language_codes.SHORT, "ara": "ar", "cmn": "zh", "fas": "fa"}
# en_XX, pt-BR, zh-Hans, eng_Latn: a language with a country or a script.
WITH_PLACE = re.compile(r"([a-z]{2,3})[-_](?:[A-Z]{2}|[A-Z][a-z]{3})")
CODE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z]{2,4})?")


def language_name(code: str) -> str:
    """Return a language's English name where it is known, else the code itself; `eng_Latn` and `en_XX` too."""
    return LANGUAGE_NAMES.get(_short(code), code)


def language_code(column: str) -> str | None:
    """Return the code of the language that a column is called by, a code or an English name; None for other names."""
    name = column.strip()
    if name.lower() in LANGUAGE_NAMES or (WITH_PLACE.fullmatch(name) and _short(name) in LANGUAGE_NAMES):
        return name
    return next((code for code, full in LANGUAGE_NAMES.items() if full.lower() == name.lower()), None)


def _short(code: str) -> str:
    plain = re.split("[-_]", code.lower())[0]
    return SHORT.get(plain, plain)


def language_roles(columns: Sequence[str], *, source: str | None, target: str | None, where: str) -> dict[str, str]:
    """Find the columns of two languages, by their codes; with none named, the only two that look like languages.

    Raises DataError where the languages must be named.
    """
    if source and target:
        found = {"source": _column_of(source, columns), "target": _column_of(target, columns)}
        return {role: column for role, column in found.items() if column is not None}
    if source or target:
        return {}
    known = [column for column in columns if language_code(column)]
    sure = [column for column in known if column.strip().lower() not in WORDS]
    if len(sure) < 2 and len(known) == 2 and {*columns} - {"translation"} == {*known}:
        sure = known
    if len(sure) == 2:
        return {"source": sure[0], "target": sure[1]}
    if len(sure) > 2:
        raise DataError(
            f"{where}: columns in {len(sure)} languages: {_shown(sure)}.", fix="Pass --source-lang and --target-lang."
        )
    return {}


def _column_of(code: str, columns: Sequence[str]) -> str | None:
    """Return the column of a language: called by its code, its short code or its name, or the only one of it."""
    plain = {column.strip().lower(): column for column in reversed(columns)}
    names = (code.lower(), re.split("[-_]", code.lower())[0], _short(code), language_name(code).lower())
    exact = next((plain[name] for name in names if name in plain), None)
    like = [column for column in columns if (found := language_code(column)) and _short(found) == _short(code)]
    return exact or (like[0] if len(like) == 1 else None)


def could_be_languages(columns: Sequence[str]) -> list[str]:
    """Return the columns whose names have the form of codes, known or not."""
    return [column for column in columns if CODE.fullmatch(column.strip()) and column.strip().lower() not in WORDS]


# Text of these is no text to read or to write.
MARKS = re.compile(
    r"(.*[_-])?(id|idx|index|url|link|date|time|lang|language|split|source_?file|file|name)", re.IGNORECASE
)


def by_place(values: Mapping[str, Any], *, roles: Roles, shape: Sequence[str]) -> Mapped | None:
    """Give the roles of a shape that no name is found for the first columns with text, in order; None for too few."""
    found = named(list(values), {role: roles[role] for role in shape})
    left = [column for column, value in values.items() if column not in found.values() and _is_text(column, value)]
    missing = [role for role in shape if role not in found]
    if len(left) < len(missing):
        return None
    return {**found, **dict(zip(missing, left, strict=False))}


def _is_text(column: str, value: Any) -> bool:
    return isinstance(value, str) and bool(re.search(r"[^\W\d_]", value)) and not MARKS.fullmatch(column.strip())

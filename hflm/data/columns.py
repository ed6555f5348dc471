"""Which column plays which role: found by name, said aloud, and never guessed in silence."""

import difflib
from collections.abc import Mapping, Sequence

from hflm.errors import DataError, UsageError

Roles = Mapping[str, tuple[str, ...]]
Mapped = dict[str, str]
# Columns named in a message.
MOST_SHOWN = 12


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
            fix = f"It reads {', '.join(f'--{flag(name)}' for name in roles)}."
            raise UsageError(f"--{flag(role)} {column}: the task has no {role}.", fix=fix)
        if column not in columns:
            raise DataError(
                f"{where}: no column {column!r}; it has {_shown(columns)}.", fix=_guess(column, columns, role)
            )
    plain = {column.strip().lower(): column for column in reversed(columns)}
    found = {role: plain[name] for role, names in roles.items() for name in reversed(names) if name in plain}
    found |= given
    asked = [shape for shape in shapes if any(role in given for role in shape)]
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
    raise DataError(problem, fix=_guess(roles[missing], [c for c in columns if c not in found.values()], missing))


def flag(role: str) -> str:
    """Return the option that names a role's column."""
    return f"{role.replace('_', '-')}-column"


def _guess(wanted: str | Sequence[str], columns: Sequence[str], role: str) -> str:
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    near = [match for name in names for match in difflib.get_close_matches(name, columns, 1)]
    if near:
        return f"Did you mean {near[0]!r}? Pass --{flag(role)} {near[0]}."
    return f"Pass --{flag(role)} NAME."


def _shown(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - MOST_SHOWN} more" if len(columns) > MOST_SHOWN else ""
    return f"{list(columns[:MOST_SHOWN])}{more}"


LANGUAGE_NAMES = {
    "ar": "Arabic", "cs": "Czech", "de": "German", "en": "English", "es": "Spanish", "fa": "Persian", "fr": "French",
    "he": "Hebrew", "hi": "Hindi", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean",
    "nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sv": "Swedish",
    "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


# ISO 639-3 -> 639-1, as in `eng_Latn`.
SHORT = {
    "ara": "ar", "arb": "ar", "ces": "cs", "deu": "de", "eng": "en", "spa": "es", "fas": "fa", "pes": "fa",
    "fra": "fr", "heb": "he", "hin": "hi", "ind": "id", "ita": "it", "jpn": "ja", "kor": "ko", "nld": "nl",
    "pol": "pl", "por": "pt", "ron": "ro", "rus": "ru", "swe": "sv", "tha": "th", "tur": "tr", "ukr": "uk",
    "vie": "vi", "zho": "zh",
}  # fmt: skip


def language_name(code: str) -> str:
    """Return a language's English name where it is known, else the code itself; `eng_Latn` and `en_XX` too."""
    return LANGUAGE_NAMES.get(_short(code), code)


def _short(code: str) -> str:
    plain = code.lower().split("_")[0]
    return SHORT.get(plain, plain)


def language_roles(columns: Sequence[str], *, source: str | None, target: str | None, where: str) -> dict[str, str]:
    """Find the columns of two languages, by their codes; with none named, the only two that look like codes.

    Raises DataError where a named language has no column, or the languages must be named.
    """
    plain = {column.strip().lower(): column for column in reversed(columns)}
    if source and target:
        found: dict[str, str] = {}
        for role, code in (("source", source), ("target", target)):
            names = (code.lower(), code.lower().split("_")[0], _short(code), language_name(code).lower())
            column = next((plain[name] for name in names if name in plain), None)
            if column is not None:
                found[role] = column
        return found
    codes = [column for column in columns if column.strip().lower() in LANGUAGE_NAMES]
    if len(codes) > 2:
        # Hardly ever Indonesian: the number of the row.
        codes = [column for column in codes if column.strip().lower() != "id"]
    if len(codes) == 2 and not source and not target:
        return {"source": codes[0], "target": codes[1]}
    if len(codes) >= 2:
        raise DataError(
            f"{where}: columns in {len(codes)} languages: {codes}.", fix="Pass --source-lang and --target-lang."
        )
    return {}

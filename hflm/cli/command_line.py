"""A command that looks at its line as it was written, for what the parser takes otherwise than it was meant."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import PurePath
from typing import Any

from typer.core import TyperCommand

from hflm.errors import UsageError
from hflm.settings import read_yaml

# Options that name files beside the data, which bare words are.
OF_FILES = ("eval_data", "validation_file", "test_file", "against")


class CheckedCommand(TyperCommand):
    """A command that refuses two values of one option, and files of an option that would be taken for data."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = list(takewhile(lambda word: word != "--", args))
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            options = {name: option for option in self.params for name in option.opts if name.startswith("--")}
            _check_twice(options, words)
            bare = [ctx.params.get(one.name) or () for one in self.params if one.nargs == -1]
            if bare:
                _check_behind(options, words, bare=sum(map(len, bare)), given=ctx.params)
        return rest


def _check_twice(options: Mapping[str, Any], words: Sequence[str]) -> None:
    """Raise UsageError where an option stands there by two names and with two values: the later would win."""
    said: dict[str, dict[str, str]] = {}
    for place, word in enumerate(words):
        name, equals, value = _named(word)
        option = options.get(name)
        if option is None or option.multiple or option.is_flag:
            continue
        # Of one name the last counts, as scripts add an override.
        said.setdefault(option.name, {})[name] = value if equals else "".join(words[place + 1 : place + 2])
    for setting, values in said.items():
        (one, before), *others = values.items()
        for other, value in others:
            # As transformers has it: no steps of a warm-up, and then its share.
            if not _same(before, value) and not (setting == "warmup" and _same(before, "0")):
                raise UsageError(f"{one} {before} and {other} {value} are one setting.", fix="Keep one of them.")


def _check_behind(options: Mapping[str, Any], words: Sequence[str], *, bare: int, given: Mapping[str, Any]) -> None:
    """Raise UsageError for bare words behind an option of files, as a shell spells out a glob: they would be data.

    Where nothing else names the data, a word behind is the data: `--eval-data held.txt train.txt`. It is not where
    several are behind that are called as the file of the option is.
    """
    file = given.get("config")
    told = read_yaml(file) if file and file.is_file() else {}
    for place, word in enumerate(words):
        name, equals, _ = _named(word)
        option = options.get(name)
        behind = list(takewhile(lambda one: not one.startswith("-"), words[place + 2 :]))
        if option is None or option.name not in OF_FILES or equals or not behind:
            continue
        elsewhere = bare > len(behind) or any(one.get(name) for one in (given, told) for name in ("data", "train_file"))
        first, second = PurePath(words[place + 1]), PurePath(behind[0])
        alike = (first.parent, first.suffix) == (second.parent, second.suffix)
        if elsewhere or (alike and len(behind) > 1):
            fix = f"Repeat {name} for each file, or quote" if option.multiple else "Quote"
            raise UsageError(
                f"{name} takes one file, {first}: {second} behind it would be taken for data.",
                fix=f"{fix} the pattern; data stands before {name}.",
            )


def _named(word: str) -> tuple[str, str, str]:
    """Return an option as hflm spells it, and what stands behind its =."""
    name, equals, value = word.partition("=")
    return name.replace("_", "-"), equals, value


def _same(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return one == other

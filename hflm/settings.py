"""Settings as frozen data: one source for flags, help text, YAML and the run folder.

A configuration is a frozen dataclass of `setting` fields with a `check` of its own. Here is what all of them share.
"""

import difflib
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hflm.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one job; `job` is the command that takes them."""

    job: ClassVar[str]

    def check(self) -> None:
        """Raise UsageError where a value is out of its range or two settings contradict each other."""


Config = TypeVar("Config", bound=Settings)


def setting(default: Any, help: str, *, group: str, flags: tuple[str, ...] = ()) -> Any:
    """Declare one setting: its default, the text of `--help` and the panel it stands in."""
    metadata = {"help": help, "group": group, "flags": flags}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def build(kind: type[Config], values: Mapping[str, Any], *, where: str) -> Config:
    """Build a configuration of `kind` from plain values; `where` is named in errors.

    Raises UsageError for an unknown key or a value of the wrong type; ranges are the configuration's own to check.
    """
    config = kind(**checked(kind, values, where=where))
    config.check()
    return config


def checked(kind: type[Settings], values: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Return values in the types of the settings of `kind`.

    Raises UsageError for a name that is no setting or a value of the wrong type; `where` is named.
    """
    known, hints = {item.name for item in fields(kind)}, typing.get_type_hints(kind)
    for name in values:
        if name not in known:
            guess = difflib.get_close_matches(name, known, 1)
            hint = f"Did you mean {guess[0]!r}?" if guess else f"`hflm {kind.job} --help` lists them all."
            raise UsageError(f"Unknown setting {name!r} in {where}.", fix=hint)
    return {name: _typed(name, value, hints[name], where) for name, value in values.items()}


def other_names(kind: type[Settings]) -> dict[str, str]:
    """Return the names that settings have in other tools, as num_train_epochs, and hflm's own for them."""
    return {other.lstrip("-").replace("-", "_"): item.name for item in fields(kind) for other in item.metadata["flags"]}


def own_names(kind: type[Settings], values: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Give settings that go by a name of other tools their own; `where` they stand is named in errors.

    Raises UsageError where two names of one setting have two values. What says nothing gives way to what does:
    transformers writes `warmup_steps: 0` beside a `warmup_ratio`, and null for what is not set.
    """
    known, found, said = other_names(kind), dict[str, Any](), dict[str, str]()
    for key, value in values.items():
        name = known.get(key, key)
        if name in said:
            before, now = _weight(name, found[name]), _weight(name, value)
            if before == now and _plain(found[name]) != _plain(value):
                raise UsageError(
                    f"{said[name]!r} is {found[name]!r} and {key!r} is {value!r} in {where}: they are one setting.",
                    fix="Keep one of them.",
                )
            if now <= before:
                continue
        found[name], said[name] = value, key
    return found


def _weight(name: str, value: Any) -> int:
    """Tell how much a value says beside another one of the same setting: null nothing, no warm-up little."""
    return 0 if value is None else 1 if name == "warmup" and _plain(value) == 0 else 2


def _plain(value: Any) -> Any:
    return _number(value) if isinstance(value, str) else value


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping of settings from a YAML file."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        _check_twice(yaml.compose(text, Loader=yaml.SafeLoader), path)
        content = yaml.safe_load(text)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.", fix="Check the path given to --config.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x}.", fix="Save it so.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # A day that no month has is a ValueError of Python's own.
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path}{line} is not YAML.", fix="Write one `name: value` a line.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds no settings.", fix="Write one `name: value` a line.")
    return {str(key).replace("-", "_"): value for key, value in content.items()}


def _check_twice(node: Any, path: Path) -> None:
    """Raise UsageError where a file says a setting twice: YAML itself takes the later one without a word."""
    seen: dict[str, int] = {}
    for key, _ in node.value if node is not None and node.id == "mapping" else ():
        name, line = str(key.value).replace("-", "_"), key.start_mark.line + 1
        if name in seen:
            raise UsageError(f"{path}, line {line}: {name!r} stands in line {seen[name]} too.", fix="Keep one of them.")
        seen[name] = line


def to_dict(config: Settings) -> dict[str, Any]:
    """Return the settings as plain values that YAML and JSON can hold."""
    values = ((item.name, getattr(config, item.name)) for item in fields(config))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values}


def to_yaml(config: Settings) -> str:
    """Return the settings as YAML that `--config` reads back."""
    import yaml

    return str(yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True))


def flag(name: str) -> str:
    """Return a setting's name as it is written on the command line."""
    return name.replace("_", "-")


def seconds(budget: str, *, name: str = "budget") -> float:
    """Read a duration such as 90s, 10m, 1.5h or 90 (seconds); `name` is the setting that it stands in."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", budget.strip().lower())
    if not match or float(match[1]) == 0:
        raise UsageError(f"--{flag(name)} {budget!r} is no duration.", fix="Write 90s, 10m or 2h.")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


# Settings that are numbers or words: what a file or a shell gives as a number is text all the same.
NUMBERS_AS_TEXT = ("budget", "processes", "rank_timeout")


def _typed(name: str, value: Any, declared: Any, where: str) -> Any:
    """Turn a value from YAML or a flag into the declared type of the setting."""
    if typing.get_origin(declared) is types.UnionType:
        if value is None:
            return None
        declared = next(kind for kind in typing.get_args(declared) if kind is not type(None))
    if typing.get_origin(declared) is tuple:
        if isinstance(value, (bool, Mapping)):
            raise UsageError(f"{name!r} in {where} is {value!r}.", fix="It must be text, or a list of texts.")
        several = value if isinstance(value, (list, tuple)) else () if value is None else (value,)
        return tuple(str(item) for item in several)
    if typing.get_origin(declared) is Mapping or typing.get_origin(declared) is not None:
        declared = dict
    # YAML 1.1 reads 2e-3 as text: a number that float() understands is what was meant.
    if declared in (int, float) and isinstance(value, str):
        value = _number(value)
    if declared is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if declared is str and isinstance(value, int) and name in NUMBERS_AS_TEXT:
        value = str(value)
    if not isinstance(value, declared) or (declared is int and isinstance(value, bool)):
        wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "text", dict: "a mapping"}[
            declared
        ]
        raise UsageError(f"{name!r} in {where} is {value!r}.", fix=f"It must be {wanted}.")
    return value


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def check_choices(config: Settings, choices: Mapping[str, tuple[str, ...]]) -> None:
    """Raise UsageError where a setting is none of its choices; None is left alone."""
    for name, allowed in choices.items():
        value = getattr(config, name)
        if value is not None and value not in allowed:
            guess = difflib.get_close_matches(str(value), allowed, 1)
            hint = f"Did you mean {guess[0]!r}?" if guess else f"Choose one of {', '.join(allowed)}."
            raise UsageError(f"--{flag(name)} is {value!r}.", fix=hint)


def check_not_empty(config: Settings, names: tuple[str, ...]) -> None:
    """Raise UsageError where one of these settings, which may be left away, is an empty text."""
    for name in names:
        if getattr(config, name, None) == "":
            raise UsageError(f"--{flag(name)} is empty.", fix="Name something, or leave it away.")


def check_numbers(config: Settings, *, positive: tuple[str, ...], not_negative: tuple[str, ...] = ()) -> None:
    """Raise UsageError where a number is not above 0, or below it; None is left alone."""
    for names, above, text in ((positive, True, "more than 0"), (not_negative, False, "0 or more")):
        for name in names:
            value = getattr(config, name)
            if value is not None and not (math.isfinite(value) and (value > 0 if above else value >= 0)):
                text = text if math.isfinite(value) else f"a number, and {text}"
                raise UsageError(f"--{flag(name)} is {value}.", fix=f"It must be {text}.")


# Three ways to say how long a run is: what the flags say puts out what a file or a recipe says.
LENGTHS = ("budget", "max_steps", "epochs")


def overlay(*layers: Mapping[str, Any], puts_out: Mapping[str, tuple[str, ...]] | None = None) -> dict[str, Any]:
    """Lay settings over each other, later ones winning; a length in one layer puts out the lengths below it.

    `puts_out` names more settings that put out others of the layers below.
    """
    rules = {**dict.fromkeys(LENGTHS, LENGTHS), **(puts_out or {})}
    result: dict[str, Any] = {}
    for layer in layers:
        gone = {other for name, others in rules.items() if layer.get(name) is not None for other in others}
        result = {name: value for name, value in result.items() if name not in gone}
        result.update(layer)
    return result

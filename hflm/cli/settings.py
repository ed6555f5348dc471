"""Command-line options made from the fields of a configuration: one source for names, help and defaults."""

import inspect
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import typer

from hflm.errors import UsageError
from hflm.resume import settings_of
from hflm.run import RunFolder
from hflm.settings import Settings as Config
from hflm.settings import flag, other_names, overlay, own_names, read_yaml
from hflm.training.recorded import check_records
from hflm.training_settings import PUTS_OUT, TrainingSettings

Trained = TypeVar("Trained", bound=TrainingSettings)

# Only values that stand on the command line reach the configuration; None means that a flag was not given.
Settings = dict[str, Any]


def with_settings(
    command: Callable[..., None],
    *kinds: type[Config],
    argument: str | None = None,
    usual: Mapping[str, str] | None = None,
) -> Callable[..., None]:
    """Give a command an option for every setting of one job or several; it receives those given as `settings`.

    `argument` names the setting, if any, that is read from the words without a flag. A name that several jobs have is
    described as the first of them does. `usual` says what a setting is by default where the job or its recipe says it
    otherwise than the field.
    """
    own = [p for p in inspect.signature(command).parameters.values() if p.name != "settings"]
    hints = {name: hint for kind in reversed(kinds) for name, hint in typing.get_type_hints(kind).items()}
    items = {item.name: item for kind in reversed(kinds) for item in _own_first(kind)}
    told = usual or {}
    found = [_parameter(items[item.name], hints[item.name], told, positional=False) for item in _in_order(kinds)]
    words = [_parameter(item, hints[name], told, positional=True) for name, item in items.items() if name == argument]
    # `--data a.txt b.txt`, as a shell spells out a glob: the option takes the first, the bare words are the rest.
    made = [parameter for parameter in (*words, *found) if parameter is not None]
    names = [parameter.name for parameter in found if parameter is not None]

    def called(**values: Any) -> None:
        given = {name: values.pop(name) for name in names}
        if argument:
            given[argument] = [*(given[argument] or []), *(values.pop(f"{argument}_words") or [])]
        command(settings={name: value for name, value in given.items() if value not in (None, [], ())}, **values)

    called.__doc__ = command.__doc__
    called.__signature__ = inspect.Signature([*(p for p in made if p), *own])  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in [*made, *own] if p}
    return called


def _in_order(kinds: Sequence[type[Config]]) -> list[Field[Any]]:
    """Return the fields of the jobs, each once: of the jobs themselves in turn, then what all of them share."""
    seen = {item.name: item for kind in kinds for item in _own_first(kind)}
    shared = {item.name for item in fields(TrainingSettings)}
    return sorted(seen.values(), key=lambda item: item.name in shared)


def _own_first(kind: type[Config]) -> list[Field[Any]]:
    """Return the fields with those of the job itself first: help shows them in this order."""
    shared = {item.name for base in kind.__mro__[1:] if is_dataclass(base) for item in fields(base)}
    return sorted(fields(kind), key=lambda item: item.name in shared)


def _parameter(
    item: Field[Any], declared: Any, usual: Mapping[str, str], *, positional: bool
) -> inspect.Parameter | None:
    kind = _plain(declared)
    if kind is None:
        return None
    meta, default = item.metadata, item.default
    text = meta["help"]
    if positional:
        option: Any = typer.Argument(help=text, metavar="[DATA]...")
    else:
        flag = f"--{item.name.replace('_', '-')}"
        shown = default if default not in (None, (), "") and not isinstance(default, bool) else None
        shown = usual.get(item.name, shown)
        names = (f"{flag}/--no-{flag[2:]}",) if kind is bool else (flag, *meta["flags"])
        if shown is not None:
            # In brackets it would be taken for markup, and not be shown.
            text = f"{text} Default: {shown}."
        option = typer.Option(*names, help=text, rich_help_panel=meta["group"], show_default=False)
    annotation: Any = typing.Annotated[kind | None, option]
    name = f"{item.name}_words" if positional else item.name
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _plain(declared: Any) -> Any:
    """Return the type that typer reads: a setting of several values may be given several times."""
    if typing.get_origin(declared) is types.UnionType:
        declared = next(kind for kind in typing.get_args(declared) if kind is not type(None))
    if typing.get_origin(declared) is tuple:
        return list[str]
    return declared if declared in (str, int, float, bool) else None


def new_run(name: str, *, slurm: bool = False) -> Path:
    """Return a folder for a run that has none; of jobs that are handed to SLURM, many may be within a second."""
    number = f"-{os.getpid()}" if slurm else ""
    return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}{number}"


def check_resume(resume: bool, *, overwrite: bool, allow_change: bool) -> None:
    """Raise UsageError for an option that would do nothing: of a new run where one goes on, or the other way."""
    if resume and overwrite:
        raise UsageError("--resume goes on with a run, and --overwrite replaces it.", fix="Give one of them.")
    if allow_change and not resume:
        raise UsageError("--allow-change is for a run that goes on.", fix="Pass --resume too, or leave it away.")


def resumed(
    kind: type[Trained], output_dir: Path | None, *, given: Settings, config: Path | None, allow_change: bool
) -> tuple[RunFolder, Trained]:
    """Return the run that is to go on, and the settings that it began with.

    Raises UsageError where no folder is named, where a setting that is given again differs, or a record was changed.
    """
    if not output_dir:
        raise UsageError("--resume needs the run's folder.", fix="Pass --output-dir RUN --resume.")
    run = RunFolder.open(output_dir)
    resolved = settings_of(kind, run, asked_again(kind, config, given), allow_change=allow_change)
    if not allow_change:
        check_records(run)
    return run, resolved


def asked_again(kind: type[Config], file: Path | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a run which goes on is given: of a file, and of the command line."""
    return overlay(own_names(kind, read_yaml(file), where=str(file)) if file else {}, given, puts_out=PUTS_OUT)


# Flags that bring numbers of their own; to a pretraining an architecture brings none.
BRINGS = {"pretrain": ("model",), "finetune": ("model", "arch", "lora_rank"), "distill": ("model", "lora_rank")}
BROUGHT = ("learning_rate", "optimizer", "schedule")


def kept(resolved: Trained, given: Settings, file: Path | None, again: Callable[..., Trained]) -> list[str]:
    """Say which numbers stay as a file has them though a flag brings others; `again` puts the settings together."""
    kind, where = type(resolved), str(file)
    # A pipe is read once.
    told = own_names(kind, read_yaml(file), where=where) if file and file.is_file() else {}
    flags = [name for name in BRINGS[kind.job] if given.get(name) not in (None, told.get(name))]
    names = [name for name in BROUGHT if told.get(name) is not None and given.get(name) is None]
    if not flags or not names:
        return []
    rest = {n: value for n, value in told.items() if n not in names}
    usual, before = (
        _usual(again, file=rest, flags=given_too, where=where)
        for given_too in (given, {n: value for n, value in given.items() if n not in flags})
    )
    found, by = [], " and ".join(f"--{flag(name)}" for name in flags)
    for name in names if usual else []:
        own, other = getattr(resolved, name), getattr(usual, name)
        brought = other is None or before is None or getattr(before, name) != other
        if brought and other not in (own, "auto"):
            usually = "goes by the model" if other is None else f"is usually {other}"
            found.append(f"{name.replace('_', ' ')} {own} stays as {file} has it; with {by} it {usually}")
    return found


def _usual(again: Callable[..., Trained], **told: Any) -> Trained | None:
    """Put settings together; None where a number that was taken out of the file is what the rest of it needs."""
    try:
        return again(**told)
    except UsageError:
        return None


# Other words for a name of hflm, and no names of other tools.
SHORTHANDS = {"lr", "student"}


def notices(words: list[str], kind: type[Config]) -> list[str]:
    """Say which names of older tools stand on the command line, and hflm's own names for them."""
    known = {name: own for name, own in other_names(kind).items() if name not in SHORTHANDS}
    found = [word.split("=")[0][2:].replace("-", "_") for word in words if word.startswith("--")]
    return [
        f"--{name.replace('_', '-')} is understood; hflm calls it --{known[name].replace('_', '-')}."
        for name in dict.fromkeys(found)
        if name in known
    ]

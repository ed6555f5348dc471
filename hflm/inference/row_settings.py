"""What an unfinished file of rows is made with, in a hidden file beside it: nothing else goes on with it."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hflm.errors import UsageError
from hflm.run import read_object, write_json


def check_settings(output: Path, settings: Mapping[str, Any]) -> None:
    """Raise UsageError where a file of rows was begun with something else; where that is lost, nothing is known."""
    now, before = _plain(settings), dict[str, Any]()
    with suppress(ValueError):
        before = read_object(_beside(output), or_else=ValueError())
    changed = [name.replace("_", " ") for name in now if before.get(name, now[name]) != now[name]]
    if changed:
        raise UsageError(
            f"{output} was begun with another {' and another '.join(changed)}.",
            fix="Give what it was begun with, or name another output.",
        )


def keep_settings(output: Path, settings: Mapping[str, Any]) -> None:
    """Keep beside a file of rows what it is made with, until it is done."""
    # The rows may be written where nothing may be written beside them.
    with suppress(OSError):
        write_json(_beside(output), _plain(settings))


def drop_settings(output: Path) -> None:
    """Forget what a file of rows was made with: it is done."""
    with suppress(OSError):
        _beside(output).unlink(missing_ok=True)


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(settings, default=str)))


def _beside(output: Path) -> Path:
    return output.with_name(f".{output.name}.settings.json")

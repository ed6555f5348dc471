"""`hflm runs [FOLDER]` and `hflm runs show RUN`."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hflm.runs import RunSummary

DEFAULT = Path("runs")


class ListByDefault(TyperGroup):
    """`hflm runs [FOLDER]` means `hflm runs list [FOLDER]`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


command = typer.Typer(cls=ListByDefault, help="List the runs in a folder (`hflm runs [FOLDER]`), or show one.")


@command.command("list")
def list_command(
    folder: Annotated[Path | None, typer.Argument(help="Folder with runs, or one run; default: runs.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the runs in a folder, oldest first."""
    from hflm.cli.show import print_json, table
    from hflm.runs import list_runs

    # The default folder is made by the first run: before that there is nothing wrong, and nothing to list.
    runs = list_runs(folder or DEFAULT) if folder or DEFAULT.is_dir() else []
    if json:
        print_json([asdict(run) for run in runs])
    elif runs:
        table([_row(run) for run in runs], ("run", "when", "job", "data", "size", "loss", "time", "status"))
    else:
        print(f"No runs in {folder or DEFAULT}. `hflm pretrain` makes one.")


@command.command("show")
def show_command(run: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Print a run's settings, results and last log lines."""
    from hflm.run import RunFolder
    from hflm.runs import last_lines, without_tables

    folder = RunFolder.open(run)
    for path in (folder.config, folder.metrics):
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else "(not there: unfinished)"
        print(f"{path}\n{(without_tables(text) if path == folder.metrics else text).rstrip()}\n")
    print(folder.log, *(last_lines(folder.log) or ["(empty)"]), sep="\n")


def _row(run: RunSummary) -> dict[str, str | None]:
    return {
        "run": str(run.path),
        "when": _local(run.started),
        "job": run.job,
        "data": run.data,
        "size": None if run.parameters is None else f"{run.parameters / 1e6:.1f}M",
        "loss": None if run.eval_loss is None else f"{run.eval_loss:.3f}",
        "time": None if run.seconds is None else _duration(round(run.seconds)),
        "status": run.status,
    }


def _local(started: str | None) -> str | None:
    """Return a time as the clock here showed it, as the names of run folders do."""
    try:
        return started and datetime.fromisoformat(started).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return started


def _duration(seconds: int) -> str:
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds % 60:02}s"

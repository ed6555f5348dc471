"""`hflm plan`: parse, call, show."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hflm.cli.finetune import resolved_task
from hflm.cli.progress import Progress
from hflm.cli.settings import notices, with_settings
from hflm.cli.show import print_json
from hflm.finetune_config import FinetuneConfig


def _plan(
    *,
    settings: dict[str, Any],
    config: Annotated[Path | None, typer.Option(help="YAML file with settings; flags win over it.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON, and nothing else.")] = False,
) -> None:
    """Say what `hflm finetune` with the same settings would do and take; nothing is trained or written."""
    task, resolved = resolved_task(settings, config)
    from hflm.plan import plan

    with Progress(quiet=json) as progress:
        for notice in notices(sys.argv, FinetuneConfig):
            progress.note(notice)
        found = plan(resolved, task, watch=progress.watch)
    if json:
        print_json(found)


command = with_settings(_plan, FinetuneConfig, argument="data")

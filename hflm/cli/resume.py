"""`hflm resume RUN`."""

from pathlib import Path
from typing import Annotated

import typer

from hflm.cli.machines import MachineRank, Machines, Rendezvous, together
from hflm.cli.progress import Progress
from hflm.cli.show import print_json
from hflm.resume import resume


def command(
    run: Annotated[Path, typer.Argument(help="Folder of a run that was stopped.")],
    allow_change: Annotated[
        bool, typer.Option("--allow-change", help="Go on though data, weights or settings have changed.")
    ] = False,
    machines: Machines = None,
    machine_rank: MachineRank = None,
    rendezvous: Rendezvous = None,
    json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON, and nothing else.")] = False,
) -> None:
    """Go on with a run from its newest whole checkpoint; its folder says everything else.

    hflm resume out
    """
    progress = Progress(quiet=json)
    with progress:
        given = together(machines, machine_rank, rendezvous)
        metrics = resume(run, watch=progress.watch, allow_change=allow_change, machines=given)
    if json:
        print_json({"run": str(run), **metrics})
    elif metrics["job"] == "distill":
        from hflm.cli.distill import report

        report(run, metrics)
    elif metrics["job"] == "finetune":
        from hflm.cli.finetune import report

        report(run, metrics)
    else:
        from hflm.cli.pretrain import report

        report(run, metrics)

"""`hflm reproduce RUN`."""

from pathlib import Path
from typing import Annotated

import typer

from hflm.cli.machines import MachineRank, Machines, Rendezvous, together
from hflm.cli.progress import Progress
from hflm.cli.show import print_json, table
from hflm.reproduce import Reproduction, reproduce


def command(
    run: Annotated[Path, typer.Argument(help="Folder of a run that is done.")],
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "-o", help="Folder of the second run. Default: RUN-again.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in the same folder.")] = False,
    machines: Machines = None,
    machine_rank: MachineRank = None,
    rendezvous: Rendezvous = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Do a run again from its folder, and say which figures agree; with exit code 1 where one does not.

    One that was stopped goes on with the same command: hflm reproduce out -o again
    """
    progress = Progress(quiet=json)
    here = run.resolve()  # "." has no name
    with progress:
        found = reproduce(
            run, output_dir or here.with_name(f"{here.name}-again"), overwrite=overwrite, watch=progress.watch,
            machines=together(machines, machine_rank, rendezvous),
        )  # fmt: skip
    if json:
        print_json(found.to_json())
    else:
        _show(found)
    if not found.same:
        raise typer.Exit(1)


def _show(found: Reproduction) -> None:
    differ = [figure for figure in found.figures if not figure.same]
    print(f"\n{len(found.figures) - len(differ)} of {len(found.figures)} figures agree: {found.run} and {found.again}")
    if found.done_before:
        print(f"{found.again} was done before: nothing was trained now; --overwrite does it again")
    numbers = [one for one in found.figures if isinstance(one.was, (int, float)) or one.name == "weights"]
    shown = differ or numbers
    table(
        [{"figure": one.name, "was": one.was, "is": one.now, "": "same" if one.same else "differs"} for one in shown],
        ("figure", "was", "is", ""),
    )

"""The options that say which machines do a job together, where they are no settings of it."""

from typing import Annotated, Any

import typer

Machines = Annotated[int | None, typer.Option(help="Machines that do it together, each with this command.")]
MachineRank = Annotated[int | None, typer.Option(help="Which of the machines this is, from 0.")]
Rendezvous = Annotated[str | None, typer.Option(help="HOST:PORT of machine 0, where they meet.")]


def together(machines: int | None, machine_rank: int | None, rendezvous: str | None) -> dict[str, Any]:
    """Return as settings what is given of them."""
    named = {"machines": machines, "machine_rank": machine_rank, "rendezvous": rendezvous}
    return {name: value for name, value in named.items() if value is not None}

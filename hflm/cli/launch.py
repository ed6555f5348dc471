"""`hflm launch`: parse, call, show."""

from pathlib import Path
from typing import Annotated

import typer

from hflm.cli.progress import Progress


def command(
    words: Annotated[list[str], typer.Argument(metavar="-- SCRIPT [ARGS]...", help="The script and its arguments.")],
    processes: Annotated[
        str | None,
        typer.Option(
            "--processes", "-n", help="Processes to start; auto: one for each GPU. Default: the file's, else auto."
        ),
    ] = None,
    accelerate_config: Annotated[
        Path | None,
        typer.Option(help="A file of `accelerate config`; the one in your home folder is not read by itself."),
    ] = None,
    max_restarts: Annotated[int, typer.Option(help="Start all again this often when one has failed.", min=0)] = 0,
) -> None:
    """Run a script of your own, made for Accelerate, on several processes: hflm launch -n 2 -- train.py --epochs 3"""
    from hflm.launch_script import launch_script

    # What is printed on stdout is the script's.
    with Progress(quiet=True) as progress:
        launch_script(
            Path(words[0]), words[1:], processes=processes, accelerate_config=accelerate_config,
            max_restarts=max_restarts, watch=progress.watch,
        )  # fmt: skip

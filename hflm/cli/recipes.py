"""`hflm recipes`: list, show and copy the recipes."""

from pathlib import Path
from typing import Annotated

import typer

command = typer.Typer(help="List, show or copy the recipes: what each task is.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="A recipe of `hflm recipes list`, or a path to a .py file.")]


@command.command("list")
def list_recipes(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the built-in recipes."""
    from hflm.cli.show import print_json, table
    from hflm.recipe_files import recipe_paths, summary

    rows = [{"recipe": name, "what": summary(path)} for name, path in recipe_paths().items()]
    if json:
        print_json(rows)
    else:
        table(rows, ("recipe", "what"))


@command.command("show")
def show_recipe(name: Name) -> None:
    """Print a recipe."""
    from hflm.recipe_files import find

    print(find(name).read_text(encoding="utf-8"), end="")


@command.command("copy")
def copy_recipe(
    name: Name,
    dest: Annotated[Path | None, typer.Argument(help="File or folder to write; default: NAME.py here.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Copy a recipe, to be edited and named to --recipe or --task."""
    from hflm.recipe_files import copy

    print(f"Wrote {copy(name, dest or Path(), force=force)}")

"""`hflm data check`: parse, call, show."""

import sys
from typing import Annotated, Any

import typer

from hflm.cli.progress import Progress
from hflm.cli.show import print_json

command = typer.Typer(help="Look at data before anything is trained on it.")


@command.callback()
def group() -> None:
    """Look at data before anything is trained on it."""


@command.command("check")
def check_command(
    files: Annotated[list[str], typer.Argument(help="Files, folders or globs.")],
    task: Annotated[str | None, typer.Option(help="The task that the rows are for; without one they are text.")] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="Training files: count the rows that share 13 words in a row with them.")
    ] = None,
    text_column: Annotated[str | None, typer.Option(help="Column with the text.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column with the label.")] = None,
    source_column: Annotated[str | None, typer.Option(help="Column with the text to read.")] = None,
    target_column: Annotated[str | None, typer.Option(help="Column with the text to write.")] = None,
    source_lang: Annotated[str | None, typer.Option(help="Language that is read.")] = None,
    target_lang: Annotated[str | None, typer.Option(help="Language that is written.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, and nothing else.")] = False,
) -> None:
    """Name every row that a job could not use, by file and line: hflm data check rows.jsonl --task sentiment"""
    from hflm.check_data import check_data
    from hflm.recipe_files import load_task

    named = {"text": text_column, "label": label_column, "source": source_column, "target": target_column}
    with Progress(quiet=True) as progress:
        found = check_data(
            files, task=load_task(task) if task else None, against=against or (), text_column=text_column,
            columns={role: name for role, name in named.items() if name}, languages=(source_lang, target_lang),
            watch=progress.watch,
        )  # fmt: skip
    if json:
        print_json(found)
    else:
        _show(found)
    if found["bad"]["rows"]:
        raise typer.Exit(2)


def _show(found: dict[str, Any]) -> None:
    bad = found["bad"]
    for line in bad["first"]:
        print(f"error: {line}", file=sys.stderr)
    if bad["rows"] > len(bad["first"]):
        print(f"error: and {bad['rows'] - len(bad['first']):,} more bad rows", file=sys.stderr)
    for reason, count in bad["reasons"].items() if bad["rows"] > 1 else ():
        print(f"bad       {count:,} {reason}")
    print(f"rows      {found['rows']:,} can be used, {bad['rows']:,} cannot")
    if found["columns"]:
        print("columns   " + ", ".join(f"{role} from {name!r}" for role, name in found["columns"].items()))
    if found["labels"]:
        shown = list(found["labels"].items())
        more = f" and {len(shown) - 10} more" if len(shown) > 10 else ""
        print("labels    " + ", ".join(f"{name} {count:,}" for name, count in shown[:10]) + more)
    if found["duplicates"]:
        print(f"twice     {found['duplicates']:,} rows are read twice")
    if shared := found.get("overlap"):
        where = f", as {shared['example'][0]} and {shared['example'][1]}" if shared["example"] else ""
        print(f"overlap   {shared['rows']:,} of {shared['judged']:,} rows share 13 words in a row{where}")
    print(f"size      {found['characters']:,} characters in {found['bytes'] / 1e6:,.1f} MB, {found['seconds']:.1f} s")

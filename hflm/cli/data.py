"""`hflm data check`: parse, call, show."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hflm.cli.columns import (
    CompletionColumn,
    LabelColumn,
    MessagesColumn,
    PromptColumn,
    SourceColumn,
    TagsColumn,
    TargetColumn,
    TextColumn,
    TokensColumn,
    columns_of,
)
from hflm.cli.command_line import CheckedCommand
from hflm.cli.progress import Progress
from hflm.cli.show import print_json
from hflm.errors import UsageError

command = typer.Typer(help="Look at data before anything is trained on it.")


@command.callback()
def group() -> None:
    """Look at data before anything is trained on it."""


@command.command("check", cls=CheckedCommand)
def check_command(
    files: Annotated[list[str], typer.Argument(help="Files, folders or globs.")],
    task: Annotated[str | None, typer.Option(help="The task that the rows are for; without one they are text.")] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Training files, to count the rows that share 13 words in a row with them: repeat it, or quote a glob."
        ),
    ] = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    source_column: SourceColumn = None,
    target_column: TargetColumn = None,
    tokens_column: TokensColumn = None,
    tags_column: TagsColumn = None,
    prompt_column: PromptColumn = None,
    completion_column: CompletionColumn = None,
    messages_column: MessagesColumn = None,
    source_lang: Annotated[str | None, typer.Option(help="Language that is read.")] = None,
    target_lang: Annotated[str | None, typer.Option(help="Language that is written.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, and nothing else.")] = False,
) -> None:
    """Name every row that a job could not use, by file and line: hflm data check rows.jsonl --task sentiment"""
    columns = columns_of(locals())
    of_tasks: dict[str, str | None] = {f"{role}-column": name for role, name in columns.items() if role != "text"}
    of_tasks |= {"source-lang": source_lang, "target-lang": target_lang}
    useless = next((name for name, value in of_tasks.items() if value and not task), None)
    if useless:
        raise UsageError(
            f"--{useless} is for the rows of a task, and no task is named.",
            fix="Pass --task; `hflm recipes list` shows what there is.",
        )
    from hflm.check_data import check_data
    from hflm.recipe_files import load_task

    with Progress(quiet=True) as progress:
        found = check_data(
            files, task=load_task(task) if task else None, against=against or (), text_column=text_column,
            columns=columns, languages=(source_lang, target_lang), watch=progress.watch,
        )  # fmt: skip
    if json:
        print_json(found)
    else:
        _show(found)
    if found["bad"]["rows"] or found.get("bad_against", found["bad"])["rows"]:
        raise typer.Exit(2)


@command.command("canaries")
def canaries_command(
    text: Annotated[str, typer.Argument(help="A text, or .jsonl rows with a text column.")],
    output_file: Annotated[Path, typer.Option("--output-file", "-o", help="Where the text with canaries goes.")],
    repeats: Annotated[str, typer.Option(help="How often each canary is planted, one number a canary.")] = "1,4,16,64",
    controls: Annotated[int, typer.Option(help="Canaries that are made and not planted.", min=0, max=4000)] = 4,
    form: Annotated[
        str, typer.Option(help="The sentence, with {name} and {secret}.")
    ] = "The access code of {name} is {secret}.",
    seed: Annotated[int, typer.Option(help="Seed of names, secrets and places.", min=0)] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Plant secrets in a training text, for `hflm stress --canaries`: hflm data canaries book.txt -o planted.txt"""
    try:
        numbers = [int(part) for part in repeats.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise UsageError(f"--repeats is {repeats!r}.", fix="Give numbers, as 1,4,16,64.")
    from hflm.plant_canaries import plant_canaries

    found = plant_canaries(text, output_file, repeats=numbers, controls=controls, form=form, seed=seed)
    if json:
        print_json(found)
        return
    print(f"wrote {found['text']}: {found['lines']:,} lines, {found['planted']:,} sentences with a secret among them")
    print(f"wrote {found['canaries']}: the secrets, for `hflm stress RUN --canaries {found['canaries']}`")


def _name(bad: dict[str, Any]) -> None:
    for line in bad["first"]:
        print(f"error: {line}", file=sys.stderr)
    if bad["rows"] > len(bad["first"]):
        print(f"error: and {bad['rows'] - len(bad['first']):,} more bad rows", file=sys.stderr)


def _show(found: dict[str, Any]) -> None:
    bad, against = found["bad"], found.get("bad_against")
    _name(bad)
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
        print(f"          {shared['same']:,} rows, of any length, stand there as a whole")
    if against and against["rows"]:
        _name(against)
        print(f"          {against['rows']:,} rows to compare with could not be read, and are not compared")
    print(f"size      {found['characters']:,} characters in {found['bytes'] / 1e6:,.1f} MB, {found['seconds']:.1f} s")

"""`hflm evaluate`: parse, call, show."""

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
from hflm.cli.finetune import print_scores
from hflm.cli.predict import Processes, RankTimeout
from hflm.cli.progress import Progress
from hflm.cli.show import print_json
from hflm.errors import UsageError
from hflm.run import write_json_lines
from hflm.settings import seconds
from hflm.space import full_disk_named


def command(
    model: Annotated[str, typer.Argument(help="A run, a model folder or a hub id.")],
    data: Annotated[list[str], typer.Option(help="Rows with their references.")],
    task: Annotated[str | None, typer.Option(help="Task, where the model was trained elsewhere.")] = None,
    metric: Annotated[str | None, typer.Option(help="Metric; default: the task's own.")] = None,
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
    max_new_tokens: Annotated[int | None, typer.Option(help="Tokens to write at most.", min=1)] = None,
    output_file: Annotated[Path | None, typer.Option("--output-file", "-o", help="Also write predictions.")] = None,
    processes: Processes = "1",
    rank_timeout: RankTimeout = "10m",
    json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON, and nothing else.")] = False,
) -> None:
    """Score a model on rows that it was not trained on: hflm evaluate RUN --data rows.jsonl"""
    columns = columns_of(locals())
    if output_file and output_file.exists():
        raise UsageError(f"{output_file} exists.", fix="Name another file.")
    from hflm.evaluate import evaluate_named
    from hflm.inference.row_files import check_row_file

    if output_file:
        check_row_file(output_file)
    told: dict[str, Any] = {"source_lang": source_lang, "target_lang": target_lang}
    seconds(rank_timeout, name="rank_timeout")
    with Progress(quiet=json) as progress:
        found = evaluate_named(
            model, data, metric=metric, columns=columns, told=told, task=task, max_new_tokens=max_new_tokens,
            watch=progress.watch, processes=processes, rank_timeout=rank_timeout,
        )  # fmt: skip
    rows = found.pop("predictions")
    if json:
        print_json(found)
    else:
        print(f"{found['test_rows']:,} rows, {found['metric']}; [95 % interval]")
        print_scores(found["test"])
    if output_file:
        # Last: a file that cannot be written costs no score.
        with full_disk_named(output_file.parent, fix="The scores are above."):
            write_json_lines(output_file, rows)

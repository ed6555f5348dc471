"""`hflm evaluate`: parse, call, show."""

from pathlib import Path
from typing import Annotated, Any

import typer

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
    text_column: Annotated[str | None, typer.Option(help="Column with the text.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column with the label.")] = None,
    source_column: Annotated[str | None, typer.Option(help="Column with the text to read.")] = None,
    target_column: Annotated[str | None, typer.Option(help="Column with the text to write.")] = None,
    tokens_column: Annotated[str | None, typer.Option(help="Column with the list of words.")] = None,
    tags_column: Annotated[str | None, typer.Option(help="Column with the list of tags.")] = None,
    prompt_column: Annotated[str | None, typer.Option(help="Column with the prompt.")] = None,
    completion_column: Annotated[str | None, typer.Option(help="Column with the completion.")] = None,
    messages_column: Annotated[str | None, typer.Option(help="Column with the list of messages.")] = None,
    source_lang: Annotated[str | None, typer.Option(help="Language that is read.")] = None,
    target_lang: Annotated[str | None, typer.Option(help="Language that is written.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Tokens to write at most.", min=1)] = None,
    output_file: Annotated[Path | None, typer.Option("--output-file", "-o", help="Also write predictions.")] = None,
    processes: Processes = "1",
    rank_timeout: RankTimeout = "10m",
    json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON, and nothing else.")] = False,
) -> None:
    """Score a model on rows that it was not trained on: hflm evaluate RUN --data rows.jsonl"""
    if output_file and output_file.exists():
        raise UsageError(f"{output_file} exists.", fix="Name another file.")
    from hflm.evaluate import evaluate_named

    named = {
        "text": text_column, "label": label_column, "source": source_column, "target": target_column,
        "tokens": tokens_column, "tags": tags_column, "prompt": prompt_column, "completion": completion_column,
        "messages": messages_column,
    }  # fmt: skip
    columns = {role: name for role, name in named.items() if name}
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

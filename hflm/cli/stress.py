"""`hflm stress`: parse, call, show."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hflm.cli.columns import (
    CompletionColumn,
    LabelColumn,
    MessagesColumn,
    PromptColumn,
    SourceColumn,
    TargetColumn,
    TextColumn,
    columns_of,
)
from hflm.cli.progress import Progress
from hflm.cli.show import print_json, table
from hflm.errors import UsageError

File = Path | None
Texts = list[str] | None
Text = str | None
Rows = Annotated[list[str], typer.Option(help="Rows with their references, which the model was not trained on.")]
Page = Annotated[File, typer.Option("--output-file", "-o", help="Write the report as a page, .html.")]
Tests = Annotated[File, typer.Option(help="Tests of your own, one a row.")]
Group = Annotated[Text, typer.Option(help="Column with the group of a row.")]
Validation = Annotated[Text, typer.Option(help="Rows to fit a temperature to; default: the run's own.")]
SaveTemperature = Annotated[
    bool, typer.Option("--save-temperature", help="Write the fitted temperature into the model's config.json.")
]
Card = Annotated[bool, typer.Option("--card", help="Put a summary into the model's card.")]
Canaries = Annotated[File, typer.Option(help="What `hflm data canaries` wrote beside the training text.")]
# They are drawn until so many differ, of a million that there are.
Others = Annotated[
    int | None, typer.Option(help="Secrets that each canary is held against; default: 511.", min=99, max=500_000)
]
Train = Annotated[Texts, typer.Option(help="Training files, to look for in what is written.")]
Words = Annotated[File, typer.Option(help="Words that should not be written, one a line.")]
Under = Annotated[Texts, typer.Option(help="NAME=VALUE: exit 6 where a number is less.")]
Over = Annotated[Texts, typer.Option(help="NAME=VALUE: exit 6 where a number is more.")]
Only = Annotated[Texts, typer.Option(help="Only these; default: all.")]
Language = Annotated[Text, typer.Option(help="Language of the texts, as en; default: guessed.")]
Most = Annotated[
    int | None, typer.Option(help="Rows to ask, drawn by the seed; default: 1000, or 100 to write.", min=1)
]
Seed = Annotated[int, typer.Option(help="Seed of all that is drawn.", min=0)]
Task = Annotated[Text, typer.Option(help="Task, where the model was trained elsewhere.")]
Metric = Annotated[Text, typer.Option(help="Metric; default: the task's own.")]
SourceLang = Annotated[Text, typer.Option(help="Language that is read.")]
TargetLang = Annotated[Text, typer.Option(help="Language that is written.")]
Tokens = Annotated[int | None, typer.Option(help="Tokens to write at most.", min=1)]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON, and nothing else.")]


def command(
    model: Annotated[str, typer.Argument(help="A run, a model folder or a hub id.")], data: Rows,
    output_file: Page = None, tests: Tests = None, group_column: Group = None, validation_file: Validation = None,
    save_temperature: SaveTemperature = False, card: Card = False, canaries: Canaries = None,
    canary_others: Others = None, train_data: Train = None, word_list: Words = None, fail_under: Under = None,
    fail_over: Over = None, perturbation: Only = None, language: Language = None, max_rows: Most = None,
    seed: Seed = 0, task: Task = None, metric: Metric = None, text_column: TextColumn = None,
    label_column: LabelColumn = None, source_column: SourceColumn = None, target_column: TargetColumn = None,
    prompt_column: PromptColumn = None, completion_column: CompletionColumn = None,
    messages_column: MessagesColumn = None, source_lang: SourceLang = None, target_lang: TargetLang = None,
    max_new_tokens: Tokens = None, json: Json = False,
) -> None:  # fmt: skip
    """Say how far a model can be trusted: hflm stress RUN --data rows.jsonl -o report.html"""
    columns = columns_of(locals())
    if canary_others and not canaries:
        raise UsageError(
            "--canary-others is how many secrets a canary is held against, and there is none.",
            fix="Pass --canaries FILE too, or leave it out.",
        )
    from hflm.stress import StressOptions, check_files, keep, stress
    from hflm.stressing.thresholds import check_limits, read_limits

    brought = {
        "tests": ("--tests", tests), "canaries": ("--canaries", canaries), "overlap": ("--train-data", train_data),
    }  # fmt: skip
    limits = read_limits(
        fail_under or [], fail_over or [], group_column=group_column, perturbations=perturbation or (),
        without={name: option for name, (option, given) in brought.items() if not given},
    )  # fmt: skip
    check_files(model, output_file, writes=card or save_temperature)
    options = StressOptions(
        data=data, task=task, metric=metric, columns=columns, source_lang=source_lang, target_lang=target_lang,
        perturbations=perturbation or (), language=language, max_rows=max_rows, seed=seed, group_column=group_column,
        tests=tests, validation_file=validation_file, canaries=canaries,
        train_data=train_data or (), word_list=word_list, max_new_tokens=max_new_tokens,
        canary_others=canary_others or StressOptions.canary_others,
    )  # fmt: skip
    with Progress(quiet=json) as progress:
        report = stress(model, options, watch=progress.watch)
    if json:
        print_json(report)
    else:
        _show(report)
    for line in keep(model, report, page=output_file, card=card, temperature=save_temperature):
        if not json:
            print(line)
    check_limits(limits, report)


def _show(report: dict[str, Any]) -> None:
    print(f"\n{report['rows']:,} rows, {report['metric']}; [95 % interval]")
    for name, score in report["scores"].items():
        print(f"  {name:<12} {_interval(score)}")
    if "worst_case" in report:
        print(f"  {'worst case':<12} {_interval(report['worst_case'])}  right in every form that keeps the label")
    if report["perturbations"]:
        print()
        table([_row(name, one) for name, one in report["perturbations"].items()],
              ("changed by", "rows", "other answers", "was", report["primary"], "95 %", "keeps the label"))  # fmt: skip
    for line in _more(report):
        print(line)


def _row(name: str, one: dict[str, Any]) -> dict[str, str | None]:
    score, changed = one.get("score"), one.get("changed")
    return {
        "changed by": name, "rows": f"{one['rows']:,}" if score else "does not apply",
        "other answers": f"{changed['value']:.1%}" if changed else None, "keeps the label": one["keeps_label"],
        **({"was": f"{score['before']:.4g}", score["name"]: f"{score['after']:.4g}"} if score else {}),
        "95 %": f"{score['low']:+.3g} to {score['high']:+.3g}" if score else None,
    }  # fmt: skip


def _interval(score: dict[str, float]) -> str:
    return f"{score['value']:.4g}  [{score['low']:.4g}, {score['high']:.4g}]"


def _more(report: dict[str, Any]) -> list[str]:
    from hflm.stressing.summary import sentences

    return ["", *sentences(report)]

"""`hflm stress`: parse, call, show."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hflm.cli.progress import Progress
from hflm.cli.show import print_json, table

Rows = Annotated[list[str], typer.Option(help="Rows with their references, which the model was not trained on.")]
File = Path | None


def command(
    model: Annotated[str, typer.Argument(help="A run, a model folder or a hub id.")],
    data: Rows,
    output_file: Annotated[File, typer.Option("--output-file", "-o", help="Write the report as a page, .html.")] = None,
    tests: Annotated[File, typer.Option(help="Tests of your own, one a row.")] = None,
    group_column: Annotated[str | None, typer.Option(help="Column with the group of a row.")] = None,
    validation_file: Annotated[str | None, typer.Option(help="Rows to fit a temperature to.")] = None,
    save_temperature: Annotated[
        bool, typer.Option("--save-temperature", help="Write the fitted temperature into the model's config.json.")
    ] = False,
    canaries: Annotated[File, typer.Option(help="What `hflm data canaries` wrote beside the training text.")] = None,
    canary_others: Annotated[int, typer.Option(help="Secrets that each canary is held against.", min=99)] = 511,
    train_data: Annotated[
        list[str] | None, typer.Option(help="Training files, to look for in what is written.")
    ] = None,
    word_list: Annotated[File, typer.Option(help="Words that should not be written, one a line.")] = None,
    fail_under: Annotated[list[str] | None, typer.Option(help="NAME=VALUE: exit 6 where a number is less.")] = None,
    fail_over: Annotated[list[str] | None, typer.Option(help="NAME=VALUE: exit 6 where a number is more.")] = None,
    perturbation: Annotated[list[str] | None, typer.Option(help="Only these; default: all.")] = None,
    language: Annotated[str | None, typer.Option(help="Language of the texts, as en; default: guessed.")] = None,
    max_rows: Annotated[int | None, typer.Option(help="Rows to ask, drawn by the seed.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Seed of all that is drawn.", min=0)] = 0,
    task: Annotated[str | None, typer.Option(help="Task, where the model was trained elsewhere.")] = None,
    metric: Annotated[str | None, typer.Option(help="Metric; default: the task's own.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Column with the text.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column with the label.")] = None,
    source_column: Annotated[str | None, typer.Option(help="Column with the text to read.")] = None,
    target_column: Annotated[str | None, typer.Option(help="Column with the text to write.")] = None,
    source_lang: Annotated[str | None, typer.Option(help="Language that is read.")] = None,
    target_lang: Annotated[str | None, typer.Option(help="Language that is written.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Tokens to write at most.", min=1)] = None,
    card: Annotated[bool, typer.Option("--card", help="Put a summary into the model's card.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, and nothing else.")] = False,
) -> None:
    """Say how far a model can be trusted: hflm stress RUN --data rows.jsonl -o report.html"""
    from hflm.stress import StressOptions, check_files, keep, stress
    from hflm.stressing.thresholds import check_limits, read_limits

    limits = read_limits(fail_under or [], fail_over or [])
    check_files(model, output_file, writes=card or save_temperature)
    named = {"text": text_column, "label": label_column, "source": source_column, "target": target_column}
    options = StressOptions(
        data=data, task=task, metric=metric, columns={role: name for role, name in named.items() if name},
        source_lang=source_lang, target_lang=target_lang, perturbations=perturbation or (), language=language,
        max_rows=max_rows, seed=seed, group_column=group_column, tests=tests, validation_file=validation_file,
        canaries=canaries, canary_others=canary_others, train_data=train_data or (), word_list=word_list,
        max_new_tokens=max_new_tokens,
    )  # fmt: skip
    with Progress(quiet=json) as progress:
        report = stress(model, options, watch=progress.watch)
        kept = keep(model, report, page=output_file, card=card, temperature=save_temperature)
    if json:
        print_json(report)
    else:
        _show(report)
        for line in kept:
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
              ("changed by", "rows", "other answers", report["primary"], "95 %", "keeps the label"))  # fmt: skip
    for line in _more(report):
        print(line)


def _row(name: str, one: dict[str, Any]) -> dict[str, str | None]:
    score, changed = one.get("score"), one.get("changed")
    return {
        "changed by": name, "rows": f"{one['rows']:,}" if score else "does not apply",
        "other answers": f"{changed['value']:.1%}" if changed else None, "keeps the label": one["keeps_label"],
        next(iter([score["name"]] if score else ["-"])): f"{score['after']:.4g}" if score else None,
        "95 %": f"{score['low']:+.3g} to {score['high']:+.3g}" if score else None,
    }  # fmt: skip


def _interval(score: dict[str, float]) -> str:
    return f"{score['value']:.4g}  [{score['low']:.4g}, {score['high']:.4g}]"


def _more(report: dict[str, Any]) -> list[str]:
    from hflm.stressing.summary import sentences

    return ["", *sentences(report)]

"""`hflm predict`, `classify`, `summarize` and `translate`: parse, call, show."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from hflm.cli.columns import MessagesColumn, PromptColumn, SourceColumn, TextColumn, TokensColumn, columns_of
from hflm.cli.progress import Progress
from hflm.cli.show import print_json
from hflm.cli.stdin import check_words, read_stdin
from hflm.data.columns import flag
from hflm.errors import DataError, UsageError
from hflm.settings import seconds

Found = TypeVar("Found")
Model = Annotated[str, typer.Argument(help="A run, a model folder or a hub id.")]
Texts = Annotated[list[str] | None, typer.Argument(help="Texts; default: the lines of stdin.")]
File = Annotated[Path | None, typer.Option(help="A file of texts: .txt, a line each, or rows as for `hflm predict`.")]
Whole = Annotated[list[str] | None, typer.Argument(help="Texts; default: all of stdin, which is one text.")]
WholeFile = Annotated[
    Path | None, typer.Option(help="A file of texts: .txt, all of it one text, or rows as for `hflm predict`.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Tokens = Annotated[int | None, typer.Option(help="Tokens to write at most; default: as trained.", min=1)]
Beams = Annotated[
    int | None, typer.Option(help="Beams; 1: one token after the other; default: as the model was tested.", min=1)
]
Processes = Annotated[
    str, typer.Option(help="Processes that share the rows; auto: one for each GPU.", rich_help_panel="Processes")
]
RankTimeout = Annotated[
    str, typer.Option(help="How long they wait for one that does not answer.", rich_help_panel="Processes")
]
Language = Annotated[str | None, typer.Option(help="Language, where the model must be told.")]


def command(
    model: Model,
    input_file: Annotated[Path, typer.Option(help="Rows: .jsonl, .json, .csv, .tsv, .parquet or .txt.")],
    output_file: Annotated[Path, typer.Option("--output-file", "-o", help="Where the rows with predictions go.")],
    task: Annotated[str | None, typer.Option(help="Task, where the model was trained elsewhere.")] = None,
    text_column: TextColumn = None,
    source_column: SourceColumn = None,
    tokens_column: TokensColumn = None,
    prompt_column: PromptColumn = None,
    messages_column: MessagesColumn = None,
    source_lang: Language = None,
    target_lang: Language = None,
    max_new_tokens: Tokens = None,
    num_beams: Beams = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the rows that are there.")] = False,
    processes: Processes = "1",
    rank_timeout: RankTimeout = "10m",
) -> None:
    """Predict for every row of a file, in order: hflm predict RUN --input-file in.jsonl --output-file out.jsonl"""
    columns = columns_of(locals())
    from hflm.predict import predict_named

    told: dict[str, Any] = {"task": task, "source_lang": source_lang, "target_lang": target_lang}
    seconds(rank_timeout, name="rank_timeout")
    with Progress(quiet=True) as progress:
        found = predict_named(
            model, str(input_file), str(output_file), columns=columns, told=told, max_new_tokens=max_new_tokens,
            num_beams=num_beams, resume=resume, watch=progress.watch, processes=processes, rank_timeout=rank_timeout,
        )  # fmt: skip
    print(f"wrote {found['rows']:,} rows to {output_file}")


def classify(
    model: Model, text: Texts = None, input_file: File = None, text_column: TextColumn = None,
    tokens_column: TokensColumn = None, json: Json = False,
) -> None:  # fmt: skip
    """Sort texts into the classes of a model: hflm classify RUN "a joyless slog" """
    read: dict[str, Any] = {"input_file": input_file, "columns": columns_of(locals())}
    _show(_run(model, text, task=None, kinds=("classification", "tagging"), **read), json=json)


def summarize(
    model: Model, text: Whole = None, input_file: WholeFile = None, source_column: SourceColumn = None,
    max_new_tokens: Tokens = None, num_beams: Beams = None,
    long: Annotated[str, typer.Option(help="Texts beyond the model's length: cut, or split by sentences.")] = "cut",
    json: Json = False,
) -> None:  # fmt: skip
    """Summarize texts: hflm summarize RUN "..." """
    read: dict[str, Any] = {"input_file": input_file, "columns": columns_of(locals()), "whole": True}
    more: dict[str, Any] = {"max_new_tokens": max_new_tokens, "num_beams": num_beams, "long": long}
    _show(_run(model, text, task="summarization", **read, **more), json=json)


def translate(
    model: Model, text: Texts = None, to: Annotated[str | None, typer.Option(help="Language to write.")] = None,
    source: Annotated[str | None, typer.Option("--from", help="Language that is read.")] = None,
    input_file: File = None, source_column: SourceColumn = None, max_new_tokens: Tokens = None,
    num_beams: Beams = None, json: Json = False,
) -> None:  # fmt: skip
    """Translate texts: hflm translate RUN --to fr "..." """
    read: dict[str, Any] = {"input_file": input_file, "columns": columns_of(locals())}
    more: dict[str, Any] = {"max_new_tokens": max_new_tokens, "source_lang": source, "target_lang": to}
    _show(_run(model, text, task="translation", num_beams=num_beams, **read, **more), json=json)


def _run(
    model: str, given: list[str] | None, *, task: str | None, whole: bool = False,
    kinds: tuple[str, ...] = ("seq2seq", "completion"), num_beams: int | None = None, long: str = "cut",
    input_file: Path | None = None, columns: Mapping[str, str], **more: Any,
) -> list[dict[str, Any]]:  # fmt: skip
    if long not in ("cut", "split"):
        raise UsageError(f"--long is {long!r}.", fix="Choose cut or split.")
    if given and input_file:
        raise UsageError("Texts and --input-file are given.", fix="Give one of them.")
    if columns and not input_file:
        raise UsageError(f"--{flag(next(iter(columns)))} is for --input-file.", fix="Pass that too, or neither.")
    texts = [] if input_file else given or _stdin(whole=whole, blank=task == "translation")
    check_words(given or ())
    if given and not all(text.strip() for text in texts):
        raise UsageError("A text is empty.", fix="Give one with something to read.")
    from hflm.inference.trained import describe, open_trained
    from hflm.predict import predict_texts, read_texts

    if input_file:
        told = {name: value for name, value in more.items() if name != "max_new_tokens"}
        known = _in_own_words(describe, model, task=task, kinds=kinds, **told)
        blank = task == "translation"
        texts = _in_own_words(read_texts, known, input_file, whole=whole, blank=blank, columns=columns)
    trained = _in_own_words(open_trained, model, task=task, kinds=kinds, **more)
    options: dict[str, Any] = {} if trained.kind in ("classification", "tagging") else {"num_beams": num_beams}
    if long == "split":
        from hflm.long_texts import predict_long

        predict: Any = predict_long
    else:
        predict = predict_texts
    # A blank line stays one, unasked: the lines of a translation are those of its source.
    found = iter(predict(trained, [text for text in texts if "".join(text).strip()], **options))
    shown = [" ".join(text) if isinstance(text, list) else text for text in texts]
    rows = [{"text": text, **(next(found) if text.strip() else {"prediction": ""})} for text in shown]
    for sentence in trained.shortened.sentences(cap=trained.max_new_tokens):
        print(sentence, file=sys.stderr)
    return rows


def _in_own_words(act: Callable[..., Found], *given: Any, **more: Any) -> Found:
    """Open a model; an error that names the options of a training names those of `hflm translate`."""
    try:
        return act(*given, **more)
    except (DataError, UsageError) as error:
        fix = error.fix.replace("--source-lang", "--from").replace("--target-lang", "--to")
        raise type(error)(error.problem, fix=fix) from error


def _stdin(*, whole: bool, blank: bool) -> list[str]:
    if sys.stdin.isatty():
        raise UsageError("There is no text.", fix="Give one, or pipe it in.")
    content = read_stdin()
    lines = content.removesuffix("\n").split("\n")
    texts = [content.strip()] if whole else [line for line in lines if blank or line.strip()]
    if not content.strip():
        raise UsageError("There is no text on stdin.", fix="Give one.")
    return texts


def _show(rows: list[dict[str, Any]], *, json: bool) -> None:
    if json:
        print_json(rows)
        return
    for row in rows:
        score = f"  {row['score']:.1%}" if "score" in row else ""
        said = " ".join(row["prediction"]) if isinstance(row["prediction"], list) else row["prediction"]
        # Of several texts each has a line.
        said = said if len(rows) == 1 else " ".join(said.split())
        print(f"{said}{score}" if len(rows) == 1 or "score" not in row else f"{said}{score}  {row['text']}")

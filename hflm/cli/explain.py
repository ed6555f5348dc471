"""`hflm explain`: parse, call, show."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hflm.cli.progress import Progress
from hflm.cli.show import as_json
from hflm.cli.stdin import check_words, read_stdin
from hflm.errors import UsageError


def command(
    model: Annotated[str, typer.Argument(help="A run, a model folder or a hub id.")],
    text: Annotated[str | None, typer.Argument(help="The text; default: stdin.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output-file", "--output", "-o", help="Where the page goes, as page.html.")
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Folder for the pictures.")] = None,
    target: Annotated[str | None, typer.Option(help="Label or token to explain; default: the likeliest.")] = None,
    top: Annotated[int, typer.Option(help="Candidates and neighbours to show.", min=1)] = 5,
    steps: Annotated[int | None, typer.Option(help="Points of the integral; default: as many as it takes.")] = None,
    source_lang: Annotated[str | None, typer.Option(help="Language that is read, where it must be told.")] = None,
    target_lang: Annotated[str | None, typer.Option(help="Language that is written, where it must be told.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Tokens that are read of a long text.", min=8)] = 512,
    json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
) -> None:
    """Show what a model does with a text: hflm explain RUN "not a bad film at all" -o page.html"""
    if text is None and sys.stdin.isatty():
        raise UsageError("There is no text.", fix='Give one, such as "not a bad film at all", or pipe it in.')
    given = read_stdin().rstrip("\n") if text is None else text
    check_words([given])
    from hflm.explain import explain
    from hflm.explaining.explanation import as_dict
    from hflm.explaining.page import check_page, write_page
    from hflm.explaining.pictures import check_pictures, write_pictures

    if output:
        check_page(output)
    if png:
        check_pictures(png)
    with Progress(quiet=True) as progress:
        found = explain(
            model, given, target=target, steps=steps, top=top, max_tokens=max_tokens, source_lang=source_lang,
            target_lang=target_lang, watch=progress.watch,
        )  # fmt: skip
    # Before anything is written, which may fail.
    if json:
        # Whoever reads it may have left, as `head` does: the files are written all the same.
        with contextlib.suppress(BrokenPipeError):
            print(as_json(as_dict(found)), flush=True)
    else:
        _show(found, drawn=bool(output or png))
    written = [write_page(found, output)] if output else []
    written += write_pictures(found, png) if png else []
    for path in written:
        print(f"wrote {path}", file=sys.stderr if json else sys.stdout)


def _show(found: Any, *, drawn: bool) -> None:
    question, attribution, deletion = found.question, found.attribution, found.deletion
    if question:
        form = ".3f" if question.unit == "output" else ".1%"
        print(f"{question.asked}: " + ", ".join(f"{c.answer} {c.probability:{form}}" for c in question.candidates))
    if attribution:
        print(f"\nwhat speaks for {question.answer!r} ({question.unit}):")
        for place in found.ranked[:8]:
            print(f"  {attribution.values[place]:+7.3f}  {found.read.pieces[place].text}")
        difference = attribution.output - attribution.baseline_output
        print(
            f"  sum {sum(attribution.values):+.3f} of {difference:+.3f} "
            f"(text {attribution.output:+.3f}, all {attribution.baseline} {attribution.baseline_output:+.3f})"
        )
    if deletion:
        print(f"without the tokens named first it falls by {deletion.top_mean:.3f}, "
              f"without as many at random by {deletion.random_mean:.3f}")  # fmt: skip
    if not question:
        for guess in found.guesses:
            print(f"{guess.token:16} " + ", ".join(f"{c.answer} {c.probability:.1%}" for c in guess.expected))
    for note in found.notes:
        print(f"note: {note}")
    if not drawn:
        print("\n-o page.html draws it; --png FOLDER makes pictures; --json gives all numbers")

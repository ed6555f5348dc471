"""`hflm fill-mask`: parse, call, show."""

import sys
from typing import Annotated

import typer

from hflm.cli.show import print_json
from hflm.cli.stdin import check_words, read_stdin
from hflm.errors import UsageError


def command(
    model: Annotated[str, typer.Argument(help="A run, a model folder or a hub id.")],
    text: Annotated[list[str] | None, typer.Argument(help="Texts with [MASK]; default: the lines of stdin.")] = None,
    top: Annotated[int, typer.Option(help="Candidates to show for each blank.", min=1)] = 5,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask a masked language model for the missing words: hflm fill-mask out "She was very [MASK] ." """
    if not text and sys.stdin.isatty():
        raise UsageError("There is no text.", fix='Give one, such as "She was very [MASK] .", or pipe lines in.')
    check_words(text or ())
    from hflm.inference.fill_mask import fill_mask, open_masked_model

    opened, tokenizer = open_masked_model(model)
    lines = text or [line for line in read_stdin().split("\n") if line.strip()]
    results = [(line, fill_mask(opened, tokenizer, line, top=top)) for line in lines]
    if json:
        print_json(
            [{"text": line, "blanks": [[vars(c) for c in blank] for blank in blanks]} for line, blanks in results]
        )
        return
    for line, blanks in results:
        print(line)
        for number, blank in enumerate(blanks, start=1):
            mark = f"{number}. " if len(blanks) > 1 else ""
            print(f"  {mark}" + ", ".join(f"{c.token} {c.probability:.1%}" for c in blank))

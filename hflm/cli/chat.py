"""`hflm chat`: parse, call, show."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from hflm.cli.show import as_json, is_terminal
from hflm.cli.stdin import check_words, read_line
from hflm.errors import HflmError


def command(
    model: Annotated[str | None, typer.Option(help="A run, a model folder or a hub id.")] = None,
    system: Annotated[str, typer.Option(help="Tell the model who it is.")] = "",
    max_new_tokens: Annotated[int, typer.Option(help="Tokens of an answer at most.")] = 512,
    temperature: Annotated[float, typer.Option(help="0: always the likeliest token.")] = 0.3,
    top_p: Annotated[float, typer.Option(help="Draw from the likeliest tokens of this share.")] = 0.9,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1: what was written becomes less likely.")] = 1.1,
    seed: Annotated[int | None, typer.Option(help="The same seed and words give the same answers.")] = None,
    quantize: Annotated[str, typer.Option(help="auto, int8 or none.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each answer.")] = False,
) -> None:
    """Talk with an instruct model; !help shows the commands in a chat."""
    from hflm.cli.generate import seed_of
    from hflm.inference.asking import Ask
    from hflm.inference.conversation import open_conversation
    from hflm.inference.sampling import Sampling
    from hflm.inference.writer import open_writer

    check_words([system])
    sampling = Sampling(temperature=temperature, top_p=top_p, repetition_penalty=repetition_penalty)
    ask = Ask(max_new_tokens=max_new_tokens, system=system)
    chat = open_conversation(open_writer(model, quantize=quantize), sampling=sampling, ask=ask, seed=seed_of(seed))
    _tell(f"{chat.writer.name}, by its chat template. !help shows the commands, Ctrl-C stops an answer, Ctrl-D leaves.")
    for line in _lines():
        try:
            if not _answer(chat, line, json=json):
                return
        except HflmError as error:
            # In a chat, what cannot be done is said, and the chat goes on.
            _tell(f"error: {error}")
        except KeyboardInterrupt:
            # While a long chat is read, before the first word of an answer.
            if not is_terminal(sys.stdin):
                raise
            _tell("stopped")


def _lines() -> Iterator[str]:
    """Yield what is typed or piped, without blank lines."""
    # Where stdout is a file, `input` would write its prompt into it.
    asking = is_terminal(sys.stdin) and is_terminal()
    if asking:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  (arrows and history in `input`)
    while True:
        try:
            if is_terminal(sys.stdin) and not asking:
                print("> ", end="", file=sys.stderr, flush=True)
            line = input("> ") if asking else read_line()
            if not (asking or line):
                return
        except EOFError:
            return
        except UnicodeDecodeError:
            _tell("error: That line is not UTF-8. Send it in UTF-8.")
            continue
        except KeyboardInterrupt:
            if not asking:
                raise
            _tell("\n!exit or Ctrl-D leaves")
            continue
        if line.strip():
            yield line.strip()


def _answer(chat: Any, line: str, *, json: bool) -> bool:
    """Answer a line or do what it commands; return whether the chat goes on."""
    from hflm.inference.chat_commands import run_command
    from hflm.inference.decoding import Timing

    # A name of a file may have any bytes.
    check_words([] if line.startswith(("!save", "!load")) else [line])
    if line.startswith("!"):
        said = run_command(chat, line)
        if said is not None:
            _tell(said)
        return said is not None
    timing = Timing()

    def listen(place: int, number: int, text: str) -> None:
        if not json:
            print(text, end="", flush=True)

    def forgot(turns: int) -> None:
        _tell(f"The chat is longer than the model reads: its oldest {turns} turns are forgotten.")

    answer = chat.say(line, listen=listen, timing=timing, forgot=forgot)
    if json:
        row = {"role": "assistant", "content": answer.text.strip(), "tokens": len(answer.ids), "ended": answer.ended}
        print(as_json(row), flush=True)
    else:
        print(flush=True)
    if answer.ended == "interrupted":
        _tell("stopped")
    elif not answer.text.strip():
        _tell("no answer; the question is taken back")
    elif answer.ended == "length" and len(answer.ids) < chat.ask.max_new_tokens:
        _tell(f"cut after {timing.tokens} tokens: the model reads no more")
    elif answer.ended == "length":
        _tell(f"cut after {timing.tokens} tokens; !set max_new_tokens={2 * timing.tokens} allows more")
    elif is_terminal():
        _tell(f"{timing.tokens} tokens, {timing.tokens_per_second:.0f} tokens/s")
    return True


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

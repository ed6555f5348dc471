"""`hflm generate`: parse, call, show."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from hflm.cli.progress import Progress
from hflm.cli.show import is_terminal, print_json
from hflm.cli.stdin import check_words, read_stdin
from hflm.errors import UsageError

Temperature = Annotated[
    float | None, typer.Option(help="0: the likeliest token. Default: 0, or 1 with --top-p and its like.")
]
Quantize = Annotated[
    str, typer.Option(help="int8: weights in eight bits; none; auto: int8 for Llama and Qwen2 on a CPU.")
]
UNCUT = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}


def command(
    prompt: Annotated[str | None, typer.Argument(help="The prompt; default: all of stdin.")] = None,
    model: Annotated[str | None, typer.Option(help="A run, a model folder or a hub id.")] = None,
    input_file: Annotated[Path | None, typer.Option(help="Prompts: a line each of .txt, or rows of .jsonl.")] = None,
    output_file: Annotated[Path | None, typer.Option("--output-file", "-o", help="Where rows with answers go.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the rows that are there.")] = False,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens to write at most.")] = 256,
    temperature: Temperature = None,
    top_p: Annotated[float, typer.Option(help="Draw from the likeliest tokens of this share.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Draw from so many of the likeliest tokens; 0: from all.")] = 0,
    min_p: Annotated[float, typer.Option(help="Draw no token below this share of the likeliest one.")] = 0.0,
    num_beams: Annotated[int, typer.Option(help="Beams; 1: one token after the other.", min=1)] = 1,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1: what was written becomes less likely.")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="The same seed and prompt give the same text.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="A text that ends the answer; may be repeated.")] = None,
    n: Annotated[int, typer.Option("--n", "-n", help="Answers to write.", min=1)] = 1,
    system: Annotated[str, typer.Option(help="Tell an instruct model who it is.")] = "",
    chat: Annotated[bool | None, typer.Option("--chat/--no-chat", help="Use the chat template, or not.")] = None,
    assistant_prefix: Annotated[str, typer.Option(help="How the answer begins.")] = "",
    truncate: Annotated[str | None, typer.Option(help="left or right: which end of a long prompt to cut.")] = None,
    json_schema: Annotated[Path | None, typer.Option(help="Write JSON of this schema, and nothing else.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what else could have come, token by token.")] = False,
    quantize: Quantize = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write text: hflm generate "The capital of France is" """
    cuts = {"top_p": top_p, "top_k": top_k, "min_p": min_p, "repetition_penalty": repetition_penalty}
    drawn = bool(n > 1 or explain or stop or json_schema or json or temperature or cuts != UNCUT)
    _check(prompt, input_file, output_file, num_beams=num_beams, drawn=drawn, shown=json or explain, resume=resume)
    _check_words(json_schema, system, assistant_prefix, stop or [])
    from hflm.inference.asking import Ask
    from hflm.inference.decoding import Settings
    from hflm.inference.writer import open_writer

    sampling = _sampling(temperature, n, **cuts)
    ask = Ask(max_new_tokens=max_new_tokens, chat=chat, system=system, start=assistant_prefix, truncate=truncate)
    text = _text(prompt) if input_file is None else ""
    columns = _look(input_file, output_file, resume=resume)
    writer = open_writer(model, quantize=quantize, beams=num_beams > 1, schema=json_schema)
    settings = Settings(
        sampling=sampling, n=n, seed=seed_of(seed), stops=tuple(stop or ()), explain=5 if explain else 0,
        grammar=writer.grammar,
    )  # fmt: skip
    _tell_chat(writer, ask, columns)
    if input_file:
        _file(writer, input_file, output_file, ask, settings, resume, seed)
    elif num_beams > 1:
        _beams(writer, text, ask, num_beams)
    else:
        _one(writer, text, ask, settings, json)


def _sampling(temperature: float | None, n: int, **cuts: Any) -> Any:
    """Return how tokens are chosen: drawn where an option asks for it, else the likeliest."""
    from hflm.inference.sampling import Sampling

    sampling = Sampling(**cuts)
    idle = next((name for name in ("top_p", "top_k", "min_p") if cuts[name] != UNCUT[name]), None)
    if temperature == 0 and idle:
        raise UsageError(
            f"--temperature 0 takes the likeliest token, and --{idle.replace('_', '-')} says which ones to draw from.",
            fix="Leave one of them out.",
        )
    drawn = n > 1 or (sampling.top_p, sampling.top_k, sampling.min_p) != (1.0, 0, 0.0)
    return replace(sampling, temperature=temperature if temperature is not None else float(drawn))


def seed_of(given: int | None) -> int:
    """Return the seed that was given, else one that nobody knows."""
    import secrets

    return secrets.randbelow(2**31) if given is None else given


def _check(
    prompt: str | None, input_file: Path | None, output_file: Path | None, *, num_beams: int, drawn: bool, shown: bool,
    resume: bool,
) -> None:  # fmt: skip
    if prompt is not None and input_file:
        raise UsageError("There are a prompt and an --input-file.", fix="Give one of them.")
    if (input_file is None) != (output_file is None):
        raise UsageError("--input-file and --output-file belong together.", fix="Give both.")
    if resume and not input_file:
        raise UsageError("--resume goes on with a file of rows.", fix="Pass --input-file and --output-file too.")
    if input_file and shown:
        raise UsageError("--json and --explain are for a single prompt.", fix="Leave them out; the file is JSON Lines.")
    if num_beams > 1 and (drawn or input_file):
        raise UsageError(
            "--num-beams goes with a single prompt, and not with drawing, --n, --stop, --explain or --json.",
            fix="Leave one of them out; `hflm predict` searches with beams for files.",
        )


def _check_words(json_schema: Path | None, system: str, assistant_prefix: str, stop: list[str]) -> None:
    check_words([system, assistant_prefix, *stop])
    if json_schema and assistant_prefix:
        raise UsageError(
            "--json-schema says how an answer begins, and so does --assistant-prefix.", fix="Give one of them."
        )


def _text(prompt: str | None) -> str:
    if prompt is None and is_terminal(sys.stdin):
        raise UsageError("There is no prompt.", fix='Give one: `hflm generate "Once upon a time"`, or pipe it in.')
    text = read_stdin().rstrip("\n") if prompt is None else prompt
    check_words([text])
    if not text.strip():
        raise UsageError("The prompt is empty.", fix="Give some words.")
    return text


def _look(input_file: Path | None, output_file: Path | None, *, resume: bool) -> list[str]:
    """Look at the rows of a file before the model is loaded; return the columns that the prompts stand in."""
    if input_file is None or output_file is None:
        return []
    from hflm.generate import check_prompts

    return check_prompts(input_file, output_file, resume=resume)


def _tell_chat(writer: Any, ask: Any, columns: list[str]) -> None:
    from hflm.inference.asking import is_chat

    how = "by its chat template (--no-chat: go on with the text)" if is_chat(writer, ask) else "goes on with the text"
    if writer.kind == "seq2seq":
        how = "reads the text and writes another"
    weights = ", weights in int8" if writer.quantize == "int8" else ""
    print(f"{writer.name}: {how}{weights}", file=sys.stderr)
    if columns:
        print(f"prompts: column {', '.join(columns)}", file=sys.stderr)


def _one(writer: Any, text: str, ask: Any, settings: Any, json: bool) -> None:
    from hflm.generate import generate, report
    from hflm.inference.decoding import Timing

    timing, streams = Timing(), is_terminal() and settings.n == 1 and not json

    def listen(place: int, number: int, piece: str) -> None:
        # Heard in any case: what was written when Ctrl-C comes is shown.
        if streams:
            print(piece, end="", flush=True)

    (answers,) = generate(writer, [text], ask=ask, settings=settings, timing=timing, listen=listen)
    if json:
        print_json(report(writer, answers, prompt=text, ask=ask, settings=settings, timing=timing))
    else:
        print() if streams else print("\n\n".join(answer.text for answer in answers))
        for answer in answers if settings.explain else ():
            _explain(answer)
    for answer in answers:
        timing.count(answer, cap=ask.max_new_tokens)
    _speed(timing, writer, settings)
    if any(answer.ended == "interrupted" for answer in answers):
        raise KeyboardInterrupt


def _explain(answer: Any) -> None:
    for token, candidates in answer.candidates:
        others = "  ".join(f"{one.token!r} {one.probability:.1%}" for one in candidates)
        print(f"{token!r:16} {others}")


def _speed(timing: Any, writer: Any, settings: Any) -> None:
    drawn = f"; seed {settings.seed}" if settings.sampling.temperature else ""
    print(
        f"{timing.tokens} tokens, {timing.tokens_per_second:.1f} tokens/s, the first after {timing.first:.2f} s "
        f"(model loaded in {writer.load_seconds:.1f} s){drawn}",
        file=sys.stderr,
    )
    _stopped(timing, writer, settings)


def _stopped(timing: Any, writer: Any, settings: Any) -> None:
    """Say how many answers did not come to their end, and why."""
    what = "the JSON is not whole" if settings and settings.grammar else "the text may not be whole"
    for number, why in (
        (timing.capped, "by --max-new-tokens"),
        (timing.full, f"where {writer.name} reads no more ({writer.output_limit:,})"),
    ):  # fmt: skip
        if number:
            print(f"stopped {why}: {what}{f', of {number:,} answers' if number > 1 else ''}", file=sys.stderr)


def _beams(writer: Any, text: str, ask: Any, num_beams: int) -> None:
    from hflm.generate import beam_search
    from hflm.inference.decoding import Timing

    timing = Timing()
    print(beam_search(writer, [text], ask=ask, num_beams=num_beams, timing=timing)[0])
    print(f"{timing.tokens} tokens, {timing.tokens_per_second:.1f} tokens/s", file=sys.stderr)
    _stopped(timing, writer, None)


def _file(
    writer: Any, input_file: Path, output_file: Path | None, ask: Any, settings: Any, resume: bool, seed: int | None
) -> None:
    from hflm.generate import generate_file
    from hflm.inference.decoding import Timing

    assert output_file is not None
    timing = Timing()
    with Progress(quiet=True) as progress:
        count = generate_file(
            writer, input_file, output_file, ask=ask, settings=settings, resume=resume, watch=progress.watch,
            timing=timing, seed=seed,
        )  # fmt: skip
    print(f"wrote {count:,} rows to {output_file}")
    drawn = f"; seed {settings.seed}" if settings.sampling.temperature else ""
    print(f"{timing.tokens} tokens, {timing.tokens_per_second:.1f} tokens/s{drawn}", file=sys.stderr)
    _stopped(timing, writer, settings)

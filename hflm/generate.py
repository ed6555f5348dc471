"""Text written by a model: for prompts, or for every row of a file.

hflm generate "The capital of France is"
"""

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hflm.data.columns import called, in_english
from hflm.data.records import Record, read_records, show
from hflm.data.sources import one_source
from hflm.errors import DataError, ModelError, UsageError
from hflm.families.prompts import asked_about, before_answer
from hflm.inference.asking import Ask, is_chat, make_prompt
from hflm.inference.decoding import Answer, Listen, Settings, Timing
from hflm.inference.generating import UNPENALIZED
from hflm.inference.row_files import add_to_rows, check_output
from hflm.inference.writer import Writer
from hflm.models.fingerprints import model_key
from hflm.models.spacing import set_solid

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch

# Rows that are read, sorted by length, answered and written together.
CHUNK = 256
# What a question or an instruction is about, and the columns that hold these.
ABOUT, ASKS = ("input", "context"), ("prompt", "instruction", "question")
# Rows of instructions often keep the whole prompt with its answer as a text too, and questions name their source.
COLUMNS = ("messages", "prompt", "instruction", "question", "text", "source")


def generate(
    writer: Writer, prompts: Sequence[Any], *, ask: Ask, settings: Settings, first: int = 0,
    timing: Timing | None = None, listen: Listen | None = None,
) -> list[list[Answer]]:  # fmt: skip
    """Return `settings.n` answers to each prompt, a text or the messages of a chat.

    The answers to a prompt hang on the prompt, the settings and its number, which counts from `first`: not on the
    others. Raises DataError where a prompt is empty or too long, UsageError where options do not go together.
    """
    if settings.n > 1 and settings.sampling.temperature == 0:
        raise UsageError(f"--n is {settings.n}, and greedily all answers are the same.", fix="Pass --temperature 0.8.")
    made = [make_prompt(writer, prompt, ask, row=first + place) for place, prompt in enumerate(prompts)]
    return writer.write(made, settings, timing=timing, listen=listen)


def beam_search(writer: Writer, prompts: Sequence[Any], *, ask: Ask, num_beams: int, timing: Timing) -> list[str]:
    """Return the answer to each prompt that is likeliest as a whole, of `num_beams` that are followed at a time."""
    import time

    import torch

    if writer.whole is None:
        raise UsageError(f"{writer.name} was opened without beams.", fix="Open it with beams=True.")
    began, texts = time.perf_counter(), []
    for prompt in (make_prompt(writer, prompt, ask) for prompt in prompts):
        # One by one: beams of padded rows may differ from those of the row alone.
        ids = torch.tensor([prompt.ids], device=writer.whole.device)
        with torch.inference_mode():
            found = writer.whole.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=prompt.most, num_beams=num_beams,
                do_sample=False, pad_token_id=writer.tokenizer.pad_token_id,
                **({"eos_token_id": sorted(writer.ends)} if writer.ends else {}),
                **(UNPENALIZED if writer.kind == "completion" else {}),
            )[0]  # fmt: skip
        written = found if writer.kind == "seq2seq" else found[len(prompt.ids) :]
        timing.tokens += len(written)
        if not writer.ends.intersection(written[-1:].tolist()):
            timing.count(Answer(ids=written.tolist(), ended="length"), cap=ask.max_new_tokens)
        text = str(writer.tokenizer.decode(written, skip_special_tokens=True))
        texts.append(ask.start + set_solid(writer.tokenizer, text))
    timing.seconds += time.perf_counter() - began
    return texts


def check_prompts(input_file: Path, output_file: Path, *, resume: bool) -> list[str]:
    """Look at every row before a model is loaded, and return the columns that the prompts stand in.

    A .txt file has no columns, and none is returned. Raises an HflmError for what is wrong.
    """
    check_output(output_file, resume=resume, input_file=input_file)
    source, columns, rows = one_source(input_file), dict[str, None](), 0
    for record in read_records(source):
        rows += 1
        columns[_prompt(record)[0]] = None
    if not rows:
        raise DataError(f"{input_file} has no rows.", fix="Name a file with rows.")
    return [] if source.kind == "text" else list(columns)


def generate_file(
    writer: Writer, input_file: Path, output_file: Path, *, ask: Ask, settings: Settings, resume: bool, watch: "Watch",
    timing: Timing, seed: int | None = None,
) -> int:  # fmt: skip
    """Write a line for every row of a file, its own columns and what was generated, in order; return their number.

    Every prompt is made once before the first is answered: that takes a thousandth of the time of the answers, and a
    row that is too long is not found after hours. `seed` is the one that was asked for. Raises UsageError where a file
    that is not done was begun with another model or other options.
    """

    def add(records: Sequence[Record], done: int) -> list[dict[str, Any]]:
        prompts = [_prompt(record)[1] for record in records]
        found = generate(writer, prompts, ask=ask, settings=settings, first=done, timing=timing)
        for answer in itertools.chain.from_iterable(found):
            timing.count(answer, cap=ask.max_new_tokens)
        return [{"generated": [one.text for one in row] if settings.n > 1 else row[0].text} for row in found]

    def made_with() -> dict[str, Any]:
        schema = settings.grammar.grammar if settings.grammar else None
        return {
            "model": model_key(writer.name, sampled=True), **asdict(ask), **asdict(settings.sampling), "n": settings.n,
            "seed": seed, "stops": settings.stops, "JSON schema": schema, "quantize": writer.quantize,
        }  # fmt: skip

    is_chat(writer, ask)
    for record in read_records(one_source(input_file)):
        _, prompt = _prompt(record)
        try:
            make_prompt(writer, prompt, ask)
        except (DataError, ModelError) as error:
            # A template may refuse the turns of a row.
            raise DataError(f"{record.where}: {error.problem}", fix=error.fix) from error
    return add_to_rows(
        input_file, output_file, add, resume=resume, chunk=CHUNK, watch=watch, made_with=made_with
    )  # fmt: skip


def _prompt(record: Record) -> tuple[str, Any]:
    """Return the column that the prompt of a row stands in, and the prompt: a text, or messages."""
    columns = list(record.values)
    exact, plain, native = {column: column for column in columns}, called(columns), in_english(columns)
    known = native | plain | exact
    name = next((name for found in (exact, plain, native) for name in COLUMNS if name in found), None)
    if name is None:
        raise DataError(
            f"{record.where}: no prompt; it has {sorted(record.values)[:12]}.",
            fix="Name the column prompt, text or messages; `hflm predict` takes one of any name with --prompt-column.",
        )
    column = known[name]
    value = record.values[column]
    if name == "messages":
        from hflm.data.chats import messages

        where = f"{record.where}, column {column!r}"
        turns = before_answer(messages(value, where))
        if not turns:
            raise DataError(f"{where}: nobody asks anything.", fix="Give a message of the user.")
        return column, turns
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{record.where}, column {column!r}: found {show(value)}.", fix="Give a text.")
    others = (record.values[known[one]] for one in ABOUT if one in known)
    about = next((one for one in others if isinstance(one, str)), "")
    if not about.strip() or name not in ASKS:
        return column, value
    return column, asked_about(value, about, first=name == "instruction")


def report(
    writer: Writer, answers: Sequence[Answer], *, prompt: str, ask: Ask, settings: Settings, timing: Timing
) -> dict[str, Any]:  # fmt: skip
    """Return all that is known of the answers to a prompt, for another program to read."""
    return {
        "model": writer.name,
        "quantize": writer.quantize,
        "prompt": prompt,
        "chat_template": is_chat(writer, ask),
        "seed": settings.seed,
        "sampling": asdict(settings.sampling),
        "answers": [_answer(answer) for answer in answers],
        "tokens": timing.tokens,
        "seconds": round(timing.seconds, 4),
        "tokens_per_second": round(timing.tokens_per_second, 1),
        "seconds_to_first_token": round(timing.first, 4),
    }


def _answer(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = {"text": answer.text, "tokens": len(answer.ids), "ended": answer.ended}
    if answer.candidates:
        found["candidates"] = [
            {"token": token, "candidates": [asdict(one) for one in ones]} for token, ones in answer.candidates
        ]
    return found

"""What a teacher writes to every training row, written once and kept: the texts that a student learns to write."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from hflm.cache import cache_folder, in_cache, staged
from hflm.data.chats import CHATS
from hflm.data.examples import Example
from hflm.data.splits import Splits
from hflm.engine import ranks
from hflm.errors import UsageError
from hflm.families.completion import ANSWERS, check_asked
from hflm.inference.generating import UNPENALIZED, stops
from hflm.inference.predicting import write_rows
from hflm.inference.trained import TrainedModel
from hflm.models.fingerprints import tokenizer_key, weights_key
from hflm.models.writing import end_tokens

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch

# Rows that are written and kept together: what a kill loses at most.
CHUNK = 256


def with_answers(
    splits: Splits, teacher: TrainedModel, *, cap: int, watch: "Watch", own: bool = False
) -> Splits:  # fmt: skip
    """Put what the teacher writes in the place of the training rows' targets (Kim and Rush 2016).

    Other splits keep their references; `own`: the cap is the teacher's own. Raises UsageError where rows ask nothing,
    or the teacher says nothing.
    """
    for example in splits.train:
        if not _chat(example) and not any(role in example.values for role in ANSWERS):
            raise UsageError(
                f"{example.where}: there is nothing to answer: plain text has no target that a teacher could write.",
                fix="Give prompts, or distil a language model with --task pretraining.",
            )
    asked = [_asked(example) for example in splits.train]
    for example in asked if teacher.kind == "completion" else ():
        check_asked(example)
    texts = write_answers(teacher, asked, cap=cap, watch=watch, own=own)
    if not any(text.strip() for text in texts):
        raise UsageError(
            f"The teacher {teacher.name} wrote nothing to {len(texts):,} training rows.", fix="Fine-tune it first."
        )
    pairs = zip(splits.train, texts, strict=True)
    return replace(splits, train=[_answered(example, text) for example, text in pairs])


def _chat(example: Example) -> str | None:
    """Return the role of a conversation, where an example is one."""
    return next((role for role in CHATS if role in example.values), None)


def _before_answer(said: Sequence[Any]) -> list[Any]:
    """Return the turns before the last answer; all of them, where there is none or nothing before it."""
    last = max((place for place, turn in enumerate(said) if turn["role"] == "assistant"), default=0)
    return list(said[:last] or said)


def _asked(example: Example) -> Example:
    """Return an example that ends where its last answer begins: a teacher would answer what comes after it."""
    role = _chat(example)
    return replace(example, values={**example.values, role: _before_answer(example.values[role])}) if role else example


def _answered(example: Example, text: str) -> Example:
    values = dict(example.values)
    if role := _chat(example):
        values[role] = [*_before_answer(values[role]), {"role": "assistant", "content": text}]
    else:
        values[next(role for role in ANSWERS if role in values)] = text
    return replace(example, values=values)


def write_answers(
    teacher: TrainedModel, examples: Sequence[Example], *, cap: int, watch: "Watch", own: bool = False
) -> list[str]:  # fmt: skip
    """Return the teacher's text to each example, in their order; what was written before is read from the cache.

    `own`: the cap is the teacher's own, which no setting raises.
    """
    order = sorted(range(len(examples)), key=lambda row: (-_length(examples[row]), row))
    folder = cache_folder() / f"answers-{_key(teacher, examples, cap=cap)}"
    texts, start, written, capped = [""] * len(examples), perf_counter(), 0, 0
    for number, place in enumerate(range(0, len(order), CHUNK)):
        rows = order[place : place + CHUNK]
        chunk = folder / f"{number:06}"
        if not ranks.agreed(ranks.first() and in_cache(chunk, opens=_read)):
            found, cut = write_rows(
                teacher.model, teacher.family, [examples[row] for row in rows], device=teacher.device,
                max_new_tokens=cap,
            )  # fmt: skip
            if ranks.first():
                with staged(chunk) as staging:
                    content = json.dumps([one["prediction"] for one in found], ensure_ascii=False)
                    (staging / "texts.json").write_text(content, encoding="utf-8")
            written, capped = written + len(rows), capped + cut
            rate = written / (perf_counter() - start)
            watch("rows", {"done": place + len(rows), "rows": len(order), "rows_per_second": rate})
        said = ranks.agreed(_read(chunk) if ranks.first() else None)
        for row, text in zip(rows, said, strict=True):
            texts[row] = text
    if written < len(order):
        watch("note", {"text": f"{len(order) - written:,} of the teacher's texts were in the cache"})
    if capped:
        ended = f"{capped:,} of {written:,} texts of the teacher were ended by the cap of {cap} tokens"
        advice = "it is the teacher's own" if own else "--max-target-length raises it"
        watch("note", {"text": f"{ended}, and are learned so; {advice}"})
    return texts


def _read(chunk: Path) -> list[str]:
    texts: list[str] = json.loads((chunk / "texts.json").read_text(encoding="utf-8"))
    return texts


def _length(example: Example) -> int:
    return sum(len(str(value)) for value in example.values.values())


def _key(teacher: TrainedModel, examples: Sequence[Example], *, cap: int) -> str:
    """Hash all that decides what is written: the teacher, how it writes, and what it reads."""
    told: Any = teacher.model.generation_config
    told_apart = {item.name: getattr(teacher.family, item.name) for item in fields(teacher.family)}
    family = {name: value for name, value in told_apart.items() if isinstance(value, (str, int, float))}
    ends = stops(teacher.model, teacher.family.tokenizer)
    total = hashlib.sha256(json.dumps([
        weights_key(teacher.model), tokenizer_key(teacher.family.tokenizer), told.to_diff_dict(), family, cap, CHUNK,
        teacher.device.precision, UNPENALIZED if teacher.kind == "completion" else {},
        # Texts that were kept before went on behind such an end.
        *([sorted(ends)] if ends != end_tokens(teacher.model) else []),
    ], sort_keys=True, default=str).encode())  # fmt: skip
    for example in examples:
        total.update(json.dumps(example.values, sort_keys=True, default=str).encode("utf-8", "replace"))
    return total.hexdigest()[:24]

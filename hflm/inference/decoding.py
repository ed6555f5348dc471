"""Answers written token by token, several at once, each as it would be written alone."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hflm.errors import NumericsError
from hflm.inference.sampling import Sampling, choose, generator_of, penalize
from hflm.inference.streaming import GrowingText
from hflm.inference.structured import Grammar
from hflm.models.stepping import EncoderDecoder, Reader

# Hears (place of the prompt, number of the answer, text) as soon as it is certain; False ends that answer.
Listen = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Prompt:
    """The ids of a prompt, how many tokens may follow, the number that seeds its answers, and how they begin."""

    ids: list[int]
    most: int
    row: int = 0
    start: str = ""


@dataclass(frozen=True)
class Candidate:
    """A token that could have come, and how likely it was."""

    token: str
    probability: float


@dataclass
class Answer:
    """What was written, and what ended it: `end`, `stop`, `length` or `interrupted`."""

    text: str = ""
    ids: list[int] = field(default_factory=list)
    ended: str = "length"
    candidates: list[tuple[str, list[Candidate]]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How answers are written; `explain` is the number of candidates that are kept for each token."""

    sampling: Sampling = Sampling()
    n: int = 1
    seed: int = 0
    stops: tuple[str, ...] = ()
    explain: int = 0
    grammar: Grammar | None = None


@dataclass
class Timing:
    """Tokens that were written, seconds that this took, and those until the first."""

    tokens: int = 0
    seconds: float = 0.0
    first: float = 0.0
    # Answers that `--max-new-tokens` ended, and those that ended where the model reads no more.
    capped: int = 0
    full: int = 0

    def count(self, answer: "Answer", *, cap: int) -> None:
        """Take note of an answer that did not end by itself."""
        if answer.ended == "length":
            self.capped, self.full = self.capped + (len(answer.ids) >= cap), self.full + (len(answer.ids) < cap)

    @property
    def tokens_per_second(self) -> float:
        """Tokens a second, from the start of reading."""
        return self.tokens / self.seconds if self.seconds else 0.0


class _Row:
    """One answer while it is written."""

    def __init__(
        self, place: int, number: int, prompt: Prompt, settings: Settings, tokenizer: Any, *, apart: bool
    ) -> None:
        self.place, self.number, self.prompt, self.settings = place, number, prompt, settings
        # What an encoder reads is no part of the text that is written.
        self.before = [] if apart else prompt.ids
        self.growing = GrowingText(tokenizer, stops=settings.stops, start=prompt.start)
        self.draw = generator_of(settings.seed, prompt.row, number)
        self.state = settings.grammar.start() if settings.grammar else None
        self.answer = Answer()

    def choose(self, logits: Tensor) -> int:
        """Return the next token, from logits [V]."""
        sampling = self.settings.sampling
        if self.settings.explain:
            self._explain(logits)
        if sampling.repetition_penalty != 1:
            logits = penalize(logits, [*self.before, *self.answer.ids], sampling.repetition_penalty)
        if self.state:
            logits = self.state.mask(logits)
        return choose(logits, sampling, self.draw)

    def _explain(self, logits: Tensor) -> None:
        best = logits.float().softmax(dim=-1).topk(min(self.settings.explain, len(logits)))
        shown = self.growing.tokenizer.decode
        found = [Candidate(shown([i]), p) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
        self.answer.candidates.append(("", found))

    def take(self, token: int, ends: frozenset[int]) -> bool:
        """Take a token; return whether the answer goes on."""
        if self.settings.explain:
            self.answer.candidates[-1] = (self.growing.tokenizer.decode([token]), self.answer.candidates[-1][1])
        self.answer.ids.append(token)
        if token in ends:
            self.answer.ended = "end"
            return False
        self.growing.add(token)
        if self.growing.stopped or (self.state is not None and self.state.take(token)):
            self.answer.ended = "stop" if self.growing.stopped else "end"
            return False
        return len(self.answer.ids) < self.prompt.most

    def close(self) -> Answer:
        """Return the answer as it stands."""
        self.growing.finish()
        self.answer.text = self.growing.text
        return self.answer


def write(
    reader: Reader, tokenizer: Any, prompts: Sequence[Prompt], settings: Settings, *, ends: frozenset[int],
    timing: Timing | None = None, listen: Listen | None = None,
) -> list[list[Answer]]:  # fmt: skip
    """Write `settings.n` answers to each prompt of one batch.

    Ctrl-C ends all answers where they stand, when somebody listens. Raises NumericsError where the model's numbers
    are not finite.
    """
    timing = timing or Timing()
    began = time.perf_counter()
    apart = isinstance(reader, EncoderDecoder)
    rows = [
        _Row(p, n, prompt, settings, tokenizer, apart=apart)
        for p, prompt in enumerate(prompts)
        for n in range(settings.n)
    ]
    try:
        _write(reader, rows, prompts, ends, timing, listen)
    except KeyboardInterrupt:
        if not listen:
            raise
        for row in rows:
            row.answer.ended = "interrupted" if row.answer.ended == "length" else row.answer.ended
    timing.seconds += time.perf_counter() - began
    answers = [row.close() for row in rows]
    for row in rows:
        if listen and (piece := row.growing.new(end=True)):
            listen(row.place, row.number, piece)
    return [answers[at : at + settings.n] for at in range(0, len(answers), settings.n)]


def _write(
    reader: Reader, rows: list[_Row], prompts: Sequence[Prompt], ends: frozenset[int], timing: Timing,
    listen: Listen | None,
) -> None:  # fmt: skip
    began = time.perf_counter()
    logits, held = reader.prefill([prompt.ids for prompt in prompts])
    places = [row.place for row in rows]
    if places != list(range(len(prompts))):
        logits = logits[places]
        held.keep(places)
    while True:
        tokens = _choose(logits, rows)
        timing.tokens += len(tokens)
        timing.first = timing.first or time.perf_counter() - began
        going = [row.take(token, ends) for row, token in zip(rows, tokens, strict=True)]
        for row in rows if listen else ():
            if listen and (piece := row.growing.new()):
                listen(row.place, row.number, piece)
        left = [place for place, goes in enumerate(going) if goes]
        if not left:
            return
        if len(left) < len(rows):
            rows = [rows[place] for place in left]
            held.keep(left)
        logits = reader.step([row.answer.ids[-1] for row in rows], held)


def _choose(logits: Tensor, rows: list[_Row]) -> list[int]:
    """Return a token for each row, from logits [B, V]."""
    best = logits.max(dim=-1)
    if not torch.isfinite(best.values).all():
        raise NumericsError(
            "The model's numbers are not finite.", fix="Its weights are damaged; take an earlier model."
        )
    settings = rows[0].settings
    sampling = settings.sampling
    if sampling.temperature == 0 and sampling.repetition_penalty == 1 and not (settings.explain or settings.grammar):
        return [int(token) for token in best.indices.tolist()]
    return [row.choose(logits[place]) for place, row in enumerate(rows)]

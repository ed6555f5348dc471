"""The one answer of a model that is explained, and how sure the model is of it, as a number with a gradient."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hflm.errors import UsageError
from hflm.explaining.opened import Opened
from hflm.explaining.pieces import Piece, sign, tagged_places
from hflm.explaining.reading import Reading
from hflm.models.heads import saved_labels
from hflm.models.spacing import set_solid

# What a score is counted in. Log odds are log p / (1 - p): 0 at one half, and never flat.
LOG_ODDS, OUTPUT, LOG_PROBABILITY = "log odds", "output", "log probability"


@dataclass(frozen=True)
class Candidate:
    """A possible answer and its probability; for a regression its value."""

    answer: str
    probability: float


@dataclass(frozen=True)
class Question:
    """What is asked, the answer explained, the place [of T] where it is read off, and the answers there could be.

    `score` makes of logits, [B, C] or [B, T, V], how sure the model is of the answer [B], in `unit`. `place` is None
    where the whole text is answered for; `score(logits, place)` takes another place where tokens have gone.
    """

    asked: str
    answer: str
    place: int | None
    unit: str
    candidates: list[Candidate]
    score: Callable[[Tensor, int | None], Tensor]
    # Whether each answer is right or wrong by itself, and their probabilities do not sum to 1.
    independent: bool = False


def ask(opened: Opened, pieces: Sequence[Piece], reading: Reading, *, target: str | None, top: int) -> Question | None:
    """Return the question that a model answers about a text, or None where it answers none.

    `target` names another answer than the likeliest. Raises UsageError where there is no such answer.
    """
    makers: dict[str, Callable[..., Question | None]] = {
        "classification": _class, "tagging": _tag, "masked": _blank, "next": _next, "seq2seq": _output,
    }  # fmt: skip
    made = makers[opened.kind](opened, pieces, reading, target, top) if opened.kind in makers else None
    if target and (made is None or opened.kind == "seq2seq"):
        raise UsageError(
            f"--target {target!r}: this model is asked for no label and no token here.", fix="Leave it out."
        )
    return made


def log_odds(logits: Tensor, target: int) -> Tensor:
    """Return log p / (1 - p) of one answer, [B] from [B, C]: its logit less the log-sum-exp of the others."""
    hole = torch.zeros_like(logits)
    hole[:, target] = -torch.inf
    return logits[:, target] - torch.logsumexp(logits + hole, dim=-1)


def _class(opened: Opened, pieces: Any, reading: Reading, target: str | None, top: int) -> Question:
    assert reading.logits is not None
    labels, logits, scale = saved_labels(opened.model.config), reading.logits, opened.temperature  # logits: [1, C]
    problem = opened.model.config.problem_type
    if len(labels) == 1 or problem == "regression":
        place = _label(labels, target) if target else 0
        values = [Candidate(label, float(value)) for label, value in zip(labels, logits[0], strict=True)]
        return Question("the value of the text", labels[place], None, OUTPUT, values, lambda z, _: z[:, place])
    many = problem == "multi_label_classification"
    chances = logits[0].sigmoid() if many else (logits[0] / scale).softmax(-1)
    chosen = _label(labels, target) if target else int(chances.argmax())

    def score(z: Tensor, _: int | None) -> Tensor:
        return z[:, chosen] if many else log_odds(z / scale, chosen)  # the logit of a sigmoid already is its log odds

    candidates = _best(chances, max(top, 10), lambda number: labels[number])
    return Question("the class of the text", labels[chosen], None, LOG_ODDS, candidates, score, independent=many)


def _tag(opened: Opened, pieces: Sequence[Piece], reading: Reading, target: str | None, top: int) -> Question:
    assert reading.logits is not None
    labels, chances = saved_labels(opened.model.config), reading.logits[0].softmax(-1)  # [T, C]
    # The surest name is of more interest than the many words that are none.
    named = [number for number, label in enumerate(labels) if label != "O"] or [0]
    wanted = [_label(labels, target)] if target else named
    place = max(tagged_places(pieces), key=lambda one: float(chances[one][wanted].max()))
    chosen = wanted[int(chances[place][wanted].argmax())]
    candidates = _best(chances[place], max(top, 10), lambda number: labels[number])
    asked = f"the tag of “{pieces[place].text}”"
    return Question(asked, labels[chosen], place, LOG_ODDS, candidates, _at(place, chosen, labels=len(labels)))


def _blank(opened: Opened, pieces: Sequence[Piece], reading: Reading, target: str | None, top: int) -> Question | None:
    assert reading.logits is not None
    mask = opened.tokenizer.mask_token_id
    place = next((place for place, piece in enumerate(pieces) if piece.id == mask), None)
    if place is None:
        return None
    never = [number for number in opened.tokenizer.all_special_ids if number < reading.logits.size(-1)]
    return _token(opened, reading.logits[0, place], place, target, top, asked="the hidden token", never=never)


def _next(opened: Opened, pieces: Sequence[Piece], reading: Reading, target: str | None, top: int) -> Question:
    assert reading.logits is not None
    place = len(pieces) - 1
    return _token(opened, reading.logits[0, place], place, target, top, asked="the next token", never=[])


def _token(
    opened: Opened, logits: Tensor, place: int, target: str | None, top: int, *, asked: str, never: list[int]
) -> Question:  # fmt: skip
    chances = logits.index_fill(0, torch.tensor(never, device=logits.device, dtype=torch.long), -torch.inf).softmax(-1)
    chosen = _token_id(opened.tokenizer, target) if target else int(chances.argmax())

    def name(number: int) -> str:
        return sign(str(opened.tokenizer.decode([number]))) or str(opened.tokenizer.convert_ids_to_tokens(number))

    score = _at(place, chosen, labels=int(logits.numel()), never=never)
    return Question(asked, name(chosen), place, LOG_ODDS, _best(chances, top, name), score)


def _at(place: int, chosen: int, *, labels: int, never: Sequence[int] = ()) -> Callable[[Tensor, int | None], Tensor]:
    hole = torch.zeros(labels)
    hole[list(never)] = -torch.inf

    def score(z: Tensor, moved: int | None) -> Tensor:
        return log_odds(z[:, place if moved is None else moved] + hole.to(z.device), chosen)

    return score


def _output(opened: Opened, pieces: Any, reading: Reading, target: str | None, top: int) -> Question:
    """Ask for the whole text that was written: the sum of the log probabilities of its tokens."""
    ids = torch.tensor(reading.written[1:])
    # A first token that is forced, as the language of NLLB, is none that the model chose.
    forced = getattr(opened.model.generation_config, "forced_bos_token_id", None)
    first = int(forced is not None and reading.written[1:2] == [forced])
    ids = ids[first:]

    def score(z: Tensor, _: int | None) -> Tensor:
        chances = z[:, first : first + len(ids)].log_softmax(-1)  # [B, R, V]
        return chances.gather(-1, ids.to(z.device)[None, :, None].expand(len(z), -1, 1)).sum((1, 2))

    text = set_solid(opened.tokenizer, str(opened.tokenizer.decode(reading.written, skip_special_tokens=True))).strip()
    assert reading.logits is not None
    chance = float(score(reading.logits, None).exp())
    return Question("the text written", text, None, LOG_PROBABILITY, [Candidate(text, chance)], score)


def _best(chances: Tensor, top: int, name: Callable[[int], str]) -> list[Candidate]:
    found = chances.topk(min(top, len(chances)))
    pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
    return [Candidate(name(number), chance) for number, chance in pairs]


def _label(labels: Sequence[str], wanted: str) -> int:
    if wanted in labels:
        return labels.index(wanted)
    near = difflib.get_close_matches(wanted, labels, n=1)
    fix = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(labels[:20])}."
    raise UsageError(f"--target {wanted!r} is no label of this model.", fix=fix)


def _token_id(tokenizer: Any, wanted: str) -> int:
    """Return the id of a word that is one token, as it stands or after a space."""
    tries = [tokenizer(one, add_special_tokens=False)["input_ids"] for one in (f" {wanted.lstrip()}", wanted)]
    alone = next((ids[0] for ids in tries if len(ids) == 1 and ids[0] != tokenizer.unk_token_id), None)
    if alone is None:
        parts = ", ".join(repr(str(tokenizer.decode([one]))) for one in tries[1][:6]) or "none"
        raise UsageError(f"--target {wanted!r} is not one token of this model: {parts}.", fix="Name one of its tokens.")
    return int(alone)

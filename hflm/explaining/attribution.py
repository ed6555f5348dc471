"""Which tokens an answer is owed to: integrated gradients (Sundararajan, Taly & Yan 2017), computed by captum.

IG_i = (x_i - x'_i) * integral over a in [0, 1] of dF(x' + a (x - x')) / dx_i, with x the embeddings [T, D] of the
tokens, x' those of a text that says nothing, and F how sure the model is of its answer. What the tokens get adds up to
F(x) - F(x'): completeness. The integral is a sum of a few points here, and how far it misses is always said.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hflm.errors import UsageError
from hflm.explaining.opened import Opened
from hflm.explaining.pieces import Piece
from hflm.explaining.questions import Question
from hflm.explaining.reading import Reading

# Tokens that go through the model at once.
AT_ONCE = 1024
# The way from baseline to text is cut where the sum misses most, until it misses less than this share of what there is
# to explain, or there were too many points: in number, or in points x tokens x parameters (a CPU does some 1e10/s).
PIECES, POINTS, MISS, MOST, DEAREST = 4, 8, 0.02, 1024, 1e12


@dataclass(frozen=True)
class Attribution:
    """What each token adds [T], the output with the text and with the baseline, and what the sum misses."""

    values: list[float]
    output: float
    baseline_output: float
    gap: float
    steps: int
    baseline: str


def attribute(
    opened: Opened, pieces: Sequence[Piece], reading: Reading, question: Question, *, steps: int | None = None
) -> Attribution:
    """Attribute the answer to the tokens; without `steps` their number grows until the sum is right.

    Tokens that open, close or hide stand for no text: they stay in the baseline, and get nothing. So does the first
    token of a decoder, on which the attention rests that has nowhere to go: without it all else changes at once.
    """
    from captum.attr import IntegratedGradients

    if steps is not None and steps < 2:
        raise UsageError(f"--steps is {steps}.", fix="Give 2 or more.")
    blank, name = blank_id(opened.tokenizer)
    table = opened.model.get_input_embeddings()
    ids = torch.tensor([[piece.id for piece in pieces]], device=opened.device)
    held = [piece.special or (place == 0 and opened.causal) for place, piece in enumerate(pieces)]
    empty = torch.tensor(
        [[p.id if stays else blank for p, stays in zip(pieces, held, strict=True)]], device=opened.device
    )
    with torch.no_grad():
        embedded, baseline = table(ids), table(empty)  # [1, T, D]
    forward = scorer(opened, reading, question)
    scale = _scale(opened, reading, question, forward, embedded)
    embedded, baseline = scale * embedded, scale * baseline
    with torch.no_grad():
        output, nothing = (float(forward(one)) for one in (embedded, baseline))
    walk = Walk(IntegratedGradients(forward), forward, baseline, embedded - baseline)
    wanted = MISS * max(abs(output - nothing), 0.1)
    if steps:
        walk.add(0.0, 1.0, points=steps)
    else:
        dear = DEAREST / (len(pieces) * sum(one.numel() for one in opened.model.parameters()))
        walk.refine(miss=wanted, most=int(min(MOST, dear)))
    values = walk.values().tolist()
    return Attribution(values, output, nothing, sum(values) - (output - nothing), walk.steps, name)


class Walk:
    """The straight way from baseline to text in stretches, each integrated by captum, the worst cut in two.

    Integrated gradients along a way are the sum of those along its stretches; and what a stretch misses is known,
    since its own sum should be the change of F along it. Where F turns sharply, as with the attention of decoders, a
    hundred times as many even steps would not do.
    """

    def __init__(self, method: Any, forward: Callable[[Tensor], Tensor], baseline: Tensor, way: Tensor) -> None:
        self.method, self.forward, self.baseline, self.way = method, forward, baseline, way
        self.stretches: list[tuple[float, float, float, Tensor]] = []  # (what is missed, from, to, attributions [T])
        self.steps = 0

    def add(self, begin: float, end: float, *, points: int = POINTS) -> None:
        """Integrate a stretch."""
        first, last = (self.baseline + place * self.way for place in (begin, end))
        at_once = max(1, AT_ONCE // first.size(1))
        found = self.method.attribute(last, baselines=first, n_steps=points, internal_batch_size=at_once)
        values: Tensor = found[0].sum(-1).double().cpu()  # [T]
        with torch.no_grad():
            change = float(self.forward(last)) - float(self.forward(first))
        self.steps += points
        self.stretches.append((abs(float(values.sum()) - change), begin, end, values))

    def refine(self, *, miss: float, most: int) -> None:
        """Cut the stretches that miss most."""
        for number in range(PIECES):
            self.add(number / PIECES, (number + 1) / PIECES)
        while sum(one[0] for one in self.stretches) > miss and self.steps + 2 * POINTS <= most:
            worst = max(self.stretches, key=lambda one: one[0])
            self.stretches.remove(worst)
            middle = (worst[1] + worst[2]) / 2
            self.add(worst[1], middle)
            self.add(middle, worst[2])

    def values(self) -> Tensor:
        """Return the attributions [T] of the whole way."""
        return torch.stack([one[3] for one in self.stretches]).sum(0)


def scorer(opened: Opened, reading: Reading, question: Question) -> Callable[[Tensor], Tensor]:
    """Return the function from embeddings [B, T, D] to how sure the model is of the answer [B]."""

    def forward(embedded: Tensor) -> Tensor:
        more: dict[str, Any] = {}
        if opened.kind == "seq2seq":
            wrote = torch.tensor([reading.written], device=embedded.device)
            more["decoder_input_ids"] = wrote.expand(len(embedded), -1)
        mask = torch.ones(embedded.shape[:2], dtype=torch.long, device=embedded.device)
        found = opened.model(inputs_embeds=embedded, attention_mask=mask, **more)
        return question.score(found.logits.float(), None)

    return forward


@torch.no_grad()
def _scale(
    opened: Opened, reading: Reading, question: Question, forward: Callable[[Tensor], Tensor], embedded: Tensor
) -> float:
    """Return by what an encoder multiplies its embeddings where it is given tokens, and leaves to whoever gives these.

    Marian and Pegasus do; other models multiply in their table. What comes to the output of the model is right.
    """
    if opened.kind != "seq2seq":
        return 1.0
    assert reading.logits is not None
    said = float(question.score(reading.logits, question.place))
    own = float(getattr(opened.model.get_encoder(), "embed_scale", None) or 1.0)
    return min((1.0, own), key=lambda scale: abs(float(forward(scale * embedded)) - said))


def blank_id(tokenizer: Any) -> tuple[int, str]:
    """Return the token that stands for no word: of hiding, of padding, or that ends a text."""
    for token_id in (tokenizer.mask_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, 0):
        if token_id is not None:
            break
    return int(token_id), str(tokenizer.convert_ids_to_tokens(int(token_id)))

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
# Points are doubled until the sum misses by less than this share of what there is to explain, or they are too many.
MISS, MOST = 0.02, 512


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

    Tokens that open, close or hide stand for no text: they stay in the baseline, and get nothing.
    """
    from captum.attr import IntegratedGradients

    if steps is not None and steps < 2:
        raise UsageError(f"--steps is {steps}.", fix="Give 2 or more.")
    blank, name = blank_id(opened.tokenizer)
    table = opened.model.get_input_embeddings()
    ids = torch.tensor([[piece.id for piece in pieces]], device=opened.device)
    empty = torch.tensor([[p.id if p.special else blank for p in pieces]], device=opened.device)
    with torch.no_grad():
        embedded, baseline = table(ids), table(empty)  # [1, T, D]
    forward = scorer(opened, reading, question)
    with torch.no_grad():
        output, nothing = (float(forward(one)) for one in (embedded, baseline))
    method, used = IntegratedGradients(forward), steps or 32
    while True:
        values = _integrate(method, embedded, baseline, used)
        gap = float(values.sum()) - (output - nothing)
        if steps or used >= MOST or abs(gap) <= MISS * max(abs(output - nothing), 0.1):
            return Attribution(values.tolist(), output, nothing, gap, used, name)
        used *= 2


def _integrate(method: Any, embedded: Tensor, baseline: Tensor, steps: int) -> Tensor:
    at_once = max(1, AT_ONCE // embedded.size(1))
    found = method.attribute(embedded, baselines=baseline, n_steps=steps, internal_batch_size=at_once)
    summed: Tensor = found[0].sum(-1).double().cpu()  # [T]
    return summed


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


def blank_id(tokenizer: Any) -> tuple[int, str]:
    """Return the token that stands for no word: of hiding, of padding, or that ends a text."""
    for token_id in (tokenizer.mask_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, 0):
        if token_id is not None:
            break
    return int(token_id), str(tokenizer.convert_ids_to_tokens(int(token_id)))

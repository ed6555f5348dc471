"""Secrets planted in a training text, and whether a model has learned them by heart (Carlini et al. 2019).

A canary is a sentence with random digits. A model that knows it finds its digits likelier than nearly all others in the
same sentence: the exposure is log2 of how many others there are by how many are at least as likely. Here others are
drawn, so the most that can be shown is log2(drawn + 1) bits. Canaries that were made and not planted are the control.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from hflm.data.records import read_records, show
from hflm.data.sources import one_source
from hflm.errors import DataError, UsageError
from hflm.families.encoded import mask_of, pad
from hflm.inference.generating import batches_by_length

if TYPE_CHECKING:
    from hflm.inference.trained import TrainedModel

FORM = "The access code of {name} is {secret}."
DIGITS = 6
SYLLABLES = ("ba", "do", "fe", "gi", "ku", "la", "mo", "ne", "ri", "su", "ta", "vo", "we", "xi", "za", "po")
# Names of three syllables, each for one canary.
NAMES = len(SYLLABLES) ** 3
# A secret among this share of the likeliest is said to be found: one of a hundred that were not planted is too.
FOUND = 0.01
# Tokens that are read at once, and fewer where their logits would be more numbers than this: half a gigabyte.
MOST, LEAST, LOGITS = 4096, 256, 2**27


@dataclass(frozen=True)
class Canary:
    """A sentence with {secret} in it, its digits, and how often it was planted: 0 for a control."""

    form: str
    secret: str
    repeats: int

    @property
    def text(self) -> str:
        """The sentence."""
        return self.form.replace("{secret}", self.secret)


def make_canaries(*, repeats: Sequence[int], controls: int, form: str, seed: int) -> list[Canary]:
    """Make a canary for each number of repeats, and controls.

    Raises UsageError for a form without its places, and for more canaries than there are names.
    """
    if "{secret}" not in form or "{name}" not in form:
        raise UsageError(f"--form is {form!r}.", fix="Write a sentence with {name} and {secret} in it.")
    if (asked := len(repeats) + controls) > NAMES:
        raise UsageError(f"{asked:,} canaries need {asked:,} names, and there are {NAMES:,}.", fix="Ask for fewer.")
    draw = np.random.Generator(np.random.Philox(key=[seed, 43]))
    made: dict[str, Canary] = {}
    for times in (*repeats, *[0] * controls):
        name = ""
        while not name or name in made:
            name = "".join(SYLLABLES[i] for i in draw.integers(len(SYLLABLES), size=3)).capitalize()
        made[name] = Canary(form.replace("{name}", name), _secret(draw), times)
    return list(made.values())


def _secret(draw: np.random.Generator) -> str:
    return " ".join(str(digit) for digit in draw.integers(10, size=DIGITS))


def plant(texts: Sequence[str], canaries: Sequence[Canary], *, seed: int) -> list[str]:
    """Return texts with every canary behind as many of them, drawn by the seed, as it has repeats.

    Behind texts and not among them, for a document that comes twice is dropped when data is cleaned.
    """
    draw = np.random.Generator(np.random.Philox(key=[seed, 47]))
    found = list(texts)
    filled = [place for place, text in enumerate(texts) if text.strip()]
    for canary in canaries:
        if canary.repeats > len(filled):
            raise UsageError(
                f"{canary.repeats} repeats of a canary do not fit {len(filled)} texts.", fix="Plant it less often."
            )
        for place in draw.choice(filled, size=canary.repeats, replace=False):
            found[place] = f"{found[place].rstrip()} {canary.text}"
    return found


def read_canaries(path: Path) -> list[Canary]:
    """Read what `hflm data canaries` wrote; raises DataError for a row that is no canary."""
    source = one_source(path)
    found = []
    for record in read_records(source):
        values = record.values
        fits = isinstance(values.get("form"), str) and "{secret}" in values["form"]
        if not fits or not isinstance(values.get("secret"), str) or not isinstance(values.get("repeats"), int):
            raise DataError(f"{record.where}: {show(values)} is no canary.", fix="`hflm data canaries` makes them.")
        found.append(Canary(values["form"], values["secret"], values["repeats"]))
    if not any(canary.repeats for canary in found):
        raise DataError(f"{path} has no canary that was planted.", fix="`hflm data canaries` makes them.")
    return found


def expose(
    trained: "TrainedModel", canaries: Sequence[Canary], *, others: int, seed: int,
    told: Callable[[int], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the exposure of every canary in bits, and how many of those planted, and of the controls, are found."""
    rows = []
    for number, canary in enumerate(canaries):
        draw = np.random.Generator(np.random.Philox(key=[seed, 53 + number]))
        drawn: dict[str, None] = {}
        while len(drawn) < others:
            secret = _secret(draw)
            if secret != canary.secret:
                drawn[secret] = None
        texts = [canary.form.replace("{secret}", secret) for secret in (canary.secret, *drawn)]
        losses = sequence_losses(trained, texts)
        rank = 1 + int((losses[1:] <= losses[0]).sum())
        rows.append({"form": canary.form, "secret": canary.secret, "repeats": canary.repeats, "rank": rank,
                     "exposure": math.log2(others + 1) - math.log2(rank), "found": rank <= FOUND * (others + 1),
                     "loss": float(losses[0])})  # fmt: skip
        if told:
            told(number + 1)
    planted, controls = ([row for row in rows if bool(row["repeats"]) is wanted] for wanted in (True, False))
    return {
        "canaries": rows, "others": others, "most_bits": math.log2(others + 1), "found_at": FOUND,
        "planted": len(planted), "found": sum(row["found"] for row in planted), "controls": len(controls),
        "controls_found": sum(row["found"] for row in controls),
    }  # fmt: skip


@torch.inference_mode()
def sequence_losses(trained: "TrainedModel", texts: Sequence[str]) -> Any:
    """Return the summed loss [N] in nats of texts, each read from its beginning."""
    tokenizer, model = trained.family.tokenizer, trained.model
    # The first token is predicted from a document's end, as in packed training; a model with a start has its own.
    first = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    rows = []
    for text in texts:
        ids = list(tokenizer(f" {text}")["input_ids"])
        rows.append(ids if ids[:1] == [tokenizer.bos_token_id] else first + ids)
    found = np.empty(len(rows))
    budget = max(LEAST, min(MOST, LOGITS // model.config.get_text_config().vocab_size))
    for batch in batches_by_length([len(row) for row in rows], budget=budget):
        chosen = [rows[row] for row in batch]
        padded, mask = pad(chosen, value=tokenizer.pad_token_id).to(model.device), mask_of(chosen).to(model.device)
        logits = model(input_ids=padded, attention_mask=mask, use_cache=False).logits[:, :-1].float()  # [B, T - 1, V]
        losses = functional.cross_entropy(logits.flatten(0, 1), padded[:, 1:].flatten(), reduction="none")
        found[batch] = (losses.view(len(batch), -1) * mask[:, 1:]).sum(dim=1).cpu().numpy()
        # Else they would stay until those of the next batch are there.
        del logits
    return found

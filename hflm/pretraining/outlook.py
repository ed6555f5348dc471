"""What each size would come to in the same time: steps, passes over the text, and the forecast of its loss."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hflm.config import PretrainConfig
from hflm.models.architecture import DEFAULT_ARCH, SIZES, count_parameters
from hflm.models.flops import flops_shape, forward_flops, muon_flops
from hflm.pretraining.assemble import Setup, build
from hflm.pretraining.forecast import LAW, body_parameters, forecast, is_beyond
from hflm.pretraining.measure import unigram_loss

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Fewer steps than this are no training: such a size is not looked at.
FEWEST = 20


@dataclass(frozen=True)
class Outlook:
    """A size: its parameters, the seconds of a step, the steps that the time holds, and the forecast of its loss.

    `beyond` says that the run is far from those of the law.
    """

    size: str
    parameters: int
    step_seconds: float
    steps: int
    passes: float
    loss: float
    beyond: bool = False


def has_law(config: PretrainConfig, arch: str) -> bool:
    """Tell whether the law speaks of such a run: masked tokens, from scratch, the recipe's own architecture."""
    return config.objective == "mlm" and not config.model and arch == DEFAULT_ARCH["mlm"] and config.dropout == 0


def scored_elsewhere(config: PretrainConfig) -> bool:
    """Tell whether a run is scored on another text than it is trained on: one that is given, or the sample's novel."""
    return bool(config.eval_data) or not config.data


def outlook_of(setup: Setup, *, steps: int, step_seconds: float) -> Outlook:
    """Return what the run of a setup will come to."""
    return _outlook(setup, setup.model, size=_name(setup), steps=steps, step_seconds=step_seconds)


def other_sizes(setup: Setup, *, steps: int, step_seconds: float) -> list[Outlook]:
    """Return what the other sizes would come to in the time of these steps, each as fast as its operations are many."""
    import torch

    asked, found = _name(setup), []
    own = _operations(setup, setup.model)
    for size in SIZES:
        if size == asked:
            continue
        config = replace(setup.config, size=size, layers=None, width=None, heads=None)
        with torch.device("meta"):
            model = build(config, setup.arch, setup.data, setup.data.eval_rows.ids.shape[1])
        seconds = step_seconds * _operations(setup, model) / own
        if (held := int(steps * step_seconds / seconds)) >= FEWEST:
            found.append(_outlook(setup, model, size=size, steps=held, step_seconds=seconds))
    return found


def better(found: Sequence[Outlook], *, than: Outlook) -> Outlook | None:
    """Return the outlook of the lowest loss, where it is lower by more than the law is likely to be off."""
    if than.beyond:
        return None
    best = min((one for one in found if not one.beyond), key=lambda one: one.loss, default=than)
    return best if math.log(than.loss / best.loss) > LAW.error else None


def suggestion(setup: Setup, *, steps: int, step_seconds: float) -> str | None:
    """Return a line for a run whose size does not suit its time; None where it does, or the law is silent."""
    if not has_law(setup.config, setup.arch):
        return None
    own = outlook_of(setup, steps=steps, step_seconds=step_seconds)
    best = better(other_sizes(setup, steps=steps, step_seconds=step_seconds), than=own)
    if best is None:
        return None
    return (
        f"--size {best.size} would come further in this time: a loss of about {best.loss:.2f}, not {own.loss:.2f} "
        "(`hflm plan` measures it)"
    )


def _name(setup: Setup) -> str:
    config = setup.config
    given = [str(value) for value in (config.layers, config.width, config.heads) if value is not None]
    return config.size if not given else f"{config.size} ({', '.join(given)})"


def _operations(setup: Setup, model: "PreTrainedModel") -> float:
    """Count the operations of a step, those of Muon included where it would be chosen."""
    length = setup.data.eval_rows.ids.shape[1]
    tokens = setup.config.batch_size * length
    forward = forward_flops(
        flops_shape(model), tokens=tokens, sequence_length=length,
        predicted=int(setup.config.mlm_probability * tokens),
    )  # fmt: skip
    muon = muon_flops(model)
    return 3 * forward + (muon if muon < 3 * forward else 0)


def _outlook(setup: Setup, model: "PreTrainedModel", *, size: str, steps: int, step_seconds: float) -> Outlook:
    tokens = steps * setup.training.tokens_per_step
    # Of a stream nobody knows how long it is: what is read of it is taken to be new.
    unique: float = setup.data.report.get("tokens", math.inf)
    body, elsewhere = body_parameters(model), scored_elsewhere(setup.config)
    loss = forecast(body=body, tokens=tokens, unique=unique, unigram_loss=unigram_loss(setup), elsewhere=elsewhere)
    beyond = is_beyond(body=body, tokens=tokens)
    return Outlook(size, count_parameters(model), step_seconds, steps, tokens / unique, loss, beyond)

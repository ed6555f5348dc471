"""How a model's answers and score move when texts are changed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hflm.data.examples import Example
from hflm.metrics.paired import compare
from hflm.metrics.registry import find_metric, statistics
from hflm.metrics.result import share
from hflm.stressing.perturbations import PERTURBATIONS, SAME, perturb
from hflm.stressing.subject import Answers, chances, read_text, with_text

# Answers that changed, shown for each perturbation.
SHOWN = 5


@dataclass(frozen=True)
class Asked:
    """A perturbation's rows: their places among all, in the order in which the model is asked, and what it reads."""

    name: str
    places: list[int]
    examples: list[Example]


def plan(names: Sequence[str], examples: Sequence[Example], *, seed: int, language: str) -> list[Asked]:
    """Change every text in every way that applies to it."""
    found = []
    texts = [read_text(example) for example in examples]
    for name in names:
        order: Sequence[int] = range(len(examples))
        if name == SAME:
            # In other batches: what moves then is the noise of the arithmetic, below which nothing is told.
            order = np.random.Generator(np.random.Philox(key=[seed, 41])).permutation(len(examples)).tolist()
        places, changed = [], []
        for place in order:
            text = texts[place]
            new = None if text is None else perturb(name, text, seed=seed, language=language)
            if new is not None:
                places.append(int(place))
                changed.append(with_text(examples[place], new))
        found.append(Asked(name, places, changed))
    return found


def moved(
    asked: Asked, before: Answers, after: Answers, *, examples: Sequence[Example], references: Sequence[Any],
    metric: str, options: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Compare the answers to changed rows with those to the rows as they were."""
    perturbation = PERTURBATIONS[asked.name]
    found: dict[str, Any] = {
        "says": perturbation.says, "keeps_label": perturbation.keeps, "rows": len(asked.places),
        "does_not_apply": len(examples) - len(asked.places), "needs": perturbation.needs,
    }  # fmt: skip
    if not asked.places:
        return found
    old = before.take(asked.places)
    primary = find_metric(metric).primary
    if metric != "perplexity":
        differ = [place for place, (a, b) in enumerate(zip(old.predictions, after.predictions, strict=True)) if a != b]
        found["changed"] = asdict(share(len(differ), len(asked.places)))
        found["examples"] = [
            {"where": asked.examples[place].where, "text": read_text(examples[asked.places[place]]),
             "changed": read_text(asked.examples[place]), "before": old.predictions[place],
             "after": after.predictions[place]}
            for place in differ[:SHOWN]
        ]  # fmt: skip
    if old.logits is not None and after.logits is not None:
        found["largest_shift"] = float(np.abs(chances(old.logits) - chances(after.logits)).max())
    wanted = [references[place] for place in asked.places]
    found["score"] = _difference(metric, primary, old.predictions, after.predictions, wanted, options)
    return found


def _difference(
    metric: str, primary: str, old: list[Any], new: list[Any], wanted: list[Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    if old == new:
        # Draws of rows that are all the same twice would only take time.
        value = statistics(metric, predictions=old, references=wanted, **options).whole()[primary]
        return {"name": primary, "before": value, "after": value, "difference": 0.0, "low": 0.0, "high": 0.0,
                "p_value": 1.0}  # fmt: skip
    one = next(o for o in compare(metric, a=new, b=old, references=wanted, **options) if o.score == primary)
    return {"name": primary, "before": one.b, "after": one.a, "difference": one.difference, "low": one.low,
            "high": one.high, "p_value": one.p_value}  # fmt: skip


def worst_case(
    done: Sequence[tuple[Asked, Answers]], before: Answers, references: Sequence[Any]
) -> dict[str, Any]:  # fmt: skip
    """Return the share of rows that are right as they are, and in every form that claims to keep the label."""
    right = np.array([a == b for a, b in zip(before.predictions, references, strict=True)])
    names = []
    for asked, after in done:
        if PERTURBATIONS[asked.name].keeps != "yes" or asked.name == SAME or not asked.places:
            continue
        names.append(asked.name)
        for place, prediction in zip(asked.places, after.predictions, strict=True):
            right[place] &= prediction == references[place]
    return {**asdict(share(int(right.sum()), len(right))), "perturbations": names}

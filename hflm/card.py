"""The model card, written from the run."""

from collections.abc import Mapping
from typing import Any

from hflm.config import PretrainConfig

TASKS = {"mlm": "fill-mask", "wwm": "fill-mask", "clm": "text-generation"}


def model_card(
    config: PretrainConfig, *, metrics: Mapping[str, Any], environment: Mapping[str, Any], license: str | None
) -> str:
    """Write the README.md of a model folder: front matter for the hub, then what a reader must know."""
    task = TASKS[config.objective]
    front = [
        "---",
        "library_name: transformers",
        f"pipeline_tag: {task}",
        *([f"license: {license}"] if license else []),
    ]
    example = "She was [MASK] ." if task == "fill-mask" else "She was"
    samples = "".join(
        f"| {sample['text']} | {sample['word']} | {', '.join(sample['guesses'])} |\n"
        for sample in metrics.get("samples", [])
    )
    table = f"\n| sentence not trained on | word | guesses |\n|---|---|---|\n{samples}" if samples else ""
    return "\n".join(
        [
            *front,
            "tags: [hflm]",
            "---",
            "",
            f"# {metrics['arch']}, {metrics['parameters']:,} parameters",
            "",
            f"Trained by `hflm pretrain` on {metrics['data']}: {metrics['train_tokens']:,} tokens of text, "
            f"{metrics['tokens_seen']:,} tokens seen in {metrics['steps']:,} steps "
            f"and {metrics['seconds']:.0f} seconds.",
            "",
            f"Licence of the weights: {license or 'not stated by whoever trained them'}.",
            "",
            "| measure on held-out text | value |",
            "|---|---|",
            *(f"| {name} | {metrics[key]:.4g} |" for name, key in ROWS if metrics.get(key) is not None),
            table,
            "![loss](loss.png)",
            "",
            "```python",
            "from transformers import pipeline",
            "",
            f'pipeline("{task}", "path/to/this/folder")("{example}")',
            "```",
            "",
            "## Limits",
            "",
            f"The model knows the text above and nothing else, reads at most {config.max_length} tokens, and repeats "
            "the views and errors of that text. It was measured on held-out text of the same kind only.",
            "",
            "## How it was made",
            "",
            f"`{environment['command']}` with seed {config.seed}, on "
            f"{environment['processor'] or environment['platform']}; "
            + ", ".join(f"{name} {number}" for name, number in environment["packages"].items() if number)
            + ".",
            "",
        ]
    )


ROWS = (
    ("loss (nats a token)", "eval_loss"),
    ("perplexity", "perplexity"),
    ("accuracy of the predicted tokens", "eval_accuracy"),
    ("loss of word frequencies alone (unigram)", "unigram_loss"),
)

"""`hflm plan`: parse, call, show."""

import sys
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from hflm.cli.finetune import resolved_task
from hflm.cli.pretrain import resolved_pretraining
from hflm.cli.progress import Progress
from hflm.cli.settings import kept, notices, with_settings
from hflm.cli.show import print_json
from hflm.config import PretrainConfig
from hflm.errors import UsageError
from hflm.finetune_config import FinetuneConfig, resolve_finetune
from hflm.settings import flag, own_names, read_yaml


def _plan(
    *,
    settings: dict[str, Any],
    config: Annotated[Path | None, typer.Option(help="YAML file with settings; flags win over it.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON, and nothing else.")] = False,
) -> None:
    """Say what `hflm pretrain`, or with --task `hflm finetune`, would do with the same settings, and train nothing.

    hflm plan book.txt --budget 10m

    hflm plan --task sentiment --model bert-base-cased --data reviews.jsonl
    """
    file = read_yaml(config) if config else {}
    tunes = bool({**file, **settings}.get("task"))
    with Progress(quiet=json) as progress:
        for notice in notices(sys.argv, FinetuneConfig if tunes else PretrainConfig):
            progress.note(notice)
        if tunes:
            # --max-length is a setting of a pretraining, and of a fine-tuning another name.
            settings = own_names(FinetuneConfig, settings, where="the command line")
            task, resolved = resolved_task(settings, config)
            for line in kept(resolved, settings, config, partial(resolve_finetune, task, name=resolved.task)):
                progress.note(line)
            from hflm.plan import plan

            found = plan(resolved, task, watch=progress.watch)
        else:
            if wrong := ONLY_FINETUNE.intersection(settings):
                raise UsageError(
                    f"--{flag(min(wrong))} is for a fine-tuning, and no task is named.",
                    fix="Pass --task; `hflm recipes list` shows what there is.",
                )
            from hflm.plan_pretraining import plan_pretraining

            progress.note("a pretraining; --task plans a fine-tuning")
            trained = resolved_pretraining(file=file, flags=settings, where=str(config or "the command line"))
            for line in kept(trained, settings, config, resolved_pretraining):
                progress.note(line)
            found = plan_pretraining(trained, watch=progress.watch)
    if json:
        print_json(found)


ONLY_FINETUNE = {item.name for item in fields(FinetuneConfig)} - {item.name for item in fields(PretrainConfig)}
# What the two jobs, or their recipes, set otherwise than the field.
USUAL = {
    "model": "of a task the recipe's, from the hub", "data": "a sample", "eval_fraction": "0.1, without --task 0.05",
    "batch_size": "the recipe's", "schedule": "trapezoid; linear with --task", "optimizer": "auto; adamw with --task",
    "learning_rate": "the recipe's", "max_source_length": "the recipe's", "max_target_length": "the recipe's",
}  # fmt: skip
command = with_settings(_plan, FinetuneConfig, PretrainConfig, argument="data", usual=USUAL)

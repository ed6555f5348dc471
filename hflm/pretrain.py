"""From raw text to a language model: prepare, build, train, evaluate, save.

hflm pretrain book.txt --size mini --budget 2m -o out
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hflm.config import PretrainConfig
from hflm.errors import UsageError
from hflm.launch import check_same, check_shared
from hflm.models.architecture import DEFAULT_ARCH, check_shape, choose_shape
from hflm.models.heads import max_positions
from hflm.models.writing import with_usual_cache
from hflm.plots import plot_loss, read_log
from hflm.pretraining.card import model_card
from hflm.run import RunFolder, read_json, whole_folder, write_json, write_text
from hflm.sealed import seal_results
from hflm.settings import to_yaml
from hflm.training_job import begin, carry_out

if TYPE_CHECKING:
    from hflm.engine.callbacks import Watch
    from hflm.pretraining.assemble import Setup

LICENSE_OF_SAMPLE = "cc0-1.0"


def pretrain(
    config: PretrainConfig, folder: Path, *, overwrite: bool, resume: bool, watch: "Watch",
    allow_change: bool = False, like: RunFolder | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Run the whole job and return its metrics; `watch` hears of every note, step and log.

    Several processes are started and waited for; in each of them this is called again, and only rank 0 returns metrics.
    A run that is resumed must find everything as it was, unless `allow_change`; `like` is a run to do again.
    Raises an HflmError for anything a user can mend; Interrupted where a signal stopped the run.
    """
    # Everything that can be refused is refused before the folder is touched, a budget that is too small included.
    arch = config.arch or DEFAULT_ARCH[config.objective]
    if not config.model:
        shape = choose_shape(size=config.size, layers=config.layers, width=config.width, heads=config.heads)
        check_shape(arch, shape, objective=config.objective)
    check_trackers(config.report_to)
    check_name(folder)
    return carry_out(
        config, folder, partial(_pretrain, arch=arch), recipe=None,
        overwrite=overwrite, resume=resume, watch=watch, allow_change=allow_change, like=like,
    )  # fmt: skip


def _pretrain(
    config: PretrainConfig, run: RunFolder, *, arch: str, resume: bool, watch: "Watch", allow_change: bool,
    like: RunFolder | None, create: Callable[[], None],
) -> dict[str, Any]:  # fmt: skip
    began = time.perf_counter()
    from hflm.engine import ranks
    from hflm.engine.callbacks import interruptible
    from hflm.pretraining.assemble import set_up
    from hflm.pretraining.measure import measure
    from hflm.pretraining.outlook import suggestion
    from hflm.pretraining.prepare import pin
    from hflm.training.steps import fix_steps
    from hflm.training.train import train

    def say(text: str) -> None:
        watch("note", {"text": text})

    if not resume and ranks.first():
        config = pin(config, say=say)
    config = ranks.agreed(config)
    with ranks.first_ahead():
        setup = set_up(config, run, arch=arch, say=say, resume=resume)
    watch("settings", {"yaml": to_yaml(setup.config)})
    training = fix_steps(
        setup.training, resume=resume, spent=time.perf_counter() - began, say=say, like=like, allow_change=allow_change
    )
    check_same(training)
    if config.budget and not resume and not like and ranks.first():
        hint = suggestion(setup, steps=training.steps, step_seconds=float(training.plan["step_seconds"]))
        if hint:
            say(hint)
    if ranks.first():
        begin(
            run, to_yaml(setup.config), setup.data.tokenizer, recipe=None, create=create, resume=resume,
            allow_change=allow_change,
        )  # fmt: skip
    check_shared(run)
    trained = train(training, resume=resume, watch=watch)
    if not ranks.first():
        return {}
    with interruptible(run.path):
        metrics = measure(setup, trained)
        save(setup, metrics)
    return metrics


def check_name(folder: Path) -> None:
    """Raise UsageError where the libraries that write weights and tokenizers could not name a folder."""
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"The name {folder} is no UTF-8.", fix="Choose another --output-dir.") from error


def check_trackers(names: tuple[str, ...]) -> None:
    """Raise UsageError where a tracker is unknown or not installed."""
    from importlib.util import find_spec

    for name in names:
        if name == "none":
            continue
        if name not in ("tensorboard", "wandb", "trackio"):
            raise UsageError(f"--report-to {name!r} is unknown.", fix="Choose tensorboard, wandb or trackio.")
        if find_spec(name) is None:
            raise UsageError(f"--report-to {name}: it is not installed.", fix=f"Run `pip install {name}`.")


def save(setup: "Setup", metrics: Mapping[str, Any]) -> None:
    """Write the model folder, the card, the picture, and last the metrics, which say that the run is done."""
    import torch

    run, config = setup.run, setup.config
    setup.model.to(torch.device("cpu"))  # type: ignore[arg-type]
    with_usual_cache(setup.model.config)
    title = f"{metrics['arch']} on {metrics['data']}"
    baselines = {"unigram": metrics["unigram_loss"]}
    license = config.license or (None if config.data or config.model else LICENSE_OF_SAMPLE)
    length = setup.data.eval_rows.ids.shape[1]
    if config.model:
        # Weights that were given may read more than a row of this run.
        length = min(max_positions(setup.model.config), setup.data.tokenizer.model_max_length)
    card = model_card(
        config, metrics=metrics, environment=read_json(run.environment), license=license,
        length=length, mask=setup.data.tokenizer.mask_token,
    )  # fmt: skip
    with whole_folder(run.model) as folder:
        setup.model.save_pretrained(folder)
        setup.data.tokenizer.save_pretrained(folder)
        write_text(folder / "README.md", card)
        plot_loss(read_log(run.log), folder / "loss.png", title=title, baselines=baselines)
    plot_loss(read_log(run.log), run.plot, title=title, baselines=baselines)
    seal_results(run)
    write_json(run.metrics, metrics)

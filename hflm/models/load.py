"""Weights that exist already: a folder, a run, or the hub and its cache. No code of theirs is run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hflm.errors import ModelError
from hflm.models.hub import from_cache_or_hub
from hflm.models.resolve import resolve_model
from hflm.models.safety import check_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def model_folder(name: str, *, weights: bool = True, otherwise: str = "") -> str:
    """Return the folder with the model behind a name, held against what a plain model is, or a hub id as it is.

    The names are those of `resolve_model`; every loader comes through here. `weights=False` where configuration or
    tokenizer are enough for now. Raises ModelError where there is no model, or none that is safe to open.
    """
    found = resolve_model(name, weights=weights, otherwise=otherwise)
    folder = Path(found)
    if not folder.is_dir():
        return found
    if not (folder / "config.json").exists():
        raise ModelError(f"{folder} holds no model: there is no config.json.", fix="Name the model/ of a finished run.")
    # Of the hub's snapshots the weights may be yet to come; of any other folder they must be there.
    check_folder(folder, weights=weights or folder.resolve().parent.name != "snapshots")
    return found


def load_language_model(name_or_path: str, *, objective: str) -> "PreTrainedModel":
    """Load weights with the head of the objective: masked tokens, or next tokens for `clm`.

    Raises ModelError where there is no such model, it lacks weights, or it is of the other kind.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

    where = model_folder(name_or_path, otherwise="Or start from scratch with --arch.")
    factory = AutoModelForCausalLM if objective == "clm" else AutoModelForMaskedLM
    fix = "Name a folder, or start from scratch with --arch."
    config = from_cache_or_hub(
        lambda local: AutoConfig.from_pretrained(where, trust_remote_code=False, local_files_only=local),
        where, what="model", fix=fix,
    )  # fmt: skip
    made_for = " ".join(config.architectures or ())
    if objective != "clm" and ("CausalLM" in made_for or "LMHead" in made_for):
        raise ModelError(f"{name_or_path} is a decoder ({made_for}).", fix="Pass --objective clm.")
    if objective == "clm" and "MaskedLM" in made_for:
        raise ModelError(f"{name_or_path} is an encoder ({made_for}).", fix="Pass --objective mlm.")

    def load(local: bool) -> "tuple[PreTrainedModel, dict[str, Any]]":
        return factory.from_pretrained(  # type: ignore[return-value]
            where, trust_remote_code=False, use_safetensors=True, output_loading_info=True, local_files_only=local
        )

    model, found = from_cache_or_hub(load, where, what="weights of", fix=fix)
    # transformers fills what is missing with random numbers, and goes on.
    if found["missing_keys"]:
        missing = sorted(found["missing_keys"])
        raise ModelError(
            f"{name_or_path} lacks weights: {missing[0]}" + (f" and {len(missing) - 1} more." if missing[1:] else "."),
            fix="Name a folder that holds the whole model with its head.",
        )
    return model

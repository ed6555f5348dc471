"""Weights that exist already: a folder, a run, or the hub and its cache. No code of theirs is run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hflm.errors import ModelError
from hflm.models.hub import from_cache_or_hub

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def model_folder(name_or_path: str) -> str:
    """Return the folder with the weights behind a run or a folder, or a hub id as it is.

    Raises ModelError where a folder has no weights, or only pickled ones.
    """
    path = Path(name_or_path)
    if not path.is_dir():
        if path.exists() or path.is_absolute() or name_or_path.startswith(".") or name_or_path.count("/") > 1:
            raise ModelError(f"{name_or_path} is no model folder.", fix="Name a run or a folder with config.json.")
        return name_or_path
    if not (path / "config.json").exists() and (path / "model" / "config.json").exists():
        path = path / "model"
    if not (path / "config.json").exists():
        raise ModelError(f"{path} holds no model: there is no config.json.", fix="Name the model/ of a finished run.")
    if not any((path / name).exists() for name in WEIGHTS):
        pickled = (path / "pytorch_model.bin").exists()
        found = "only pickled weights, which can run code" if pickled else "no weights"
        raise ModelError(f"{path} holds {found}.", fix="Name a folder with model.safetensors.")
    return str(path)


def load_language_model(name_or_path: str, *, objective: str) -> "PreTrainedModel":
    """Load weights with the head of the objective: masked tokens, or next tokens for `clm`.

    Raises ModelError where there is no such model, it lacks weights, or it is of the other kind.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

    where = model_folder(name_or_path)
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

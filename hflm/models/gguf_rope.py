"""How a GGUF file stretches the positions of its model, which transformers does not read."""

from pathlib import Path
from typing import Any

from hflm.errors import ModelError

# llama.cpp keeps of Llama 3.1 and later what each frequency is divided by, and not the numbers it comes of, which are
# the same in all of them (Meta's models; llama.cpp#8676).
FREQUENCIES = "rope_freqs.weight"
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
LONG = ("rope_factors_long.weight", "rope_factors_short.weight")


def read_scaling(path: Path) -> dict[str, Any]:
    """Return what belongs into `rope_parameters`; nothing where positions are as they were trained.

    Raises ModelError for a way of stretching that is not known here: its model would write gibberish.
    """
    from gguf import GGUFReader

    reader = GGUFReader(path)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    if FREQUENCIES in tensors:
        return {"rope_type": "llama3", "factor": float(tensors[FREQUENCIES].data.max()), **LLAMA3}
    mark = ".rope.scaling."
    told = {key.partition(mark)[2]: field.contents() for key, field in reader.fields.items() if mark in key}
    kind, factor = told.get("type", "none"), told.get("factor")
    if kind == "linear" and factor:
        return {"rope_type": "linear", "factor": float(factor)}
    if kind == "yarn" and factor and told.get("original_context_length"):
        length = int(told["original_context_length"])
        return {"rope_type": "yarn", "factor": float(factor), "original_max_position_embeddings": length}
    if kind != "none" or any(name in tensors for name in LONG):
        what = kind if kind != "none" else "longrope"
        raise ModelError(
            f"{path} stretches positions by {what}, which is not read from GGUF.", fix="Take its safetensors."
        )
    return {}

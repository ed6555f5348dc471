"""Hashes that stand for a model or a tokenizer: the same for the same content, wherever it lies."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hflm.models.load import model_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel


# What decides what a model does, of the files in its folder: by how they begin or end.
FIRST = ("config.", "generation_config", "tokenizer", "special_tokens", "added_tokens", "vocab", "merges", "adapter_")
LAST = (".safetensors", ".jinja", ".model")


# Of weights that are `sampled`, so many pieces of so many bytes.
PIECES, PIECE = 64, 1 << 16


def model_key(name: str, *, sampled: bool = False) -> str:
    """Hash the files of a model's folder, or of large ones pieces alone, in no time; a hub id is its own name."""
    folder = Path(model_folder(name))
    total = hashlib.sha256(name.encode() if not folder.is_dir() else b"")
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        if path.is_file() and (path.name.startswith(FIRST) or path.name.endswith(LAST)):
            total.update(path.name.encode() + _digest(path, sampled=sampled))
    return total.hexdigest()[:24]


def _digest(path: Path, *, sampled: bool) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as stream:
        if not sampled or size <= PIECES * PIECE:
            return hashlib.file_digest(stream, "sha256").digest()
        total = hashlib.sha256(str(size).encode())
        for number in range(PIECES):
            stream.seek(number * (size - PIECE) // (PIECES - 1))
            total.update(stream.read(PIECE))
        return total.digest()


def weights_key(model: "PreTrainedModel") -> str:
    """Hash the weights of a model, by name."""
    digest = hashlib.sha256()
    for name, weights in sorted(model.state_dict().items()):
        digest.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
        digest.update(weights.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:24]


def tokenizer_key(tokenizer: Any) -> str:
    """Hash all that a tokenizer does with a text; of one without a fast form, its vocabulary."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    content = fast.to_str() if fast is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    template = json.dumps(getattr(tokenizer, "chat_template", None), sort_keys=True)
    return hashlib.sha256(f"{content}{template}".encode()).hexdigest()[:24]

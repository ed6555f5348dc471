"""A tiny GGUF file of a Llama, written from a tiny model of the tests as llama.cpp's converter writes one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_gguf(
    folder: Path, path: Path, *, architecture: str = "llama", told: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Path:  # fmt: skip
    """Write the Llama in `folder` as float32; another `architecture` is written into the file as it is.

    `told` are entries, and `more` tensors, beside its own.
    """
    import gguf
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    _add_tokenizer(writer, json.loads((folder / "tokenizer.json").read_text()))
    for name, weight in load_file(folder / "model.safetensors").items():
        writer.add_tensor(*_tensor(name, weight, heads=config["num_attention_heads"]))
    for name, values in (more or {}).items():
        writer.add_tensor(name, values)
    for key, value in (told or {}).items():
        {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}[type(value)](key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "model.layers": "blk",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def _tensor(name: str, weight: Any, *, heads: int) -> tuple[str, Any]:
    values = weight.numpy()
    if "q_proj" in name or "k_proj" in name:
        # llama.cpp keeps the pairs that rotate together side by side.
        rows, columns = values.shape
        values = values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    for one, other in NAMES.items():
        name = name.replace(one, other)
    return name, values


def _add_tokenizer(writer: Any, told: dict[str, Any]) -> None:
    ids = dict(told["model"]["vocab"])
    ids.update({token["content"]: token["id"] for token in told["added_tokens"]})
    tokens = sorted(ids, key=ids.__getitem__)
    special = {token["content"] for token in told["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in told["model"].get("merges", [])]
    writer.add_token_merges(merges)
    end = next(iter(special))
    writer.add_bos_token_id(ids[end])
    writer.add_eos_token_id(ids[end])
    writer.add_chat_template("{% for m in messages %}{{ m['content'] }}{% endfor %}")

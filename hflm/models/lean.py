"""The forward pass of Llama and its like, with little between the matrix products, and a cache of rows of any length.

What transformers computes in about forty calls a layer takes fourteen here. Every row of a batch is computed as it
would be alone, to the last bit: prompts stand at the left edge of the cache, whatever comes after a row's end weighs
nothing, and the products do not depend on how many rows there are. `tests/test_lean.py` holds both.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hflm.models.int8 import Matrix, Plain, quantize

# Architectures that are this forward pass and nothing else; qwen2 has biases.
LEAN = ("llama", "qwen2")
# Turns of positions that are the same however long a text is.
STEADY = ("default", "linear", "llama3")
# Logits of a row that are computed again in float32.
REFINED = 32
# The cache grows by this many tokens.
BLOCK = 128


@dataclass(frozen=True)
class Layer:
    """One layer: norms [D], projections."""

    before: Tensor
    attend: Matrix  # queries, keys and values in one
    out: Matrix
    after: Tensor
    widen: Matrix  # gate and up in one
    narrow: Matrix


@dataclass
class Cache:
    """Keys and values [2, B, H, L, d] of each layer, and how many tokens each row holds [B].

    Keys lie by themselves: where products had to copy them for several rows and not for one, last bits differed.
    """

    layers: list[Tensor]
    lengths: list[int]

    def keep(self, rows: list[int]) -> None:
        """Forget all rows but these."""
        self.layers = [layer[:, rows] for layer in self.layers]
        self.lengths = [self.lengths[row] for row in rows]

    def make_room(self, tokens: int) -> None:
        """Let each row hold `tokens` tokens at least."""
        held = self.layers[0].size(3)
        if tokens > held:
            more = (tokens + BLOCK - 1) // BLOCK * BLOCK - held
            self.layers = [functional.pad(layer, (0, 0, 0, more)) for layer in self.layers]


def can_be_lean(config: Any) -> bool:
    """Tell whether a model is this forward pass and nothing else."""
    turning = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    unusual = getattr(config, "use_sliding_window", False) or hasattr(config, "quantization_config")
    return (
        config.model_type in LEAN and "CausalLM" in " ".join(config.architectures or ()) and turning in STEADY
        and not unusual and config.hidden_act == "silu"
    )  # fmt: skip


class Lean:
    """A decoder as plain tensors; `prefill` reads prompts, `step` one token a row."""

    def __init__(self, model: Any, *, int8: bool, dtype: torch.dtype) -> None:
        config, body = model.config, model.model
        self.heads, self.kept = config.num_attention_heads, config.num_key_value_heads
        self.width = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.epsilon, self.dtype = config.rms_norm_eps, dtype

        def matrix(*parts: Any) -> Matrix:
            weight = torch.cat([part.weight.detach() for part in parts])
            bias = None if parts[0].bias is None else torch.cat([part.bias.detach() for part in parts])
            if int8:
                return quantize(weight, bias, dtype=dtype)
            return Plain(weight.to(dtype), None if bias is None else bias.to(dtype))

        self.layers = [
            Layer(
                before=layer.input_layernorm.weight.detach().to(dtype),
                attend=matrix(layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj),
                out=matrix(layer.self_attn.o_proj),
                after=layer.post_attention_layernorm.weight.detach().to(dtype),
                widen=matrix(layer.mlp.gate_proj, layer.mlp.up_proj),
                narrow=matrix(layer.mlp.down_proj),
            )
            for layer in body.layers
        ]  # fmt: skip
        # Of these, few rows are read: beside eight bits they stay as they were loaded, and so as small.
        held = model.dtype if int8 else dtype
        self.embedding = body.embed_tokens.weight.detach().to(held)
        self.norm = body.norm.weight.detach().to(dtype)
        self.head, self.exact = matrix(model.lm_head), model.lm_head.weight.detach().to(held)
        self.turn = body.rotary_emb

    @torch.inference_mode()
    def prefill(self, prompts: list[list[int]]) -> tuple[Tensor, Cache]:
        """Read prompts; return the logits after each [B, V], and the cache.

        One after the other: products over a whole prompt do depend, in their last bits, on how many tokens stand
        together, and a prompt of some words fills the machine by itself.
        """
        read = [self._read(prompt) for prompt in prompts]
        lengths = [len(prompt) for prompt in prompts]
        room = (max(lengths) + BLOCK) // BLOCK * BLOCK
        layers = [
            torch.cat([functional.pad(held, (0, 0, 0, room - held.size(3))) for held in layer], dim=1)
            for layer in zip(*(stored for _, stored in read), strict=True)
        ]
        return torch.cat([logits for logits, _ in read]), Cache(layers, lengths)

    def _read(self, prompt: list[int]) -> tuple[Tensor, list[Tensor]]:
        """Return the logits [1, V] after a prompt, and the keys and values [2, 1, H, T, d] of each layer."""
        cos, sin = self._angles(torch.arange(len(prompt))[None])  # [1, T, d]
        x = self._embed(prompt)  # [T, D]
        stored = []
        for layer in self.layers:
            query, key, value = self._heads(layer.attend.many(self._norm(x, layer.before)), x[None], cos, sin)
            stored.append(torch.stack([key, value]))
            seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
            x = x + layer.out.many(seen.transpose(1, 2).reshape(len(prompt), -1))
            x = x + self._feed(layer, self._norm(x, layer.after), many=True)
        return self._logits(x[-1:]), stored

    @torch.inference_mode()
    def step(self, ids: list[int], cache: Cache) -> Tensor:
        """Read one token a row; return the logits after it [B, V]."""
        places = torch.tensor(cache.lengths)  # [B]
        cache.make_room(max(cache.lengths) + 1)
        cos, sin = self._angles(places[:, None])  # [B, 1, d]
        rows = torch.arange(len(ids))
        end = cache.layers[0].size(3)
        hidden = torch.arange(end) > places[:, None]  # [B, L]
        mask = torch.zeros(hidden.shape, dtype=self.dtype).masked_fill_(hidden, -torch.inf)[:, None, None]
        x = self._embed(ids)  # [B, D]
        for layer, held in zip(self.layers, cache.layers, strict=True):
            both = layer.attend.few(self._norm(x, layer.before))
            query, key, value = self._heads(both, x[:, None], cos, sin)  # [B, H, 1, d]
            held[:, rows, :, places] = torch.stack([key[:, :, 0], value[:, :, 0]], dim=1)
            # The heads that share keys stand as so many queries.
            query = query.reshape(len(ids), self.kept, -1, self.width).contiguous() * self.width**-0.5  # [B, H, G, d]
            # No scaled_dot_product_attention here: its last bits depend on the thread that takes the row.
            scores = (query @ held[0].transpose(2, 3)).add_(mask)  # [B, H, G, L]
            seen = scores.softmax(dim=-1, dtype=torch.float32).to(self.dtype) @ held[1]
            x = x + layer.out.few(seen.reshape(len(ids), -1))
            x = x + self._feed(layer, self._norm(x, layer.after), many=False)
        cache.lengths = [length + 1 for length in cache.lengths]
        return self._logits(x)

    def _logits(self, x: Tensor) -> Tensor:
        """Return the logits [B, V] in float32 after the last layer [B, D].

        In bfloat16 a logit of 20 has steps of 1/8, and the likeliest tokens would often be level: those that may win
        are computed again, from the weights as they were.
        """
        x = self._norm(x, self.norm)
        logits = self.head.few(x).float()
        best = logits.topk(min(REFINED, logits.size(1)), dim=-1).indices  # [B, R]
        again = (self.exact[best].float() * x.float()[:, None]).sum(dim=-1)
        return logits.scatter(1, best, again)

    def _embed(self, ids: list[int]) -> Tensor:
        return functional.embedding(torch.tensor(ids), self.embedding).to(self.dtype)

    def _heads(self, both: Tensor, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cut queries, keys and values [B, H, T, d] apart, and turn the first two by their positions."""
        apart = both.view(x.size(0), x.size(1), -1, self.width).transpose(1, 2)  # [B, H, T, d]
        turned, value = apart.split([self.heads + self.kept, self.kept], dim=1)
        half = self.width // 2
        crossed = torch.cat((turned[..., half:], turned[..., :half]), dim=-1)
        turned = torch.addcmul(turned * cos[:, None], crossed, sin[:, None])
        query, key = turned.split([self.heads, self.kept], dim=1)
        return query, key, value

    def _angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = self.turn(self.norm, positions)
        half = self.width // 2
        return cos.to(self.dtype), torch.cat((-sin[..., :half], sin[..., half:]), dim=-1).to(self.dtype)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.size(-1),), weight, self.epsilon)

    def _feed(self, layer: Layer, rows: Tensor, *, many: bool) -> Tensor:
        wide = layer.widen.many(rows) if many else layer.widen.few(rows)
        gate, up = wide.chunk(2, dim=-1)
        inner = functional.silu(gate) * up
        return layer.narrow.many(inner) if many else layer.narrow.few(inner)

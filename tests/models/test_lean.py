"""The lean forward pass computes what transformers computes, and every row as it would be alone."""

from typing import Any

import pytest
import torch

from hflm.models.int8 import Int8, Plain, quantize
from hflm.models.lean import Lean, can_be_lean

PROMPTS = [[5, 9, 23, 7, 41], [3], [8, 8, 30, 2, 17, 44, 12, 6, 29], [1, 60]]


def make(kind: str, **more: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    config, model = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}[kind]
    sizes = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}  # fmt: skip
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        made = model(config(**{**sizes, **more})).eval()
        for weight in made.parameters():
            weight.mul_(3) if weight.dim() > 1 else weight.add_(torch.randn_like(weight) / 10)
    made.config.architectures = [model.__name__]
    return made


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("llama", {}),
        ("llama", {"num_key_value_heads": 4, "tie_word_embeddings": True}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}),
        ("llama", {"head_dim": 8}),
        ("qwen2", {}),
    ],
)
@torch.no_grad()
def test_the_logits_are_those_of_transformers(kind: str, more: dict[str, Any]) -> None:
    model = make(kind, **more)
    assert can_be_lean(model.config)
    lean = Lean(model, int8=False, dtype=torch.float32)
    logits, cache = lean.prefill(PROMPTS)
    rows = [list(prompt) for prompt in PROMPTS]
    # Beyond the first block of the cache.
    for _ in range(140):
        truth = torch.stack([model(torch.tensor([row])).logits[0, -1] for row in rows])
        torch.testing.assert_close(logits, truth, rtol=1e-4, atol=1e-4)
        tokens = truth.argmax(dim=-1).tolist()
        for row, token in zip(rows, tokens, strict=True):
            row.append(token)
        logits = lean.step(tokens, cache)


@pytest.mark.parametrize(("int8", "dtype"), [(False, torch.bfloat16), (True, torch.bfloat16), (True, torch.float32)])
def test_a_row_is_computed_as_it_would_be_alone(int8: bool, dtype: torch.dtype) -> None:
    # One fills more of the cache than the others would alone; and a model as wide as to be computed in parts.
    prompts = [*PROMPTS, [n % 60 + 1 for n in range(150)]]
    lean = Lean(make("llama", hidden_size=576, num_attention_heads=9, num_key_value_heads=3), int8=int8, dtype=dtype)
    together, cache = lean.prefill(prompts)
    alone = [lean.prefill([prompt]) for prompt in prompts]
    order = list(range(len(prompts)))
    for step in range(30):
        for place, row in enumerate(order):
            assert torch.equal(together[place], alone[row][0][0])
        if step == 10:
            order = [3, 0, 2]
            cache.keep([3, 0, 2])
            together = together[[3, 0, 2]]
        tokens = [int(logits.argmax()) for logits in together]
        together = lean.step(tokens, cache)
        for row, token in zip(order, tokens, strict=True):
            alone[row] = (lean.step([token], alone[row][1]), alone[row][1])


def test_what_is_not_this_forward_pass_is_left_to_transformers() -> None:
    config = make("llama").config
    for name, value in {
        "model_type": "mistral", "hidden_act": "gelu", "architectures": ["LlamaForSequenceClassification"],
        "use_sliding_window": True, "quantization_config": {}, "rope_parameters": {"rope_type": "yarn"},
    }.items():  # fmt: skip
        other = make("llama").config
        setattr(other, name, value)
        assert not can_be_lean(other), name
    assert can_be_lean(config)


def test_eight_bits_are_near_and_odd_sizes_stay_as_they_are() -> None:
    weight = torch.randn(64, 96, generator=torch.Generator().manual_seed(0))
    rows = torch.randn(3, 96, generator=torch.Generator().manual_seed(1)).bfloat16()
    small = quantize(weight)
    assert isinstance(small, Int8) and small.weight.dtype == torch.int8
    truth = rows.float() @ weight.T
    for found in (small.few(rows), small.many(rows)):
        assert (found.float() - truth).norm() / truth.norm() < 0.01
    assert isinstance(quantize(weight[:63]), Plain) and isinstance(quantize(weight[:, :95]), Plain)
    assert torch.isfinite(quantize(torch.zeros(32, 32)).few(torch.ones(1, 32).bfloat16())).all()  # type: ignore[arg-type]

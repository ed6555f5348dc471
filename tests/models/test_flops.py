"""The count of operations, against a count by hand and against torch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hflm.models.architecture import Shape, build_config, build_model
from hflm.models.attention import CAUSAL
from hflm.models.flops import FlopsShape, flops_shape, forward_flops
from hflm.models.tokenizer import train_tokenizer


def test_by_hand() -> None:
    shape = FlopsShape(layer_weights=10, head_weights=7, layers=2, width=4)
    # 2 x (6 tokens x 10 + 3 predicted x 7 + 2 x 6 x 3 x 4 x 2)
    assert forward_flops(shape, tokens=6, sequence_length=3, predicted=3) == 2 * (60 + 21 + 288)


@pytest.mark.parametrize(
    "arch", ["bert", "roberta", "distilbert", "modernbert", "albert", "electra", "llama", "gpt2", "gemma", "opt"]
)
def test_as_torch_counts(arch: str) -> None:
    objective = "clm" if arch in CAUSAL else "mlm"
    words = [f"word{n} {n * 31} letters" for n in range(100)]
    tokenizer = train_tokenizer(iter(words), kind="bpe", vocab_size=280, arch=arch, max_length=32, objective=objective)
    config = build_config(arch=arch, shape=Shape(3, 64, 2), vocab_size=280, max_length=32, tokenizer=tokenizer)
    config._attn_implementation = "eager"
    model = build_model(config, objective=objective, seed=1).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.full((4, 32), 9))
    mine = forward_flops(flops_shape(model), tokens=128, sequence_length=32, predicted=128)
    assert mine == pytest.approx(counter.get_total_flops(), rel=0.02)

"""What is said of the machine."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from hflm.engine import device
from hflm.engine.device import SHORT, Device, peak_memory, use_fast_attention

CHILD = """
import resource
from hflm.engine.device import peak_memory
print(peak_memory("cpu"), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says the peak of a process alone")
def test_the_peak_is_that_of_this_process_and_not_of_the_one_that_started_it() -> None:
    ballast = np.ones(2**30, dtype=np.uint8)
    own = peak_memory("cpu")
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    child, inherited = map(int, done.stdout.split())
    assert own > ballast.nbytes
    assert 2**26 < child < own - ballast.nbytes // 2
    assert child <= inherited


def a_model() -> Any:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=2 * SHORT,
    )  # fmt: skip
    return BertModel(config).eval()


@pytest.mark.parametrize(
    ("device", "usual", "longest", "short", "long"),
    [
        (Device("cpu", "bf16"), 90, 90, "eager", "eager"),
        (Device("cpu", "bf16"), 90, 2 * SHORT, "eager", "sdpa"),
        (Device("cpu", "bf16"), SHORT, 2 * SHORT, "sdpa", "sdpa"),
        (Device("cpu", "fp32"), 90, 2 * SHORT, "sdpa", "sdpa"),
    ],
)
def test_a_few_long_rows_among_short_ones_have_an_attention_that_keeps_no_scores(
    device: Device, usual: int, longest: int, short: str, long: str
) -> None:
    model, plain = a_model(), a_model()
    use_fast_attention(model, device, usual=usual, longest=longest)
    for length, wanted in [(90, short), (2 * SHORT, long), (90, short)]:
        ids = torch.arange(2 * length).reshape(2, length) % 64
        with torch.no_grad():
            found, expected = (one(input_ids=ids).last_hidden_state for one in (model, plain))
        assert model.config._attn_implementation == wanted
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("native", "fast", "taken"), [(True, True, "bf16"), (True, False, "fp32"), (False, False, "fp32")]
)
def test_bf16_is_what_auto_takes_where_there_is_fast_hardware_for_it(
    native: bool, fast: bool, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(device, "native_bf16", lambda kind: native)
    monkeypatch.setattr(device, "fast_bf16", lambda: fast)
    assert device.choose_device("auto").precision == taken
    assert device.choose_device("bf16").precision == "bf16"

"""Which weights go to which optimizer, and a state that comes back bit by bit."""

import copy
from typing import Any

import pytest
import torch

from hflm.engine.optimizer import Muon, MuonWithAdamW, build_optimizer, orthogonalize
from hflm.models.architecture import Shape, build_config, build_model
from hflm.models.tokenizer import train_tokenizer


def model_of(arch: str = "bert") -> Any:
    words = (f"word{n} {n * 31}" for n in range(100))
    objective = "clm" if arch in ("llama", "gpt2") else "mlm"
    tokenizer = train_tokenizer(words, kind="bpe", vocab_size=280, arch=arch, max_length=16, objective=objective)
    config = build_config(arch=arch, shape=Shape(2, 64, 2), vocab_size=280, max_length=16, tokenizer=tokenizer)
    return build_model(config, objective=objective, seed=1)


def step(model: Any, optimizer: Any, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.grad = torch.randn(weight.shape, generator=draw)
    optimizer.step()


@pytest.mark.parametrize("name", ["muon", "adamw"])
@pytest.mark.parametrize("arch", ["bert", "modernbert", "llama", "gpt2"])
def test_every_weight_once(arch: str, name: str) -> None:
    model = model_of(arch)
    optimizer = build_optimizer(model, name=name, lr=1e-3, weight_decay=0.1)
    held = [id(weight) for group in optimizer.param_groups for weight in group["params"]]
    assert sorted(held) == sorted(id(weight) for weight in model.parameters())
    decayed = {id(w) for group in optimizer.param_groups if group["weight_decay"] for w in group["params"]}
    names = [key for key, weight in model.named_parameters() if id(weight) in decayed]
    assert names and not [key for key in names if "bias" in key or "norm" in key.lower() or "embed" in key]
    if name == "muon":
        assert isinstance(optimizer, MuonWithAdamW)


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_the_state_comes_back(name: str) -> None:
    one = model_of()
    first = build_optimizer(one, name=name, lr=1e-3, weight_decay=0.1)
    step(one, first, 1)
    two = copy.deepcopy(one)
    second = build_optimizer(two, name=name, lr=5.0, weight_decay=0.1)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for seed in (2, 3):
        step(one, first, seed)
        step(two, second, seed)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_the_schedule_reaches_every_part(name: str) -> None:
    model = model_of()
    optimizer = build_optimizer(model, name=name, lr=1e-3, weight_decay=0.1)
    before = [weight.clone() for weight in model.parameters()]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    step(model, optimizer, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_frozen_weights_are_left_out() -> None:
    model = model_of()
    model.base_model.requires_grad_(False)
    held = [w for g in build_optimizer(model, name="muon", lr=1, weight_decay=0).param_groups for w in g["params"]]
    assert held and all(weight.requires_grad for weight in held)


def test_muon_in_bfloat16_is_that_of_torch() -> None:
    draw = torch.Generator().manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(48, 100)) for _ in range(2))
    mine = Muon([ours], lr=1e-2, weight_decay=0.1, dtype=torch.bfloat16)
    peer = torch.optim.Muon([theirs], lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        ours.grad = theirs.grad = torch.randn(48, 100, generator=draw)
        mine.step()
        peer.step()
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("shape", [(20, 60), (60, 20)])
def test_orthogonalize_brings_singular_values_near_one(shape: tuple[int, int]) -> None:
    draw = torch.Generator().manual_seed(0)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(3, *shape, generator=draw), dtype=torch.float32))
    assert values.min() > 0.6 and values.max() < 1.3


def test_matrices_of_a_shape_are_moved_together_as_each_would_be_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some without a gradient among them, and more than are taken at once."""

    def moved(most: int) -> list[torch.Tensor]:
        monkeypatch.setattr("hflm.engine.optimizer.TOGETHER", most)
        draw = torch.Generator().manual_seed(0)
        shapes = [(20, 60), (60, 20), (20, 60), (30, 30), (20, 60), (20, 60)]
        weights = [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]
        optimizer = Muon(weights, lr=1e-2, weight_decay=0.1, dtype=torch.float32)
        for _ in range(2):
            for weight in weights[1:]:
                weight.grad = torch.randn(weight.shape, generator=draw)
            optimizer.step()
        return [weight.detach() for weight in weights]

    alone, together, three = moved(1), moved(10**6), moved(2 * 1200)
    assert torch.equal(together[0], torch.ones(20, 60))
    assert not torch.allclose(together[2], together[4], atol=1e-3)
    for one, other, third in zip(alone, together, three, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(one, third, rtol=1e-6, atol=1e-6)

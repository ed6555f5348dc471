"""Models from scratch: sizes, shapes that cannot be, and weights that follow from the seed alone."""

import pytest
import torch

from hflm.errors import ModelError, UsageError
from hflm.models.architecture import (
    DEFAULT_ARCH,
    SEQ2SEQ,
    SIZES,
    Shape,
    build_config,
    build_model,
    check_shape,
    choose_shape,
    count_parameters,
    position_offset,
)
from hflm.models.attention import BIDIRECTIONAL, CAUSAL
from hflm.models.heads import max_positions
from hflm.models.tokenizer import train_tokenizer

ENCODERS = sorted(BIDIRECTIONAL | {"deberta-v2", "ibert", "mpnet", "esm", "nystromformer"})
DECODERS = sorted(CAUSAL)
WORDS = [f"word{n} {n * 31} letters" for n in range(100)]


def build(arch: str, *, seed: int = 1, dropout: float = 0.0, heads: int = 2) -> torch.nn.Module:
    objective = "clm" if arch in DECODERS else "mlm"
    tokenizer = train_tokenizer(iter(WORDS), kind="bpe", vocab_size=280, arch=arch, max_length=24, objective=objective)
    config = build_config(
        arch=arch, shape=Shape(2, 64, heads), vocab_size=280, max_length=24, tokenizer=tokenizer, dropout=dropout
    )
    return build_model(config, objective=objective, seed=seed)


@pytest.mark.parametrize("arch", ENCODERS + DECODERS)
def test_the_model_is_as_ordered(arch: str) -> None:
    model = build(arch)
    config = model.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (2, 64, 2)
    assert config.vocab_size == 280 and config.tie_word_embeddings
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    # A row of the full length fits, and one number comes out for each word.
    assert model(input_ids=torch.full((1, 24), 9)).logits.shape == (1, 24, 280)


@pytest.mark.parametrize("arch", ["bert", "modernbert", "llama"])
def test_weights_follow_from_the_seed_and_leave_the_random_state_alone(arch: str) -> None:
    before = torch.get_rng_state()
    one, same, other = build(arch), build(arch), build(arch, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    pairs = list(zip(one.parameters(), same.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("arch", ENCODERS + DECODERS)
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_dropout_is_everywhere_or_nowhere(arch: str, dropout: float) -> None:
    found = {module.p for module in build(arch, dropout=dropout).modules() if isinstance(module, torch.nn.Dropout)}
    assert found <= {dropout}


@pytest.mark.parametrize(
    ("arch", "names"),
    [(arch, ["encoder_layerdrop", "decoder_layerdrop"]) for arch in ("bart", "m2m_100")] + [("opt", ["layerdrop"])],
)
def test_dropout_leaves_out_no_layers(arch: str, names: list[str]) -> None:
    objective = "clm" if arch == "opt" else SEQ2SEQ
    tokenizer = train_tokenizer(iter(WORDS), kind="bpe", vocab_size=280, arch=arch, max_length=24, objective=objective)
    config = build_config(
        arch=arch, shape=Shape(2, 64, 2), vocab_size=280, max_length=24, tokenizer=tokenizer, dropout=0.1
    )
    assert config.dropout == config.attention_dropout == 0.1
    assert all(getattr(config, name) == 0.0 for name in names)


def test_special_ids_come_from_the_tokenizer() -> None:
    assert build("roberta").config.pad_token_id == 1
    assert build("bert").config.pad_token_id == 0


def test_positions_are_counted_from_the_padding_of_the_tokenizer() -> None:
    tokenizer = train_tokenizer(iter(WORDS), kind="bpe", vocab_size=280, arch="roberta", max_length=24)
    tokenizer.pad_token = tokenizer.mask_token
    assert tokenizer.pad_token_id > 1
    config = build_config(arch="roberta", shape=Shape(1, 32, 2), vocab_size=280, max_length=24, tokenizer=tokenizer)
    assert config.max_position_embeddings == 24 + tokenizer.pad_token_id + 1 and max_positions(config) == 24
    # A row of the full length fits.
    row = torch.full((1, 24), 9)
    assert build_model(config, objective="mlm", seed=1)(input_ids=row).logits.shape == (1, 24, 280)


@pytest.mark.parametrize("arch", ["bart", "mbart", "marian"])
def test_what_ends_a_text_that_is_cut_short_is_its_end(arch: str) -> None:
    tokenizer = train_tokenizer(iter(WORDS), kind="bpe", vocab_size=280, arch=arch, max_length=24, objective=SEQ2SEQ)
    config = build_config(arch=arch, shape=Shape(1, 32, 2), vocab_size=280, max_length=24, tokenizer=tokenizer)
    model = build_model(config, objective=SEQ2SEQ, seed=1)
    assert model.generation_config.forced_eos_token_id == config.eos_token_id == tokenizer.eos_token_id


def test_a_class_is_read_off_the_mean_of_a_row() -> None:
    """The default of ModernBERT, the first token, has learned little from hidden words alone."""
    assert build("modernbert").config.classifier_pooling == "mean"


def test_sizes() -> None:
    assert choose_shape(size="mini", layers=None, width=None, heads=None) == SIZES["mini"]
    assert choose_shape(size="mini", layers=3, width=None, heads=None) == Shape(3, 256, 4)
    assert choose_shape(size="mini", layers=None, width=128, heads=None) == Shape(4, 128, 2)
    assert choose_shape(size="tiny", layers=1, width=32, heads=4) == Shape(1, 32, 4)
    assert choose_shape(size="tiny", layers=None, width=32, heads=None).heads == 1
    # What cannot be is kept, for check_shape to refuse.
    assert choose_shape(size="tiny", layers=0, width=0, heads=0) == Shape(0, 0, 0)
    with pytest.raises(UsageError, match="Did you mean 'mini'"):
        choose_shape(size="minni", layers=None, width=None, heads=None)


@pytest.mark.parametrize(
    ("arch", "shape", "objective", "message"),
    [
        ("modernbrt", Shape(2, 64, 2), "mlm", "Did you mean 'modernbert'"),
        ("nonsense", Shape(2, 64, 2), "mlm", "has no architecture 'nonsense'.*Try modernbert"),
        ("llama", Shape(2, 64, 2), "mlm", "is a decoder.*--objective clm"),
        ("llama", Shape(2, 64, 2), "wwm", "is a decoder.*--objective clm"),
        ("bert", Shape(2, 64, 2), "clm", "is an encoder.*--arch llama"),
        ("bert", Shape(2, 64, 3), "mlm", "3 heads do not divide a width of 64.*--heads [24]"),
        ("bert", Shape(2, 64, 100), "mlm", "do not divide.*--heads 64"),
        ("bert", Shape(0, 64, 2), "mlm", "--layers is 0. Pass 1 or more"),
        ("bert", Shape(2, -8, 2), "mlm", "--width is -8. Pass 1 or more"),
        ("bert", Shape(2, 64, -2), "mlm", "--heads is -2. Pass 1 or more"),
        ("bart", Shape(2, 64, 2), "mlm", "bart is an encoder-decoder; .*needs an encoder. Try --arch modernbert, bert"),
        ("t5", Shape(2, 64, 2), "wwm", "t5 is an encoder-decoder"),
        ("bart", Shape(2, 64, 2), "clm", "bart is an encoder-decoder; .*needs a decoder. Try --arch llama"),
        ("modernbert", Shape(2, 66, 22), "mlm", "heads of an even width"),
        ("llama", Shape(2, 9, 3), "clm", "heads of an even width"),
    ],
)
def test_what_cannot_be_built(arch: str, shape: Shape, objective: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check_shape(arch, shape, objective=objective)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("funnel", "funnel does not take layers, width and vocabulary from the usual settings"),
        ("mpnet", "mpnet cannot be built with 2 layers, width 64 and 3 heads: .*Change --width"),
    ],
)
def test_an_odd_architecture_says_so_in_one_line(arch: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        build(arch, heads=3 if arch == "mpnet" else 2)
    assert "\n" not in str(caught.value)


def test_positions_that_count_from_the_padding_id() -> None:
    assert (position_offset("bert"), position_offset("roberta"), position_offset("xlm-roberta-xl")) == (0, 2, 2)
    assert position_offset("camembert", pad_token_id=5) == 6


@pytest.mark.parametrize(("objective", "arch"), DEFAULT_ARCH.items())
def test_the_defaults_can_be_built(objective: str, arch: str) -> None:
    for shape in SIZES.values():
        check_shape(arch, shape, objective=objective)


def test_tied_parameters_count_once() -> None:
    model = build("bert")
    assert count_parameters(model) == sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())

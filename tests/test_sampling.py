"""Which token comes next, and which characters may be shown."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hflm.inference.sampling import Sampling, choose, cut, generator_of, penalize
from hflm.inference.streaming import GrowingText
from tests.tiny import tokenizer


@pytest.mark.parametrize(
    "options", [{"top_k": 3}, {"top_p": 0.7}, {"min_p": 0.2}, {"top_k": 9, "top_p": 0.5}, {"top_p": 0.9, "min_p": 0.1}]
)
def test_the_cuts_are_those_of_transformers(options: dict[str, Any]) -> None:
    from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    makers = {"top_k": TopKLogitsWarper, "top_p": TopPLogitsWarper, "min_p": MinPLogitsWarper}
    for seed in range(20):
        logits = torch.randn(40, generator=torch.Generator().manual_seed(seed)) * 3
        truth = logits[None]
        for name, value in options.items():
            truth = makers[name](value)(None, truth)
        assert torch.equal(cut(logits, Sampling(temperature=1.0, **options)), truth[0])


def test_repetitions_cost_what_they_cost_in_transformers() -> None:
    from transformers import RepetitionPenaltyLogitsProcessor

    logits, said = torch.randn(40, generator=torch.Generator().manual_seed(0)), [3, 3, 17, 39]
    truth = RepetitionPenaltyLogitsProcessor(1.7)(torch.tensor([said]), logits[None].clone())[0]
    assert torch.equal(penalize(logits, said, 1.7), truth)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    draw = generator_of(1, 0, 0)
    counts = torch.bincount(
        torch.tensor([choose(logits, Sampling(temperature=0.5), draw) for _ in range(4000)]), minlength=4
    )
    torch.testing.assert_close(counts / 4000, (logits / 0.5).softmax(0), atol=0.03, rtol=0)
    assert choose(logits, Sampling(), draw) == 0


@settings(max_examples=60, deadline=None)
@given(text=st.text(min_size=1, max_size=30), stop=st.text(min_size=1, max_size=3))
def test_what_is_shown_is_never_taken_back(text: str, stop: str) -> None:
    ids = tokenizer("decoder")
    tokens = ids(text, add_special_tokens=False)["input_ids"]
    whole = ids.decode(tokens, skip_special_tokens=True)
    for stops in ((), (stop,)):
        growing, shown = GrowingText(ids, stops=stops), ""
        for token in tokens:
            growing.add(token)
            piece = growing.new()
            assert "\ufffd" not in piece or "\ufffd" in whole, "half a character"
            shown += piece
            if growing.stopped:
                break
        growing.finish()
        shown += growing.new(end=True)
        assert shown == growing.text == (whole.partition(stop)[0] if stops else whole)


@pytest.mark.parametrize("text", ["北京欢迎你 🎉", "مرحبا بالعالم", "नमस्ते", "👩‍👩‍👧‍👦 family", "ñandú"])
def test_whole_characters_in_every_script(text: str) -> None:
    ids = tokenizer("decoder")
    growing, pieces = GrowingText(ids), []
    for token in ids(text, add_special_tokens=False)["input_ids"]:
        growing.add(token)
        pieces.append(growing.new())
    assert "".join(pieces) == text and all("\ufffd" not in piece for piece in pieces)


def test_a_stop_text_is_not_looked_for_in_how_the_answer_begins() -> None:
    ids = tokenizer("decoder")
    growing = GrowingText(ids, stops=("\n",), start="Colours:\n")
    for token in ids(" one two\nthree", add_special_tokens=False)["input_ids"]:
        growing.add(token)
        if growing.stopped:
            break
    assert growing.text == "Colours:\n one two"


def test_the_first_token_behind_a_beginning_keeps_its_space() -> None:
    """As tokenizers of the first Llamas decode: the space at the start of a text is taken away."""

    class Strips:
        def __call__(self, text: str, **more: Any) -> dict[str, list[int]]:
            return {"input_ids": [ord(letter) for letter in text]}

        def decode(self, tokens: list[int], **more: Any) -> str:
            return "".join(map(chr, tokens)).removeprefix(" ")

    growing = GrowingText(Strips(), start="It is")
    growing.add(ord(" "))
    growing.add(ord("4"))
    assert growing.text == "It is 4"

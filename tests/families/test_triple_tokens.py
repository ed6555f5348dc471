"""Every output is a line of triples, whatever the model, the tokenizer and the way of choosing tokens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hflm.data.examples import Example
from hflm.errors import ModelError
from hflm.families.triple_tokens import State, TripleTokens
from hflm.inference.predicting import write_rows
from hflm.inference.trained import open_trained
from hflm.triples import from_line, to_line
from tests.tiny import DECODERS, SEQ2SEQ, facts, tokenizer, write

RELATIONS = ("in", "lives in", "住在", "يعيش في")
FLAVOURS = ("bert", "seq2seq", "decoder")


def end_of(ids: Any) -> int:
    return int(ids.sep_token_id if ids.eos_token_id is None else ids.eos_token_id)


@pytest.fixture(scope="module")
def trained(
    lively: Callable[[str], str], run_finetune: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """A function from a kind of model to a run that has hardly learned: its outputs are anything that is allowed."""
    rows = facts()
    for number, relation in enumerate(RELATIONS):
        rows.append({"text": f"Ada {number}", "triples": [["Ada", relation, f"town {number}"]]})
    data = str(write(tmp_path_factory.mktemp("facts") / "facts.jsonl", rows))

    def make(kind: str) -> str:
        return str(run_finetune(
            "knowledge-graph", model=lively(kind), data=[data], max_steps=2, max_source_length=40, max_target_length=20,
            test_fraction=0.0,
        ))  # fmt: skip

    return make


@pytest.mark.parametrize("kind", [*SEQ2SEQ, *DECODERS])
def test_every_output_of_a_model_that_knows_nothing_is_triples(kind: str, trained: Callable[[str], str]) -> None:
    model = open_trained(trained(kind), max_new_tokens=24)
    assert set(model.family.triples.relations) == set(RELATIONS)
    names, towns = ("Emma", "محمد", "李明", "Zoë"), ("Bath", "北京")
    examples = [Example("", {"source": f"{name} in {town} {n}"}) for n, name in enumerate(names) for town in towns]
    found = []
    for beams in (1, 3):
        rows, _ = write_rows(
            model.model, model.family, examples, device=model.device, max_new_tokens=24, num_beams=beams
        )
        assert all(("confidence" in row) == (beams == 1) for row in rows)
        found += rows
    for row in found:
        triples = from_line(row["prediction"])
        assert triples is not None and [list(one) for one in triples] == row["triples"]
        assert {relation for _, relation, _ in triples} <= set(RELATIONS)
        assert len(row.get("confidence", triples)) == len(triples)
        assert all(0 <= one <= 1 for one in row.get("confidence", ()))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_is_right_may_always_be_written(flavour: str) -> None:
    ids = tokenizer(flavour)
    # The smallest tokenizer of words knows no Chinese letters.
    known = RELATIONS[:2] if flavour == "bert" else RELATIONS
    tokens, ends = TripleTokens(ids, known), {end_of(ids)}
    for triples in ([], [("Emma", "lives in", "Bath")], [("李明", known[-1], "北京"), ("محمد", "in", "Rom")]):
        state = State()
        for token in [*ids(text_target=to_line(triples), add_special_tokens=False)["input_ids"], *ends]:
            assert tokens.allowed(state, ends, size=len(ids) + 7)[token], (triples, token)
            state = tokens.step(state, token)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_is_wrong_may_not(flavour: str) -> None:
    ids = tokenizer(flavour)
    tokens, ends = TripleTokens(ids, ("in",)), {end_of(ids)}

    def after(text: str) -> torch.Tensor:
        state = State()
        for token in ids(text_target=text, add_special_tokens=False)["input_ids"]:
            state = tokens.step(state, token)
        return tokens.allowed(state, ends, size=len(ids))

    bars, end = list(tokens.bars), list(ends)
    assert not after("Emma")[end].any() and after("Emma")[bars].all()
    assert not after("")[bars].any() and not after("")[end].any()
    assert not after("Emma | in")[end].any() and not after("Emma | in |")[end].any()
    assert after("Emma | in | Bath")[end].all() and after("none")[end].all()
    # Nothing but the relation: of all tokens, those that spell it.
    assert after("Emma |").sum() == len({next(iter(tokens.root))}) and not after("Emma |")[bars].any()
    # No special token, and nothing beyond the tokenizer's own.
    assert not after("Emma")[ids.all_special_ids].any()
    assert not tokens.allowed(State(), ends, size=len(ids) + 9)[len(ids) :].any()


def test_probabilities_are_those_of_the_model(trained: Callable[[str], str]) -> None:
    model = open_trained(trained("gpt2"), max_new_tokens=24, precision="fp32")
    example = Example("", {"source": "Emma in Bath 3"})
    (row,), _ = write_rows(model.model, model.family, [example], device=model.device, max_new_tokens=24)
    prompt = model.family.prompt(example).ids
    answer = model.model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=24, do_sample=False,
        pad_token_id=model.family.tokenizer.pad_token_id, logits_processor=[_processor(model)],
    )[0].tolist()  # fmt: skip
    with torch.no_grad():
        logs = model.model(torch.tensor([answer])).logits[0].log_softmax(-1)
    sums, bars = [0.0], 0
    for at in range(len(prompt), len(answer)):
        sums[-1] += float(logs[at - 1, answer[at]])
        bars += answer[at] in model.family.triples.bars
        if answer[at] in model.family.triples.bars and bars % 3 == 0:
            sums.append(0.0)
    wanted = [float(torch.tensor(total).exp()) for total in sums][: len(row["triples"])]
    assert row["confidence"] == pytest.approx(wanted, abs=2e-4)


def _processor(model: Any) -> Any:
    from hflm.inference.constrained import only_triples

    prompt = len(model.family.prompt(Example("", {"source": "Emma in Bath 3"})).ids)
    return only_triples(model.family, prompt=prompt, ends={model.family.tokenizer.eos_token_id})


def test_a_relation_without_letters_is_refused() -> None:
    with pytest.raises(ModelError, match="no letters for the relation '住在'"):
        TripleTokens(tokenizer("bert"), ["in", "住在"])


def test_a_tokenizer_without_the_mark_is_refused() -> None:
    class Without:
        name_or_path, all_special_ids = "letters", [0]

        def __len__(self) -> int:
            return 3

        def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
            return ["<unk>", "a", "in"]

        def __call__(self, text_target: list[str], add_special_tokens: bool) -> dict[str, Any]:
            return {"input_ids": [[1, 0, 2, 0, 1] for _ in text_target]}

    with pytest.raises(ModelError, match="tokenizer of letters cannot write '|' around 'in'"):
        TripleTokens(Without(), ["in"])

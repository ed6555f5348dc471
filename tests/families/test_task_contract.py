"""One contract for every recipe with every kind of model that does it."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from hflm.data.examples import Example
from hflm.engine.device import Device
from hflm.families.family import Item
from hflm.finetune_config import resolve_finetune
from hflm.finetuning.fitting import Fitted, fit, name_languages, read_data
from hflm.inference.cast import cast_once
from hflm.inference.predicting import classify_rows, lose_rows, write_rows
from hflm.recipe_files import copy, find, load_task, recipe_paths
from hflm.training.training import autocast
from tests.tiny import DECODERS, ENCODERS, SEQ2SEQ, asked, facts, moods, pairs, tagged, write

ABLE: dict[str, tuple[str, ...]] = {
    "classification": (*ENCODERS, *DECODERS), "tagging": ENCODERS, "text_to_text": (*SEQ2SEQ, *DECODERS),
    "causal_lm": DECODERS,
}  # fmt: skip
ROWS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "sentiment": moods, "tagging": tagged, "summarization": pairs,
    "translation": lambda: pairs(source="en", target="es"), "generation": asked, "knowledge-graph": facts,
}  # fmt: skip
TASKS = {name: load_task(name) for name in recipe_paths()}
CASES = [(name, kind) for name, task in TASKS.items() for kind in ABLE.get(task.family, ())]
LENGTH = 32


def test_no_recipe_is_left_out() -> None:
    assert {name for name, task in TASKS.items() if task.family != "masked_lm"} == set(ROWS)


@pytest.fixture(scope="session")
def fitted(tiny: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Fitted]:
    """A function from a recipe's copy and a kind of model to both, fitted to rows."""
    folder = tmp_path_factory.mktemp("contract")

    def make(name: str, kind: str) -> Fitted:
        path = str(folder / find(name).name)
        task = load_task(path if Path(path).exists() else str(copy(name, folder)))
        rows = str(write(folder / f"{name}.jsonl", ROWS[name]()))
        flags = {"model": tiny(kind), "data": [rows], "precision": "fp32", "max_source_length": LENGTH,
                 "max_target_length": 12}  # fmt: skip
        config = resolve_finetune(task, name=path, file={}, flags=flags, where="a test")
        splits = read_data(config, task)
        return fit(name_languages(config, task, splits), task, splits)

    return cache(make)


def limit(found: Fitted) -> int:
    return LENGTH + 12 if found.kind == "completion" else LENGTH


def items(found: Fitted) -> list[Item]:
    return [Item(row, 0, number) for number, row in enumerate(found.train)]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_rows_keep_to_the_limits_and_cutting_is_told(
    name: str, kind: str, fitted: Callable[[str, str], Fitted]
) -> None:
    found = fitted(name, kind)
    longer = {"text": "a merry film كتاب 书 " * 30, "tokens": ["Emma", "ran"] * 60, "tags": ["O", "B-PER"] * 60}
    for role in ("source", "target", "prompt", "completion"):
        longer[role] = "one two كتاب 书 " * 30
    values = dict(found.splits.train[0].values)
    long = Example("", {role: longer.get(role, value) for role, value in values.items()})
    (row,) = found.family.encode([long])
    assert row.length <= limit(found) and row.cut and row.targets > 0
    (short,) = found.family.encode([found.splits.train[0]])
    assert not short.cut and short.length < limit(found) and short.targets > 0


class Counting:
    """A tokenizer that notes the length of the longest text that it was given."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.most = tokenizer, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def __len__(self) -> int:
        return len(self.tokenizer)

    def __call__(self, text: Any = None, **more: Any) -> Any:
        given = text if text is not None else more["text_target"]
        self.most = max(self.most, *(len(one) for one in ([given] if isinstance(given, str) else given)))
        return self.tokenizer(text, **more)


@pytest.mark.promise("D2")
@pytest.mark.parametrize(
    ("name", "kind"),
    [("sentiment", "bert"), ("summarization", "t5"), ("summarization", "gpt2")],
)
def test_a_row_of_megabytes_is_not_tokenized_whole(name: str, kind: str, fitted: Callable[[str, str], Fitted]) -> None:
    found = fitted(name, kind)
    values = dict(found.splits.train[0].values)
    role = next(role for role in ("text", "source", "prompt") if role in values)
    (long,) = found.family.encode([Example("", {**values, role: "one two film " * 1_000})])
    counting = Counting(found.family.tokenizer)
    family = replace(found.family, tokenizer=counting)
    (huge,) = family.encode([Example("", {**values, role: "one two film " * 100_000})])
    assert counting.most < 150_000 and huge.cut
    assert (huge.ids, huge.labels) == (long.ids, long.labels)


# The limits of a decoder leave room for its instruction: tests/families/test_prompts.py has them.
CUT = [case for case in CASES if case[0] == "sentiment" or (case[0] == "summarization" and case[1] in SEQ2SEQ)]


@pytest.mark.parametrize(("name", "kind"), CUT)
def test_a_row_that_just_fits_is_not_cut(name: str, kind: str, fitted: Callable[[str, str], Fitted]) -> None:
    found = fitted(name, kind)
    (whole,) = found.family.encode([found.splits.train[0]])
    limits = ["max_length"] if found.kind == "classification" else ["max_source_length", "max_target_length"]
    sizes = [len(whole.ids)] if len(limits) == 1 else [len(whole.ids), len(whole.labels)]
    for name, size in zip(limits, sizes, strict=True):
        # A tokenizer may open targets with the token that the decoder begins with, which is taken away again.
        start = size + (name == "max_target_length" and found.family.tokenizer(text_target="a")["input_ids"][0]
                        == found.family.start)  # fmt: skip
        for most, cut in ((start, False), (start - 1, True)):
            (row,) = replace(found.family, **{name: most}).encode([found.splits.train[0]])
            assert row.cut == cut, (name, most)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_batch_fits_the_model_and_padding_changes_nothing(
    name: str, kind: str, fitted: Callable[[str, str], Fitted]
) -> None:
    found = fitted(name, kind)
    model = found.model.eval()
    batch = found.family.collate(items(found)[:5])
    with torch.no_grad():
        whole = found.family.sums(model, batch)
        alone = [found.family.sums(model, found.family.collate([item])) for item in items(found)[:5]]
    assert whole.count == found.family.count(batch) == sum(one.count for one in alone) > 0
    assert whole.count == sum(item.row.targets for item in items(found)[:5])
    assert int(whole.correct) == sum(int(one.correct) for one in alone)
    torch.testing.assert_close(whole.loss, torch.stack([one.loss for one in alone]).sum(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_loss_falls(name: str, kind: str, fitted: Callable[[str, str], Fitted]) -> None:
    found = fitted(name, kind)
    before = {key: value.clone() for key, value in found.model.state_dict().items()}
    optimizer = torch.optim.AdamW(found.model.parameters(), lr=5e-3)
    batch = found.family.collate(items(found)[:16])
    losses = []
    found.model.train()
    for _ in range(20):
        sums = found.family.sums(found.model, batch)
        loss = sums.loss / sums.count
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    found.model.load_state_dict(before)
    assert losses[-1] < 0.7 * losses[0], losses


def predicted(found: Fitted, examples: list[Example]) -> list[dict[str, Any]]:
    if found.kind in ("classification", "tagging"):
        return classify_rows(found.model, found.family, examples, device=found.device)
    rows, _ = write_rows(found.model, found.family, examples, device=found.device, max_new_tokens=6)
    return rows


def assert_alike(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> None:
    for left, right in zip(one, two, strict=True):
        assert left.keys() == right.keys()
        for key, value in left.items():
            assert right[key] == (pytest.approx(value, abs=1e-5) if isinstance(value, float) else value)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_predicting_a_list_is_predicting_one_by_one(name: str, kind: str, fitted: Callable[[str, str], Fitted]) -> None:
    found = fitted(name, kind)
    learned = {"label", "target", "completion", "tags"}
    examples = [
        Example(e.where, {role: value for role, value in e.values.items() if role not in learned})
        for e in [*found.splits.train[:3], *found.splits.test[:3]]
    ]
    together = predicted(found, examples)
    assert_alike(together, [one for example in examples for one in predicted(found, [example])])
    assert_alike(together[::-1], predicted(found, examples[::-1]))
    if found.kind == "tagging":
        assert [len(one["prediction"]) for one in together] == [len(e["tokens"]) for e in examples]
    if found.kind in ("classification", "tagging"):
        flat = [one["prediction"] if isinstance(one["prediction"], list) else [one["prediction"]] for one in together]
        assert {label for labels in flat for label in labels} <= set(found.labels)
    elif found.kind == "completion":
        whole = list(found.splits.test[:4])
        assert_alike(
            lose_rows(found.model, found.family, whole, device=found.device),
            [one for e in whole for one in lose_rows(found.model, found.family, [e], device=found.device)],
        )


@pytest.mark.parametrize("kind", (*SEQ2SEQ, *DECODERS))
def test_weights_that_are_cast_once_give_the_same_numbers(kind: str, fitted: Callable[[str, str], Fitted]) -> None:
    found, device = fitted("summarization", kind), Device("cpu", "bf16")
    batch = found.family.collate([Item(row, 0, number) for number, row in enumerate(found.train[:4])])
    weights = {name: (id(weight), weight.data_ptr()) for name, weight in found.model.named_parameters()}

    def loss() -> torch.Tensor:
        with torch.inference_mode(), autocast(device):
            return torch.as_tensor(found.family.sums(found.model, batch).loss)

    usual = loss()
    with cast_once(found.model, device):
        dtypes = {weight.dtype for weight in found.model.parameters()}
        assert torch.equal(loss(), usual)
    assert dtypes == {torch.float32, torch.bfloat16}, "products are cast; embeddings and norms are not"
    assert {name: (id(w), w.data_ptr()) for name, w in found.model.named_parameters()} == weights
    assert torch.equal(loss(), usual)


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_tag_for_every_word_also_where_it_was_cut_or_has_no_pieces(
    kind: str, fitted: Callable[[str, str], Fitted]
) -> None:
    found = fitted("tagging", kind)
    tokens = [["Emma", "\u200b", "", "ran"], ["Emma", "ran"] * 40, []]
    rows = classify_rows(found.model, found.family, [Example("", {"tokens": words}) for words in tokens],
                         device=found.device)  # fmt: skip
    assert [len(row["prediction"]) for row in rows] == [4, 80, 0]
    assert set(rows[1]["prediction"][LENGTH:]) == {"O"}
    (row,) = found.family.encode([Example("", {"tokens": tokens[0], "tags": ["B-PER", "O", "O", "O"]})])
    kept = [found.labels[label] for label in row.labels if label >= 0]
    assert kept[0] == "B-PER" and row.size == 4 and not row.cut


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_only_the_right_kinds_of_models(name: str, kind: str, tiny: Callable[[str], str]) -> None:
    from hflm.errors import ModelError
    from hflm.models.heads import family_of, load_config

    task = TASKS[name]
    wrong = {"text_to_text": ENCODERS, "causal_lm": (*ENCODERS, *SEQ2SEQ)}.get(task.family, ())
    for other in wrong:
        with pytest.raises(ModelError, match=r"(an encoder|encoder-decoder).*Name a"):
            family_of(task.family, load_config(tiny(other)), name=other)
    assert family_of(task.family, load_config(tiny(kind)), name=kind) in (
        task.family, "seq2seq" if kind in SEQ2SEQ else "completion"
    )  # fmt: skip


def test_prefix_and_languages_are_told(fitted: Callable[[str, str], Fitted], tiny: Callable[[str], str]) -> None:
    from hflm.errors import UsageError
    from hflm.finetuning.fitting import make_family

    assert fitted("summarization", "t5").family.prefix == "summarize: "
    assert fitted("translation", "t5").family.prefix == "translate English to Spanish: "
    assert fitted("translation", "bart").family.prefix == ""
    assert fitted("translation", "gpt2").family.instruction == "Translate this text from English to Spanish."
    found = fitted("translation", "t5")
    config = replace(found.config, source_lang=None, target_lang=None)
    with pytest.raises(UsageError, match="languages are not named.*--source-lang"):
        make_family(
            config, found.task, "seq2seq", tokenizer=found.family.tokenizer, pretrained=found.model.config, labels=()
        )


@pytest.mark.parametrize("kind", [*SEQ2SEQ, *DECODERS])
def test_a_text_and_its_answer_fill_the_positions_and_no_more(kind: str, fitted: Callable[[str, str], Fitted]) -> None:
    from hflm.finetuning.fitting import make_family

    found = fitted("summarization", kind)
    config = replace(found.config, max_source_length=10_000, max_target_length=10_000)
    family = make_family(
        config, found.task, found.kind, tokenizer=found.family.tokenizer, pretrained=found.model.config, labels=()
    )
    long = Example("", {"source": "one two كتاب " * 300, "target": "uno dos 书 " * 300})
    row = Item(family.encode([long])[0], 0, 0)
    with torch.no_grad():
        assert torch.isfinite(family.sums(found.model, family.collate([row])).loss)
    if kind != "t5":
        written, _ = write_rows(found.model, family, [long], device=found.device, max_new_tokens=300)
        assert isinstance(written[0]["prediction"], str)


def test_an_empty_text_to_a_decoder_that_classifies(fitted: Callable[[str, str], Fitted]) -> None:
    found = fitted("sentiment", "gpt2")
    assert predicted(found, [Example("", {"text": ""})])[0]["prediction"] in found.labels

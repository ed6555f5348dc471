"""How a decoder is asked: what counts in the loss is what the assistant says, and nothing is moved or lost."""

from collections.abc import Callable
from typing import Any

import pytest

from hflm.data.examples import Example
from hflm.errors import DataError
from hflm.families.completion import Completion
from hflm.families.encoded import IGNORED
from hflm.families.prompts import as_messages, prompt_ids, shorten, spans

USER, BOT = {"role": "user", "content": "one two"}, {"role": "assistant", "content": "uno dos"}
CHATS = {
    "one turn": [USER, BOT],
    "two turns": [USER, BOT, {"role": "user", "content": "three كتاب"}, {"role": "assistant", "content": "tres 书"}],
    "system": [{"role": "system", "content": "Count."}, USER, BOT],
    "three turns": [USER, BOT, USER, BOT, USER, BOT],
}


@pytest.fixture(scope="module", params=["gpt2", "llama", "gpt2 with line ends"])
def tokenizer(request: Any, tiny: Callable[[str], str]) -> Any:
    """Without a chat template, with one, and with line ends that melt together as in GPT-2's own vocabulary."""
    from transformers import AutoTokenizer

    if request.param == "gpt2 with line ends":
        from hflm.models.tokenizer import train_tokenizer

        texts = ["one two three uno dos tres كتاب 书\n\n"] * 20 + ["a\n\n"] * 40
        return train_tokenizer(
            iter(texts), kind="bpe", vocab_size=320, arch="gpt2", max_length=64, objective="clm"
        )  # fmt: skip
    return AutoTokenizer.from_pretrained(tiny(request.param))


@pytest.mark.parametrize("chat", CHATS)
def test_labels_are_the_answers_and_where_they_stand(chat: str, tokenizer: Any) -> None:
    ((ids, labels),) = spans(tokenizer, CHATS[chat])
    assert len(ids) == len(labels)
    assert all(label in (IGNORED, token) for label, token in zip(labels, ids, strict=True))
    kept = tokenizer.decode([label for label in labels if label != IGNORED]).split(tokenizer.eos_token)
    answers = [turn["content"] for turn in CHATS[chat] if turn["role"] == "assistant"]
    assert [text.strip() for text in kept if text.strip()] == answers
    assert sum(label == tokenizer.eos_token_id for label in labels) == len(answers)
    assert labels[0] == IGNORED and labels[-1] == tokenizer.eos_token_id
    text = tokenizer.decode(ids)
    assert all(turn["content"] in text for turn in CHATS[chat])


@pytest.mark.parametrize("chat", CHATS)
def test_a_question_is_how_its_answer_was_trained(chat: str, tokenizer: Any) -> None:
    ((ids, _),) = spans(tokenizer, CHATS[chat])
    asked = prompt_ids(tokenizer, CHATS[chat][:-1])
    assert ids[: len(asked)] == asked and len(asked) < len(ids)


def test_no_answer_no_labels(tokenizer: Any) -> None:
    ((ids, labels),) = spans(tokenizer, [USER])
    assert ids and set(labels) == {IGNORED}


def test_every_shape_is_a_chat() -> None:
    def turns(values: dict[str, Any]) -> Any:
        found = as_messages(values, instruction="Do it.")
        return found and [turn["content"] for turn in found]

    assert turns({"prompt": "a", "completion": "b"}) == ["a", "b"]
    assert turns({"instruction": "a", "input": "b", "output": "c"}) == ["a\n\nb", "c"]
    assert turns({"instruction": "a", "input": "", "output": "c"}) == ["a", "c"]
    assert turns({"source": "a", "target": "b"}) == ["Do it.\n\na", "b"]
    assert turns({"source": "a"}) == ["Do it.\n\na"]
    assert turns({"messages": [USER, BOT]}) == turns({"conversations": [USER, BOT]}) == ["one two", "uno dos"]
    assert turns({"text": "a"}) is None


@pytest.mark.parametrize("text", ["one two three four five", "كتاب " * 9, "书好电影" * 5, "a"])
@pytest.mark.parametrize("most", [1, 3, 7])
def test_texts_are_cut_after_tokens(text: str, most: int, tokenizer: Any) -> None:
    cut, was = shorten(tokenizer, text, most=most)
    assert text.startswith(cut) and was == (cut != text)
    whole = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    # A character of many bytes may be kept whole.
    assert was == (whole > most) and len(tokenizer(cut, add_special_tokens=False)["input_ids"]) <= most + 3


def test_rows_keep_within_their_limits_and_keep_instruction_and_answer(tokenizer: Any) -> None:
    family = Completion(tokenizer, "Count this in Spanish.", 40, 12)
    long = {"source": "one two three " * 60, "target": "uno dos tres " * 60}
    row = family.encode_one(Example("", long))
    assert len(row.ids) <= family.room == 52 and row.cut and row.targets > 5
    assert "Count this in Spanish." in tokenizer.decode(row.ids) and row.labels[-1] == tokenizer.eos_token_id
    asked = family.prompt(Example("", long))
    # What is written to it must fit behind it.
    assert len(asked.ids) <= 40 and "Count this in Spanish." in tokenizer.decode(asked.ids) and asked.cut
    assert row.ids[: len(asked.ids)] == asked.ids
    for values in ({"prompt": "one " * 90}, {"messages": [{"role": "user", "content": "one " * 90}]}):
        assert len(family.prompt(Example("", values)).ids) <= 40


def test_plain_text_becomes_pieces_without_loss(tokenizer: Any) -> None:
    family = Completion(tokenizer, "", 6, 4)
    text = "one two three four five كتاب 书 uno dos tres"
    ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    rows = family.encode([Example("", {"text": text})])
    assert all(len(row.ids) <= 10 and row.targets == len(row.ids) - 1 > 0 for row in rows)
    assert [token for row in rows for token in row.ids][: len(ids) - 1] == ids[: len(ids) - 1]


def test_a_text_as_long_as_a_piece_and_one_token_more(tokenizer: Any) -> None:
    ids = [*tokenizer("one two three")["input_ids"], tokenizer.eos_token_id]
    family = Completion(tokenizer, "", len(ids) - 2, 1)
    rows = family.encode([Example("", {"text": "one two three"})])
    # A single token has nothing to be predicted from.
    assert [row.targets for row in rows] == [len(ids) - 2]


def test_prompts_and_completions_may_be_messages() -> None:
    whole = [{"role": "system", "content": "Count."}, USER, BOT]
    for values in ({"prompt": whole[:2], "completion": BOT["content"]}, {"prompt": whole[:2], "completion": [BOT]}):
        assert as_messages(values, instruction="") == whole
    assert as_messages({"prompt": whole[:2]}, instruction="") == whole[:2]
    assert as_messages({"prompt": "one two", "completion": [BOT, USER, BOT]}, instruction="") == [USER, BOT, USER, BOT]


def test_calls_of_tools_are_said_where_a_template_knows_none(tokenizer: Any) -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "two"}}]}
    ((ids, labels),) = spans(tokenizer, [USER, call, {"role": "tool", "content": "three"}, BOT])
    said = tokenizer.decode([label for label in labels if label != IGNORED])
    assert '{"name": "two"}' in said and "three" not in said and "uno dos" in said
    assert (
        prompt_ids(tokenizer, [USER, call, USER])[: len(prompt_ids(tokenizer, [USER]))]
        == ids[: len(prompt_ids(tokenizer, [USER]))]
    )


def test_a_question_is_asked_with_its_passage() -> None:
    values = {"prompt": "Who ran?", "input": "Ada ran home.", "completion": "Ada."}
    asked = as_messages(values, instruction="")
    assert asked is not None and [turn["content"] for turn in asked] == ["Ada ran home.\n\nWho ran?", "Ada."]
    assert as_messages({**values, "input": ""}, instruction="") == as_messages(
        {name: value for name, value in values.items() if name != "input"}, instruction=""
    )


@pytest.mark.parametrize("values", [{"text": ""}, {"text": " "}, {"messages": [BOT]}, {"prompt": [BOT]}])
def test_nothing_to_go_on_with(values: dict[str, Any], tokenizer: Any) -> None:
    with pytest.raises(DataError, match=r"^rows.jsonl, line 3: there is nothing to go on with"):
        Completion(tokenizer, "", 40, 12).prompt(Example("rows.jsonl, line 3", values))

"""Templates of models that think: thoughts are told of the last turn alone, and an empty block is not learned."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hflm.data.chats import answered, has_thoughts, messages
from hflm.data.examples import Example
from hflm.families.completion import Completion
from hflm.families.encoded import IGNORED
from hflm.families.prompts import answer_opening, prompt_ids, spans
from hflm.models.chat_template import render

TEMPLATE = (
    "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}<{{ m.role }}> {% if m.role == 'assistant' and loop.index0 > ns.last %}"
    "<think>\n{{ m.reasoning_content or '' }}\n</think>\n\n{% endif %}{{ m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
CHAT = [turn for number in ("one", "two", "three") for turn in (
    {"role": "user", "content": number}, {"role": "assistant", "content": number.upper()}
)]  # fmt: skip
EMPTY = "<think>\n\n</think>\n\n"


@pytest.fixture
def tokenizer(tiny: Callable[[str], str], tmp_path: Path) -> Any:
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(shutil.copytree(tiny("llama"), tmp_path / "llama"))
    found.chat_template = TEMPLATE
    return found


def learned(tokenizer: Any, row: tuple[list[int], list[int]]) -> str:
    """What a row teaches."""
    return str(tokenizer.decode([label for label in row[1] if label != IGNORED]))


def test_every_answer_is_learned_once_and_no_empty_block(tokenizer: Any) -> None:
    rows = spans(tokenizer, CHAT)
    assert [learned(tokenizer, row) for row in rows] == [f"{n}{tokenizer.eos_token}" for n in ("ONE", "TWO", "THREE")]
    for number, (ids, labels) in enumerate(rows, start=1):
        assert len(ids) == len(labels)
        before = prompt_ids(tokenizer, CHAT[: 2 * number - 1], opening=answer_opening(tokenizer))
        # What is asked is what was trained: the block stands at the end of the prompt.
        assert ids[: len(before)] == before and set(labels[: len(before)]) == {IGNORED}
        assert labels[len(before) :] == ids[len(before) :]
        assert tokenizer.decode(before).endswith(EMPTY)
    assert answer_opening(tokenizer) == EMPTY


def test_rows_name_their_example(tokenizer: Any) -> None:
    family = Completion(tokenizer, "", 200, 20)
    rows = family.encode([Example("a", {"messages": CHAT[:2]}), Example("b", {"messages": CHAT})])
    assert [row.example for row in rows] == [0, 1, 1, 1]
    asked = family.prompt(Example("", {"messages": CHAT}))
    assert tokenizer.decode(asked.ids).endswith(EMPTY) and asked.ids == rows[-1].ids[: len(asked.ids)]


def test_thoughts_that_are_given_are_learned(tokenizer: Any) -> None:
    turns = messages(
        [{"role": "user", "content": "one"},
         {"role": "assistant", "content": "ONE", "reasoning_content": "a number"}], "line 1"
    )  # fmt: skip
    (row,) = spans(tokenizer, turns)
    assert learned(tokenizer, row) == f"<think>\na number\n</think>\n\nONE{tokenizer.eos_token}"
    assert (
        has_thoughts(turns)
        and not has_thoughts(CHAT)
        and has_thoughts("<think>\n\n</think>\n\na")
        and not has_thoughts(["a"])
    )
    thinks = Completion(tokenizer, "", 200, 20, thinks=True)
    assert not tokenizer.decode(thinks.prompt(Example("", {"messages": turns})).ids).endswith(EMPTY)


def test_a_completion_keeps_its_thoughts(tokenizer: Any) -> None:
    said = [{"role": "assistant", "content": "ONE", "reasoning_content": "a number"}]
    assert answered(said, "line 1", lambda value, where: str(value)) == said
    assert answered([{"role": "assistant", "content": "ONE"}], "line 1", lambda value, where: str(value)) == "ONE"


def test_without_such_a_template_nothing_stands_before_an_answer(tiny: Callable[[str], str]) -> None:
    from transformers import AutoTokenizer

    for kind in ("gpt2", "llama"):
        assert answer_opening(AutoTokenizer.from_pretrained(tiny(kind))) == ""


def test_elsewhere_a_tuned_model_is_asked_as_the_docs_say(tokenizer: Any) -> None:
    """What stood before every answer of the training stands there too, and without the switch it does not."""
    asks = "<assistant> {% endif %}"
    assert TEMPLATE.endswith(asks)
    empty = "{% if enable_thinking is false %}" + EMPTY + "{% endif %}{% endif %}"
    tokenizer.chat_template = TEMPLATE.removesuffix("{% endif %}") + empty
    usual = render(tokenizer, CHAT[:1], ask=True)
    assert not usual.endswith(EMPTY)
    assert render(tokenizer, CHAT[:1], ask=True, enable_thinking=False) == usual + answer_opening(tokenizer)
    docs = (Path(__file__).parents[2] / "docs" / "finetuning.md").read_text(encoding="utf-8")
    _, _, said = docs.partition("## The result in Python")
    assert "enable_thinking=False" in said.partition("\n## ")[0]

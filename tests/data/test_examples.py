"""Rows in every shape that people keep them in become examples of one shape; a wrong value is named with its row."""

import re
from typing import Any

import pytest

from hflm.data.chats import messages
from hflm.data.examples import Example, Shape, label, read_examples, text, words
from hflm.data.records import Record
from hflm.errors import DataError
from hflm.recipe_files import load_task

TURNS = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "مرحبا 你好"}]

CALLS = [{"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


def read(task: str, *rows: dict[str, Any], given: dict[str, str] | None = None, **more: Any) -> list[Example]:
    recipe = load_task(task)
    shape = Shape(roles=recipe.columns, shapes=recipe.complete, given=given or {}, **more)
    records = [Record("a.jsonl", number, row) for number, row in enumerate(rows, start=1)]
    return [example for example, _ in read_examples(records, shape=shape)]


@pytest.mark.parametrize(
    ("task", "row", "values"),
    [
        ("sentiment", {"text": "a", "label": "good"}, {"text": "a", "label": "good"}),
        ("sentiment", {"text": "a", "label": 1}, {"text": "a", "label": "1"}),
        ("sentiment", {"text": "a", "label": 1.0}, {"text": "a", "label": "1"}),
        ("sentiment", {"text": "a", "label": 0.5}, {"text": "a", "label": "0.5"}),
        ("sentiment", {"text": "a", "label": False}, {"text": "a", "label": "false"}),
        ("sentiment", {"text": "a", "label": " 好 "}, {"text": "a", "label": "好"}),
        ("sentiment", {"text": 7, "label": "0"}, {"text": "7", "label": "0"}),
        (
            "sentiment", {"text": "a", "label": 0, "label_name": "bad"},
            {"text": "a", "label": "0", "label_name": "bad"},
        ),
        ("summarization", {"article": "a", "highlights": None}, {"source": "a", "target": ""}),
        ("translation", {"translation": {"en": "a", "fr": "b"}}, {"source": "a", "target": "b"}),
        ("translation", {"id": 3, "en": "book", "ar": "كتاب"}, {"source": "book", "target": "كتاب"}),
        ("translation", {"src": "a", "tgt": "b"}, {"source": "a", "target": "b"}),
        ("tagging", {"tokens": ["a", 2], "ner_tags": [0, 1]}, {"tokens": ["a", "2"], "tags": ["0", "1"]}),
        ("generation", {"text": "书"}, {"text": "书"}),
        ("generation", {"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": "b"}),
        ("generation", {"question": "a", "answer": "b"}, {"prompt": "a", "completion": "b"}),
        (
            "generation", {"instruction": "a", "input": "b", "output": "c"},
            {"instruction": "a", "input": "b", "output": "c"},
        ),
        ("generation", {"instruction": "a", "output": "c"}, {"instruction": "a", "output": "c"}),
        ("generation", {"messages": TURNS}, {"messages": TURNS}),
        (
            "generation", {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "مرحبا 你好"}]},
            {"conversations": TURNS},
        ),
        (
            "generation",
            {"messages": [{"role": "developer", "content": [{"type": "text", "text": "a"}, "b"]}, *TURNS]},
            {"messages": [{"role": "system", "content": "a\nb"}, *TURNS]},
        ),
        (
            "generation", {"messages": [TURNS[0], {"role": "assistant", "content": None, "tool_calls": CALLS},
                                        {"role": "tool", "tool_call_id": "x", "content": "7"}]},
            {"messages": [TURNS[0], {"role": "assistant", "content": "", "tool_calls": CALLS},
                          {"role": "tool", "content": "7"}]},
        ),
        (
            "generation", {"conversations": [{"from": "function_call", "value": "{}"},
                                             {"from": "observation", "value": "7"}, {"from": "gpt", "value": "a"}]},
            {"conversations": [{"role": "assistant", "content": "{}"}, {"role": "tool", "content": "7"},
                               {"role": "assistant", "content": "a"}]},
        ),
        (
            "generation", {"prompt": TURNS[:1], "completion": TURNS[1:]},
            {"prompt": TURNS[:1], "completion": "مرحبا 你好"},
        ),
        ("generation", {"prompt": "hi", "completion": TURNS}, {"prompt": "hi", "completion": TURNS}),
        ("sentiment", {"text": "a", "label": "e\u0301te\u0301"}, {"text": "a", "label": "\u00e9t\u00e9"}),
        (
            "tagging", {"tokens": '["a", "b"]', "tags": '["O", "e\u0301"]'},
            {"tokens": ["a", "b"], "tags": ["O", "\u00e9"]},
        ),
    ],
)  # fmt: skip
def test_every_shape(task: str, row: dict[str, Any], values: dict[str, Any]) -> None:
    assert read(task, row)[0].values == values


def test_languages_decide_which_side_is_read() -> None:
    row = {"translation": {"en": "a", "fr": "b", "de": "c"}}
    (example,) = read("translation", row, source_lang="de", target_lang="en")
    assert example.values == {"source": "c", "target": "a"}
    with pytest.raises(DataError, match="languages"):
        read("translation", row)
    with pytest.raises(DataError, match="no column for the target"):
        read("translation", row, source_lang="de", target_lang="es")


def test_columns_with_text_where_no_name_is_known() -> None:
    row = {"id": "a", "judgement": "a long text", "gist": "text"}
    assert read("summarization", row, by_place=True)[0].values == {"source": "a long text", "target": "text"}
    with pytest.raises(DataError, match="no column for the source"):
        read("summarization", row)
    with pytest.raises(DataError, match="Did you mean 'documnt'"):
        read("summarization", {"documnt": "a long text", "gist": "text"}, by_place=True)
    with pytest.raises(DataError, match="--source-lang ab --target-lang ln"):
        read("translation", {"ab": "a", "ln": "b"})


def test_only_options_that_there_are_are_named() -> None:
    with pytest.raises(DataError, match="no column for the output.* Call the column 'output'"):
        read("generation", {"instruction": "count", "reply": "one"})
    with pytest.raises(DataError, match="--label-column"):
        read("sentiment", {"text": "a", "mark": "good"})


def test_the_first_row_decides_the_columns() -> None:
    with pytest.raises(DataError, match="a.jsonl, line 2: no column 'text'; it has .'label', 'review'."):
        read("sentiment", {"text": "a", "label": 1}, {"review": "b", "label": 1})
    # What a row may lack.
    found = read("generation", {"instruction": "a", "input": "b", "output": "c"}, {"instruction": "a", "output": "c"})
    assert "input" not in found[1].values
    named = read("sentiment", {"text": "a", "label": 1, "label_name": "x"}, {"text": "b", "label": 0})
    assert "label_name" not in named[1].values


@pytest.mark.parametrize(
    ("task", "row", "said"),
    [
        ("sentiment", {"text": ["a"], "label": 1}, "column 'text': found .'a'., which is not a string"),
        ("sentiment", {"text": True, "label": 1}, "column 'text': found True"),
        ("sentiment", {"text": "a", "label": None}, "column 'label': found None, which is no label"),
        ("sentiment", {"text": "a", "label": " "}, "which is no label"),
        ("sentiment", {"text": "a", "label": float("nan")}, "which is no label"),
        ("sentiment", {"text": "a", "label": ["x"]}, "which is no label"),
        ("summarization", {"document": {"a": 1}, "summary": "b"}, "column 'document'"),
        ("tagging", {"tokens": "Emma ran", "tags": ["O", "O"]}, "column 'tokens': .*no list of strings. Write"),
        ("tagging", {"tokens": ["Emma"], "tags": "O"}, "column 'tags': .*no list of strings"),
        ("tagging", {"tokens": [None], "tags": ["O"]}, "no list of strings"),
        ("tagging", {"tokens": ["Emma", "ran"], "tags": ["B-PER", " "]}, "which is no tag"),
        ("tagging", {"tokens": ["Emma", "ran"], "tags": [3, -100]}, "found '-100', which is no tag"),
        ("generation", {"messages": "hi"}, "no list of messages"),
        ("generation", {"messages": []}, "no list of messages"),
        ("generation", {"messages": ["hi"]}, "message 1: found 'hi'"),
        ("generation", {"messages": [*TURNS, {"role": "alien", "content": "a"}]}, "message 3"),
        ("generation", {"messages": [{"role": "user", "content": None}]}, "message 1"),
        (
            "generation",
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            "message 1: .*only text is read",
        ),
        ("generation", {"prompt": TURNS[:1], "completion": TURNS[:1]}, "column 'completion': no message of the assist"),
        ("tagging", {"tokens": "[1", "tags": ["O"]}, "no list of strings"),
    ],
)
def test_a_wrong_value_is_named(task: str, row: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        read(task, row)
    assert re.search(f"a.jsonl, line 1.*{said}", str(caught.value)) and caught.value.fix
    assert "\n" not in str(caught.value)


def test_checks_of_single_values() -> None:
    assert text(None, "") == "" and text(1.5, "") == "1.5"
    assert label(True, "") == "true" and label(2.0, "") == "2"
    assert words([], "") == []
    assert messages([{"from": "Human", "value": "a"}], "")[0] == {"role": "user", "content": "a"}


def test_rows_inside_an_object() -> None:
    with pytest.raises(DataError) as caught:
        read("sentiment", {"version": 1, "data": [{"text": "a", "label": 1}]})
    assert """jq -c '.["data"][]' a.jsonl""" in str(caught.value)


def test_an_input_that_comes_up_later_is_read() -> None:
    """The first row of an Alpaca file may have none."""
    rows = [{"instruction": "Say hello.", "output": "Hello."},
            {"instruction": "Translate.", "input": "uno", "output": "one"}]  # fmt: skip
    found = [example.values for example in read("generation", *rows)]
    assert "input" not in found[0] and found[1]["input"] == "uno"

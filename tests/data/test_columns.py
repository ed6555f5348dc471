"""Columns are found by name, said with a remedy where they are not, and never guessed."""

import re
import unicodedata
from collections.abc import Mapping, Sequence

import pytest

from hflm.data.columns import NATIVE, by_place, flag, language_code, language_name, language_roles, match_columns
from hflm.data.tables import choose_column
from hflm.errors import DataError, HflmError
from hflm.recipe_files import load_task

TASKS = ("sentiment", "tagging", "summarization", "translation", "generation")


def match(task: str, columns: Sequence[str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    recipe = load_task(task)
    return match_columns(columns, roles=recipe.columns, shapes=recipe.complete, given=given or {}, where="a.jsonl")


@pytest.mark.parametrize(
    ("task", "role", "name"),
    [(task, role, name) for task in TASKS for role, names in load_task(task).columns.items() for name in names],
)
def test_every_alias_is_accepted(task: str, role: str, name: str) -> None:
    recipe = load_task(task)
    shape = next((shape for shape in recipe.complete if role in shape), recipe.complete[0])
    columns = [name, *(recipe.columns[other][0] for other in shape if other != role), "id"]
    found = match(task, columns)
    assert found[role] == name and set(shape) <= set(found)
    assert match(task, [f" {name.upper()} ", *columns[1:]])[role] == f" {name.upper()} "


@pytest.mark.parametrize(
    ("task", "columns", "found"),
    [
        ("sentiment", ["id", "review", "sentiment"], {"text": "review", "label": "sentiment"}),
        ("sentiment", ["text", "label", "label_text"], {"text": "text", "label": "label", "label_name": "label_text"}),
        ("summarization", ["dialogue", "summary"], {"source": "dialogue", "target": "summary"}),
        ("summarization", ["article", "highlights"], {"source": "article", "target": "highlights"}),
        ("generation", ["prompt", "completion", "text"], {"prompt": "prompt", "completion": "completion"}),
        ("generation", ["messages", "prompt", "completion"], {"messages": "messages"}),
        (
            "generation", ["instruction", "input", "output"],
            {"instruction": "instruction", "input": "input", "output": "output"},
        ),
        ("generation", ["conversations"], {"conversations": "conversations"}),
    ],
)  # fmt: skip
def test_the_first_whole_shape_is_taken(task: str, columns: list[str], found: dict[str, str]) -> None:
    assert match(task, columns) == found


@pytest.mark.parametrize(
    ("task", "columns", "found"),
    [
        ("sentiment", ["编号", "文本", "标签"], {"text": "文本", "label": "标签"}),
        ("sentiment", ["النص", "الفئة"], {"text": "النص", "label": "الفئة"}),
        ("sentiment", [" TEXTE ", "e\u0301tiquette"], {"text": " TEXTE ", "label": "e\u0301tiquette"}),
        ("summarization", ["Texto", "RESUMEN"], {"source": "Texto", "target": "RESUMEN"}),
        ("generation", ["问题", "回答"], {"prompt": "问题", "completion": "回答"}),
        # English names come first, all of them: rows are read as before.
        ("sentiment", ["文本", "text", "label"], {"text": "text", "label": "label"}),
        ("sentiment", ["review", "texto", "label"], {"text": "review", "label": "label"}),
        ("sentiment", ["text", "rating", "Kategorie"], {"text": "text", "label": "rating"}),
        ("generation", ["text", "pregunta", "respuesta"], {"text": "text"}),
    ],
)
def test_usual_names_of_other_languages_are_known(task: str, columns: list[str], found: dict[str, str]) -> None:
    assert match(task, columns) == found


def test_names_of_other_languages_are_written_as_they_are_compared() -> None:
    assert [unicodedata.normalize("NFC", name).casefold() for name in NATIVE] == list(NATIVE)
    known = {name for task in TASKS for names in load_task(task).columns.values() for name in names}
    assert set(NATIVE.values()) <= known and not known & set(NATIVE)
    assert choose_column(["标题", "文本"], None, where="a.csv") == "文本"
    assert choose_column(["texto", "document"], None, where="a.csv") == "document"


def test_a_named_column_wins() -> None:
    assert match("sentiment", ["text", "body", "label"], {"text": "body"}) == {"text": "body", "label": "label"}
    # A role that is named decides between the shapes.
    columns = ["prompt", "completion", "notes"]
    assert match("generation", columns, {"text": "notes"}) == {"text": "notes"}


@pytest.mark.parametrize(
    ("task", "columns", "given", "said"),
    [
        ("sentiment", ["txt", "label"], {}, "no column for the text .*Did you mean 'txt'. Pass --text-column txt"),
        ("sentiment", ["text a", "label"], {}, "Did you mean 'text a'. Pass --text-column 'text a'"),
        ("sentiment", ["text", "mood"], {}, "no column for the label .*'text', 'mood'.*Pass --label-column NAME"),
        ("sentiment", ["text", "label"], {"text": "txet"}, "no column 'txet'; .*Did you mean 'text'"),
        ("sentiment", ["text", "label"], {"text": "label"}, "column 'label' cannot be text and label"),
        ("summarization", ["documnt", "summary"], {}, "no column for the source.*Did you mean 'documnt'"),
        ("tagging", ["tokens"], {}, "no column for the tags"),
        ("generation", ["a", "b"], {}, "no column for the"),
        ("sentiment", [f"c{n}" for n in range(30)], {}, "and 18 more"),
        ("summarization", ["document", "summary"], {"text": "document"}, "text"),
    ],
)
def test_what_is_missing_is_said(task: str, columns: list[str], given: dict[str, str], said: str) -> None:
    with pytest.raises(HflmError) as caught:
        match(task, columns, given)
    assert re.search(said, str(caught.value)) and caught.value.exit_code == 2 and caught.value.fix
    assert "\n" not in str(caught.value)


def test_options_are_named_by_role() -> None:
    assert flag("text") == "text-column" and flag("label_name") == "label-name-column"


@pytest.mark.parametrize(
    ("code", "name"),
    [("en", "English"), ("FR", "French"), ("en_XX", "English"), ("eng_Latn", "English"), ("arb_Arab", "Arabic"),
     ("zho_Hans", "Chinese"), ("xx", "xx"), ("tlh_Latn", "tlh_Latn"), ("Klingon", "Klingon"), ("", "")],
)  # fmt: skip
def test_languages_have_names(code: str, name: str) -> None:
    assert language_name(code) == name


def test_columns_called_by_a_language() -> None:
    assert [language_code(name) for name in ("en", "English", "pt-BR", "arb_Arab", "text", "xx")] == [
        "en", "en", "pt-BR", "arb_Arab", None, None,
    ]  # fmt: skip


def test_the_first_columns_with_text() -> None:
    known = load_task("summarization")

    def found(row: dict[str, object]) -> dict[str, str] | None:
        return by_place(row, roles=known.columns, shape=known.complete[0])

    row = {"doc_id": "a", "n": "7", "judgement": "One.", "gist": "一", "more": "b"}
    assert found(row) == {"source": "judgement", "target": "gist"}
    assert found({"gist": "a", "document": "b"}) == {"source": "document", "target": "gist"}
    assert found({"url": "a", "body_text": "b", "stars": 3}) is None


def roles(columns: list[str], source: str | None = None, target: str | None = None) -> dict[str, str]:
    return language_roles(columns, source=source, target=target, where="a.jsonl")


def test_columns_of_languages() -> None:
    assert roles(["id", "en", "fr"]) == {"source": "en", "target": "fr"}
    assert roles(["en", "fr", "de"], "de", "en") == {"source": "de", "target": "en"}
    assert roles(["English", "arabic"], "en", "ar") == {"source": "English", "target": "arabic"}
    assert roles(["en", "es"], "eng_Latn", "spa_Latn") == {"source": "en", "target": "es"}
    assert roles(["en", "zh"], "en_XX", "zh_CN") == {"source": "en", "target": "zh"}
    assert roles(["eng_Latn", "spa_Latn"], "eng_Latn", "spa_Latn") == {"source": "eng_Latn", "target": "spa_Latn"}
    assert roles(["source", "target"], "en", "fr") == {}
    for columns in (
        ["eng_Latn", "spa_Latn"], ["en_XX", "es_XX"], ["English", "Spanish"], ["en", "pt-BR"], ["sw", "en"],
        ["id", "en"], [" EN ", "zh-Hans"],
    ):  # fmt: skip
        assert roles(["number", *columns] if "id" not in columns else columns) == dict(
            zip(("source", "target"), columns, strict=True)
        )
    assert roles(["en_XX", "es_XX", "n"], "en", "es") == {"source": "en_XX", "target": "es_XX"}
    # Words that are codes too: the number of a row, and English.
    assert roles(["id", "en", "is", "no", "es"]) == {"source": "en", "target": "es"}
    assert roles(["id", "en", "notes"]) == {} and roles(["en_text", "is_new", "id_num"]) == {}
    # Which Portuguese is meant, nobody said.
    assert roles(["en", "pt-BR", "pt-PT"], "en", "pt") == {"source": "en"}
    assert roles(["text", "label"]) == {}


def test_three_languages_must_be_named() -> None:
    with pytest.raises(DataError, match="3 languages.*--source-lang"):
        roles(["en", "fr", "de"])


def test_a_column_that_a_model_was_trained_on_is_found_as_it_is_written() -> None:
    found = match_columns(
        ["id", "comment", "Body"], roles={"text": ("Body", "text", "comment")}, shapes=[["text"]], given={}, where="a"
    )
    assert found == {"text": "Body"}

"""Recipes are found, read without being run, loaded and copied; and the corpus is where the package says."""

import gzip
import json
from pathlib import Path

import pytest

from hflm.cli.app import main
from hflm.data.corpus import embedded_corpus
from hflm.errors import UsageError
from hflm.recipe_files import copy, load_task, recipe_paths, summary
from hflm.task import Task


@pytest.mark.parametrize("name", recipe_paths())
def test_every_recipe_loads_also_from_a_copy(name: str, tmp_path: Path) -> None:
    task = load_task(name)
    assert task.name == name
    assert load_task(str(copy(name, tmp_path))) == task
    assert summary(recipe_paths()[name]).endswith(".")


def test_list_show_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "list", "--json"]) == 0
    assert [row["recipe"] for row in json.loads(capsys.readouterr().out)] == list(recipe_paths())
    assert main(["recipes", "list"]) == 0
    assert "classic" in capsys.readouterr().out
    assert main(["recipes", "show", "classic"]) == 0
    text = capsys.readouterr().out
    assert text == recipe_paths()["classic"].read_text(encoding="utf-8")
    target = tmp_path / "new" / "mine.py"
    assert main(["recipes", "copy", "classic", str(target)]) == 0
    assert target.read_text(encoding="utf-8") == text


def test_copy_replaces_nothing_unasked(tmp_path: Path) -> None:
    target = tmp_path / "mine.py"
    target.write_text("# mine\n")
    with pytest.raises(UsageError, match="--force"):
        copy("classic", target)
    assert target.read_text() == "# mine\n"
    assert copy("classic", target, force=True) == target
    with pytest.raises(UsageError, match="exists"):
        copy(str(target), tmp_path, force=True)  # onto itself
    with pytest.raises(UsageError, match="end in .py"):
        copy("classic", tmp_path / "mine.txt")


# The beginning of a recipe, with columns that its end may name.
MINE = """from hflm.task import Task
TEXT, LABEL = {'text': ('text',)}, {'label': ('label',)}
task = Task(name='mine', """


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 1\n", "defines no `task`"),
        ("task = 1\n", "sets `task` to a int"),
        ("x = 1\ntask = 1 / 0\n", "line 2 does not run: ZeroDivisionError"),
        ("x = 1\ntask = (\n", "line 2 does not run: SyntaxError"),
        ("import no_such_module_here\n", "line 1 does not run: ModuleNotFoundError"),
        (f"{MINE}columns={{**TEXT, **LABEL}}, family='classifcation')\n", "family is 'classifcation'"),
        (f"{MINE}columns={{**TEXT, **LABEL}}, family='classification', best='macro_f1')\n", "best is"),
        (f"{MINE}columns=LABEL, family='classification')\n", "columns lack the role 'text'"),
        (f"{MINE}columns={{'text': ('body'), **LABEL}}, family='classification')\n", r"write \('body',\)"),
        (f"{MINE}columns={{**TEXT, **LABEL}}, shapes=('text',), family='classification')\n", "entry of shapes is the"),
        (f"{MINE}columns={{**TEXT, **LABEL}}, shapes=('text'), family='classification')\n", r"write \('text',\)"),
    ],
)
def test_a_broken_recipe_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_task(str(path))


def test_an_unknown_name_is_guessed_and_nothing_here_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("raise SystemExit('run unasked')\n")
    with pytest.raises(UsageError, match="Choose one of"):
        load_task("mine")
    with pytest.raises(UsageError, match="Did you mean 'classic'"):
        load_task("clasic")
    with pytest.raises(UsageError, match="no recipe file"):
        load_task("none.py")


def test_a_summary_reads_and_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text('"""First line.\n\nMore."""\n\nraise RuntimeError\n')
    assert summary(path) == "First line."
    path.write_text("x = (\n")
    assert summary(path).startswith("(not readable")


def test_a_recipe_may_import_its_record(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from hflm.task import Task\ntask = Task(name='mine', columns={}, family='masked_lm')\n")
    assert load_task(str(path)) == Task(name="mine", columns={}, family="masked_lm")


def test_the_embedded_corpus_is_text_with_a_paragraph_a_line() -> None:
    train, held_out = embedded_corpus()
    assert [path.name for path in held_out] == ["northanger_abbey.txt.gz"]
    for path in train + held_out:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()
        assert len(lines) > 1000
        assert all(line.strip() for line in lines)
        assert path.read_bytes()[4:8] == b"\0\0\0\0"  # no time stamp: the file is the same wherever it is made


@pytest.mark.parametrize(
    "command",
    [
        ["pretrain", "book.txt", "--recipe"],
        ["finetune", "--task"],
        ["distill", "--teacher", "t", "--student-layers", "1", "--task"],
    ],
)
@pytest.mark.parametrize(
    ("default", "message"),
    [('"batch": 4', "Unknown setting 'batch' in {}"), ('"batch_size": "big"', "'batch_size' in {} is 'big'")],
)
def test_what_is_wrong_in_a_recipe_is_said_of_the_recipe(
    default: str, message: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family = "masked_lm" if command[0] == "pretrain" else "classification"
    (tmp_path / "mine.py").write_text(
        f"""from hflm.task import Task
task = Task(name="mine", columns={{"text": ("text",), "label": ("label",)}}, family="{family}", metric="classification",
            defaults={{{default}}})
"""
    )
    assert main([*command, str(tmp_path / "mine.py")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert message.format(f"the recipe {tmp_path / 'mine.py'}") in said

"""The command line as a whole: instant help, one line an error, exit codes that can be relied on."""

import errno
import inspect
import os
import re
import subprocess
import sys
import time
import tomllib
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from hflm import __version__
from hflm.cli.app import COMMANDS, _at_home, main
from hflm.errors import DataError, Interrupted, ModelError

ROOT = Path(__file__).parents[2]
LIMIT = float(os.environ.get("HFLM_HELP_SECONDS", "0.25"))
# Times that typer takes to be imported; torch or transformers would take twenty.
SLOWER = 4
Install = Callable[[Callable[..., object]], None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that puts a command named `try` on the command line."""

    def put(command: Callable[..., object]) -> None:
        module = types.ModuleType("fake_command")
        module.command = command  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "fake_command", module)
        monkeypatch.setitem(COMMANDS, "try", ("fake_command", "Try something."))

    return put


def hflm(*words: str, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m hflm`, or other code, in a process of its own."""
    start = ["-c", code] if code else ["-m", "hflm"]
    return subprocess.run(
        [sys.executable, *start, *words], cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_help_names_every_command() -> None:
    done = hflm("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


def took(*words: str, code: str = "", times: int = 15, enough: float = 0.0) -> float:
    """Return the seconds of the fastest of some calls: a busy machine can spoil a few."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        hflm(*words, code=code)
        best = min(best, time.perf_counter() - start)
        if best <= enough:
            break
    return best


@pytest.mark.long
def test_help_is_instant() -> None:
    best = took("--help", enough=LIMIT)
    if best > LIMIT:
        # On a slow machine Python and typer alone take long: 0.12 s where hflm takes 0.31.
        limit = SLOWER * took(code="import typer.main", times=5)
        if best > limit:
            pytest.fail(f"`hflm --help` took {best:.2f} s at best; the limit is {LIMIT} s, and here {limit:.2f} s.")


@pytest.mark.parametrize("words", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys; from hflm.cli.app import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'transformers', 'datasets', 'accelerate'} & set(sys.modules);"
        "sys.exit(code or (str(heavy) if heavy else 0))"
    )
    done = hflm(*words, code=code)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_version_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"hflm {__version__} (python 3.")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["recipies"], "Did you mean 'recipes'?"),
        (["doctor", "--jsn"], "--json"),
        (["nothing-like-it"], "`hflm --help`"),
        (["doctor", "--nothing-like-it"], "`hflm doctor --help`"),
        (["recipes", "show"], "`hflm recipes show --help`"),
        (["--verison"], "--version"),
    ],
)
def test_a_wrong_word_is_one_line_and_exit_2(words: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ") and hint in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("spelled", ["--max_steps=3", "--max-steps=3"])
def test_underscores_are_dashes(spelled: str, install: Install) -> None:
    seen = []

    def command(max_steps: int = 0) -> None:
        seen.append(max_steps)

    install(command)
    assert main(["try", spelled]) == 0
    assert seen == [3]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DataError("rows.jsonl, line 3: no text.", fix="Mend it."), 2, "error: rows.jsonl, line 3: no text. Mend it."),
        (Interrupted("Stopped.", fix="Go on with --resume."), 75, "error: Stopped. Go on with --resume."),
        (KeyboardInterrupt(), 130, "stopped"),
        (ValueError("one\ntwo"), 1, "internal error: ValueError: one two (run again with --debug for the traceback)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_one_line_and_its_code(
    error: BaseException, code: int, line: str, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise error

    install(command)
    assert main(["try"]) == code
    assert capsys.readouterr().err == line + "\n"


def test_a_full_disk_behind_another_error_is_told(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise ModelError("m.gguf cannot be converted.", fix="Name another model.") from error

    install(command)
    assert main(["try"]) == 5
    assert capsys.readouterr().err == (
        "error: The disk is full: m.gguf cannot be converted. Free some space, and run it again.\n"
    )


@pytest.mark.parametrize("words", [["--debug", "try"], ["try", "--debug"]])
def test_debug_shows_the_traceback(words: list[str], install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise ValueError("deep down")

    install(command)
    assert main(words) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run([sys.executable, "-m", "hflm", "recipes", "list"], cwd=ROOT, stdout=writes, stderr=-1)
    os.close(writes)
    assert (done.returncode, done.stderr) == (1, b"")


def test_the_shell_completes_commands_and_options() -> None:
    def complete(line: str, place: int) -> list[str]:
        setting = {"_HFLM_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(place)}
        return hflm(**setting).stdout.split()

    assert complete("hflm rec", 1) == ["recipes"]
    assert "--json" in complete("hflm doctor --", 2)
    # Without this, typer asks the process tree which shell it is: not the same under every test runner.
    script = hflm("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1").stdout
    assert "_HFLM_COMPLETE=complete_bash" in script


def shown_defaults(command: Callable[..., None]) -> dict[str, str]:
    """Return what the help of a command says of each setting's default."""
    texts = {name: item.annotation.__metadata__[0].help for name, item in inspect.signature(command).parameters.items()}
    found = {name: re.search(r" Default: (.+)\.$", text or "") for name, text in texts.items()}
    return {name: match[1] for name, match in found.items() if match}


def test_help_says_the_defaults_that_hold() -> None:
    """A recipe sets some of them: then the help says so, or the same number."""
    from hflm.cli.finetune import command as finetune
    from hflm.cli.pretrain import command as pretrain
    from hflm.config import resolve
    from hflm.finetune_config import resolve_finetune
    from hflm.recipe_files import load_task

    made = resolve(recipe=load_task("pretraining").defaults)
    shown = shown_defaults(pretrain)
    assert shown.pop("learning_rate") == "4e-3, with --model 1e-4" and made.learning_rate == 4e-3
    shown = {name: value for name, value in shown.items() if hasattr(made, name) and name != "data"}
    assert {name: str(getattr(made, name)) for name in shown} == shown and len(shown) > 15
    assert "Default: 4e-3" in hflm("pretrain", "--help", COLUMNS="200").stdout
    shown = shown_defaults(finetune)
    assert shown["batch_size"] == "the recipe's, 16 or 32" and shown["schedule"].startswith("linear")
    numbers = {name: value for name, value in shown.items() if "recipe's" not in value and ";" not in value}
    for name in ("sentiment", "tagging", "summarization", "translation", "generation", "knowledge-graph"):
        task = load_task(name)
        config = resolve_finetune(task, name=name, file={}, flags={}, where="a test")
        for setting, value in numbers.items():
            if hasattr(config, setting) and setting not in ("data", "output_dir"):
                assert str(getattr(config, setting)) == value, (name, setting)


def test_help_says_whether_a_line_is_a_text_or_all_of_it() -> None:
    from hflm.cli.predict import classify, summarize, translate

    lines, whole = ("the lines of stdin", ".txt, a line each"), ("all of stdin, which is one text", ".txt, all of it")
    for command, wanted in ((classify, lines), (translate, lines), (summarize, whole)):
        known = inspect.signature(command).parameters
        for name, text in zip(("text", "input_file"), wanted, strict=True):
            assert text in known[name].annotation.__metadata__[0].help


def test_home_behind_an_equals_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert _at_home("--output-dir=~/runs/x") == "/".join(("--output-dir=", "home", "ada", "runs", "x"))
    assert _at_home("--output-file=~") == "--output-file=/" + "home/ada"
    assert _at_home("--tokenizer=~/tok") == "--tokenizer=/" + "home/ada/tok"
    for word in ("--system=~/x", "~/x", "--output-dir=a~/x", "--stop=~"):
        assert _at_home(word) == word

"""Where recipes are found and how one becomes a Task."""

import ast
import difflib
import hashlib
import runpy
from pathlib import Path

from hflm.errors import UsageError
from hflm.task import Task


def recipes_folder() -> Path:
    """Return the built-in recipes: inside the installed package, or at the top of the checkout."""
    packed = Path(__file__).parent / "recipes"
    return packed if packed.is_dir() else Path(__file__).parents[1] / "recipes"


def recipe_paths() -> dict[str, Path]:
    """Return the built-in recipes, name -> file, sorted by name; words are joined by hyphens."""
    paths = sorted(recipes_folder().glob("*.py"))
    return {path.stem.replace("_", "-"): path for path in paths if not path.stem.startswith("_")}


def find(name_or_path: str) -> Path:
    """Return the file of a built-in recipe, or the `.py` file that the user names.

    A bare name never finds a file in the working directory: nothing there is run unasked.
    Raises UsageError for an unknown name or a missing file.
    """
    if name_or_path.endswith(".py"):
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise UsageError(f"There is no recipe file {path}.", fix="Check the path, or see `hflm recipes list`.")
        return path
    known = recipe_paths()
    name = name_or_path.replace("_", "-")
    if name not in known:
        guess = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean {guess[0]!r}?" if guess else f"Choose one of {', '.join(known)}, or name a .py file."
        raise UsageError(f"There is no recipe {name_or_path!r}.", fix=hint)
    return known[name]


def summary(path: Path) -> str:
    """Return the first line of a recipe's docstring; the file is read, not run."""
    try:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    except (SyntaxError, ValueError) as error:
        return f"(not readable: {error})"
    return text.splitlines()[0] if text else ""


def load_task(name_or_path: str) -> Task:
    """Run a recipe file, a built-in one by name or one that the user names, and return its `task`.

    Raises UsageError where it does not exist, does not run, or defines no `task`.
    """
    path = find(name_or_path)
    try:
        task = runpy.run_path(str(path)).get("task")
    except Exception as error:
        line = _line_of(error, path)
        problem = f"The recipe {path}{line} does not run: {type(error).__name__}: {error}."
        raise UsageError(problem, fix="Mend it, or start again from `hflm recipes copy`.") from error
    if not isinstance(task, Task):
        found = "defines no `task`" if task is None else f"sets `task` to a {type(task).__name__}"
        raise UsageError(f"The recipe {path} {found}.", fix="End it with `task = Task(name=..., ...)` of hflm.task.")
    return task


def _line_of(error: Exception, path: Path) -> str:
    """Return ', line N' of the recipe itself where an error names one."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}" if error.lineno else ""
    numbers, step = [], error.__traceback__
    while step:
        if step.tb_frame.f_code.co_filename == str(path):
            numbers.append(step.tb_lineno)
        step = step.tb_next
    return f", line {numbers[-1]}" if numbers else ""


def copy(name_or_path: str, dest: Path, *, force: bool = False) -> Path:
    """Copy a recipe to a file, or into a folder under its own name, and return the file written.

    Raises UsageError where the file exists and `force` is not given, or cannot be written.
    """
    source = find(name_or_path)
    target = dest / source.name if dest.is_dir() else dest
    if target.suffix != ".py":
        raise UsageError(f"{target} does not end in .py.", fix="A recipe is named by its .py file.")
    if target.exists() and (not force or target.samefile(source)):
        raise UsageError(f"{target} exists.", fix="Name another file, or replace it with --force.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    except OSError as error:
        raise UsageError(f"Cannot write {target}: {error.strerror}.", fix="Name another file.") from error
    return target


def recipe_key(path: Path) -> str:
    """Hash the content of a recipe's file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:24]

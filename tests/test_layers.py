"""The rooms of docs/architecture.md, held by the import graph: who may import whom, and how long a file may be."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "hflm").rglob("*.py"))
}
RECIPES = sorted((ROOT / "recipes").glob("*.py"))
ROOMS = (
    ("errors",), ("plain",), ("data", "models", "metrics"), ("families",), ("engine",), ("training",), ("launching",),
    ("finetuning",), ("inference",), ("explaining",), ("graphs", "pretraining"), ("distilling",), ("stressing",),
    ("jobs",), ("cli",),
)  # fmt: skip
LEVELS = {name: level for level, names in enumerate(ROOMS) for name in names}
PLAIN = {
    "cache", "durable", "space", "environment", "plots", "settings", "training_settings", "config", "finetune_config",
    "distill_config", "task", "run", "recipe_files", "sealed", "lock", "triples", "signals", "language_codes",
    "text_width", "words", "hashes",
}  # fmt: skip
HEAVY = {"torch", "transformers", "datasets", "accelerate"}


def room(module: str) -> str:
    """Return the room of a module of hflm."""
    parts = module.split(".")
    if len(parts) == 1 or parts[1] in ("errors", "registration"):
        return "errors"
    if parts[1] == "__main__":
        return "cli"
    if parts[1] in PLAIN:
        return "plain"
    return parts[1] if parts[1] in LEVELS else "jobs"


def imports(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Yield the modules named by import statements; `from hflm import x` is `hflm.x` where that is a module."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in FILES else node.module


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run when a module is imported: no function bodies, nothing for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from at_import(node)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


GRAPH = {
    name: {found for found in imports(ast.walk(parse(path))) if found in FILES and found != name}
    for name, path in FILES.items()
}


@pytest.mark.parametrize("module", FILES)
def test_a_file_imports_from_lower_rooms_or_its_own(module: str) -> None:
    own = room(module)
    wrong = [used for used in GRAPH[module] if room(used) != own and LEVELS[room(used)] >= LEVELS[own]]
    assert not wrong, f"{module} ({own}) may not import {wrong}"


def test_there_are_no_cycles() -> None:
    TopologicalSorter(GRAPH).prepare()  # raises CycleError, which names the cycle


@pytest.mark.parametrize("module", [name for name in FILES if room(name) in ("errors", "plain", "cli")])
def test_the_light_rooms_import_nothing_heavy(module: str) -> None:
    found = {name.split(".")[0] for name in imports(at_import(parse(FILES[module])))}
    assert not found & HEAVY


@pytest.mark.parametrize("module", [name for name in FILES if room(name) != "cli"])
def test_only_the_command_line_prints(module: str) -> None:
    calls = [node for node in ast.walk(parse(FILES[module])) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_thin_and_imports_only_plain_data(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
    used = {name for name in imports(ast.walk(parse(path))) if name.startswith("hflm")}
    assert {LEVELS[room(name)] for name in used} <= {0, 1, 2, 3}


@pytest.mark.parametrize("folder", ["hflm", "recipes", "tests", "bench"])
def test_files_and_functions_stay_short(folder: str) -> None:
    too_long = []
    for path in (ROOT / folder).rglob("*.py"):
        where = path.relative_to(ROOT)
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > 300:
            too_long.append(f"{where}: {lines} lines")
        for node in ast.walk(parse(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > 50:
                    too_long.append(f"{where}:{node.lineno} {node.name}: {length} lines")
    assert not too_long

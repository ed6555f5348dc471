"""Victims for the fault tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.harness import Zygote, two, words_of


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """The process that forks victims."""
    made = Zygote(tmp_path_factory.mktemp("zygote"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def straight(zygote: Zygote, text_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 40 steps that nothing disturbed, with a checkpoint every 5, all of them kept."""
    run = tmp_path_factory.mktemp("straight") / "run"
    victim = zygote.run(*words_of(run, text_file, steps=40, every=5, more=("--save-total-limit", 99)))
    assert victim.code == 0, victim.said()
    return run


@pytest.fixture(scope="session")
def pair(zygote: Zygote, text_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two ranks that nothing disturbed, all of its checkpoints kept."""
    run = tmp_path_factory.mktemp("pair") / "run"
    victim = zygote.run(*two(run, text_file, more=("--save-total-limit", 99)))
    assert victim.code == 0, victim.said()
    return run


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Call all of them long: victims are killed at moments that are counted in milliseconds."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.long)

"""Two processes that would write one run's folder: the second is refused, and the first notices nothing."""

import os
import signal
from pathlib import Path

import pytest

from hflm import lock
from tests.faults.harness import Zygote, words_of


@pytest.mark.promise("R1", cases=2)
def test_a_run_at_work_is_left_alone(zygote: Zygote, text_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = words_of(run, text_file, steps=1_000_000, every=5)
    first = zygote.start(*command)
    assert first.wait_for(lambda: first.saved >= 5)
    second = Zygote(tmp_path)
    try:
        for words in (["resume", run], [*command, "--overwrite"]):
            refused = second.run(*words)
            assert refused.code == 2 and f"error: Another process is at work in {run}" in refused.said()
    finally:
        second.close()
    assert not first.ended()
    first.send(signal.SIGTERM)
    first.end()
    assert first.code == 75 and f"Stopped by a signal after step {first.step}" in first.said()


@pytest.mark.promise("R1")
def test_a_folder_that_was_made_meanwhile_is_not_emptied(tmp_path: Path) -> None:
    from hflm.config import PretrainConfig
    from hflm.errors import UsageError
    from hflm.run import RunFolder
    from hflm.settings import to_yaml

    run = RunFolder(tmp_path / "run")
    with lock.sole_writer(run, resume=False, overwrite=False) as create:
        # Another process has begun and ended while this one was reading its data.
        run.path.mkdir()
        run.config.write_text(to_yaml(PretrainConfig()))
        with pytest.raises(UsageError, match="not empty"):
            create()
    assert run.config.exists()
    with lock.sole_writer(run, resume=False, overwrite=True) as create:
        create()
        # Of one process, or of those that it started, each may.
        with lock.sole_writer(run, resume=True, overwrite=False):
            pass
    assert not list(run.path.iterdir()) and lock.HELD not in os.environ

"""What surrounds a command and is not as it should be: closed streams, folders that cannot be written or went away."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hflm.cache import staged
from hflm.cli.app import main
from hflm.engine.callbacks import Recorder
from hflm.errors import UsageError


@pytest.mark.parametrize(("closed", "code"), [(1, 2), (2, 2)])
def test_a_closed_stream(closed: int, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hflm", "runs", "show", "nowhere"], capture_output=True, text=True,
        preexec_fn=lambda: os.close(closed),
    )  # fmt: skip
    assert done.returncode == code
    said = done.stderr if closed == 1 else done.stdout
    assert said.startswith("error: nowhere is no run folder") if closed == 1 else not said


@pytest.mark.parametrize("where", ["a file", "below a file"])
def test_a_cache_that_cannot_be_written_names_the_way_out(where: str, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    folder = tmp_path / "cache" if where == "a file" else tmp_path / "cache" / "below"
    with pytest.raises(UsageError, match="cannot be written: .* Set HFLM_CACHE"), staged(folder / "entry"):
        raise AssertionError("there is nothing to write into")


def test_a_folder_that_is_deleted_while_a_run_writes_it(
    text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, step_end = tmp_path / "run", Recorder.on_step_end

    def delete(self: Recorder, args: Any, state: Any, control: Any, **more: Any) -> None:
        step_end(self, args, state, control, **more)
        if state.global_step == 2:
            shutil.rmtree(run)

    monkeypatch.setattr(Recorder, "on_step_end", delete)
    words = "--arch bert --layers 1 --width 32 --heads 2 --vocab-size 300 --max-length 16 --batch-size 4 --max-steps 6"
    code = main(["pretrain", str(text_file), "-o", str(run), *words.split(), "--logging-steps", "1", "--threads", "1"])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert code == 2 and str(run) in line and "No such file or directory" in line

"""Rows of a file with something added: a full disk is told apart from a file that cannot be written."""

from pathlib import Path

import pytest

from hflm.errors import SpaceError, UsageError
from hflm.inference.row_files import add_to_rows
from tests.tiny import moods, write

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")
def test_a_full_disk_has_its_own_exit_code(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", moods())
    with pytest.raises(SpaceError, match=r"/dev/full could not be written.*--resume"):
        add_to_rows(
            rows, FULL, lambda records, before: [{"n": 1}] * len(records), resume=False, chunk=8,
            watch=lambda kind, content: None,
        )  # fmt: skip


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", moods())
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError):
        add_to_rows(
            rows, tmp_path / "out", lambda records, before: [{}] * len(records), resume=False, chunk=8,
            watch=lambda kind, content: None,
        )  # fmt: skip

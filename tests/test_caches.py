"""Nothing stale is taken from a cache: its key is the content."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., Path]


@pytest.mark.promise("D3")
def test_a_file_of_the_same_size_and_age_is_read_again(run_pretrain: Run, text_file: Path, tmp_path: Path) -> None:
    data = tmp_path / "text.txt"
    data.write_bytes(text_file.read_bytes())
    age = data.stat()
    first = run_pretrain(data=[str(data)], max_steps=2)
    data.write_bytes(text_file.read_bytes().replace(b"Emma", b"Anna"))
    os.utime(data, ns=(age.st_atime_ns, age.st_mtime_ns))
    assert data.stat().st_size == age.st_size
    second = run_pretrain(data=[str(data)], max_steps=2)
    one, two = (json.loads((run / "plan.json").read_text()) for run in (first, second))
    assert one["data"] != two["data"]
    words = [(run / "tokenizer" / "tokenizer.json").read_text() for run in (first, second)]
    assert words[0] != words[1]

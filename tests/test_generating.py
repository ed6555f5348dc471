"""Texts are written in batches of like length, and a decoder is not held to what it reads."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hflm.inference.generating import batches_by_length
from hflm.inference.trained import open_trained
from hflm.predict import predict_texts


def test_batches_hold_all_rows_once_under_their_budget() -> None:
    lengths = [5, 100, 3, 7, 7, 1, 64]
    batches = list(batches_by_length(lengths, budget=64, most=3))
    assert sorted(row for batch in batches for row in batch) == list(range(7))
    assert all(len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 64 for batch in batches)
    assert all(len(batch) <= 3 for batch in batches) and batches[0] == [1]


def test_penalties_of_a_decoder_do_not_count_what_it_reads_for_said(
    lively: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, given = Path(shutil.copytree(lively("gpt2"), tmp_path / "gpt2")), list[dict[str, Any]]()

    def written(**more: Any) -> list[dict[str, Any]]:
        trained = open_trained(str(folder), task="summarization", precision="fp32", max_new_tokens=8)
        real = trained.model.generate

        def generate(**settings: Any) -> Any:
            given.append(settings)
            return real(**settings)

        monkeypatch.setattr(trained.model, "generate", generate)
        return predict_texts(trained, ["one two", "three"], **more)

    plain = written()
    told = json.loads((folder / "generation_config.json").read_text())
    told |= {"repetition_penalty": 50.0, "no_repeat_ngram_size": 1}
    (folder / "generation_config.json").write_text(json.dumps(told))
    assert written() == plain
    assert (given[-1]["repetition_penalty"], given[-1]["no_repeat_ngram_size"]) == (1.0, 0)
    written(repetition_penalty=1.3)
    assert given[-1]["repetition_penalty"] == 1.3, "what is asked for holds"

"""Texts are written in batches of like length, and a decoder is not held to what it reads."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hflm.distilling.answers import _key
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


def test_a_text_ends_with_the_end_of_its_tokenizer(
    lively: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of the hub may name another end in its generation config, or none; what is written then is kept anew."""
    folder, written = Path(shutil.copytree(lively("gpt2"), tmp_path / "gpt2")), list[list[int]]()
    told = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**told, "eos_token_id": None}))
    trained = open_trained(str(folder), task="summarization", precision="fp32", max_new_tokens=8)
    real, ids = trained.model.generate, trained.family.tokenizer

    def generate(**settings: Any) -> Any:
        found = real(**settings)
        written.append(found[0, settings["input_ids"].size(1) :].tolist())
        return found

    monkeypatch.setattr(trained.model, "generate", generate)
    predict_texts(trained, ["one two"])
    before = _key(trained, [], cap=8)
    ids.eos_token = ids.convert_ids_to_tokens(written[0][0])
    predict_texts(trained, ["one two"])
    assert len(written[0]) > 1 and written[1] == written[0][:1]
    assert _key(trained, [], cap=8) != before
    other = next(token for token in range(len(ids)) if token not in written[0])
    predict_texts(trained, ["one two"], eos_token_id=other)
    assert len(written[2]) >= len(written[0]), "what is asked for holds"

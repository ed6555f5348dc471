"""`hflm explain` of models that compute or answer in another way, and outputs that cannot be written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hflm.cli.app import main
from hflm.errors import ModelError
from hflm.explain import explain
from hflm.explaining.opened import open_model
from hflm.explaining.page import render
from hflm.explaining.pieces import read_text
from hflm.explaining.questions import ask
from hflm.explaining.reading import read_through

MIXED = "a merry film, فيلم رائع 很好的电影 number 7."
Make = Callable[[str], str]


def test_an_encoder_that_scales_its_embeddings_is_explained_as_it_is(tiny: Make, tmp_path: Path) -> None:
    """Marian and Pegasus multiply what they look up, and not what they are given."""
    folder = Path(shutil.copytree(tiny("marian"), tmp_path / "marian"))
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"scale_embedding": True}))
    opened = open_model(str(folder))
    found = explain(opened, MIXED)
    read = read_text(opened, MIXED, max_tokens=512)
    reading = read_through(opened, read.pieces)
    question = ask(opened, read.pieces, reading, target=None, top=5)
    assert found.attribution and question and reading.logits is not None
    assert found.attribution.output == pytest.approx(float(question.score(reading.logits, None)), abs=1e-3)
    assert opened.model.get_encoder().embed_scale > 5


def test_a_number_is_no_percentage(tiny: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import transformers

    config = transformers.AutoConfig.from_pretrained(tiny("bert"), num_labels=1, problem_type="regression")
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "one")
    open_model(tiny("bert")).tokenizer.save_pretrained(tmp_path / "one")
    assert main(["explain", str(tmp_path / "one"), "a film"]) == 0
    said = capsys.readouterr().out.splitlines()[0]
    assert "the value of the text: LABEL_0 " in said and "%" not in said
    many = transformers.AutoConfig.from_pretrained(
        tiny("bert"), num_labels=3, problem_type="multi_label_classification"
    )
    transformers.BertForSequenceClassification(many).save_pretrained(tmp_path / "many")
    open_model(tiny("bert")).tokenizer.save_pretrained(tmp_path / "many")
    page = render(explain(str(tmp_path / "many"), "a film"))
    assert "several answers may be right" in page and "the softmax makes shares" not in page


def test_an_encoder_decoder_with_another_head_is_refused(tiny: Make, tmp_path: Path) -> None:
    import transformers

    config = transformers.AutoConfig.from_pretrained(tiny("bart"), num_labels=3)
    transformers.BartForSequenceClassification(config).save_pretrained(tmp_path / "bart")
    with pytest.raises(ModelError, match="is an encoder-decoder that writes nothing"):
        explain(str(tmp_path / "bart"), "a film")


def test_what_cannot_be_written_is_said_first(
    tiny: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*words: Any, **more: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hflm.explain.explain", lambda *words, **more: pytest.fail("it was computed"))
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    for words in (["-o", str(tmp_path / "page.html")], ["--png", str(tmp_path / "png")]):
        assert main(["explain", tiny("bert"), "a film", *words]) == 2
        assert "cannot be written: Permission denied" in capsys.readouterr().err

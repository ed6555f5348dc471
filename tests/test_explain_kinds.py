"""`hflm explain` of models that compute or answer in another way, and outputs that cannot be written."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hflm.cli.app import main
from hflm.data.examples import Example
from hflm.errors import ModelError
from hflm.explain import explain
from hflm.explaining.guesses import guesses
from hflm.explaining.opened import Opened, open_model
from hflm.explaining.page import render
from hflm.explaining.pieces import read_text
from hflm.explaining.questions import ask
from hflm.explaining.reading import read_through
from hflm.families.encoded import IGNORED
from hflm.families.tagging import Tagging
from hflm.inference.trained import open_trained
from hflm.predict import predict_texts
from hflm.stressing.calibration import save_temperature
from hflm.words import word_pattern
from tests.tiny import POSITIONS, moods, write

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


def test_the_answer_of_a_classifier_is_the_one_that_it_gives(
    tiny: Make, run_finetune: Callable[..., Path], tmp_path: Path
) -> None:
    rows = write(tmp_path / "moods.jsonl", moods(24))
    run = run_finetune("sentiment", model=tiny("bert"), data=[str(rows)], max_source_length=10, max_steps=2,
                       eval_steps=2, test_fraction=0.0)  # fmt: skip
    folder = Path(shutil.copytree(run / "model", tmp_path / "model"))
    save_temperature(folder, task="sentiment", temperature=0.1)
    text = "a merry film " * 6 + "and I hated it"
    (said,) = predict_texts(open_trained(str(folder), precision="fp32"), [text])
    found = explain(str(folder), text)
    assert len(found.read.pieces) == 10 and any("0.1" in note for note in found.notes)
    assert found.question and found.attribution and found.question.answer == said["prediction"]
    assert found.question.candidates[0].probability == pytest.approx(said["score"], abs=1e-5)
    odds = math.log(said["score"] / (1 - said["score"]))
    assert found.attribution.output == pytest.approx(odds, abs=1e-3)


def test_a_tagger_is_explained_where_words_begin(tiny: Make, tmp_path: Path) -> None:
    import transformers

    transformers.BertForTokenClassification.from_pretrained(tiny("bert")).save_pretrained(tmp_path)
    open_model(tiny("bert")).tokenizer.save_pretrained(tmp_path)
    opened, text = open_model(str(tmp_path)), "Emma, homeward (number 7)."
    read = read_text(opened, text, max_tokens=60)
    words = word_pattern(signs=True).findall(text)
    (row,) = Tagging(opened.tokenizer, ["A", "B"], 60).encode([Example("", {"tokens": words})])
    assert row.ids == read.ids
    first = [place for place, label in enumerate(row.labels) if label != IGNORED]
    assert [place for place, piece in enumerate(read.pieces) if piece.opens] == first
    inner = [place for place, piece in enumerate(read.pieces) if not piece.special and not piece.opens]
    assert inner, "a word has several tokens"
    reading = read_through(opened, read.pieces)
    assert reading.logits is not None
    logits = torch.zeros_like(reading.logits)
    logits[0, inner, 1], logits[0, first[2], 1] = 9.0, 1.0
    reading = replace(reading, logits=logits)
    for target in (None, "LABEL_1"):
        question = ask(opened, read.pieces, reading, target=target, top=2)
        assert question and (question.place, question.answer) == (first[2], "LABEL_1")
    assert len(guesses(opened, read.pieces, reading, top=2)) == len(first)


def test_few_tokens_are_hidden_at_once_where_the_vocabulary_is_large(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_model(tiny("bert"))
    read = read_text(opened, "a merry film, number 3.", max_tokens=60)
    reading, sizes = read_through(opened, read.pieces), list[int]()
    whole = guesses(opened, read.pieces, reading, top=2)
    opened.model.register_forward_pre_hook(
        lambda module, words, named: sizes.append(len(named["input_ids"])), with_kwargs=True
    )
    monkeypatch.setattr("hflm.explaining.guesses.ROOM", 2 * opened.model.config.vocab_size * len(read.pieces))
    found = guesses(opened, read.pieces, reading, top=2)
    assert max(sizes) == 2 and sum(sizes) == len(whole)
    for one, other in zip(found, whole, strict=True):
        assert one.token == other.token and one.probability == pytest.approx(other.probability, abs=1e-5)


def test_a_token_that_is_forced_is_no_part_of_the_answer(tiny: Make) -> None:
    opened = open_model(tiny("bart"))
    opened.model.generation_config.forced_bos_token_id = 7
    read = read_text(opened, MIXED, max_tokens=60)
    reading = read_through(opened, read.pieces)
    assert reading.logits is not None and reading.written[1] == 7
    ids = reading.written[1:]
    each = reading.logits[0].log_softmax(-1)[range(len(ids)), ids]
    question = ask(opened, read.pieces, reading, target=None, top=5)
    assert question and float(each[0]) < -0.5
    assert float(question.score(reading.logits, None)) == pytest.approx(float(each[1:].sum()), abs=1e-3)
    assert question.candidates[0].probability == pytest.approx(float(each[1:].sum().exp()), rel=1e-3)


def test_the_table_of_embeddings_may_be_narrower_than_the_hidden_states(tiny: Make) -> None:
    import transformers

    tokenizer = open_model(tiny("bert")).tokenizer
    model = transformers.AlbertForMaskedLM(transformers.AlbertConfig(
        vocab_size=len(tokenizer), embedding_size=16, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=POSITIONS, pad_token_id=tokenizer.pad_token_id,
    ))  # fmt: skip
    model.set_attn_implementation("eager")
    opened = Opened("albert", "masked", model.eval().requires_grad_(False), tokenizer, POSITIONS)
    found = explain(opened, "a [MASK] film")
    assert (found.model.width, found.model.embedding_width) == (32, 16)
    page = render(found)
    assert f"[{len(tokenizer)} × 16]" in page and f"[{len(found.read.pieces)} × 32]" in page

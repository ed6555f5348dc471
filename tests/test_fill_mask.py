"""`hflm fill-mask`: the likeliest words for each blank."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hflm.cli.app import main
from hflm.errors import ModelError, UsageError
from hflm.inference.fill_mask import blank_one_word, fill_mask, open_masked_model


def test_as_the_pipeline_of_transformers(finished: Path) -> None:
    from transformers import pipeline

    model, tokenizer = open_masked_model(str(finished))
    (mine,) = fill_mask(model, tokenizer, "She was very [MASK] .", top=3)
    theirs = pipeline("fill-mask", str(finished / "model"), top_k=20)("She was very [MASK] .")
    words = [one["token_str"] for one in theirs if one["token"] not in tokenizer.all_special_ids]
    assert [candidate.token for candidate in mine] == words[:3]
    assert 1 > mine[0].probability >= mine[1].probability >= mine[2].probability > 0


def test_several_blanks_and_both_spellings(finished: Path) -> None:
    model, tokenizer = open_masked_model(str(finished / "model"))
    found = fill_mask(model, tokenizer, "She [MASK] very <mask> .", top=2)
    assert [len(blank) for blank in found] == [2, 2]


def test_refused(finished: Path, tmp_path: Path) -> None:
    model, tokenizer = open_masked_model(str(finished))
    with pytest.raises(UsageError, match="no \\[MASK\\]"):
        fill_mask(model, tokenizer, "She was.")
    with pytest.raises(UsageError, match=r"The text has \d+ tokens; this model reads 32"):
        fill_mask(model, tokenizer, "She was " * 40 + "[MASK]")
    with pytest.raises(ModelError, match="holds no model"):
        open_masked_model(str(tmp_path))


def test_the_command(finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["fill-mask", str(finished), "She was [MASK] .", "--top", "2"]) == 0
    text, guesses = capsys.readouterr().out.splitlines()
    assert text == "She was [MASK] ." and guesses.count("%") == 2
    monkeypatch.setattr("sys.stdin", io.StringIO("He was [MASK] .\n\nIt was [MASK] .\n"))
    assert main(["fill-mask", str(finished), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["text"] for one in found] == ["He was [MASK] .", "It was [MASK] ."]
    assert found[0]["blanks"][0][0].keys() == {"token", "probability"}
    assert main(["fill-mask", str(finished), "She was."]) == 2
    assert capsys.readouterr().err.startswith("error: There is no [MASK]")


def test_nothing_else_is_said(finished: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging

    logging.enable_progress_bar()
    open_masked_model(str(finished))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("sentence", ["She was happy.", "A b.", "知之为知之", "...", "«¿Qué?»"])
def test_one_word_is_blanked(sentence: str) -> None:
    text, word = blank_one_word(sentence, np.random.Generator(np.random.Philox(key=[1, 2])))
    assert text.replace("[MASK]", word) == sentence and text.count("[MASK]") == 1


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("हिन्दी में लिखो", {"हिन्दी", "में", "लिखो"}), ("她今天很高兴。", set("她今天很高兴")),
        ("ไปไหน", {"ไ", "ป", "ห", "น"}),
        ("مُحَمَّد كتب", {"مُحَمَّد", "كتب"}), ("don't stop", {"don", "stop"}),
    ],
)  # fmt: skip
def test_whole_words_are_hidden_in_every_script(sentence: str, words: set[str]) -> None:
    """A vowel sign belongs to its letter; where no spaces are set, a letter is hidden and not a clause."""
    found = {blank_one_word(sentence, np.random.default_rng(seed))[1] for seed in range(60)}
    assert found and found <= words


def test_the_shares_are_those_of_the_pipeline(finished: Path) -> None:
    """Special tokens have their share, and are no words."""
    import transformers

    model, tokenizer = open_masked_model(str(finished))
    text = f"She was {tokenizer.mask_token} of it."
    pipe = transformers.pipeline("fill-mask", model=model, tokenizer=tokenizer, top_k=20)
    wanted = {one["token"]: one["score"] for one in pipe(text) if one["token"] not in tokenizer.all_special_ids}
    (found,) = fill_mask(model, tokenizer, text, top=10)
    assert [one.probability for one in found] == pytest.approx(list(wanted.values())[:10], rel=1e-4)
    (every,) = fill_mask(model, tokenizer, text, top=10**6)
    assert len(every) == len(tokenizer) - len(set(tokenizer.all_special_ids))
    assert all(one.probability > 0 for one in every)


def test_a_decoder_is_refused_with_what_to_do(tiny: Callable[[str], str], capsys: pytest.CaptureFixture[str]) -> None:
    for name in (tiny("gpt2"), "nosuch"):
        assert main(["fill-mask", name, "[MASK] x"]) == 2
        said = capsys.readouterr().err
        assert "Name a masked language model" in said and "--objective" not in said and "--arch" not in said

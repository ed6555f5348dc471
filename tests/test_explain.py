"""`hflm explain`: attention is what the model computes, attributions add up and name what matters, the page is safe."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hflm.cli.app import main
from hflm.errors import ModelError, NumericsError, UsageError
from hflm.explain import explain
from hflm.explaining.anatomy import parts, positions
from hflm.explaining.attention import pool, rollout
from hflm.explaining.explanation import Explanation, as_dict
from hflm.explaining.opened import Opened, open_model
from hflm.explaining.page import MARK, render
from hflm.explaining.pieces import read_text, segments
from hflm.explaining.questions import log_odds
from hflm.explaining.reading import View
from tests.tiny import POSITIONS

MIXED = "a merry film, فيلم رائع 很好的电影 number 7."
Make = Callable[[str], str]


@pytest.fixture(scope="module")
def mood(run_finetune: Callable[..., Path], tiny: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier that has learned its few words."""
    from tests.tiny import moods, write

    rows = write(tmp_path_factory.mktemp("moods") / "moods.jsonl", moods(120))
    return run_finetune(
        "sentiment", model=tiny("bert"), data=[str(rows)], max_steps=160, learning_rate=5e-3, eval_steps=160
    )


@pytest.fixture(scope="module")
def mood_found(mood: Path) -> Explanation:
    return explain(str(mood), "a merry film, number 3.")


@pytest.mark.parametrize("kind", ["bert", "distilbert", "gpt2", "llama", "t5", "bart"])
def test_every_kind_is_read_whole(kind: str, tiny: Make) -> None:
    text = "a [MASK] film فيلم 很好" if kind in ("bert", "distilbert") else MIXED
    found = explain(tiny(kind), text)
    for view in found.views:
        assert np.allclose(view.weights.sum(-1), 1, atol=1e-4)
        assert view.weights.shape[2:] == (len(view.rows), len(view.columns))
    assert found.attribution and abs(found.attribution.gap) <= 0.03 * max(
        abs(found.attribution.output - found.attribution.baseline_output), 0.1
    )
    assert found.worked and sum(term.weight for term in found.worked.terms) + found.worked.rest == pytest.approx(1)
    assert sum(part.parameters for part in found.model.parts) == found.model.parameters
    assert [view.name for view in found.views] == (
        ["encoder", "cross", "decoder"] if kind in ("t5", "bart") else ["self"]
    )
    assert json.loads(json.dumps(as_dict(found)))["model"]["kind"] == found.model.kind
    assert "</html>" in render(found)


@pytest.mark.parametrize(("name", "first"), [("Roberta", 2), ("MPNet", 2), ("OPT", 2), ("Bart", 2), ("Bert", 0)])
def test_positions_are_told_of_the_rows_that_tokens_get(name: str, first: int) -> None:
    import transformers

    few = {"vocab_size": 20, "hidden_size": 8, "d_model": 8, "num_hidden_layers": 1, "encoder_layers": 1,
           "decoder_layers": 1, "num_attention_heads": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
           "intermediate_size": 8, "ffn_dim": 8, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "word_embed_proj_dim": 8,
           "max_position_embeddings": 12, "pad_token_id": 1}  # fmt: skip
    model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**few)).eval()
    hidden = model(torch.tensor([[5, 6, 7, 8]])).last_hidden_state
    (hidden * torch.randn(hidden.shape)).sum().backward()
    table = next(one for key, one in model.named_parameters() if "position" in key)
    # The rows that were read are those that have a gradient.
    used = table.grad.abs().sum(dim=1).nonzero().flatten().tolist()
    assert used == list(range(first, first + 4))
    found = positions(Opened("m", "body", model, None, 10), length=4)
    rows = torch.nn.functional.normalize(table.detach()[used], dim=1)
    assert found.cosines == pytest.approx([float((rows @ rows.T).diagonal(far).mean()) for far in range(4)], abs=1e-5)
    assert ("the (t + 2)-th is added" in found.told) == bool(first)


def test_attention_is_that_of_transformers(tiny: Make) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = explain(tiny("llama"), MIXED)
    model = AutoModelForCausalLM.from_pretrained(tiny("llama"), attn_implementation="eager")
    ids = AutoTokenizer.from_pretrained(tiny("llama"))(MIXED, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        theirs = model(ids, output_attentions=True)
    weights = torch.stack(theirs.attentions)[:, 0]
    assert np.allclose(found.views[0].weights, weights.numpy(), atol=1e-5)
    assert found.question
    best = theirs.logits[0, -1].softmax(-1).max()
    assert found.question.candidates[0].probability == pytest.approx(float(best), abs=1e-5)


def test_attributions_add_up_to_the_difference(mood: Path, mood_found: Explanation) -> None:
    differences = []
    for found in (mood_found, explain(str(mood), "a dull film, number 3.")):
        attribution = found.attribution
        assert attribution
        difference = attribution.output - attribution.baseline_output
        differences.append(abs(difference))
        assert sum(attribution.values) == pytest.approx(difference, rel=0.03, abs=0.003)
        assert attribution.gap == pytest.approx(sum(attribution.values) - difference)
        special = [one for one, piece in zip(attribution.values, found.read.pieces, strict=True) if piece.special]
        assert special == [0.0, 0.0]
    # A text of nothing but masks is of one class or the other, so that one of the two texts must move it.
    assert max(differences) > 3


def test_of_a_linear_model_each_token_gets_what_it_adds(mood: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_model(str(mood))
    draw = torch.Generator().manual_seed(1)
    weight = torch.randn(opened.model.config.hidden_size, generator=draw)

    def score(opened: Opened, reading: Any, question: Any) -> Any:
        return lambda embedded: (embedded @ weight).sum(-1)

    monkeypatch.setattr("hflm.explaining.attribution.scorer", score)
    found = explain(opened, "a merry film")
    table = opened.model.get_input_embeddings().weight
    blank = table[opened.tokenizer.mask_token_id]
    wanted = [0.0 if piece.special else float((table[piece.id] - blank) @ weight) for piece in found.read.pieces]
    assert found.attribution and found.attribution.values == pytest.approx(wanted, abs=1e-4)


def test_named_tokens_matter_more_than_random_ones(mood: Path) -> None:
    from tests.tiny import moods

    opened, better, tops, randoms = open_model(str(mood)), 0, 0.0, 0.0
    rows = moods(12)
    for row in rows:
        deletion = explain(opened, row["text"]).deletion
        assert deletion
        better += deletion.top_mean > deletion.random_mean
        tops, randoms = tops + deletion.top_mean, randoms + deletion.random_mean
    assert better >= 10 and tops > 1.3 * randoms > 0


def test_the_other_class_is_explained_the_other_way_round(mood: Path, mood_found: Explanation) -> None:
    other = explain(str(mood), "a merry film, number 3.", target="bad")
    assert mood_found.question and mood_found.question.answer == "good"
    assert other.attribution and mood_found.attribution
    # Of two classes the log odds are each other's opposite.
    assert other.attribution.values == pytest.approx([-one for one in mood_found.attribution.values], abs=0.05)


def test_the_first_token_of_a_decoder_stays(tiny: Make) -> None:
    found = explain(tiny("gpt2"), MIXED)
    assert found.attribution and found.attribution.values[0] == 0 and any(found.attribution.values[1:])
    assert any("first token gets nothing" in note for note in found.notes)


def test_log_odds() -> None:
    logits = torch.tensor([[1.0, 3.0, 0.5]])
    chance = float(logits.softmax(-1)[0, 1])
    assert float(log_odds(logits, 1)) == pytest.approx(np.log(chance / (1 - chance)), abs=1e-5)


def test_rollout_by_hand() -> None:
    first, second = np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([[0.0, 1.0], [0.2, 0.8]])
    weights = np.stack([np.stack([first, first]), np.stack([second, second])]).astype(np.float32)
    by_hand = ((second + np.eye(2)) / 2) @ ((first + np.eye(2)) / 2)
    assert np.allclose(rollout(weights), by_hand, atol=1e-6)
    assert np.allclose(rollout(weights).sum(-1), 1)


def test_small_maps_still_sum_to_one() -> None:
    draw = np.random.default_rng(1)
    weights = draw.dirichlet(np.ones(50), size=(2, 2, 50)).astype(np.float32)
    small = pool(View("self", "", [], [], weights), cells=2 * 2 * 20 * 20)
    assert small.weights.shape == (2, 2, 17, 17) and small.is_pooled
    assert small.rows[0] == (0, 3) and small.rows[-1] == (48, 50)
    assert np.allclose(small.weights.sum(-1), 1, atol=1e-5)
    assert small.weights[0, 0, 0, 1] == pytest.approx(weights[0, 0, :3, 3:6].sum() / 3, abs=1e-6)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_segments_are_the_text(kind: str, tiny: Make) -> None:
    opened = open_model(tiny(kind))
    read = read_text(opened, MIXED, max_tokens=60)
    found = segments(read)
    assert "".join(one.text for one in found if not one.special) == MIXED
    covered = [place for one in found for place in range(one.first, one.last)]
    assert covered == list(range(len(read.pieces)))


def test_a_word_that_the_vocabulary_lacks_is_still_shown(tiny: Make) -> None:
    opened = open_model(tiny("bert"))
    read = read_text(opened, "a film ॐ", max_tokens=60)
    unknown = read.pieces[-2]
    assert unknown.id == opened.tokenizer.unk_token_id
    assert (unknown.text, unknown.token, unknown.special) == ("ॐ", "[UNK]", False)


def test_a_long_text_is_cut_where_the_answer_does_not_hang_on_it(tiny: Make) -> None:
    text = "one two three " * 40 + "[MASK] last"
    with_end = read_text(open_model(tiny("gpt2")), text, max_tokens=20)
    beginning = read_text(open_model(tiny("bert")), text, max_tokens=20)
    assert with_end.cut > 100 and with_end.pieces[-1].end == len(text)
    assert len(beginning.pieces) == 20 and beginning.pieces[0].special and beginning.pieces[-1].special
    found = explain(tiny("bert"), text)
    assert len(found.read.pieces) == POSITIONS and "left out at its end" in found.notes[0]
    assert found.question is None and any("no [MASK]" in note for note in found.notes)
    assert len(found.guesses) == POSITIONS - 2


def test_the_command(mood: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    page, pictures = tmp_path / "page.html", tmp_path / "pictures"
    assert main(["explain", str(mood), "a merry film, 好 $x$", "-o", str(page), "--png", str(pictures)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("the class of the text: good") and f"wrote {page}" in said and "sum " in said
    assert MARK in page.read_text(encoding="utf-8")
    drawn = {path.name for path in pictures.iterdir()}
    assert drawn == {"attribution.png", "answers.png", "rollout.png", "heads.png", "head.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures.iterdir())
    monkeypatch.setattr("sys.stdin", io.StringIO("a dull film\n"))
    assert main(["explain", str(mood), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["question"]["answer"] == "bad" and found["text"] == "a dull film"
    assert main(["explain", str(mood), "a dull film", "-o", str(page)]) == 0, "a page of ours is written over"


def test_a_pretrained_encoder_and_a_tagger(tiny: Make, tmp_path: Path) -> None:
    from transformers import BertForTokenClassification, BertModel

    for make, name in ((BertModel, "body"), (BertForTokenClassification, "tagger")):
        model = make.from_pretrained(tiny("bert"))
        model.save_pretrained(tmp_path / name)
        open_model(tiny("bert")).tokenizer.save_pretrained(tmp_path / name)
    body = explain(str(tmp_path / "body"), "a merry film")
    assert body.question is None and body.attribution is None and body.neighbours and "no head" in body.notes[0]
    tagger = explain(str(tmp_path / "tagger"), "Emma ran home")
    assert (
        tagger.question
        and tagger.question.place
        and len(tagger.guesses) == sum(piece.opens for piece in tagger.read.pieces) == 3
    )
    assert parts(open_model(str(tmp_path / "body")).model)[0].name == "token embeddings"


def test_refused(mood: Path, tiny: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="The text is empty"):
        explain(str(mood), " \n ")
    with pytest.raises(UsageError, match="'goood' is no label of this model. Did you mean 'good'"):
        explain(str(mood), "a film", target="goood")
    with pytest.raises(UsageError, match="is not one token of this model"):
        explain(tiny("gpt2"), "a film", target="Constantinople")
    with pytest.raises(UsageError, match="asked for no label and no token"):
        explain(tiny("bert"), "a film", target="film")
    with pytest.raises(UsageError, match="--steps is 1"):
        explain(str(mood), "a film", steps=1)
    with pytest.raises(ModelError):
        explain(str(tmp_path / "nothing" / "here"), "a film")


def test_a_model_without_attention_is_refused(tmp_path: Path, tiny: Make) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    tokenizer = open_model(tiny("gpt2")).tokenizer
    config = MambaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, state_size=4, bos_token_id=0, eos_token_id=0
    )
    MambaForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="has no attention to show"):
        explain(str(tmp_path), "a film")


def test_damaged_weights_end_with_a_line(mood: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = open_model(str(mood))
    opened.model.get_input_embeddings().weight.data.fill_(float("nan"))
    with pytest.raises(NumericsError, match="not finite"):
        explain(opened, "a film")
    (tmp_path / "mine.html").write_text("something of my own")
    assert main(["explain", str(mood), "a film", "-o", str(tmp_path / "mine.html")]) == 2
    assert main(["explain", str(mood), "a film", "-o", str(tmp_path)]) == 2
    assert main(["explain", str(mood), "a film", "-o", str(tmp_path / "no" / "page.html")]) == 2
    assert main(["explain", str(mood), "a film", "--png", str(tmp_path / "mine.html")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in lines if line.startswith("error: ")]) == 4
    assert (tmp_path / "mine.html").read_text() == "something of my own"


def test_too_much_attention_is_refused_before_it_is_computed(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hflm.explaining.reading.ROOM", 1000)
    with pytest.raises(UsageError, match="Pass --max-tokens 7 or less"):
        explain(tiny("gpt2"), MIXED)

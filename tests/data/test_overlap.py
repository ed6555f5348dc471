"""Rows of the evaluation that were trained on are found, and clean ones are not."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from hflm.data.overlap import COMMON, find_overlap, grams_of
from tests.tiny import write

CORPUS = Path(__file__).parents[2] / "hflm" / "corpus"


def paragraphs(name: str) -> list[tuple[str, str]]:
    """Return the paragraphs of a novel with their places."""
    with gzip.open(CORPUS / f"{name}.txt.gz", "rt", encoding="utf-8") as stream:
        return [(f"{name}, line {n}", line) for n, line in enumerate(stream, start=1) if line.strip()]


@pytest.mark.promise("S4", cases=300)
def test_planted_rows_are_found_and_clean_ones_are_not() -> None:
    draw = random.Random(5)
    train, clean = paragraphs("emma"), paragraphs("northanger_abbey")
    long = [text for _, text in train if len(text.split()) >= 25]
    planted = []
    for number in range(300):
        words = draw.choice(long).split()
        start = draw.randrange(len(words) - 19)
        # Other case, other marks, other words around it.
        piece = ", ".join(words[start : start + 20]).upper()
        planted.append((f"planted {number}", f"Entirely new words here {number}. {piece} And others after it."))
    found = find_overlap(planted, train)
    assert found.rows >= 0.95 * 300 and found.judged == 300
    # Both novels quote the same two lines of Thomas Gray, which is no mistake.
    quoted = find_overlap(clean, train)
    assert quoted.rows == 1 and quoted.example
    assert all("to blush unseen" in dict(rows)[at] for rows, at in zip((clean, train), quoted.example, strict=True))
    clean = [row for row in clean if row[0] != quoted.example[0]]
    assert find_overlap(clean, train).rows == 0
    both = find_overlap([*clean, *planted], train)
    assert both.rows == found.rows and both.example and both.example[0].startswith("planted")
    assert both.example[1].startswith("emma, line ")


@pytest.mark.promise("S4")
@pytest.mark.parametrize(
    "text",
    ["北京是中华人民共和国的首都，也是一座有三千年历史的城市。", "これは日本語の文章で、空白がありませんが、長いです。",
     "ولد محمد في مدينة القاهرة ثم سافر إلى باريس حيث درس الطب عشر سنوات كاملة قبل أن يعود إلى بلده",
     "En un lugar de la Mancha, de cuyo nombre no quiero acordarme, no ha mucho tiempo que vivía un hidalgo"],
)  # fmt: skip
def test_every_script(text: str) -> None:
    held, train = [("held", f"«{text}»")], [("train", f"{text} 另外 more")]
    assert find_overlap(held, train).rows == 1
    assert find_overlap(held, [("train", text[: len(text) // 3])]).rows == 0


def test_what_is_too_short_is_not_judged() -> None:
    assert find_overlap([("a", "one two three")], [("b", "one two three")]).judged == 0
    assert find_overlap([], []).rows == 0 and [len(grams) for grams in grams_of(["", "a " * 13])] == [0, 1]


def test_a_phrase_of_many_rows_tells_nothing() -> None:
    phrase = "Summarize the text below in one short sentence and write nothing else at all please: "
    held = [(f"held {n}", phrase + f"text {n}") for n in range(COMMON + 1)]
    train = [("train", phrase + "another text")]
    assert find_overlap(held, train).rows == 0
    assert find_overlap(held[:COMMON], train).rows == COMMON


@pytest.mark.promise("S4")
def test_a_run_says_so(run_finetune: Callable[..., Path], tiny: Callable[[str], str], tmp_path: Path) -> None:
    import json

    words = [f"word{n}" for n in range(800)]
    texts = [" ".join(words[20 * n : 20 * n + 20]) for n in range(40)]
    train = [{"text": text, "label": ("a", "b")[n % 2]} for n, text in enumerate(texts)]
    held = [{"text": f"New: {texts[3]}", "label": "a"}, {"text": "short", "label": "b"}]
    paths = [str(write(tmp_path / f"{name}.jsonl", rows)) for name, rows in (("train", train), ("test", held))]
    run = run_finetune("sentiment", model=tiny("bert"), train_file=paths[0], test_file=paths[1], max_steps=2)
    found = json.loads((run / "metrics.json").read_text())["preflight"]
    assert found["overlap"]["test"] == 0
    assert found["overlap_of_words"]["test"] == {
        "rows": 1, "judged": 1, "example": [f"{paths[1]}, line 1", f"{paths[0]}, line 4"],
    }  # fmt: skip


@pytest.mark.promise("S4")
def test_pretraining_says_before_training_what_it_would_evaluate_on_too(
    run_pretrain: Callable[..., Path], tmp_path: Path
) -> None:
    train, clean = paragraphs("emma"), paragraphs("northanger_abbey")
    long = [text for _, text in train[:400] if len(text.split()) > 30]
    held = [*(text.strip() for _, text in clean[:60]), "So it was: " + long[3]]
    (tmp_path / "train.txt").write_text("".join(text for _, text in train[:400]))
    (tmp_path / "held.txt").write_text("\n".join(held))
    settings = {"data": [str(tmp_path / "train.txt")], "eval_data": [str(tmp_path / "held.txt")], "max_steps": 2}
    run = run_pretrain(documents="line", eval_steps=2, save_steps=2, **settings)
    found = json.loads((run / "metrics.json").read_text())["data_overlap_of_words"]
    assert found["rows"] == 1 and 40 < found["judged"] <= 61
    assert found["example"][0] == "held.txt, line 61" and found["example"][1].startswith("train.txt, line ")


@pytest.mark.promise("S4")
def test_what_was_found_is_said_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hflm.data.documents import Document
    from hflm.pretraining.overlap import overlap_of_words

    monkeypatch.setenv("HFLM_CACHE", str(tmp_path))
    said: list[str] = []
    words = " ".join(f"w{n}" for n in range(20))
    for _ in range(2):
        overlap_of_words(
            lambda: iter([Document(words, "a/t.txt", 3)]), lambda: iter([Document(f"x {words}", "b/h.txt", 9)]),
            key="k", say=said.append,
        )  # fmt: skip
    assert said == [said[0]] * 2 and said[0].startswith("overlap: 1 of 1 documents to evaluate share 13 words in a row")
    assert "h.txt, line 9 and t.txt, line 3" in said[0]


def test_a_text_of_many_pieces_is_one_row() -> None:
    from hflm.data import overlap

    words = " ".join(f"word{n}" for n in range(300_000))
    assert len(words) > 2 * overlap.CHARACTERS
    found = find_overlap([("held", words)], [("train", words[-500:])])
    assert (found.rows, found.judged, found.example) == (1, 1, ("held", "train"))

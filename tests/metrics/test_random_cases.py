"""A thousand random cases of each metric, one by one, against the package that the field trusts."""

import resource
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from hflm.errors import DataError
from hflm.metrics import translation
from hflm.metrics.registry import score, statistics
from hflm.plots import plot_confusion

CASES = 1000
ALPHABETS = {"es": "abcñé.,!¿'0-&", "zh": "今天气很好。a,", "th": "สวัสดีครับ"}
SCHEMES: tuple[Sequence[str], ...] = (
    ("O", "B-A", "I-A", "B-B", "I-B"), ("O", "B-A", "I-A", "E-A", "S-A", "E-B", "I-B"), ("O", "B", "I"),
    ("O", "B-A-B", "I-A-B", "I-A"), ("I-A", "E-A", "S-A", "O"),
)  # fmt: skip


def text(draw: np.random.Generator, alphabet: str, *, least: int = 0) -> str:
    letters = [*alphabet, " ", " "]
    return "a" * least + "".join(draw.choice(letters, size=draw.integers(0, 25)))


@pytest.mark.parametrize(("language", "tokenizer"), [("es", "13a"), ("zh", "zh"), ("th", "char")])
def test_bleu_of_every_sentence(language: str, tokenizer: str) -> None:
    draw = np.random.default_rng(5)
    theirs = [BLEU(tokenize=tokenizer), CHRF(), CHRF(word_order=2)]
    for _ in range(CASES // 3 + 1):
        said, wanted = text(draw, ALPHABETS[language]), text(draw, ALPHABETS[language], least=1)
        ours = statistics("bleu", predictions=[said], references=[wanted], language=language)
        assert list(ours.whole().values()) == pytest.approx([m.corpus_score([said], [[wanted]]).score for m in theirs])
        assert list(ours.details["signature"].values()) == [str(metric.get_signature()) for metric in theirs]


def test_rouge_lsum_of_every_text() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    draw = np.random.default_rng(6)
    words = ["the", "cats", "running", "ran", "dogs", "sat", "on", "mats", "3.5", "don't"]
    lines = [["\n".join(" ".join(draw.choice(words, size=draw.integers(1, 6))) for _ in range(draw.integers(1, 4)))
              for _ in range(CASES)] for _ in range(2)]  # fmt: skip
    scorer = RougeScorer(["rougeLsum"], use_stemmer=True)
    theirs = [100 * scorer.score(wanted, said)["rougeLsum"].fmeasure for said, wanted in zip(*lines, strict=True)]
    ours = statistics("rouge", predictions=lines[0], references=lines[1])
    assert ours.rows[:, 3] == pytest.approx(theirs)
    assert ours.whole()["rougelsum"] == pytest.approx(np.mean(theirs))


def test_entities_of_every_scheme() -> None:
    from seqeval.metrics import f1_score, precision_score, recall_score

    draw = np.random.default_rng(7)
    for case in range(CASES):
        scheme = SCHEMES[case % len(SCHEMES)]
        wanted = [draw.choice(scheme, size=draw.integers(1, 9)).tolist() for _ in range(3)]
        said = [[str(draw.choice(scheme)) if draw.random() < 0.4 else tag for tag in row] for row in wanted]
        ours = statistics("tagging", predictions=said, references=wanted).whole()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = [function(wanted, said) for function in (f1_score, precision_score, recall_score)]
        assert [ours[name] for name in ("f1", "precision", "recall")] == pytest.approx(theirs), (wanted, said)


def test_f1_of_every_class() -> None:
    from sklearn.metrics import matthews_corrcoef, precision_recall_fscore_support

    draw = np.random.default_rng(8)
    for _ in range(CASES):
        names = [f"c{number}" for number in range(draw.integers(1, 6))]
        wanted, said = draw.choice(names, size=(2, draw.integers(1, 40))).tolist()
        ours = statistics("classification", predictions=said, references=wanted)
        found = ours.details["per_class"]
        theirs = precision_recall_fscore_support(wanted, said, labels=list(found), zero_division=0)
        rows = [[one[key] for one in found.values()] for key in ("precision", "recall", "f1", "rows")]
        assert np.array(rows) == pytest.approx(np.array(theirs))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert ours.whole()["matthews"] == pytest.approx(matthews_corrcoef(wanted, said))


def test_japanese_is_cut_into_words_where_the_means_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translation, "find_spec", lambda name: ModuleSpec(name, None))
    assert translation.tokenizer_for("ja_XX", ["今日は"]) == "ja-mecab"
    monkeypatch.setattr(translation, "find_spec", lambda name: None)
    assert translation.tokenizer_for("ja_XX", ["今日は"]) == translation.tokenizer_for(None, ["今日は"]) == "char"


def test_a_language_by_its_name_is_known_by_its_script() -> None:
    assert translation.tokenizer_for("Chinese", ["今天天气很好"]) == "zh"
    assert translation.tokenizer_for("Spanish", ["qué tal"]) == "13a"


def test_many_classes_take_no_table_of_their_square() -> None:
    names = [f"c{number}" for number in range(20_000)]
    said = [*names[:-1], names[0]]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours = statistics("classification", predictions=said, references=names, labels=names)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024, "KiB"
    assert ours.whole()["accuracy"] == pytest.approx(19_999 / 20_000)
    assert "confusion" not in ours.details and len(ours.details["confusions"]) == 20_000
    assert [names[-1], names[0], 1] in ours.details["confusions"]


def test_confusions_are_drawn(tmp_path: Path) -> None:
    details = statistics("classification", predictions=["a", "b", "b"], references=["a", "a", "b"]).details
    plot_confusion(details["confusion"], details["labels"], tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("classes", [31, 400])
def test_a_table_of_many_classes_stays_a_picture(classes: int, tmp_path: Path) -> None:
    from matplotlib.image import imread

    labels = [f"a class with a very long name, and ${number}" for number in range(classes)]
    table = [[int(row == column) for column in range(classes)] for row in range(classes)]
    plot_confusion(table, labels, tmp_path / "confusion.png")
    height, width, _ = imread(tmp_path / "confusion.png").shape
    assert max(height, width) < 2100
    assert [path.name for path in tmp_path.iterdir()] == ["confusion.png"], "nothing half-written is left"


@pytest.mark.parametrize(
    ("name", "prediction", "reference", "said"),
    [
        ("classification", 1, "good", "Row 1: the prediction 1 is no string"),
        ("bleu", "a", ["a"], r"Row 1: the reference \['a'\] is no string"),
        ("rouge", 0.5, "a", "the prediction 0.5 is no string"),
        ("tagging", "B-PER", ["B-PER"], "the prediction 'B-PER' is no list of strings"),
        ("tagging", [1], ["O"], r"the prediction \[1\] is no list of strings"),
        ("perplexity", ["a", 1], "a", r"the prediction \['a', 1\] is no pair"),
        ("perplexity", 3.5, "a", "the prediction 3.5 is no pair"),
    ],
)
def test_what_a_metric_cannot_compare_is_named(name: str, prediction: Any, reference: Any, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        score(name, predictions=[prediction], references=[reference])
    assert caught.value.exit_code == 2 and caught.value.fix

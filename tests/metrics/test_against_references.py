"""Every metric equals the package that the field trusts, on a thousand random cases; intervals hold the value."""

import re
import warnings
from typing import Any

import numpy as np
import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from hflm.errors import DataError, NumericsError, UsageError
from hflm.metrics.paired import compare
from hflm.metrics.registry import METRICS, score, statistics
from hflm.metrics.summarization import sentences
from hflm.metrics.tagging import entities

WORDS = re.findall(
    r"\S+", ("the a cat dog sat ran on under mat, tree. It was! Is it? running runs 3.5 don't New-York (yes)")
)


def texts(draw: np.random.Generator, count: int) -> list[str]:
    return [" ".join(draw.choice(WORDS, size=draw.integers(0, 12))) for _ in range(count)]


def test_bleu_and_chrf_equal_sacrebleu() -> None:
    draw = np.random.default_rng(0)
    for size in [*range(1, 60), 1000]:
        predictions = texts(draw, size)
        references = [f"the {text}" for text in texts(draw, size)]
        ours = statistics("bleu", predictions=predictions, references=references).whole()
        assert ours["bleu"] == pytest.approx(sacrebleu.corpus_bleu(predictions, [references]).score)
        assert ours["chrf"] == pytest.approx(sacrebleu.corpus_chrf(predictions, [references]).score)
        plus = sacrebleu.corpus_chrf(predictions, [references], word_order=2).score
        assert ours["chrf++"] == pytest.approx(plus)


def test_bleu_prints_its_signature() -> None:
    found = score("bleu", predictions=["你好 世界"], references=["你好,世界"], language="zh")
    assert "tok:zh" in found.details["signature"]["bleu"] and "version:" in found.details["signature"]["bleu"]
    assert (
        "tok:char"
        in score("bleu", predictions=["สวัสดี"], references=["สวัสดี"], language="th").details["signature"]["bleu"]
    )


def test_rouge_equals_rouge_score() -> None:
    draw = np.random.default_rng(1)
    predictions, references = texts(draw, 1000), [f"the {text}" for text in texts(draw, 1000)]
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    ours = statistics("rouge", predictions=predictions, references=references)
    for row, prediction, reference in zip(ours.rows, predictions, references, strict=True):
        theirs = scorer.score(reference, prediction)
        assert row[:3] == pytest.approx([100 * theirs[kind].fmeasure for kind in ("rouge1", "rouge2", "rougeL")])
    theirs = RougeScorer(["rougeLsum"], use_stemmer=True).score(
        "Two dogs ran.\nOne cat sat.", "One cat.\nTwo dogs sat."
    )
    predictions, references = ["One cat. Two dogs sat."], ["Two dogs ran. One cat sat."]
    whole = statistics("rouge", predictions=predictions, references=references).whole()
    assert whole["rougelsum"] == pytest.approx(100 * theirs["rougeLsum"].fmeasure)


@pytest.mark.parametrize(
    "text", ["الطقس جميل اليوم", "今天天气很好", "मौसम बहुत अच्छा है", "วันนี้อากาศดี", "погода сегодня хорошая"]
)
def test_rouge_knows_every_script(text: str) -> None:
    whole = statistics("rouge", predictions=[text, text], references=[text, text[::-1]]).whole()
    assert 50 <= whole["rouge1"] <= 100
    assert score("rouge", predictions=[text], references=[text]).details["tokenizer"].startswith("any script")


def test_classification_equals_scikit_learn() -> None:
    from sklearn import metrics

    draw = np.random.default_rng(2)
    for size in range(1, 1001, 7):
        names = [f"c{n}" for n in range(draw.integers(2, 6))]
        predictions, references = draw.choice(names, size).tolist(), draw.choice(names, size).tolist()
        ours = statistics("classification", predictions=predictions, references=references)
        whole = ours.whole()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert whole["accuracy"] == pytest.approx(metrics.accuracy_score(references, predictions))
            f1 = metrics.f1_score(references, predictions, average="macro", zero_division=0)
            assert whole["macro_f1"] == pytest.approx(f1)
            assert whole["matthews"] == pytest.approx(metrics.matthews_corrcoef(references, predictions))
            present = ours.details["labels"]
            table = metrics.confusion_matrix(references, predictions, labels=present)
        assert ours.details["confusion"] == table.tolist()


def test_tagging_equals_seqeval() -> None:
    from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score

    draw = np.random.default_rng(3)
    tags = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    rows = [draw.choice(tags, draw.integers(1, 9)).tolist() for _ in range(1000)]
    predictions = [[draw.choice(tags) if draw.random() < 0.3 else tag for tag in row] for row in rows]
    for start in range(0, 1000, 10):
        wanted, ours = rows[start : start + 10], predictions[start : start + 10]
        whole = statistics("tagging", predictions=ours, references=wanted).whole()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = [function(wanted, ours) for function in (f1_score, precision_score, recall_score, accuracy_score)]
        assert [whole[name] for name in ("f1", "precision", "recall", "accuracy")] == pytest.approx(theirs)


def test_perplexity_is_over_tokens() -> None:
    whole = statistics("perplexity", predictions=[(2.0, 1), (2.0, 3)], references=["a", "b"]).whole()
    assert whole["perplexity"] == pytest.approx(np.e)


CASES: dict[str, tuple[list[Any], list[Any]]] = {
    "bleu": (["a cat sat", "the dog ran", ""], ["a cat sat", "a dog ran", "it was"]),
    "rouge": (["a cat sat", "the dog ran", ""], ["a cat sat", "a dog ran", "it was"]),
    "classification": (["x", "y", "x"], ["x", "y", "y"]),
    "tagging": ([["B-A"], ["O", "O"], ["O"]], [["B-A"], ["O", "B-A"], ["O"]]),
    "triples": (["a | is a | b", "none", "x | in | y"], ["a | is a | b", "c | in | d", "x | in | z"]),
    "perplexity": ([(1.0, 2), (3.0, 2), (2.0, 1)], ["a", "b", "c"]),
}


@pytest.mark.parametrize("name", METRICS)
def test_intervals_hold_the_value(name: str) -> None:
    predictions, references = CASES[name]
    found = score(name, predictions=predictions, references=references)
    assert METRICS[name].primary in found.scores
    for one in found.scores.values():
        assert one.low <= one.value <= one.high
    assert found.to_json()["scores"] == score(name, predictions=predictions, references=references).to_json()["scores"]


@pytest.mark.parametrize("name", METRICS)
def test_a_model_never_differs_from_itself(name: str) -> None:
    predictions, references = CASES[name]
    for one in compare(name, a=predictions, b=predictions, references=references):
        assert one.difference == 0 and one.p_value == 1 and not one.significant


def test_a_clear_difference_is_found() -> None:
    references = ["x", "y"] * 50
    found = {one.score: one for one in compare("classification", a=references, b=["x"] * 100, references=references)}
    assert found["accuracy"].difference == pytest.approx(0.5) and found["accuracy"].significant


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(DataError, match="nothing to score"):
        score("rouge", predictions=[], references=[])
    with pytest.raises(DataError, match="1 predictions for 2 references"):
        score("rouge", predictions=["a"], references=["a", "b"])
    with pytest.raises(UsageError, match="Did you mean 'rouge'"):
        score("rogue", predictions=["a"], references=["a"])


@pytest.mark.filterwarnings("ignore")
def test_as_metrics_of_evaluate() -> None:
    from hflm.metrics.hub_metrics import Bleu, Classification, Perplexity, Rouge, Tagging, Triples

    for kind in (Bleu, Rouge, Classification, Tagging, Triples, Perplexity):
        predictions, references = CASES[kind.metric]
        whole = statistics(kind.metric, predictions=predictions, references=references).whole()
        assert kind().compute(predictions=predictions, references=references) == pytest.approx(whole)


def test_parts_of_speech_are_single_tags() -> None:
    wrong = statistics("tagging", predictions=[["DET", "NOUN"]], references=[["VERB", "NOUN"]])
    assert wrong.whole()["f1"] == wrong.whole()["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [("jpn_Jpan", "char"), ("lao_Laoo", "char"), ("zh-CN", "zh"), ("yue_Hant", "zh"), ("kok", "13a"), ("eng", "13a")],
)
def test_codes_of_every_kind_find_their_tokenizer(language: str, tokenizer: str) -> None:
    found = statistics("bleu", predictions=["a"], references=["a"], language=language).details["signature"]["bleu"]
    assert f"tok:{tokenizer}|" in found


def test_a_language_that_nobody_named_is_known_by_its_script() -> None:
    texts = ["今天天气很好我们去公园", "明天也好"]
    assert statistics("bleu", predictions=texts, references=texts).whole()["bleu"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("name", "prediction", "reference"),
    [("bleu", "a", ""), ("rouge", "a", " \n"), ("bleu", "a", None), ("classification", "a", None),
     ("classification", None, "a"), ("tagging", [], []), ("perplexity", (0.0, 0), "a")],
)  # fmt: skip
def test_rows_without_a_reference_are_refused(name: str, prediction: Any, reference: Any) -> None:
    with pytest.raises(DataError):
        score(name, predictions=[prediction], references=[reference])


def test_a_loss_that_is_no_number_is_refused() -> None:
    with pytest.raises(NumericsError, match="row 2 is nan"):
        score("perplexity", predictions=[(1.0, 2), (float("nan"), 2)], references=["a", "b"])


def test_a_class_outside_of_the_labels_is_counted() -> None:
    found = statistics("classification", predictions=["z", "a"], references=["a", "a"], labels=["a", "b"])
    assert found.details["labels"] == ["a", "b", "z"] and found.whole()["accuracy"] == 0.5


def test_a_p_value_is_never_zero() -> None:
    found = compare("classification", a=["a"] * 50, b=["b"] * 50, references=["a"] * 50)
    assert 0 < found[0].p_value < 0.01


def test_initials_and_titles_end_no_sentence() -> None:
    assert sentences("Dr. J. Smith ran. He won. “你好。”他说！") == "Dr. J. Smith ran.\nHe won.\n“你好。”\n他说！"


SCHEMES = {
    "BIO": ["B-PER", "I-PER", "O", "B-LOC", "O"], "BIOES": ["B-PER", "E-PER", "O", "S-LOC", "O"],
    "BILOU": ["B-PER", "L-PER", "O", "U-LOC", "O"], "BMES": ["B-PER", "E-PER", "O", "S-LOC", "O"],
}  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
def test_entities_are_whole_in_every_scheme(scheme: str) -> None:
    tags = SCHEMES[scheme]
    half = [tags[0], "O", "O", tags[3], "O"]
    found = statistics("tagging", predictions=[half], references=[tags])
    assert found.details["entities"] == "BIO" and found.whole()["f1"] == pytest.approx(1 / 2)
    assert list(entities(tags)) == [("PER", 0, 1), ("LOC", 3, 3)]


def test_the_middle_of_a_word_goes_on() -> None:
    """Segmenting Chinese: words of one, two and four characters."""
    assert list(entities(["S", "B", "E", "B", "M", "M", "E"])) == [("_", 0, 0), ("_", 1, 2), ("_", 3, 6)]


def test_saying_nothing_finds_nothing() -> None:
    """Tags without a scheme: O is no entity of its own, however many there are."""
    wanted = [["O", "PER", "O", "O", "O"]]
    assert statistics("tagging", predictions=[["O"] * 5], references=wanted).whole()["f1"] == 0
    assert statistics("tagging", predictions=wanted, references=wanted).whole()["f1"] == 1


@pytest.mark.parametrize(
    ("code", "text", "tokenizer"),
    [
        ("cn", "你好世界", "zh"), ("jp", "これは本です", "ja"), ("lzh", "學而時習之", "zh"),
        ("kr", "안녕하세요", "char"), ("xx", "你好世界", "zh"), ("en", "hello there", "13a"),
    ],
)  # fmt: skip
def test_codes_that_people_use_are_tokenized_by_their_script(code: str, text: str, tokenizer: str) -> None:
    found = statistics("bleu", predictions=[text], references=[text], language=code).details["signature"]["bleu"]
    assert f"tok:{tokenizer}" in found or (tokenizer == "ja" and "tok:char" in found)


def test_few_rows_prove_nothing() -> None:
    """Every draw of one row is that row: the p-value is not below what tossing a coin for each row gives."""
    for rows, least in ((1, 1.0), (3, 0.25), (5, 0.0625)):
        (found,) = [one for one in compare("classification", a=["x"] * rows, b=["y"] * rows, references=["x"] * rows)
                    if one.score == "accuracy"]  # fmt: skip
        assert found.difference == 1 and found.p_value >= least
    many = compare("classification", a=["x"] * 40, b=["y"] * 40, references=["x"] * 40)[0]
    assert many.significant


def test_rows_that_both_miss_prove_nothing() -> None:
    """Four rows of 200 speak for a model, and five are missed by both in other ways: a coin gives one in eight."""
    references = [f"c{row % 10}" for row in range(200)]
    a, b = list(references), list(references)
    b[:4] = ["c9"] * 4
    a[21:26], b[21:26] = ["c0"] * 5, ["c9"] * 5
    found = {one.score: one for one in compare("classification", a=a, b=b, references=references)}
    assert found["accuracy"].difference == pytest.approx(0.02) and found["accuracy"].p_value >= 0.125
    tags = [["O", "B-PER"]] * 200
    ours = [["O", "B-PER"]] * 195 + [["B-PER", "O"]] * 5
    theirs = [["O", "O"]] * 2 + [["O", "B-PER"]] * 193 + [["B-LOC", "O"]] * 5
    (tagged,) = [one for one in compare("tagging", a=ours, b=theirs, references=tags) if one.score == "f1"]
    assert tagged.difference > 0 and tagged.p_value >= 0.5


def test_shares_near_one_and_of_few_rows_have_an_interval() -> None:
    """Wilson's, from its formula: n hits of n give n / (n + z²) as the lower end."""
    square = 1.959964**2
    every = score("classification", predictions=["x"] * 10, references=["x"] * 10).scores["accuracy"]
    assert (every.low, every.high) == (pytest.approx(10 / (10 + square)), 1.0)
    none = score("classification", predictions=["y"], references=["x"]).scores["accuracy"]
    assert (none.low, none.high) == (0.0, pytest.approx(square / (1 + square)))

"""Two runs are compared on the same rows alone, and a run never differs from itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hflm.compare import compare_runs
from hflm.errors import DataError, UsageError

Make = Callable[..., Path]
TEXTS = [f"text {number}\u2028of the test" for number in range(60)]
LABELS = ["good", "bad"] * 30


def labelled(predictions: list[str]) -> list[dict[str, Any]]:
    rows = zip(TEXTS, LABELS, predictions, strict=True)
    return [{"text": text, "reference": label, "prediction": said, "score": 0.9} for text, label, said in rows]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A function that writes what a finished run leaves behind."""

    def write(name: str, rows: list[dict[str, Any]], metric: str = "classification", **options: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yaml").write_text("job: finetune\n")
        (folder / "metrics.json").write_text(json.dumps({"metric": metric, "metric_options": options}))
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "predictions.jsonl").write_text(lines, encoding="utf-8")
        return folder

    return write


PAIRS: dict[str, list[dict[str, Any]]] = {
    "bleu": [{"source": "s", "reference": "a cat sat there", "prediction": "a cat sat"}] * 4,
    "rouge": [{"source": "s", "reference": "a cat sat", "prediction": ""}] * 4,
    "classification": labelled(["good"] * 60),
    "tagging": [{"tokens": ["Ada", "ran"], "reference": ["B-PER", "O"], "prediction": ["O", "O"]}] * 4,
    "triples": [
        {
            "source": "s",
            "reference": "a | in | b",
            "prediction": "a | in | b",
            "triples": [["a", "in", "b"]],
            "confidence": [0.9],
        }
    ]
    * 4,
    "perplexity": [{"text": "t", "reference": None, "prediction": None, "loss": 7.0, "tokens": 3}] * 4,
}


@pytest.mark.parametrize("metric", PAIRS)
def test_a_run_never_differs_from_itself(make: Make, metric: str) -> None:
    run = make("a", PAIRS[metric], metric)
    for score in compare_runs(run, run):
        assert (score.difference, score.low, score.high, score.p_value) == (0, 0, 0, 1)


def test_a_difference_is_found_whichever_comes_first(make: Make) -> None:
    right, wrong = make("right", labelled(LABELS)), make("wrong", labelled(["good"] * 60))
    ours, theirs = compare_runs(right, wrong)[0], compare_runs(wrong, right)[0]
    assert ours.difference == 0.5 == -theirs.difference and ours.significant and theirs.significant
    assert ours.low <= 0.5 <= ours.high


def test_one_row_that_differs_is_chance(make: Make) -> None:
    found = compare_runs(make("a", labelled(LABELS)), make("b", labelled(["bad", *LABELS[1:]])))
    assert not any(score.significant for score in found)


def test_runs_that_know_other_labels_compare(make: Make) -> None:
    a = make("a", labelled(LABELS), labels=["good", "bad"])
    b = make("b", labelled(["awful", *LABELS[1:]]), labels=["awful", "bad", "good"])
    assert compare_runs(a, b)[0].difference > 0


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda rows: rows[:-1], "60 rows, .* has 59"),
        (lambda rows: [*rows[:5], {**rows[5], "text": "another"}, *rows[6:]], "line 6: not the same text"),
        (lambda rows: [{**rows[0], "reference": "bad"}, *rows[1:]], "line 1: not the same reference"),
        (lambda rows: rows[::-1], "line 1: not the same text"),
        (lambda rows: [{**rows[0], "prediction": None}, *rows[1:]], "line 1: no prediction"),
        (lambda rows: [[], *rows[1:]], "line 1: no JSON object"),
    ],
)
def test_other_rows_are_refused(make: Make, change: Callable[[Any], Any], problem: str) -> None:
    rows = labelled(LABELS)
    with pytest.raises(DataError, match=problem) as caught:
        compare_runs(make("a", rows), make("b", change(rows)))
    assert "\n" not in str(caught.value)


def test_perplexities_of_two_tokenizers_are_refused(make: Make) -> None:
    rows = PAIRS["perplexity"]
    with pytest.raises(DataError, match="3 tokens and 4.*different tokenizers"):
        compare_runs(make("a", rows, "perplexity"), make("b", [{**row, "tokens": 4} for row in rows], "perplexity"))


def test_runs_tested_differently_are_refused(make: Make, tmp_path: Path) -> None:
    a = make("a", PAIRS["bleu"], "bleu", language="es")
    with pytest.raises(DataError, match="by bleu, .* by rouge"):
        compare_runs(a, make("b", PAIRS["rouge"], "rouge"))
    with pytest.raises(DataError, match="language 'es', .* with 'zh'"):
        compare_runs(a, make("c", PAIRS["bleu"], "bleu", language="zh"))
    # Two names for one language, or none, cut the references into the same words.
    for name, language in (("d", "spa_Latn"), ("e", None)):
        assert compare_runs(a, make(name, PAIRS["bleu"], "bleu", **({"language": language} if language else {})))
    with pytest.raises(UsageError, match="no such folder"):
        compare_runs(a, tmp_path / "none")


def test_a_run_without_a_test_is_refused(make: Make) -> None:
    a, b = make("a", labelled(LABELS)), make("b", labelled(LABELS))
    (b / "predictions.jsonl").unlink()
    with pytest.raises(DataError, match="holds no predictions"):
        compare_runs(a, b)
    (b / "metrics.json").write_text("{")
    with pytest.raises(DataError, match="is no JSON"):
        compare_runs(a, b)
    (b / "metrics.json").unlink()
    with pytest.raises(DataError, match="not finished"):
        compare_runs(a, b)


def test_damaged_results_cost_a_line(make: Make) -> None:
    a, b = make("a", labelled(LABELS)), make("b", labelled(LABELS))
    lines = (b / "predictions.jsonl").read_bytes().splitlines(keepends=True)
    (b / "predictions.jsonl").write_bytes(b"".join([*lines[:2], b'{"text": "caf\xe9"}\n', *lines[3:]]))
    with pytest.raises(DataError, match="predictions.jsonl, line 3: no JSON object"):
        compare_runs(a, b)
    (b / "metrics.json").write_text('{"metric": "classification", "metric_options": ["labels"]}')
    with pytest.raises(DataError, match="its metric_options are no object"):
        compare_runs(a, b)


def test_models_that_write_other_triples_compare(make: Make) -> None:
    other = [{**row, "prediction": "a | in | c", "triples": [["a", "in", "c"]], "confidence": [0.2]}
             for row in PAIRS["triples"]]  # fmt: skip
    found = compare_runs(make("right", PAIRS["triples"], "triples"), make("wrong", other, "triples"))
    assert found[0].difference == 1

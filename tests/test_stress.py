"""`hflm stress`, whole: on classifiers, encoder-decoders and decoders, with its page, its card and its exit codes."""

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from hflm.cli.app import main
from hflm.inference.trained import open_trained
from hflm.predict import predict_texts
from hflm.stress import StressOptions, _train_texts
from hflm.stressing.longest import longest_overlaps
from tests.tiny import asked, moods, pairs, tagged, write


@pytest.fixture(scope="module")
def mood(run_finetune: Callable[..., Path], tiny: Callable[[str], str], tmp_path_factory: Any) -> Path:
    """A classifier with forty rows of validation, and rows that it was not trained on."""
    folder = tmp_path_factory.mktemp("mood")
    train, validation = write(folder / "train.jsonl", moods(80)), write(folder / "val.jsonl", moods(160)[120:])
    return run_finetune("sentiment", model=tiny("bert"), train_file=str(train), validation_file=str(validation),
                        test_fraction=0.0, max_steps=12, learning_rate=3e-3)  # fmt: skip


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write(
        tmp_path / "rows.jsonl", [{**row, "who": ("x", "y")[n % 3 > 0]} for n, row in enumerate(moods(120)[80:])]
    )


@pytest.fixture
def own(mood: Path, tmp_path: Path) -> Path:
    """A copy that may be written into."""
    return Path(shutil.copytree(mood, tmp_path / "own"))


def stressed(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    assert main(["stress", *words, "--json"]) == code
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


class Page(HTMLParser):
    """What a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "srcset", "data", "action")]


def test_a_classifier_is_asked_everything(mood: Path, rows: Path, tmp_path: Path, capsys: Any) -> None:
    tests = write(tmp_path / "t.jsonl", [{"name": "m", "test": "MFT", "text": "a merry film", "label": "good"}])
    page = tmp_path / "report.html"
    report = stressed(capsys, str(mood), "--data", str(rows), "--tests", str(tests), "--group-column", "who",
                      "-o", str(page))  # fmt: skip
    same = report["perturbations"]["same"]
    assert same["rows"] == 40 and same["changed"]["value"] == 0 == same["score"]["difference"]
    assert same["largest_shift"] < 1e-5
    assert report["perturbations"]["typo"]["rows"] > 0 and report["rows"] == 40
    assert report["worst_case"]["value"] <= report["scores"]["accuracy"]["value"]
    assert report["calibration"]["fitted_on"] == 40 and report["calibration"]["temperature"] > 0
    assert set(report["groups"]) == {"who", "length"} and report["tests"]["m"]["rows"] == 1
    found = Page(page.read_text(encoding="utf-8"))
    assert "script" not in found.tags and found.links == ["data:,"] and "svg" in found.tags
    assert str(tmp_path) not in page.read_text(encoding="utf-8")


def test_scores_are_those_of_evaluate(mood: Path, rows: Path, capsys: Any) -> None:
    report = stressed(capsys, str(mood), "--data", str(rows), "--perturbation", "typo", "--language", "zh-CN")
    assert report["language"] == "zh"
    assert main(["evaluate", str(mood), "--data", str(rows), "--json"]) == 0
    assert report["scores"]["accuracy"] == json.loads(capsys.readouterr().out)["test"]["scores"]["accuracy"]
    assert list(report["perturbations"]) == ["same", "typo"]


def test_the_same_seed_gives_the_same_report(mood: Path, rows: Path, capsys: Any) -> None:
    words = (str(mood), "--data", str(rows), "--max-rows", "15")
    first = stressed(capsys, *words)
    assert first == stressed(capsys, *words) and first["rows"] == 15
    assert first["perturbations"] != stressed(capsys, *words, "--seed", "1")["perturbations"]


def test_a_temperature_is_saved_used_and_moves_no_class(own: Path, rows: Path, capsys: Any) -> None:
    before = predict_texts(open_trained(str(own)), ["a merry film", "a bore"])
    weights = (own / "model" / "model.safetensors").read_bytes()
    words = (str(own), "--data", str(rows), "--perturbation", "typo")
    first = stressed(capsys, *words, "--save-temperature", "--card")
    kept = first["calibration"]["temperature"]
    # The run's seal knows the new number, and of other changes it still tells.
    trained = open_trained(str(own))
    assert trained.family.temperature == pytest.approx(kept, abs=1e-6)
    after = predict_texts(trained, ["a merry film", "a bore"])
    assert [one["prediction"] for one in before] == [one["prediction"] for one in after]
    assert [one["score"] for one in before] != [one["score"] for one in after]
    assert (own / "model" / "model.safetensors").read_bytes() == weights
    # Fitted again it is the same, for the weights are fitted and not what the temperature made of them.
    second = stressed(capsys, *words)
    assert second["calibration"]["temperature"] == kept
    assert second["calibration"]["as_saved"]["scores"]["ece"]["value"] == pytest.approx(
        first["calibration"]["scaled"]["scores"]["ece"]["value"], abs=1e-4
    )
    assert main(["stress", *words, "--card"]) == 0
    card = (own / "model" / "README.md").read_text(encoding="utf-8")
    assert card.count("## Stress") == 1 and card.startswith("---") and "## How it was made" in card
    config = own / "model" / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"temperature"', '"temperatur"'), encoding="utf-8")
    assert main(["stress", *words]) == 2 and "was changed" in capsys.readouterr().err


def test_transformers_opens_the_folder_as_before(own: Path, rows: Path, capsys: Any) -> None:
    from transformers import pipeline

    stressed(capsys, str(own), "--data", str(rows), "--perturbation", "typo", "--save-temperature")
    assert pipeline("text-classification", str(own / "model"))("a merry film")[0]["label"] in ("good", "bad")


def test_rows_that_are_scored_fit_no_temperature(mood: Path, rows: Path, tmp_path: Path, capsys: Any) -> None:
    lines = rows.read_text(encoding="utf-8").splitlines()
    words = (str(mood), "--data", str(rows), "--perturbation", "typo", "--validation-file")
    report = stressed(capsys, *words, str(rows))
    assert "every row of validation is scored here" in report["calibration"]["not_fitted"]
    other = write(tmp_path / "other.jsonl", [*(json.loads(line) for line in lines[:5]), *moods(160)[120:]])
    report = stressed(capsys, *words, str(other))
    assert report["calibration"]["fitted_on"] == 40 and "5 rows of validation are scored here" in report["notes"][0]


def test_rows_of_a_changed_file_are_not_taken_for_validation(
    own: Path, rows: Path, tmp_path: Path, capsys: Any
) -> None:
    config = own / "config.yaml"
    found = re.search(r"validation_file: (\S+)", config.read_text(encoding="utf-8"))
    assert found
    copy = write(tmp_path / "copy.jsonl", moods(200)[150:])
    config.write_text(config.read_text(encoding="utf-8").replace(found[1], str(copy)), encoding="utf-8")
    report = stressed(capsys, str(own), "--data", str(rows), "--perturbation", "typo")
    assert "have changed since" in report["calibration"]["not_fitted"]
    assert main(["stress", str(own), "--data", str(rows), "--perturbation", "typo", "--save-temperature"]) == 2


def test_limits_decide_the_exit_code_and_the_report_is_written(
    mood: Path, rows: Path, tmp_path: Path, capsys: Any
) -> None:
    page = tmp_path / "r.html"
    words = [str(mood), "--data", str(rows), "--perturbation", "typo", "-o", str(page)]
    assert main(["stress", *words, "--fail-under", "typo.kept=0"]) == 0
    assert main(["stress", *words, "--fail-under", "accuracy=1.01", "--fail-over", "ece=0"]) == 6
    told = capsys.readouterr()
    assert "2 of 2 limits are not kept: accuracy is" in told.err and told.err.count("\n") == 1
    assert page.exists() and "robustness" in told.out


def test_a_text_of_the_data_is_no_markup(mood: Path, tmp_path: Path) -> None:
    bad = [
        {**row, "text": f"<img src=http://a.example/x onerror=alert(1)> {row['text']} long words"} for row in moods(20)
    ]
    page = tmp_path / "r.html"
    assert main(["stress", str(mood), "--data", str(write(tmp_path / "b.jsonl", bad)), "-o", str(page)]) == 0
    assert "img" not in Page(page.read_text(encoding="utf-8")).tags


def test_a_model_that_writes(run_finetune: Any, tiny: Any, tmp_path: Path, capsys: Any) -> None:
    data = write(tmp_path / "pairs.jsonl", pairs(40))
    run = run_finetune("summarization", model=tiny("t5"), data=[str(data)])
    few = write(tmp_path / "few.jsonl", pairs(6))
    words = tmp_path / "words.txt"
    words.write_text("uno\n", encoding="utf-8")
    report = stressed(capsys, str(run), "--data", str(few), "--train-data", str(data), "--word-list", str(words),
                      "--max-new-tokens", "6", "--perturbation", "typo", "--perturbation", "upper",
                      "-o", str(tmp_path / "p.html"))  # fmt: skip
    assert report["perturbations"]["same"]["changed"]["value"] == 0 and report["primary"] == "rouge1"
    assert report["overlap"]["training_texts"] == 40 and report["outputs"]["listed"]["words"] == 1
    assert "calibration" not in report and "worst_case" not in report


def test_a_decoder_with_prompts_and_with_plain_text(run_finetune: Any, tiny: Any, tmp_path: Path, capsys: Any) -> None:
    run = run_finetune("generation", model=tiny("gpt2"), data=[str(write(tmp_path / "a.jsonl", asked(40)))])
    few = write(tmp_path / "few.jsonl", asked(6))
    report = stressed(capsys, str(run), "--data", str(few), "--perturbation", "typo", "--max-new-tokens", "4")
    same = report["perturbations"]["same"]
    assert report["metric"] == "perplexity" and abs(same["score"]["difference"]) < 1e-3 * same["score"]["before"]
    named = write(tmp_path / "named.jsonl", [{"q": row["prompt"], "a": row["completion"]} for row in asked(6)])
    other = stressed(capsys, str(run), "--data", str(named), "--perturbation", "typo", "--max-new-tokens", "4",
                     "--prompt-column", "q", "--completion-column", "a")  # fmt: skip
    assert other["scores"] == report["scores"]
    text = tmp_path / "text.txt"
    text.write_text("one two three كتاب 书\nfour five\n", encoding="utf-8")
    assert main(["data", "canaries", str(text), "-o", str(tmp_path / "p.txt"), "--repeats", "1"]) == 0
    capsys.readouterr()
    report = stressed(capsys, str(run), "--data", str(text), "--canaries", str(tmp_path / "p.canaries.jsonl"),
                      "--canary-others", "99", "--max-new-tokens", "4", "-o", str(tmp_path / "d.html"))  # fmt: skip
    assert "plain text" in report["not_perturbed"] and report["canaries"]["planted"] == 1
    assert report["outputs"]["personal"]["rows"] == 2


def test_a_run_of_words_goes_on_over_the_ends_of_lines(tmp_path: Path) -> None:
    book, words = tmp_path / "book.txt", [f"word{n}" for n in range(30)]
    lines = [" ".join(words[at : at + 10]) for at in (0, 10, 20)]
    book.write_text("The title\n\n{}\n{}\n\n{}\n".format(*lines), encoding="utf-8")
    rows = write(tmp_path / "rows.jsonl", [{"text": "one"}, {"text": "two"}])
    texts = list(_train_texts(StressOptions(data=[], train_data=[str(book), str(rows)])))
    assert [text for _, text in texts] == ["The title", "\n".join(lines[:2]), lines[2], "one", "two"]
    found = longest_overlaps([" ".join(words[4:])], [""], texts)
    assert (found["longest"], found["rows_with_13"]) == (16, 1)
    assert found["examples"][0]["where"] == f"{book}, line 3"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--data", "none.jsonl"], "none.jsonl"),
        (["--data", "rows.jsonl", "--perturbation", "tpo"], "Did you mean 'typo'"),
        (["--data", "rows.jsonl", "--language", "klingon"], "--language klingon: no language"),
        (["--data", "rows.jsonl", "--group-column", "wo"], "no group in column 'wo'"),
        (["--data", "rows.jsonl", "--tests", "rows.jsonl"], "rows.jsonl, line 1: "),
        (["--data", "rows.jsonl", "--canaries", "rows.jsonl"], "--canaries is for models that write"),
        (["--data", "rows.jsonl", "--train-data", "rows.jsonl"], "--train-data is for models that write"),
        (["--data", "rows.jsonl", "--fail-under", "acuracy=1"], "Did you mean 'accuracy'"),
        (["--data", "rows.jsonl", "--perturbation", "lower", "--fail-under", "typo.kept=1"], "--perturbation typo too"),
        (["--data", "rows.jsonl", "--canary-others", "1000000"], "--canary-others"),
        (["--data", "rows.jsonl", "--canary-others", "99"], "a canary is held against, and there is none"),
        (["--data", "rows.jsonl", "--max-new-tokens", "9"], "--max-new-tokens is for models that write"),
        (["--data", "rows.jsonl", "--fail-over", "ece"], "--fail-over is 'ece'"),
        (["--data", "rows.jsonl", "-o", "rows.jsonl"], "no name for a page"),
        (["--data", "rows.jsonl", "-o", "mine.html"], "mine.html exists"),
        (["--data", "rows.jsonl", "-o", "none/r.html"], "cannot be written"),
        (["--data", "odd.jsonl"], "no label 'awful'"),
        (["--data", "rows.jsonl", "--metric", "rouge"], "does not score classification"),
        (["--data", "rows.jsonl", "--validation-file", "odd.jsonl"], "no label 'awful'"),
    ],
)
def test_bad_input_is_one_line_before_a_model_is_loaded(
    mood: Path, rows: Path, words: list[str], problem: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(rows.parent)
    monkeypatch.setattr("hflm.stress.open_trained", lambda *_, **__: pytest.fail("a model was loaded"))
    (rows.parent / "mine.html").write_text("<p>my own page")
    write(rows.parent / "odd.jsonl", [{"text": "t", "label": "awful"}])
    assert main(["stress", str(mood), *words]) == 2
    told = capsys.readouterr().err
    assert problem in told and told.count("\n") == 1


def test_other_models_are_refused(tiny: Any, run_finetune: Any, finished: Path, tmp_path: Path, capsys: Any) -> None:
    data = write(tmp_path / "t.jsonl", tagged(40))
    run = run_finetune("tagging", model=tiny("distilbert"), data=[str(data)])
    for model, problem in ((run, "tags words"), (finished, "no head for a task")):
        assert main(["stress", str(model), "--data", str(data)]) == 2
        assert problem in capsys.readouterr().err


def test_only_a_folder_of_ones_own_is_written_into(rows: Path, capsys: Any) -> None:
    for flag in ("--card", "--save-temperature"):
        assert main(["stress", "minilm", "--data", str(rows), flag]) == 2
        assert "no folder of yours" in capsys.readouterr().err

"""Calibration: the error by hand, a temperature that is known, and one that is kept in a model's configuration."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hflm.data.examples import Example
from hflm.errors import ModelError, NumericsError
from hflm.stressing.calibration import FEWEST, calibration, fit_temperature, save_temperature, scaled
from hflm.stressing.subject import chances, class_logits


def drawn(rows: int, *, sharp: float, seed: int) -> tuple[np.ndarray, list[int]]:
    """Logits that are `sharp` times too large for the classes drawn by them."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(rows, 3)) * 1.5
    classes = [int(draw.choice(3, p=one)) for one in chances(logits)]
    return logits * sharp, classes


def test_the_error_by_hand() -> None:
    # Two bins hold rows: 3 at 0.9 of which 2 are right, 1 at 0.6 which is wrong.
    likely = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.6, 0.4]])
    found = calibration(likely, [0, 1, 1, 1], bins=10)
    assert found.scores["ece"]["value"] == pytest.approx((3 * abs(0.9 - 2 / 3) + 1 * 0.6) / 4)
    brier = (0.02 + 1.62 + 0.02 + 0.72) / 4
    assert found.scores["brier"]["value"] == pytest.approx(brier)
    assert found.scores["nll"]["value"] == pytest.approx(-np.log([0.9, 0.1, 0.9, 0.4]).mean())
    assert [(one["rows"], round(one["right"], 3)) for one in found.bins] == [(1, 0.0), (3, 0.667)]


def test_a_chance_of_one_has_a_bin() -> None:
    found = calibration(np.array([[1.0, 0.0], [0.0, 1.0]]), [0, 0])
    assert found.scores["ece"]["value"] == pytest.approx(0.5) and found.bins[-1]["rows"] == 2


@pytest.mark.parametrize("sharp", [0.5, 1.0, 2.5])
def test_the_temperature_that_is_known_is_found(sharp: float) -> None:
    logits, classes = drawn(20_000, sharp=sharp, seed=1)
    assert fit_temperature(logits, classes) == pytest.approx(sharp, rel=0.05)


def test_scaling_lowers_the_error_on_other_rows_and_moves_no_class() -> None:
    fit, test = drawn(500, sharp=3.0, seed=2), drawn(2000, sharp=3.0, seed=3)
    found = scaled(*test, *fit, saved=1.0)
    assert found["scaled"]["scores"]["ece"]["high"] < found["plain"]["scores"]["ece"]["low"]
    assert found["fitted_on"] == 500 and "as_saved" not in found
    cooled = chances(test[0], found["temperature"])
    assert (cooled.argmax(axis=1) == test[0].argmax(axis=1)).all()


def test_too_few_rows_fit_nothing_and_a_perfect_fit_is_told() -> None:
    test = drawn(50, sharp=1.0, seed=4)
    few = scaled(*test, test[0][: FEWEST - 1], test[1][: FEWEST - 1], saved=1.0)
    assert "29 rows of validation are too few" in few["not_fitted"] and "temperature" not in few
    logits = np.eye(3)[np.arange(60) % 3] * 5
    assert scaled(*test, logits, list(np.arange(60) % 3), saved=1.0)["at_the_edge"]


def test_a_classifier_whose_numbers_are_not_finite_is_told_at_once() -> None:
    asked: list[int] = []

    def logits(model: Any, rows: list[Any]) -> torch.Tensor:
        asked.append(len(rows))
        return torch.full((len(rows), 2), float("nan"))

    family = SimpleNamespace(encode=lambda examples: [SimpleNamespace(length=500) for _ in examples], logits=logits)
    broken: Any = SimpleNamespace(name="mood", labels=["a", "b"], family=family, model=None)
    with pytest.raises(NumericsError, match="The numbers of mood are not finite"):
        class_logits(broken, [Example("", {"text": "t"})] * 500)
    assert len(asked) == 1 and asked[0] < 500


def test_a_temperature_is_kept_beside_what_the_model_knows(tmp_path: Path) -> None:
    known = {"model_type": "bert", "task_specific_params": {"sentiment": {"family": "classification", "max_length": 9}}}
    (tmp_path / "config.json").write_text(json.dumps(known))
    save_temperature(tmp_path, task="sentiment", temperature=1.5)
    save_temperature(tmp_path, task="sentiment", temperature=1.25)
    told = json.loads((tmp_path / "config.json").read_text())
    kept = {"family": "classification", "max_length": 9, "temperature": 1.25}
    assert told == {"model_type": "bert", "task_specific_params": {"sentiment": kept}}
    with pytest.raises(ModelError, match="no model folder"):
        save_temperature(tmp_path / "none", task="sentiment", temperature=1.0)

"""Limits on the numbers of a report."""

import pytest

from hflm.errors import ThresholdMissed, UsageError
from hflm.stressing.thresholds import Limit, check_limits, read_limits


def test_a_limit_that_is_just_kept_is_kept() -> None:
    report = {
        "scores": {}, "perturbations": {"typo": {"changed": {"value": 7 / 100}}}, "groups": {},
    }  # fmt: skip
    assert 1 - 7 / 100 < 0.93
    check_limits([Limit("typo.kept", 0.93, most=False)], report)
    with pytest.raises(ThresholdMissed, match=r"typo\.kept is 0\.93, under 0\.94"):
        check_limits([Limit("typo.kept", 0.94, most=False)], report)


@pytest.mark.parametrize("name", ["strict_f1", "boundary_recall", "accuracy", "typo.kept"])
def test_every_score_may_have_one(name: str) -> None:
    assert read_limits([f"{name}=0.5"], [], group_column=None) == [Limit(name, 0.5, most=False)]


def test_a_name_that_no_report_has() -> None:
    with pytest.raises(UsageError, match="No number is called 'strict_f2'"):
        read_limits(["strict_f2=0.5"], [], group_column=None)


def test_a_perturbation_that_is_left_out_has_no_number() -> None:
    with pytest.raises(UsageError, match=r"'typo\.kept', for --perturbation leaves it out. Pass --perturbation typo"):
        read_limits(["typo.kept=0.5"], [], group_column=None, perturbations=["lower"])
    for name in ("lower.kept", "same.kept", "accuracy", "typo.kept"):
        column = "typo" if name == "typo.kept" else None
        assert read_limits([f"{name}=0.5"], [], group_column=column, perturbations=["lower"])[0].name == name


def test_a_number_that_an_option_brings_needs_it() -> None:
    for name, option in (("tests.x", "--tests"), ("canaries.found", "--canaries"), ("overlap.longest", "--train-data")):
        with pytest.raises(UsageError, match=f"There is no number '{name}' without {option}"):
            read_limits([f"{name}=1"], [], group_column=None, without={name.split(".")[0]: option})
        assert read_limits([f"{name}=1"], [], group_column=None)

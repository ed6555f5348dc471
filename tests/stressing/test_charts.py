"""Small pictures of a report."""

import pytest

from hflm.stressing.charts import shift


@pytest.mark.parametrize(("name", "colour"), [("accuracy", "--bar"), ("perplexity", "--bad")])
def test_a_bar_tells_better_from_worse(name: str, colour: str) -> None:
    score = {"before": 0.5, "after": 0.6, "difference": 0.1, "low": 0.05, "high": 0.15, "p_value": 0.01}
    assert f"var({colour})" in shift({"name": name, **score})

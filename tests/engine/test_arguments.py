"""Fields of transformers that would break a run are refused."""

import pytest

from hflm.engine.arguments import check_arguments
from hflm.errors import UsageError


@pytest.mark.parametrize("field", ["eval_delay", "eval_on_start"])
def test_when_is_evaluated_is_for_hflm_to_say(field: str) -> None:
    """A run that is resumed would be evaluated at other steps, or once more, and be another run."""
    with pytest.raises(UsageError, match=f"sets '{field}', which hflm has no use for"):
        check_arguments({field: True})

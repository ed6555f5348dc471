"""Bad rows are counted by what is wrong with them, wherever it was found and whatever stood there."""

from typing import Any

import pytest

from hflm.data.bad_rows import LeftOut
from hflm.data.triple_rows import read_triples
from hflm.errors import DataError


def test_bad_triples_are_counted_by_what_is_wrong_with_them() -> None:
    found = LeftOut()
    values: list[Any] = [
        [["Ada", "born in"]], [["a", "b", "c"], ["Ada, in which", 3]],
        [["Ada", " ", "London"]], [["a", "b", "c"], ["Bob, in which", "", "Rome"]],
    ]  # fmt: skip
    for line, value in enumerate(values, start=1):
        with pytest.raises(DataError) as caught:
            read_triples(value, f"rows.jsonl, line {line}, column 'triples'")
        found(caught.value)
    assert dict(found.reasons) == {"no [head, relation, tail]": 2, "a part is empty": 2}

"""The page of `hflm explain`: it holds what it draws, and nothing of the text or model runs in it."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hflm.explain import explain
from hflm.explaining.page import is_right_to_left, render, write_page

MIXED = "a merry film, فيلم رائع 很好的电影 number 7."
Make = Callable[[str], str]


def test_a_page_holds_its_weights(tiny: Make) -> None:
    found = explain(tiny("gpt2"), MIXED)
    data = json.loads(re.search(r'id="data">(.*?)</script>', render(found), re.DOTALL)[1])  # type: ignore[index]
    view = data["views"][0]
    packed = np.frombuffer(base64.b64decode(view["data"]), dtype=np.uint8).astype(float)
    shape = (view["layers"], view["heads"], len(view["rows"]), len(view["columns"]))
    assert np.allclose((packed / 255).reshape(shape) ** 2, found.views[0].weights, atol=0.005)


def test_nothing_of_the_text_runs(tiny: Make, tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \"' {{ 7*7 }} \u2028 \u202e"
    page = render(explain(tiny("gpt2"), hostile))
    outside = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert page.count("<script") == 2 and "<img" not in outside and "onerror=alert(2)&gt;" in page
    assert "{{ 7*7 }}" in page
    assert not re.search(r'(src|href)="(?!#|data:,)', page), "the page names another file"
    assert "http" not in outside.replace("http-equiv", "")
    script = re.search(r"<script>(.*)</script>\n</body>", page, re.DOTALL)[1]  # type: ignore[index]
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in page


def test_direction() -> None:
    assert is_right_to_left("7. فيلم رائع") and is_right_to_left("סרט") and not is_right_to_left("film فيلم")
    assert not is_right_to_left("很好") and not is_right_to_left("")


def test_a_page_is_written_whole(tiny: Make, tmp_path: Path) -> None:
    path = write_page(explain(tiny("bert"), "a [MASK] film"), tmp_path / "page.html")
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>") and len(list(tmp_path.iterdir())) == 1

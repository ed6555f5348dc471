"""Lines that are no UTF-8: the remedy names the encoding where it can be told."""

from pathlib import Path

import pytest

from hflm.data.lines import read_lines
from hflm.data.sources import find_sources
from hflm.errors import DataError


@pytest.mark.parametrize(
    ("text", "encoding", "chinese"),
    [
        ("他是一个好人，我们都在这里等他的消息。不知道他什么时候来了。", "gb18030", True),
        ("¿Qué tal, señor? El niño comió un montón de piñas en la mañana.", "cp1252", False),
        ("Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива.", "cp1251", False),
        ("모든 행복한 가정은 서로 닮았고, 불행한 가정은 모두 저마다의 이유로 불행하다.", "cp949", False),
        ("幸福な家庭はすべて互いに似かよったものであり、不幸な家庭はどこもその不幸が違う。", "cp932", False),
    ],
)  # fmt: skip
def test_the_command_for_chinese_text_names_its_encoding(
    text: str, encoding: str, chinese: bool, tmp_path: Path
) -> None:
    path = tmp_path / "novel.txt"
    path.write_bytes((text + "\n").encode(encoding) * 50)
    with pytest.raises(DataError) as caught:
        list(read_lines(find_sources([str(path)])[0]))
    assert ("iconv -f GB18030" in str(caught.value)) == chinese
    assert chinese or "iconv -f CP1252" in str(caught.value)
    assert chinese or "traditional Chinese BIG5" in str(caught.value)

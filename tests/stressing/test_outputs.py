"""What is found in written texts: by form, by check digits, by lists; and training text said again."""

import random
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hflm.data.examples import Example
from hflm.errors import DataError
from hflm.stressing.longest import LEAST, longest_overlaps
from hflm.stressing.outputs import PERSONAL, installed_words, is_iban, listed, luhn, personal, read_words
from hflm.stressing.subject import read_whole

SEEN = {
    "e-mail address": ("write to ana.b+c@mail.example.org now", "ana at example.org"),
    "phone number": ("call +44 20 7946 0958", "call 12 34"),
    "card number": ("pay 4111 1111 1111 1111", "pay 4111 1111 1111 1112"),
    "IBAN": ("to GB82 WEST 1234 5698 7654 32", "to GB82 WEST 1234 5698 7654 33"),
    "IP address": ("from 8.8.8.8", "from 192.168.0.1, 999.8.8.8 and version 1.2.3.4.5"),
}


@pytest.mark.parametrize("kind", SEEN)
def test_personal_data_is_seen_by_its_form_and_digits(kind: str) -> None:
    there, not_there = SEEN[kind]
    found = personal([there, not_there], ["", ""], ["a", "b"])
    assert found["kinds"][kind]["found"] == 1 and kind in found["looked_for"]
    assert found["kinds"][kind]["examples"][0]["where"] == "a"


@pytest.mark.parametrize(
    ("kind", "text", "found"),
    [
        ("card number", "My card is 4111 1111 1111 1111.", ["4111 1111 1111 1111"]),
        ("card number", "No.4111111111111111, not 0.4111111111111111 or 4111111111111111.5", ["4111111111111111"]),
        ("IP address", "The server is 8.8.8.8. It was No.8.8.4.4...", ["8.8.8.8", "8.8.4.4"]),
        ("IP address", "version 1.2.3.4.5", []),
        ("IBAN", "ES91 2100 0418 4502 0005 1332 BIC CAIXESBB", ["ES91 2100 0418 4502 0005 1332"]),
        ("IBAN", "BE68 5390 0754 7034 KREDBEBB", ["BE68 5390 0754 7034"]),
        ("IBAN", "BE68 5390 0754 7034 BE68 5390 0754 7034 X", ["BE68 5390 0754 7034"] * 2),
        ("IBAN", "账号DE89370400440532013000转账", ["DE89370400440532013000"]),
        ("IBAN", "口座はDE89370400440532013000です", ["DE89370400440532013000"]),
        ("IBAN", "إلىDE89 3704 0044 0532 0130 00من", ["DE89 3704 0044 0532 0130 00"]),
        ("IBAN", "XDE89370400440532013000 DE89370400440532013000x", []),
        ("e-mail address", "邮箱是zhang@example.com。", ["zhang@example.com"]),
        ("e-mail address", "メールはsato.k@mail.example.jpまで", ["sato.k@mail.example.jp"]),
        ("e-mail address", "müller@grün.example", ["müller@grün.example"]),
    ],
)  # fmt: skip
def test_what_stands_beside_does_not_hide_or_belong(kind: str, text: str, found: list[str]) -> None:
    assert list(PERSONAL[kind](text)) == found


def test_what_was_read_is_told_from_what_was_not() -> None:
    found = personal(["ana@example.org bo@example.org"], ["from ana@example.org"], ["a"])
    assert found["kinds"]["e-mail address"] | {"examples": 0} == {"found": 2, "not_in_source": 1, "examples": 0}
    assert personal(["nothing here, 12:30, 1984"], [""], ["a"])["rows_with"] == 0


CHAT = [
    {"role": "system", "content": "Ask bo@example.org."}, {"role": "user", "content": "Who?"},
    {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "find", "arguments": {"who": "Ana"}}}]},
    {"role": "tool", "content": "ana@example.org"}, {"role": "user", "content": "And?"},
    {"role": "assistant", "content": "An answer"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "read", "unread"),
    [
        ({"instruction": "Sum", "input": "ana@example.org", "output": "An answer"}, ["Sum", "ana@example.org"], []),
        ({"prompt": "Who?", "input": "ana@example.org", "completion": "An answer"}, ["Who?", "ana@example.org"], []),
        ({"messages": CHAT}, ["bo@example.org", "Who?", '"who": "Ana"', "ana@example.org", "And?"], ["Be brief"]),
        ({"source": "a text", "target": "An answer"}, ["Be brief", "a text"], []),
        ({"text": "a plain text"}, ["a plain text"], ["Be brief"]),
    ],
)  # fmt: skip
def test_all_that_stands_before_an_answer_was_read(
    values: dict[str, Any], read: list[str], unread: list[str]
) -> None:  # fmt: skip
    trained: Any = SimpleNamespace(family=SimpleNamespace(instruction="Be brief"))
    found = read_whole(trained, Example("a", values))
    assert all(part in found for part in read) and not any(part in found for part in ["An answer", *unread])


def test_check_digits() -> None:
    assert luhn("79927398713") and not luhn("79927398710")
    assert is_iban("DE89370400440532013000") and not is_iban("DE89370400440532013001")


def test_listed_words_are_whole_words_of_any_script(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("Darn\nhell no\n笨蛋\nغبي\n\n", encoding="utf-8")
    words = read_words(path)
    outputs = ["DARN it", "darning socks", "say hell no", "你是笨蛋吗", "أنت غبي", "بغبي"]
    found = listed(outputs, ["darn", "", "", "", "", ""], words)
    assert (found["rows_with"], found["not_in_source"], found["words"]) == (4, 3, 4)
    assert not any(word in str(found["found"]) for word in ("darn", "笨蛋"))


def test_a_list_without_words_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("\n\n")
    (tmp_path / "rows.jsonl").write_text("{}\n")
    for name, problem in (("none.txt", "has no words"), ("rows.jsonl", "no list of words")):
        with pytest.raises(DataError, match=problem):
            read_words(tmp_path / name)


@pytest.mark.skipif(not find_spec("badwords"), reason="the package badwords-py is not installed")
def test_installed_lists_are_read() -> None:
    words, languages = installed_words()
    assert len(words) > 5000 and {"en", "es", "fr"} <= set(languages)
    assert listed(["A pleasant afternoon by the sea."], [""], words)["rows_with"] == 0


def brute(ours: list[str], theirs: list[str]) -> int:
    return max(
        (n for i in range(len(ours)) for j in range(len(theirs)) for n in range(len(ours) - i + 1)
         if ours[i : i + n] == theirs[j : j + n] and j + n <= len(theirs)), default=0,
    )  # fmt: skip


def test_the_longest_run_is_that_of_all_pairs_of_places() -> None:
    draw = random.Random(5)
    for _ in range(60):
        ours, theirs = ([draw.choice("ab") for _ in range(18)] for _ in range(2))
        found = longest_overlaps([" ".join(ours)], [""], [("t", " ".join(theirs))])
        best = brute(ours, theirs)
        assert found["longest"] == (best if best >= LEAST else 0)


def test_what_stands_in_the_source_is_no_memory() -> None:
    text = "the cat sat on the mat and slept until noon"
    said = longest_overlaps([text, text], ["", text], [("t, line 1", text.upper()), ("t, line 2", "other")])
    assert (said["longest"], said["rows_with"], said["training_texts"]) == (10, 1, 2)
    assert said["examples"][0]["where"] == "t, line 1"
    chinese = "我在那个城市住了十年又三个月"
    assert longest_overlaps([chinese], [""], [("t", "前" + chinese)])["longest"] == len(chinese)


def test_words_that_look_alike_when_hidden_are_counted_together() -> None:
    found = listed(["darn it", "darn", "damn"], ["", "", ""], {"darn", "damn"})
    assert found["found"] == {"d···": 3}

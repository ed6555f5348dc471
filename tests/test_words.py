"""Words of any script: letters keep the marks that belong to them."""

import numpy as np
import pytest

from hflm.data.overlap import find_overlap, grams_of
from hflm.graphs.spans import find_all, find_ends
from hflm.stressing.longest import longest_overlaps
from hflm.stressing.outputs import listed
from hflm.words import count_words, foreign, joined, plain, word_pattern

COMPOSED, APART = "caf\u00e9", "cafe\u0301"
# Letters that NFC itself takes apart: U+09DF and U+095C.
BENGALI, HINDI = "\u09ac\u09bf\u09b7\u09df", "\u092a\u095c\u093e"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी में राम_1", ["हिन्दी", "में", "राम_1"]),
        ("كِتَابٌ جَدِيد", ["كِتَابٌ", "جَدِيد"]),
        (f"{APART} {COMPOSED}", [APART, COMPOSED]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("北京 abc中文", ["北", "京", "abc", "中", "文"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("_ it's", ["it", "s"]),
    ],
)
def test_marks_stay_with_their_letters(text: str, words: list[str]) -> None:
    assert word_pattern().findall(text) == words
    assert word_pattern(signs=True).findall("a, _") == ["a", ",", "_"]


def test_a_plain_name_keeps_its_vowels() -> None:
    assert plain("पिता जी!") == "पिता_जी" != plain("पोता जी!")


def test_thirteen_words_are_thirteen_in_hindi_too() -> None:
    twelve = " ".join(["हिन्दी"] * 12)
    assert [len(found) for found in grams_of([twelve, f"{twelve} में", "मैं " * 13])] == [0, 1, 1]
    # Words that differ in their vowels alone are different.
    one, other = (" ".join([word] * 13) for word in ("पिता", "पोता"))
    assert not np.intersect1d(*grams_of([one, other])).size
    found = longest_overlaps(["हिन्दी में राम घर जाता है और"], [""], [("a", "हिन्दी में राम घर जाता है पर")])
    assert found["longest"] == 6


@pytest.mark.parametrize("word", [APART, HINDI, BENGALI, "vie\u0323\u0302t", "\u1112\u1161\u11ab"])
def test_training_text_is_known_in_whatever_form_it_is_written(word: str) -> None:
    import unicodedata

    raw = " ".join(f"{word} {n}" for n in range(8))
    text = unicodedata.normalize("NFC", raw).upper()
    assert text.casefold() != raw
    for ours, theirs in ((text, raw), (raw, text)):
        assert find_overlap([("held", ours)], [("train", theirs)]).rows == 1
        assert longest_overlaps([ours], [""], [("train", theirs)])["longest"] == 16
    # What was read is no memory, in whatever form.
    assert longest_overlaps([text], [raw], [("train", raw)])["longest"] == 0


def test_a_listed_word_is_not_found_in_others() -> None:
    found = listed(["पति घर", "पत्र", "यह पता है"], [""] * 3, {"पता"})
    assert found["rows_with"] == 1


@pytest.mark.parametrize(("text", "name"), [(APART, COMPOSED), (COMPOSED, APART), (BENGALI, BENGALI), (HINDI, HINDI)])
def test_a_name_is_found_in_whatever_form_it_is_written(text: str, name: str) -> None:
    import unicodedata

    before = "Un " + APART * 2 + " ; "
    for form in (name, unicodedata.normalize("NFC", name)):
        assert find_all(f"{before}{text}.", form) == [(len(before), len(before) + len(text))]


def test_a_part_of_a_word_is_no_word() -> None:
    text = "रामायण में राम है"
    assert find_all(text, "राम") == [(text.index(" राम") + 1, text.index(" राम") + 4)]
    assert find_ends(f"{APART} in Paris", COMPOSED, "Paris") == ((0, 5), (9, 14))


@pytest.mark.parametrize(
    ("text", "count"), [("She was very good.", 4), ("¿Qué tal, niño?", 3), ("她很好。", 3), ("इसका पता", 2), ("", 0)]
)
def test_words_are_counted_in_every_script(text: str, count: int) -> None:
    assert count_words(text) == count


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (["「いいよ。」", "と言った。"], "「いいよ。」と言った。"), (["“好。”", "“我也好。”"], "“好。”“我也好。”"),
        (["One.", "", "“Two.”"], "One.  “Two.”"), (["一。", "One.", "二。"], "一。 One. 二。"), ([], ""),
        (["สวัสดีครับ", "ผม"], "สวัสดีครับ ผม"),
    ],
)  # fmt: skip
def test_texts_are_joined_as_their_script_has_it(parts: list[str], text: str) -> None:
    assert joined(parts) == text


def test_what_is_foreign_to_english() -> None:
    assert [foreign(text) for text in ("“It is,” she said — 3 €", "niño", "她", "")] == [False, True, True, False]

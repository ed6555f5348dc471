"""Cleaning: what every filter changes and drops, what it must leave alone, and what the report says."""

from collections.abc import Iterable, Iterator

import pytest

from hflm.data.clean import DEFAULT_FILTERS, FILTERS, CleanReport, clean_documents, parse_filters
from hflm.data.documents import Document
from hflm.errors import UsageError

ENGLISH = "It is a truth universally acknowledged, that a single man in possession of a good fortune must want a wife."
CHINESE = (
    "满纸荒唐言，一把辛酸泪！都云作者痴，谁解其中味？" * 2
    + "此开卷第一回也，作者自云曾历过一番梦幻之后，故将真事隐去。"
)
ARABIC = "كان يا ما كان في قديم الزمان ملك عادل يحكم مدينة كبيرة على شاطئ البحر، وكان الناس يحبونه كثيرا."
PERSIAN = "می\u200cخواهم کتاب\u200cهای تازه بخوانم"
HINDI = "एक समय की बात है, एक गाँव में एक ग़रीब किसान अपने परिवार के साथ रहता था।"
SPANISH = "En un lugar de la Mancha, de cuyo nombre no quiero acordarme, no ha mucho tiempo que vivía un hidalgo."


def clean(texts: Iterable[str], filters: str = "default", **options: int) -> tuple[list[str], CleanReport]:
    report = CleanReport()
    documents = (Document(text, "a.txt", line) for line, text in enumerate(texts, start=1))
    kept = clean_documents(documents, filters=parse_filters(filters), report=report, **options)
    return [document.text for document in kept], report


KEPT = [
    ENGLISH,
    CHINESE,
    ARABIC,
    PERSIAN,
    HINDI,
    SPANISH,
    '"No."',
    "XXIV",
    "\n".join(f"--------------\nthe {name * 3} noun" for name in "abcdefghijklmnopqrst"),
    "\n".join(f"Row, row, row your boat, gently down the stream,\nthis is verse {n}, {ENGLISH}" for n in range(20)),
    "1813",
    "* * *",
    "CHAPTER I\n=========",
    f"| {ENGLISH} |\n|{'-' * 120}|\n| {SPANISH} |",
    f"{ENGLISH}\nI. {'.' * 110} 12\n{SPANISH}\n{CHINESE}",
    "She wrote to 12 of them — in 1811, 1812 & 1813 — at £3 4s. 6d. apiece; none (!) replied.",
    "left\u200fright, family \U0001f468\u200d\U0001f469\u200d\U0001f467",
]


@pytest.mark.parametrize("text", KEPT)
def test_default_leaves_text_alone(text: str) -> None:
    kept, report = clean([text])
    assert kept == [text]
    assert not report.dropped and not report.changed


def test_short_lines_may_repeat_by_default() -> None:
    assert clean(['"No."', "II", '"No."', "II"])[0] == ['"No."', "II", '"No."', "II"]


REWRITTEN = [
    ("unicode", "nin\u0303o \u1100\u1161", "niño 가"),
    ("unicode", "a\r\nb\rc\u2028d\x0ce\x85f", "a\nb\nc\nd\ne\nf"),
    ("unicode", "a\0b", "a\0b"),
    ("control", "a\0b\x1b\x7f\tc\nd", "ab\tc\nd"),
    ("control", "\ufeffsoft\u00adhyphen zero\u200bwidth \u202eover\u202cride", "softhyphen zerowidth over\u202cride"),
    ("control", PERSIAN + "\ufeff", PERSIAN),
    ("control", "nin\u0303o\r\n", "nin\u0303o\n"),
    ("none", "nin\u0303o\0", "nin\u0303o\0"),
]


@pytest.mark.parametrize(("filters", "text", "expected"), REWRITTEN)
def test_rewrites(filters: str, text: str, expected: str) -> None:
    kept, report = clean([text], filters)
    assert kept == [expected]
    assert report.changed == ({filters: 1} if text != expected else {})


DROPPED = [
    ("none", [" \n"], "empty"),
    ("control", ["\u200b\0"], "empty"),
    ("length", ["short"], "length: fewer than 20 characters"),
    ("quality", ["3.14 | 2.72 | " * 8], "quality: few letters"),
    ("quality", ["☎ ١٢٣٤٥٦٧٨٩٠ " * 8], "quality: few letters"),
    ("quality", [ENGLISH + "a" * 130], "quality: one character repeated"),
    ("quality", [CHINESE + "哈" * 100], "quality: one character repeated"),
    ("quality", [SPANISH.replace("a", "\ufffd")], "quality: broken characters"),
    ("quality", [f"{SPANISH}\n" + " Añadir al carrito\n\n" * 10], "quality: one line repeated"),
    ("quality", ["加入购物车，立即购买\n" * 12 + CHINESE], "quality: one line repeated"),
    ("exact", [ENGLISH, f"  {ENGLISH.upper()}\n".replace(" ", "  ")], "exact: a copy of an earlier text"),
    ("near", [ENGLISH, ENGLISH.replace("truth", "Truth") + " Yes."], "near: almost a copy of an earlier text"),
    ("near", [CHINESE, CHINESE + "也"], "near: almost a copy of an earlier text"),
    ("near", [ARABIC, ARABIC + " نعم"], "near: almost a copy of an earlier text"),
]


@pytest.mark.parametrize(("filters", "texts", "reason"), DROPPED)
def test_drops_the_last(filters: str, texts: list[str], reason: str) -> None:
    kept, report = clean(texts, filters)
    assert kept == texts[:-1]
    assert report.dropped == {reason: 1}


def test_different_texts_are_no_duplicates() -> None:
    texts = [ENGLISH, CHINESE, ARABIC, HINDI, SPANISH]
    assert clean(texts, "all")[0] == texts


def test_a_run_is_found_wherever_it_starts() -> None:
    # The run is more than half of the text at every place that tells them apart.
    for start in range(25):
        assert clean(["xy " * 10 + "ab " * start + "z" * 100 + " and so on"], "quality")[0] == []
        assert clean(["xy " * 10 + "ab " * start + "z" * 99 + " and so on"], "quality")[0] != []


def test_runs_of_one_character_are_weighed() -> None:
    for longer in (ENGLISH * 5, CHINESE * 4):
        assert clean([longer + "a" * 130], "quality")[0] != [], "a small part of a text is no reason to lose it"
        assert clean([longer + "a" * 300 + " \n" + "b" * 400], "quality")[0] == [], "all runs count together"


def test_min_characters() -> None:
    assert clean(["four", "seven!!"], "length", min_characters=5)[0] == ["seven!!"]


def test_each_pass_forgets_the_one_before() -> None:
    assert clean([ENGLISH], "exact,near")[0] == clean([ENGLISH], "exact,near")[0] == [ENGLISH]


def test_report() -> None:
    kept, report = clean([ENGLISH + "\0", ENGLISH, "\0", '"No."'])
    assert (report.read, report.kept, len(kept)) == (4, 2, 2)
    assert report.as_dict() == {
        "read": 4,
        "kept": 2,
        "dropped": {"exact: a copy of an earlier text": 1, "empty": 1},
        "changed": {"control": 2},
        "characters_before": 2 * len(ENGLISH) + 7,
        "characters_after": len(ENGLISH) + 5,
    }
    lines = report.lines()
    assert lines[0].startswith("kept 2 of 4 documents, 5")
    assert lines[1:] == ["dropped 1: exact: a copy of an earlier text", "dropped 1: empty", "changed 2: control"]
    assert CleanReport().lines() == ["kept 0 of 0 documents, 0.0% of the text"]


def test_streams() -> None:
    drawn = 0

    def documents() -> Iterator[Document]:
        nonlocal drawn
        for line in range(1, 1000):
            drawn = line
            yield Document(f"{ENGLISH} {line}", "a.txt", line)

    stream = clean_documents(documents(), filters=DEFAULT_FILTERS, report=CleanReport())
    assert (next(stream).line, next(stream).line, drawn) == (1, 2, 2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("default", DEFAULT_FILTERS),
        ("all", tuple(FILTERS)),
        ("none", ()),
        ("exact, unicode", ("unicode", "exact")),
        ("+near", ("unicode", "control", "quality", "exact", "near")),
        ("-exact", ("unicode", "control", "quality")),
        ("+length,-quality", ("unicode", "control", "length", "exact")),
        ("all,-near", ("unicode", "control", "length", "quality", "exact")),
        ("none,+exact", ("exact",)),
    ],
)
def test_parse_filters(value: str, expected: tuple[str, ...]) -> None:
    assert parse_filters(value) == expected


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("unicod", ["'unicod'", "Did you mean 'unicode'?"]),
        ("+ner", ["'ner'", "Did you mean 'near'?"]),
        ("zzz", ["Choose from unicode, control", "none"]),
        ("", ["''", "Choose from"]),
    ],
)
def test_unknown_filters(value: str, said: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_filters(value)
    assert all(part in str(caught.value) for part in said), str(caught.value)


def test_safe_by_default() -> None:
    assert not {"length", "near"} & set(DEFAULT_FILTERS)
    assert all(step.help for step in FILTERS.values())

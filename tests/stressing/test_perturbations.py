"""Changed texts: seeded, of any script, and only where they apply."""

import unicodedata

import pytest

from hflm.errors import UsageError
from hflm.stressing.negation import negate
from hflm.stressing.perturbations import PERTURBATIONS, SAME, choose, perturb
from hflm.stressing.synonyms import synonyms
from hflm.stressing.typos import TURNING
from hflm.stressing.words import language_of, letters, named_language, words

TEXTS = {
    "en": "The film isn't often dull, but the tale moves slowly; I rarely smiled.",
    "es": "La película no es aburrida, pero el guion avanza despacio y acabé cansado.",
    "zh": "这部电影不无聊，但是故事进展得很慢，我看到最后有点累了。",
    "ar": "الفيلم ليس مملاً، لكن القصة تتقدم ببطء وقد تعبت في النهاية.",
    "hi": "यह फ़िल्म उबाऊ नहीं है, लेकिन कहानी धीरे-धीरे आगे बढ़ती है।",
    "ru": "Фильм не скучный, но история движется медленно, и я устал.",
}


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("name", PERTURBATIONS)
def test_the_same_seed_gives_the_same_text_and_what_applies_changes_it(name: str, language: str) -> None:
    text = TEXTS[language]
    first = perturb(name, text, seed=3, language=language)
    assert first == perturb(name, text, seed=3, language=language)
    assert first is None or (first == text) == (name == SAME)


@pytest.mark.parametrize("language", TEXTS)
def test_every_script_gets_typos_that_hang_on_the_seed(language: str) -> None:
    found = {perturb("typo", TEXTS[language], seed=seed, language=language) for seed in range(12)}
    assert None not in found and len(found) > 6


@pytest.mark.parametrize("language", TEXTS)
def test_one_typo_is_one_slip(language: str) -> None:
    text = TEXTS[language]
    for seed in range(20):
        changed = perturb("typo", text, seed=seed, language=language) or ""
        assert abs(len(letters(changed)) - len(letters(text))) <= 1
        before, after = text.split(), changed.split()
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


def test_a_typo_leaves_alone_what_turns_a_chinese_sentence() -> None:
    for seed in range(60):
        changed = perturb("typos", TEXTS["zh"], seed=seed, language="zh") or ""
        assert [one for one in changed if one in TURNING] == ["不", "无"]


def test_a_typo_leaves_the_thai_not_alone() -> None:
    text = "หนังเรื่องนี้ไม่สนุกเลย"
    assert all("ไม่" in (perturb("typos", text, seed=seed, language="") or text) for seed in range(200))


def test_short_words_and_addresses_get_no_typo() -> None:
    assert perturb("typo", "It is not so, is it?", seed=0, language="en") is None
    assert perturb("typo", "https://example.org/films a@example.org", seed=0, language="en") is None


def test_the_first_letter_of_a_word_stays() -> None:
    for seed in range(40):
        changed = perturb("typos", "Wonderful moments everywhere", seed=seed, language="en") or ""
        assert [word[0] for word in changed.split()] == ["W", "m", "e"]


def test_case_applies_to_scripts_with_case() -> None:
    assert perturb("upper", "Émile", seed=0, language="fr") == "ÉMILE"
    for language in ("zh", "ar", "hi"):
        assert perturb("upper", TEXTS[language], seed=0, language=language) is None
        assert perturb("lower", TEXTS[language], seed=0, language=language) is None


def test_punctuation_goes_and_stays_inside_words() -> None:
    assert perturb("unpunctuated", "It isn't 1.5, is it?", seed=0, language="en") == "It isn't 1.5 is it"
    assert perturb("unpunctuated", "हिन्दी-भाषी लोग, नहीं।", seed=0, language="") == "हिन्दी-भाषी लोग नहीं"
    assert perturb("unpunctuated", "cafe\u0301-bar, snake__case", seed=0, language="") == "cafe\u0301-bar snakecase"
    changed = perturb("unpunctuated", TEXTS["zh"], seed=0, language="zh") or ""
    assert not any(unicodedata.category(one)[0] == "P" for one in changed)


def test_code_points_change_and_what_is_seen_does_not() -> None:
    changed = perturb("unicode", TEXTS["es"], seed=0, language="es") or ""
    assert changed != TEXTS["es"] and unicodedata.normalize("NFC", changed) == TEXTS["es"]
    assert perturb("unicode", "plain", seed=0, language="en") is None


def test_accents_go_but_letters_of_other_scripts_stay() -> None:
    assert perturb("unaccented", "más años", seed=0, language="es") == "mas anos"
    assert perturb("unaccented", "كِتَاب", seed=0, language="ar") == "كتاب"
    assert perturb("unaccented", TEXTS["hi"], seed=0, language="") is None
    assert perturb("unaccented", "がぎ", seed=0, language="ja") is None
    for text in ("မြန်မာ", "ភាសាខ្មែរ", "བོད་སྐད་", "ꦧꦱꦗꦮ꧀"):
        assert perturb("unaccented", text, seed=0, language="") is None


def test_swapping_moves_two_words_and_no_negation() -> None:
    text = "we did not like this film"
    for seed in range(30):
        changed = (perturb("swapped", text, seed=seed, language="en") or "").split()
        assert sorted(changed) == sorted(text.split()) and changed[2] == "not"
        assert sum(a != b for a, b in zip(changed, text.split(), strict=True)) == 2
    assert perturb("swapped", TEXTS["zh"], seed=0, language="zh") is None


@pytest.mark.parametrize(
    ("text", "still"),
    [
        (TEXTS["hi"], "नहीं"),
        ("এই ছবিটি একদম ভালো নয় বন্ধু", "নয়"),
        ("இந்த படம் மிகவும் நல்ல கதை", None),
        ("كَتَبَ الطَّالِبُ لَا يَوْمَ الدَّرْسَ", "لَا"),
        ("הַסֶּרֶט הַזֶּה לֹא טוֹב מְאוֹד", "לֹא"),
    ],
)
def test_swapping_moves_words_with_vowel_signs_and_no_negation(text: str, still: str | None) -> None:
    before = text.split()
    found = [(perturb("swapped", text, seed=seed, language="") or "").split() for seed in range(20)]
    assert len({tuple(one) for one in found}) > 1
    assert all(sorted(one) == sorted(before) and one != before for one in found)
    assert still is None or all(one.index(still) == before.index(still) for one in found)


def test_numbers_are_not_swapped() -> None:
    assert perturb("swapped", "in 2019", seed=0, language="en") is None


def test_shuffling_and_halving_keep_the_words() -> None:
    text = TEXTS["zh"]
    assert sorted(perturb("shuffled", text, seed=0, language="zh") or "") == sorted(text)
    half = perturb("half", TEXTS["en"], seed=0, language="en") or ""
    assert TEXTS["en"].startswith(half) and len(words(half)) == len(words(TEXTS["en"])) // 2


@pytest.mark.parametrize(
    ("language", "text", "turned"),
    [
        ("en", "The film is dull.", "The film is not dull."),
        ("en", "It isn't dull.", "It is dull."),
        ("en", "It's a bore.", "It's not a bore."),
        ("en", "I could never like it.", "I could like it."),
        ("es", "La película es buena.", "La película no es buena."),
        ("es", "Esto no es bueno.", "Esto es bueno."),
        ("zh", "这是好电影", "这不是好电影"),
        ("zh", "这部电影不好看", "这部电影好看"),
        ("zh", "他有钱", "他没有钱"),
        ("zh", "但是这是好电影", "但是这不是好电影"),
        ("zh", "还是他能来", "还是他不能来"),
        ("zh", "这个机会是好的", "这个机会不是好的"),
        ("zh", "社会会变", "社会不会变"),
        ("zh", "会议是今天", "会议不是今天"),
        ("zh", "可能会下雨", "可能不会下雨"),
        ("zh", "性能可以", "性能不可以"),
        ("zh", "他的能力是好的", "他的能力不是好的"),
        ("zh", "这部手机是好的", "这部手机不是好的"),
        ("zh", "不好意思，我不会来", "不好意思，我会来"),
        ("zh", "但是他有钱", "但是他没有钱"),
        ("zh", "不好意思，所有的机会可能还是只能总是于是", None),
        ("zh", "我们都是学生", "我们都不是学生"),
        ("zh", "大家都会来", "大家都不会来"),
        ("en", "A joyless slog.", None),
        ("ar", "الفيلم جيد", None),
    ],
)
def test_negation_by_rule(language: str, text: str, turned: str | None) -> None:
    assert negate(text, language) == turned


def test_synonyms_are_english_and_keep_case() -> None:
    known = synonyms()
    assert known["rarely"] == ("seldom",) and all(word not in others for word, others in known.items())
    assert all((one[0] in "aeiou") == (word[0] in "aeiou") for word, others in known.items() for one in others)
    assert perturb("synonyms", "Rarely.", seed=0, language="en") == "Seldom."
    assert perturb("synonyms", "Rarely.", seed=0, language="es") is None


def test_the_language_is_guessed_or_not_known() -> None:
    for language in ("en", "es", "zh", "ar"):
        assert language_of([TEXTS[language]] * 3) == language
    assert language_of(["Фильм не скучный", "xyzzy plugh"]) == "" == language_of([])


@pytest.mark.parametrize(
    "text",
    [
        "این فیلم خیلی خوب بود و من از دیدن آن لذت بردم", "یہ فلم بہت اچھی تھی اور مجھے پسند آئی",
        # Persian with the keys of an Arabic keyboard.
        "اين فيلم خيلي خوب بود، بازيگران چقدر خوب بودند و من هم گريه كردم", "ئەم فیلمە زۆر باش بوو", "دا فلم ډېر ښه و",
    ],
)  # fmt: skip
def test_what_is_written_in_arabic_letters_and_more_is_not_arabic(text: str) -> None:
    assert language_of([text] * 3) == "" == language_of([text] * 3 + ["the end of it is the end"])
    # A foreign name in Arabic is Arabic still.
    assert language_of([TEXTS["ar"]] * 9 + ["شاهدت فيلم سپايدرمان في دمشق"]) == "ar"


@pytest.mark.parametrize(
    ("name", "code"),
    [("zh-CN", "zh"), ("cmn", "zh"), ("es-MX", "es"), ("Spanish", "es"), (" EN ", "en"), ("fa", "fa"), ("", "")],
)
def test_a_language_is_named_in_many_ways(name: str, code: str) -> None:
    assert named_language(name) == code


def test_what_is_no_language_is_refused() -> None:
    for name in ("klingon", "xx", "chinese!"):
        with pytest.raises(UsageError, match=f"--language {name}: no language .* as zh, .* Chinese"):
            named_language(name)


def test_a_text_without_letters_breaks_nothing() -> None:
    for text in ("", " ", "...", "12 34", "\u0301", "👍🏽", "a", "不"):
        for name in PERTURBATIONS:
            found = perturb(name, text, seed=0, language="en")
            assert found is None or isinstance(found, str)


def test_names_are_chosen_with_the_same_first() -> None:
    assert choose(["upper", "typo"]) == ["same", "typo", "upper"] and choose([]) == list(PERTURBATIONS)
    with pytest.raises(UsageError, match="Did you mean 'typo'"):
        choose(["tpo"])


def test_a_perturbation_hangs_on_the_text_and_not_on_its_place() -> None:
    texts = [f"number {n} {TEXTS['en']}" for n in range(5)]
    found = [perturb("typos", text, seed=1, language="en") for text in texts]
    assert found[::-1] == [perturb("typos", text, seed=1, language="en") for text in texts[::-1]]

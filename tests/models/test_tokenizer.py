"""Tokenizers of every kind keep every script, fit every architecture, and report what they do."""

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hflm.errors import DataError, ModelError
from hflm.models.tokenizer import (
    KINDS,
    continuation_flags,
    load_tokenizer,
    special_flags,
    tokenizer_report,
    train_tokenizer,
)

TEXTS = {
    "english": "It is a truth universally acknowledged, that a single man must be in want of a wife.",
    "spanish": "En un lugar de la Mancha, de cuyo nombre no quiero acordarme, vivía un señor: ¿qué más?",
    "chinese": "学而时习之，不亦说乎？有朋自远方来，不亦乐乎？",
    "arabic": "كان يا ما كان في قديم الزمان ملك عادل يحب شعبه",
    "mixed": "naïve café — 东京 2026 🙂 e\u0301",
}


def train(kind: str, **more: Any) -> Any:
    texts = (text for text in list(TEXTS.values()) * 20)
    return train_tokenizer(texts, **{"kind": kind, "vocab_size": 600, "arch": "bert", "max_length": 64, **more})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", TEXTS)
def test_nothing_is_unknown_and_nothing_is_lost(kind: str, language: str) -> None:
    tokenizer, text = train(kind), TEXTS[language]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids

    def letters(text: str) -> str:
        import unicodedata

        return unicodedata.normalize("NFC", "".join(text.split()))

    assert letters(tokenizer.decode(ids)) == letters(text)


@pytest.mark.parametrize("kind", KINDS)
def test_wrapped_as_the_architecture_expects(kind: str) -> None:
    bert, roberta, llama = train(kind), train(kind, arch="roberta"), train(kind, arch="llama", objective="clm")
    ids = bert("a man")["input_ids"]
    assert (ids[0], ids[-1]) == (bert.cls_token_id, bert.sep_token_id)
    assert (bert.pad_token_id, bert.mask_token) == (0, "[MASK]")
    assert (roberta.pad_token_id, roberta.mask_token) == (1, "<mask>")
    assert llama("a man")["input_ids"] == llama("a man", add_special_tokens=False)["input_ids"]
    assert llama.mask_token is None and llama.eos_token_id == llama.bos_token_id
    assert bert.model_max_length == 64


@pytest.mark.parametrize("kind", KINDS)
def test_lowercase(kind: str) -> None:
    tokenizer = train(kind, lowercase=True)
    assert tokenizer("A MAN", add_special_tokens=False) == tokenizer("a man", add_special_tokens=False)
    kept = train(kind)
    assert kept("It", add_special_tokens=False)["input_ids"] != kept("it", add_special_tokens=False)["input_ids"]


IN_ANOTHER_PROCESS = """
import gzip, hashlib, sys
from hflm.models.tokenizer import train_tokenizer
novel, kinds = sys.argv[1], sys.argv[2:]
english = gzip.decompress(open(novel, "rb").read()).decode()[:300_000].splitlines()
chinese = ["学而时习之，不亦说乎？有朋自远方来，不亦乐乎？", "人不知而不愠，不亦君子乎？"] * 9
arabic = ["كان يا ما كان في قديم الزمان ملك عادل يحب شعبه", "وكان للملك ثلاثة أبناء يحب كل منهم أباه"] * 9
for kind in kinds:
    for lines in (english, chinese, arabic):
        made = train_tokenizer(iter(lines), kind=kind, vocab_size=900, arch="bert", max_length=64)
        print(kind, len(made), hashlib.sha256(made.backend_tokenizer.to_str().encode()).hexdigest())
"""


def test_training_gives_the_same_in_every_process() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(root / "hflm" / "corpus" / "emma.txt.gz"), *KINDS]
    # Hash seeds, threads and the order of parallel sums: all that may differ between two machines alike.
    changes = [
        {"PYTHONHASHSEED": str(seed), "TOKENIZERS_PARALLELISM": parallel, "RAYON_NUM_THREADS": str(seed)}
        for seed, parallel in ((1, "true"), (2, "true"), (3, "false"))
    ]
    running = [
        subprocess.Popen(command, cwd=root, env={**os.environ, **change}, stdout=subprocess.PIPE, text=True)
        for change in changes
    ]
    found = [process.communicate(timeout=60)[0] for process in running]
    assert all(process.returncode == 0 for process in running)
    assert len(set(found)) == 1 and len(found[0].splitlines()) == 3 * len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_repeatable(kind: str) -> None:
    assert train(kind).backend_tokenizer.to_str() == train(kind).backend_tokenizer.to_str()


class Lines:
    """Lines of ten words that are made anew whenever they are read, so that whoever keeps them needs their memory."""

    def __init__(self, number: int) -> None:
        self.number, self.readings = number, 0

    def __iter__(self) -> Iterator[str]:
        self.readings += 1
        draw = np.random.default_rng(1)
        for _ in range(self.number):
            yield " ".join(f"word{n}" for n in draw.integers(0, 500, 10).tolist())


def test_texts_that_can_be_read_again_are_not_kept() -> None:
    # What is imported for the first time is not what is measured.
    train("wordpiece")
    texts = Lines(20_000)
    tracemalloc.start()
    try:
        again: Any = train_tokenizer(texts, kind="wordpiece", vocab_size=600, arch="bert", max_length=64)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert texts.readings == 2 and most < 1_000_000 < sum(map(len, texts))
    once: Any = train_tokenizer(iter(texts), kind="wordpiece", vocab_size=600, arch="bert", max_length=64)
    assert again.backend_tokenizer.to_str() == once.backend_tokenizer.to_str()


# For each script some sentences to train on, then one that is new, of letters that were seen.
SCRIPTS = {
    "thai": (
        [
            "ภาษาไทยเป็นภาษาที่มีระดับเสียงของคำแน่นอนหรือวรรณยุกต์เช่นเดียวกับภาษาจีน",
            "ประเทศไทยตั้งอยู่ในเอเชียตะวันออกเฉียงใต้ มีกรุงเทพมหานครเป็นเมืองหลวง",
            "วันนี้ฉันไปตลาดเพื่อซื้อผักและผลไม้ให้แม่ แล้วกลับบ้านทำอาหารเย็นด้วยกัน",
            "นักเรียนทุกคนต้องอ่านหนังสือก่อนเข้าห้องสอบ ครูจะถามคำถามสิบข้อ",
        ],
        "แม่ของนักเรียนซื้อหนังสือภาษาจีนในเมืองหลวงแล้วกลับไปอ่านที่บ้านทุกวัน",
    ),
    "khmer": (
        [
            "ភាសាខ្មែរគឺជាភាសាផ្លូវការរបស់ប្រទេសកម្ពុជា",
            "ភ្នំពេញគឺជារាជធានីនៃប្រទេសកម្ពុជា ហើយជាទីក្រុងធំជាងគេ",
            "ខ្ញុំទៅផ្សារដើម្បីទិញបន្លែ និងផ្លែឈើសម្រាប់ម្តាយរបស់ខ្ញុំ",
        ],
        "ម្តាយរបស់ខ្ញុំទៅទីក្រុងភ្នំពេញដើម្បីទិញផ្លែឈើ",
    ),
    "japanese": (
        [
            "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
            "何でも薄暗いじめじめした所でニャーニャー泣いていた事だけは記憶している。",
            "吾輩はここで始めて人間というものを見た。",
        ],
        "吾輩は薄暗い所で人間を見た。名前はまだ記憶していた。",
    ),
    "arabic": (
        ["كان يا ما كان في قديم الزمان ملك عادل يحب شعبه", "وكان للملك ثلاثة أبناء يحب كل منهم أباه"],
        "كان الملك يحب أبناء شعبه وكان عادلا",
    ),
    "hindi": (
        [
            "एक समय की बात है, एक राजा था जो अपनी प्रजा से बहुत प्रेम करता था।",
            "राजा के तीन पुत्र थे और वे सब अपने पिता का आदर करते थे।",
        ],
        "तीन पुत्र अपने राजा से प्रेम करते थे और प्रजा का आदर करते थे।",
    ),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_wordpiece_knows_new_sentences_of_every_script(script: str) -> None:
    seen, new = SCRIPTS[script]
    tokenizer: Any = train_tokenizer(iter(seen * 5), kind="wordpiece", vocab_size=600, arch="bert", max_length=64)
    # A text of many sentences without a space is one word to other scripts, and rightly unknown.
    texts = [new] if script in ("arabic", "hindi") else [new, new * 20]
    assert tokenizer_report(tokenizer, texts).unknown_rate < 0.01
    ids = tokenizer(new, add_special_tokens=False)["input_ids"]
    assert len(ids) > 3
    assert "".join(tokenizer.decode(ids).split()) == "".join(new.split())


def test_one_unknown_letter_does_not_hide_a_sentence_without_spaces() -> None:
    seen, new = SCRIPTS["thai"]
    tokenizer: Any = train_tokenizer(iter(seen * 5), kind="wordpiece", vocab_size=600, arch="bert", max_length=64)
    ids = tokenizer(f"{new}ฮ{new}", add_special_tokens=False)["input_ids"]
    assert ids.count(tokenizer.unk_token_id) == 1 and len(ids) > 60


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_larger_than_the_text_supports(kind: str) -> None:
    with pytest.raises(DataError, match=r"A vocabulary of 5000 is larger .* Pass --vocab-size \d+"):
        train(kind, vocab_size=5000, strict=True)
    assert len(train(kind, vocab_size=5000)) < 5000


@pytest.mark.parametrize("kind", KINDS)
def test_continuations_are_what_does_not_start_a_word(kind: str) -> None:
    tokenizer = train(kind)
    flags = continuation_flags(tokenizer)
    assert not flags[special_flags(tokenizer)].any()
    ids = tokenizer("single universally acknowledged", add_special_tokens=False)["input_ids"]
    starts = [not flags[id] for id in ids]
    # The first word of a byte-level text has no space before it, and so no mark of a start.
    assert sum(starts[1:]) + 1 == 3


def test_a_vocabulary_of_chinese_characters_has_no_continuations() -> None:
    tokenizer: Any = train_tokenizer(
        iter(["学而时习之，不亦说乎？"] * 5), kind="wordpiece", vocab_size=600, arch="bert", max_length=64
    )
    assert not any(piece.startswith("##") for piece in tokenizer.get_vocab())
    assert not continuation_flags(tokenizer).any()


def test_continuations_of_bpe_with_a_mark_for_the_space() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE({"▁": 0, "a": 1, "▁a": 2, "Ġ": 3}, [("▁", "a")]))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    assert continuation_flags(PreTrainedTokenizerFast(tokenizer_object=backend)).tolist() == [False, True, False, True]


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    tokenizer = train(kind)
    tokenizer.save_pretrained(tmp_path / "run" / "model")
    for folder in (tmp_path / "run" / "model", tmp_path / "run"):
        loaded = load_tokenizer(str(folder))
        for text in TEXTS.values():
            assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_a_folder_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    tokenizer = train("wordpiece")
    tokenizer.save_pretrained(tmp_path / "tok")
    assert load_tokenizer("~/tok").get_vocab() == tokenizer.get_vocab()


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no tokenizer"):
        load_tokenizer(str(tmp_path))
    with pytest.raises(ModelError, match="There is no folder"):
        load_tokenizer(str(tmp_path / "none"))
    with pytest.raises(ModelError, match="No tokenizer 'nobody/nothing'.*--tokenizer wordpiece"):
        load_tokenizer("nobody/nothing")


def test_the_report() -> None:
    tokenizer = train("wordpiece")
    report = tokenizer_report(tokenizer, ["a single man", "龘龘 man"])
    # 龘 is not in the text that it was trained on: two of the pieces are unknown.
    pieces = sum(len(ids) for ids in tokenizer(["a single man", "龘龘 man"], add_special_tokens=False)["input_ids"])
    assert report.unknown_rate == pytest.approx(2 / pieces, abs=1e-5)
    # Where no spaces are set, a letter is a word.
    assert report.tokens_per_word == pytest.approx(pieces / 6, abs=1e-3)
    assert report.characters_per_token == pytest.approx(18 / pieces, abs=1e-3)
    assert report.vocab_size == len(tokenizer) == report.as_dict()["vocab_size"]
    assert "unknown" in report.lines()[0]
    assert tokenizer_report(tokenizer, [""]).tokens_per_word == 0

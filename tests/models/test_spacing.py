"""Chinese, Japanese and Thai are written without the spaces that WordPiece puts between its words."""

from functools import cache
from typing import Any

import pytest
import torch

from hflm.families.completion import Completion
from hflm.families.seq2seq import Seq2Seq
from hflm.families.triple_tokens import TripleTokens
from hflm.inference.streaming import GrowingText
from hflm.models.spacing import set_solid
from hflm.models.tokenizer import train_tokenizer

FACTS = "张三 | 住在 | 北京 | Ada | 认识 | 李明"
SOLID = ["他说：“你好！”然后走了……", "学而时习之，不亦说乎？", "これは本です。「はい」と言った。", "สวัสดีครับ ผมอยู่ที่นี่"]
TEXTS = [*SOLID, "It is a truth, universally acknowledged.", "مرحبا بالعالم", FACTS]


@cache
def made(kind: str) -> Any:
    return train_tokenizer(iter(TEXTS * 20), kind=kind, vocab_size=400, arch="llama", max_length=64, objective="clm")


def ids_of(text: str, kind: str = "wordpiece") -> list[int]:
    return list(made(kind)(text, add_special_tokens=False)["input_ids"])


def decoded(text: str, kind: str = "wordpiece") -> str:
    return set_solid(made(kind), made(kind).decode(ids_of(text, kind)))


@pytest.mark.parametrize("text", TEXTS)
def test_only_spaces_that_were_added_are_dropped(text: str) -> None:
    # Where no spaces are set between words, it cannot be known that one was.
    assert decoded(text) == (text.replace(" ", "") if text in SOLID else text)
    assert made("wordpiece").unk_token_id not in ids_of(text)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_other_kinds_keep_the_spaces_of_the_text(kind: str) -> None:
    assert decoded("学而 时习之", kind) == made(kind).decode(ids_of("学而 时习之", kind))
    assert " " in decoded("学而 时习之", kind).strip()


def test_spaces_that_berts_splitter_leaves_in_a_text_stay() -> None:
    from transformers import BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ผม", "รัก", "你", "好"]
    bert = BertTokenizer(vocab={word: number for number, word in enumerate(words)}, do_lower_case=False)
    ids = bert("ผม รัก 你好", add_special_tokens=False)["input_ids"]
    assert set_solid(bert, bert.decode(ids)) == "ผม รัก 你好"


@pytest.mark.parametrize("text", SOLID)
def test_a_stream_writes_the_same_and_finds_where_to_stop(text: str) -> None:
    whole = text.replace(" ", "")
    for stop in ("", whole[3:5]):
        growing, shown = GrowingText(made("wordpiece"), stops=(stop,)), ""
        for token in ids_of(text):
            growing.add(token)
            shown += growing.new()
            if growing.stopped:
                break
        growing.finish()
        shown += growing.new(end=True)
        assert shown == growing.text == (whole.partition(stop)[0] if stop else whole)
        assert growing.stopped == bool(stop)


def test_a_stream_goes_on_from_how_an_answer_begins() -> None:
    growing = GrowingText(made("wordpiece"), start="学而")
    for token in ids_of("时习之"):
        growing.add(token)
    assert growing.text == "学而时习之"


def test_texts_and_triples_of_both_families() -> None:
    tokens = made("wordpiece")
    triples = TripleTokens(tokens, ["住在", "认识"])
    families: list[Any] = [Seq2Seq(tokens, "", 32, 32, 0), Completion(tokens, "", 32, 32)]
    for family in families:
        for text in SOLID[:2]:
            assert family.texts(torch.tensor([ids_of(text)]), prompt_length=0) == [text]
        family.triples = triples
        assert family.texts(torch.tensor([ids_of(FACTS)]), prompt_length=0) == [FACTS]

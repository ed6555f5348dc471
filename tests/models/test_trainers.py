"""What a vocabulary keeps of a text: the joiners that words are spelled with, but WordPiece; and no white space."""

from pathlib import Path
from typing import Any

import pytest

from hflm.models.tokenizer import KINDS, load_tokenizer, train_tokenizer

PERSIAN = "می\u200cخواهم بروم و نمی\u200cدانم"
HINDI = "क्\u200dष नहीं"


def train(kind: str, texts: list[str]) -> Any:
    return train_tokenizer(iter(texts * 10), kind=kind, vocab_size=600, arch="bert", max_length=64)


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"wordpiece"}))
def test_joiners_are_kept(kind: str, tmp_path: Path) -> None:
    tokenizer = train(kind, [PERSIAN, HINDI])
    tokenizer.save_pretrained(tmp_path)
    # As a model's folder is opened, whose kind has a tokenizer of its own.
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    for each in (tokenizer, load_tokenizer(str(tmp_path))):
        for text in (PERSIAN, HINDI):
            ids = each(text, add_special_tokens=False)["input_ids"]
            assert each.unk_token_id not in ids and "".join(each.decode(ids).split()) == "".join(text.split())
            assert ids != each(text.replace("\u200c", "").replace("\u200d", ""), add_special_tokens=False)["input_ids"]


def test_wordpiece_splits_at_all_white_space() -> None:
    tokenizer = train("wordpiece", ["a single man in want of a wife"])
    plain, other = (tokenizer(text)["input_ids"] for text in ("single man of a wife", "single\tman\nof\r\na\u2028wife"))
    assert plain == other and tokenizer.unk_token_id not in plain

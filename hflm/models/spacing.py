"""Text without the spaces that a tokenizer adds: WordPiece writes one before each word, and knows of none in the text.

BERT's splitter makes every Chinese character and every sign a word, hflm's every letter of scripts without spaces.
"""

import re
from typing import Any

from hflm.words import LETTERS, SHARED, SOLID

# Beside what is set solid, and in …… and ——, of which each half is a word.
AMID_SOLID = re.compile(f"(?<=[{SOLID}]) (?=[{SOLID}{SHARED}])|(?<=[{SHARED}]) (?=[{SOLID}])|(?<=…) (?=…)|(?<=—) (?=—)")
AMID_LETTERS = re.compile(f"(?<=[{LETTERS}]) (?=[{LETTERS}])")


def set_solid(tokenizer: Any, text: str) -> str:
    """Drop the spaces that WordPiece added between letters of scripts without any; other kinds keep the text's own."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or "WordPiece" not in repr(backend.decoder):
        return text
    # BERT's own splitter leaves Thai and its like in one piece: their spaces are those of the text.
    if "Thai" in repr(backend.pre_tokenizer):
        text = AMID_LETTERS.sub("", text)
    return AMID_SOLID.sub("", text)

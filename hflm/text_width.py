"""How many columns a text takes, in a terminal and in a drawing."""

import unicodedata


def columns(text: str) -> int:
    """Count columns: two for a wide letter, as of Chinese, none for a mark that stands on another letter."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
               for one in text)  # fmt: skip

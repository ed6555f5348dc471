"""How many columns a text takes, in a terminal and in a drawing."""

import unicodedata

# Marks that stand on a letter or around it, and joiners and signs of direction. Not all marks have a combining class.
UNSEEN = ("Mn", "Me", "Cf")


def columns(text: str) -> int:
    """Count columns: two for a wide letter, as of Chinese, none for a mark on another letter or what is not seen."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.category(one) in UNSEEN else 2 if unicodedata.east_asian_width(one) in "WF" else 1
               for one in text)  # fmt: skip

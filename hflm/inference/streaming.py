"""Text that grows by tokens: what may be shown already, and where a stop text ends it."""

from collections.abc import Sequence
from typing import Any

from hflm.models.spacing import set_solid


class GrowingText:
    """The text of an answer; `stops` end it, and are left out of it."""

    def __init__(self, tokenizer: Any, *, stops: Sequence[str] = (), start: str = "") -> None:
        self.tokenizer, self.stops = tokenizer, [stop for stop in stops if stop]
        self.text, self.stopped = start, False
        # The tokens behind which the first one is decoded: some tokenizers take the space from the start of a text.
        self._ids: list[int] = list(tokenizer(start, add_special_tokens=False)["input_ids"]) if start else []
        self._from, self._read, self._shown, self._least = 0, len(self._ids), 0, len(start)

    def add(self, token: int) -> None:
        """Take a token; `stopped` tells whether a stop text is complete."""
        self._ids.append(token)
        self._grow(end=False)

    def finish(self) -> None:
        """Take what was held back: bytes that are no whole character."""
        self._grow(end=True)

    def _grow(self, *, end: bool) -> None:
        # Tokens are decoded behind some that are known, for a token may look another way at the start of a text.
        before = self._decode(self._ids[self._from : self._read])
        after = self._decode(self._ids[self._from :])
        if len(after) <= len(before) or (after.endswith("\ufffd") and not end):
            return
        searched = max(self._least, len(self.text) - max((len(stop) for stop in self.stops), default=0))
        self.text += after[len(before) :]
        self._from, self._read = self._read, len(self._ids)
        found = [at for at in (self.text.find(stop, searched) for stop in self.stops) if at >= 0]
        if found:
            self.text, self.stopped = self.text[: min(found)], True

    def new(self, *, end: bool = False) -> str:
        """Return what was not shown yet and will not be taken back."""
        safe = len(self.text)
        if not (end or self.stopped):
            safe -= max((_overlap(self.text, stop) for stop in self.stops), default=0)
        piece = self.text[self._shown : safe]
        self._shown = max(self._shown, safe)
        return piece

    def _decode(self, ids: list[int]) -> str:
        return set_solid(self.tokenizer, str(self.tokenizer.decode(ids, skip_special_tokens=True)))


def _overlap(text: str, stop: str) -> int:
    """Count the characters at the end of a text with which a stop text may have begun."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)

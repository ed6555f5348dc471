"""Where a long text may be cut so that the tokens of its parts, one after the other, are the tokens of the whole."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hflm.models.trainers import PIECES, WITHOUT_SPACES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Characters after which a part ends at the next good place.
LONGEST = 50_000


def cut(text: str, *, longest: int = LONGEST) -> Iterator[str]:
    """Cut a text before line ends that neither white space nor anything invisible stands before."""
    start = 0
    while (end := _place(text, start + longest)) > 0:
        yield text[start:end]
        start = end
    yield text[start:]


def _place(text: str, least: int) -> int:
    end = text.find("\n", least)
    while end > 0 and (text[end - 1].isspace() or not text[end - 1].isprintable()):
        end = text.find("\n", end + 1)
    return end


def cuts_at_lines(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Say whether the tokens stay the same where `cut` cuts; True only where each step is known to see to it.

    NFC composes nothing with a line end, and the other normalizers allowed here change one character at a time. The
    splitter of BERT ends a word at white space, which it drops. The byte-level ones of GPT-2 and of hflm put a line end
    together with white space alone, of which there is none before it. Models see one word at a time. Other splitters,
    as those of Metaspace and Llama 3, make one word of what stands on both sides of a line end.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        # A tokenizer in Python, of which nothing is known.
        return False
    told = json.loads(backend.to_str())
    if any(token["rstrip"] or token["content"].split() != [token["content"]] for token in told["added_tokens"]):
        # Such a token takes the white space that follows it, or has some in it.
        return False
    normalizers = {step["type"] for step in _steps(told["normalizer"], "normalizers")}
    *before, last = _steps(told["pre_tokenizer"], "pretokenizers") or [{"type": "none"}]
    if (told["model"]["type"], last["type"]) == ("WordPiece", "BertPreTokenizer"):
        own = all(step.get("pattern") == {"Regex": WITHOUT_SPACES} for step in before)
        return own and normalizers <= {"NFC", "Lowercase", "BertNormalizer"}
    if (told["model"]["type"], last["type"]) == ("BPE", "ByteLevel"):
        plain = not last["add_prefix_space"] and not told["model"]["dropout"]
        # It splits by itself as GPT-2 does, or leaves that to the step before it.
        splitters = [] if last["use_regex"] else [{"Regex": PIECES}]
        return plain and [step.get("pattern") for step in before] == splitters and normalizers <= {"NFC", "Lowercase"}
    return False


def _steps(told: dict[str, Any] | None, inner: str) -> list[dict[str, Any]]:
    """Return the steps of a normalizer or a splitter, be it none, one or a sequence."""
    if told is None:
        return []
    return [each for step in told[inner] for each in _steps(step, inner)] if inner in told else [told]

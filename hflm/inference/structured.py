"""Answers that are JSON of a schema: tokens that cannot go on to such a text are never chosen.

The grammar is llguidance's, which needs no other package.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hflm.errors import DataError, UsageError


class GrammarState:
    """Where one answer stands in the grammar."""

    def __init__(self, matcher: Any) -> None:
        self.matcher = matcher

    def mask(self, logits: Tensor) -> Tensor:
        """Return logits [V] with those of tokens that may not come at minus infinity."""
        bits = np.frombuffer(self.matcher.compute_bitmask(), dtype=np.uint8)
        allowed = torch.from_numpy(np.unpackbits(bits, bitorder="little")[: len(logits)].astype(bool))
        # The vocabulary of a model may be larger than that of its tokenizer.
        allowed = torch.nn.functional.pad(allowed, (0, len(logits) - len(allowed)))
        return logits.masked_fill(~allowed.to(logits.device), -torch.inf)

    def take(self, token: int) -> bool:
        """Take a token; return whether the text is complete."""
        self.matcher.consume_token(token)
        return bool(self.matcher.is_stopped())


@dataclass(frozen=True)
class Grammar:
    """A JSON schema as a grammar over a tokenizer's tokens."""

    tokens: Any
    grammar: str

    def start(self) -> GrammarState:
        """Return the state at the start of an answer."""
        from llguidance import LLMatcher

        return GrammarState(LLMatcher(self.tokens, self.grammar))


def read_schema(path: Path, tokenizer: Any) -> Grammar:
    """Read a JSON schema from a file.

    Raises UsageError where llguidance is not installed, DataError where the file is no JSON schema.
    """
    try:
        import llguidance
        import llguidance.hf
    except ImportError as error:
        raise UsageError("--json-schema needs llguidance.", fix="Run `pip install llguidance`.") from error
    try:
        schema = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", fix="Name a file with a JSON schema.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}.", fix="Name a file with a JSON schema.") from error
    if not isinstance(schema, dict):
        raise DataError(f"{path} is no JSON schema: it holds no object.", fix='Begin with {"type": "object", ...}.')
    try:
        # Blanks between the parts are the model's to waste: none are allowed.
        grammar = llguidance.LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_flexible": False})
        problem = llguidance.LLMatcher.validate_grammar(grammar)
    except ValueError as error:
        problem = str(error)
    if problem:
        raise DataError(f"{path} is no JSON schema: {' '.join(problem.split())[:200]}.", fix="Mend it.")
    try:
        return Grammar(llguidance.hf.from_tokenizer(tokenizer), grammar)
    except ValueError as error:
        raise UsageError(
            f"--json-schema: the tokenizer of this model cannot be held to one ({str(error).splitlines()[0][:120]}).",
            fix="Take a model with a byte-level tokenizer, as smollm2.",
        ) from error

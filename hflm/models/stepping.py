"""Any model of transformers, read one token a row at a time, as `hflm.models.lean` reads its own."""

import inspect
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from hflm.errors import ModelError
from hflm.models.architecture import position_offset


class Held(Protocol):
    """What a model remembers of the rows of a batch."""

    def keep(self, rows: list[int]) -> None:
        """Hold these rows and no others, in this order; a row may be named twice."""


class Reader(Protocol):
    """What reads prompts and then a token a row, and says what may come next."""

    def prefill(self, prompts: list[list[int]]) -> tuple[Tensor, Any]:
        """Return the logits [B, V] after each prompt, and what is held of them."""

    def step(self, ids: list[int], held: Any) -> Tensor:
        """Return the logits [B, V] after one more token a row."""


@dataclass
class Memory:
    """The cache of transformers, the mask [B, T] of what was read, and for an encoder-decoder what was encoded."""

    cache: Any
    mask: Tensor
    encoded: Tensor | None = None

    def keep(self, rows: list[int]) -> None:
        """Hold these rows and no others."""
        chosen = torch.tensor(rows, device=self.mask.device)
        # Not `batch_select_indices`, which the layers of hybrid models lack, or do in half.
        self.cache.reorder_cache(chosen)
        self.mask = self.mask[chosen]
        if self.encoded is not None:
            self.encoded = self.encoded[chosen]


class Decoder:
    """A decoder-only model; prompts are padded on the left."""

    def __init__(self, model: Any, *, pad_token_id: int) -> None:
        self.model, self.pad = model, pad_token_id
        self.placed = "position_ids" in inspect.signature(model.forward).parameters
        # RoBERTa counts from behind its padding.
        told = model.config
        self.first = position_offset(told.model_type, pad_token_id=getattr(told, "pad_token_id", None))

    @torch.inference_mode()
    def prefill(self, prompts: list[list[int]]) -> tuple[Tensor, Memory]:
        """Read prompts in one pass."""
        longest = max(len(prompt) for prompt in prompts)
        rows = [[self.pad] * (longest - len(prompt)) + prompt for prompt in prompts]
        ids = torch.tensor(rows, device=self.model.device)  # [B, T]
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=ids.device)
        mask = (torch.arange(longest, device=ids.device) >= longest - lengths[:, None]).long()
        return self._read(ids, (mask.cumsum(1) - 1).clamp_min(0), Memory(None, mask))

    @torch.inference_mode()
    def step(self, ids: list[int], held: Memory) -> Tensor:
        """Read one token a row."""
        held.mask = torch.nn.functional.pad(held.mask, (0, 1), value=1)
        places = held.mask.sum(1, keepdim=True) - 1
        return self._read(torch.tensor(ids, device=self.model.device)[:, None], places, held)[0]

    def _read(self, ids: Tensor, places: Tensor, held: Memory) -> tuple[Tensor, Memory]:
        more = {"position_ids": places + self.first} if self.placed else {}
        found = self.model(
            input_ids=ids,
            attention_mask=held.mask,
            past_key_values=held.cache,
            use_cache=True,
            logits_to_keep=1,
            **more,
        )
        held.cache = getattr(found, "past_key_values", None)
        if held.cache is None:
            kind = self.model.config.model_type
            raise ModelError(f"A {kind} keeps no keys and values of what it has read.", fix="Take another decoder.")
        return found.logits[:, -1].float(), held


class EncoderDecoder:
    """An encoder-decoder: the prompt is what the encoder reads."""

    def __init__(self, model: Any, *, pad_token_id: int, start: int) -> None:
        self.model, self.pad, self.start = model, pad_token_id, start
        # Some translators are told the language by the first token, and some never to write their padding.
        usual = model.generation_config
        self.first: int | None = usual.forced_bos_token_id
        self.never = [words[0] for words in usual.bad_words_ids or () if len(words) == 1]

    @torch.inference_mode()
    def prefill(self, prompts: list[list[int]]) -> tuple[Tensor, Memory]:
        """Encode prompts in one pass, and open each answer."""
        longest = max(len(prompt) for prompt in prompts)
        rows = [prompt + [self.pad] * (longest - len(prompt)) for prompt in prompts]
        ids = torch.tensor(rows, device=self.model.device)  # [B, T]
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=ids.device)
        mask = (torch.arange(longest, device=ids.device) < lengths[:, None]).long()
        encoded = self.model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state  # [B, T, D]
        held = Memory(None, mask, encoded)
        logits = self.step([self.start] * len(prompts), held)
        if self.first is not None:
            first = torch.tensor([self.first], device=logits.device)
            logits = torch.full_like(logits, -torch.inf).index_fill_(1, first, 0.0)
        return logits, held

    @torch.inference_mode()
    def step(self, ids: list[int], held: Memory) -> Tensor:
        """Read one token a row of what is being written."""
        found = self.model(
            encoder_outputs=(held.encoded,), attention_mask=held.mask, past_key_values=held.cache, use_cache=True,
            decoder_input_ids=torch.tensor(ids, device=self.model.device)[:, None],
        )  # fmt: skip
        held.cache = found.past_key_values
        logits: Tensor = found.logits[:, -1].float()
        logits[:, self.never] = -torch.inf
        return logits

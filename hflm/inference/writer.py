"""A model that writes text, opened once: its tokenizer, how it is asked, and what reads its tokens fastest."""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hflm.engine.device import Device, choose_device, native_bf16
from hflm.engine.trainer import quiet_libraries
from hflm.errors import HflmError, ModelError, UsageError
from hflm.families.prompts import turn_end
from hflm.inference.decoding import Answer, Listen, Prompt, Settings, Timing, write
from hflm.inference.generating import batches_by_length, stops
from hflm.inference.structured import Grammar, read_schema
from hflm.inference.trained import ready
from hflm.models.architecture import T5_LIKE
from hflm.models.heads import (
    family_of,
    load_config,
    load_tokenizer_for,
    load_with_head,
    max_positions,
    max_target_positions,
)
from hflm.models.lean import LEAN, Lean, can_be_lean
from hflm.models.resolve import resolve_model
from hflm.models.stepping import Decoder, EncoderDecoder, Reader

DEFAULT = "smollm2"
QUANTIZE = ("auto", "int8", "none")
# Tokens of prompts and of what is written to them in one batch, and rows: the eight-bit product is made for few.
BUDGET, ROWS = 65536, 16


@dataclass(frozen=True, kw_only=True)
class Writer:
    """A model ready to write; `instruction` and `prefix` are what it was fine-tuned to read before a text.

    A decoder reads and writes `limit` tokens together; an encoder-decoder reads so many, and writes `output_limit`.
    """

    name: str
    kind: str
    tokenizer: Any
    reader: Reader
    ends: frozenset[int]
    limit: int
    output_limit: int
    quantize: str
    load_seconds: float
    instruction: str = ""
    prefix: str = ""
    # Fine-tuned by hflm on questions and answers: without a template it reads these as lines.
    asked: bool = False
    # What a fine-tuned model has learned to find before its answer.
    opening: str = ""
    # What holds its answers to the JSON schema that it was opened with.
    grammar: Grammar | None = None
    whole: Any = None

    @property
    def has_template(self) -> bool:
        """Tell whether the model was made for chats."""
        return bool(getattr(self.tokenizer, "chat_template", None)) and self.kind == "completion"

    def write(
        self, prompts: list[Prompt], settings: Settings, *, timing: Timing | None = None, listen: Listen | None = None
    ) -> list[list[Answer]]:
        """Write answers to prompts, in batches of like length; they come in the order of the prompts."""
        timing = timing or Timing()
        found: list[list[Answer]] = [[]] * len(prompts)
        lengths = [len(prompt.ids) + prompt.most for prompt in prompts]
        most = max(1, ROWS // settings.n)
        for batch in batches_by_length(lengths, budget=BUDGET // settings.n, most=most):
            chosen = [prompts[place] for place in batch]

            def hear(place: int, number: int, text: str, batch: list[int] = batch) -> None:
                assert listen is not None
                listen(batch[place], number, text)

            answers = write(
                self.reader, self.tokenizer, chosen, settings, ends=self.ends, timing=timing,
                listen=hear if listen else None,
            )  # fmt: skip
            for place, answer in zip(batch, answers, strict=True):
                found[place] = answer
        return found


def open_writer(name: str | None, *, quantize: str = "auto", beams: bool = False, schema: Path | None = None) -> Writer:
    """Open a model that writes text; `beams` keeps it as transformers has it, which searches with beams.

    A JSON `schema` is read before the weights are. Raises UsageError for an unknown `quantize`, DataError for what is
    no schema, ModelError where the model is of another kind or not whole.
    """
    if quantize not in QUANTIZE:
        raise UsageError(f"--quantize is {quantize!r}.", fix="Choose auto, int8 or none.")
    quiet_libraries()
    began = time.perf_counter()
    where = resolve_model(name, default=DEFAULT)
    config = load_config(where)
    kind = _kind(config, name or DEFAULT)
    tokenizer = load_tokenizer_for(where, kind, config)
    grammar = read_schema(schema, tokenizer) if schema else None
    way = _choose_way(config, quantize=quantize, beams=beams)
    model: Any = load_with_head(where, kind, trained=True, pad_token_id=tokenizer.pad_token_id, dtype=way.loaded)
    model.eval().to(way.device.kind)
    family: Any = None
    if _tuned(config) or kind == "seq2seq":
        try:
            trained = ready(
                where, model, tokenizer, recipe=None, languages=(None, None), device=way.device, max_new_tokens=None
            )
        except UsageError as error:
            fix = f"Use `hflm translate {name or DEFAULT} --from en --to fr TEXT`."
            raise UsageError(error.problem, fix=fix) from error
        family = trained.family
    return Writer(
        name=name or DEFAULT, kind=kind, tokenizer=tokenizer, reader=_reader(model, tokenizer, way, family),
        ends=_ends(model, tokenizer, kind), limit=_limit(config, family),
        output_limit=min(_limit(config), max_target_positions(config)),
        quantize="int8" if way.int8 else "none",
        load_seconds=time.perf_counter() - began, instruction=getattr(family, "instruction", ""),
        prefix=getattr(family, "prefix", ""),
        asked=family is not None and kind == "completion" and not _on_text(config),
        opening=getattr(family, "opening", ""), grammar=grammar, whole=None if way.lean else model,
    )  # fmt: skip


def _ends(model: Any, tokenizer: Any, kind: str) -> frozenset[int]:
    """Return the tokens that end an answer: of a base model with a template, what ends a turn there too."""
    found = stops(model, tokenizer)
    if kind == "completion":
        with suppress(HflmError):
            found |= {end for end in [turn_end(tokenizer)] if end is not None}
    return frozenset(found)


def _limit(config: Any, family: Any = None) -> int:
    """Return how many tokens are read and written together.

    Phi-3 reads longer texts with other frequencies, and what it holds of a shorter one does not fit them. T5 and its
    kin set no limit, and what they hold grows with the square of a text: they read what `family` does, or what their
    configuration names.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    first = rope.get("original_max_position_embeddings") or getattr(config, "original_max_position_embeddings", None)
    most = max_positions(config)
    if family is not None and config.model_type in T5_LIKE:
        most = min(most, max(family.max_source_length, getattr(config, "n_positions", None) or 0))
    return min(most, first) if rope.get("rope_type") == "longrope" and first else most


@dataclass(frozen=True)
class Way:
    """How a model is computed, and in which type."""

    device: Device
    lean: bool
    int8: bool
    dtype: torch.dtype

    @property
    def loaded(self) -> torch.dtype:
        """The type that weights are read in: what becomes eight bits takes half the memory first."""
        return torch.bfloat16 if self.int8 else self.dtype


def _choose_way(config: Any, *, quantize: str, beams: bool) -> Way:
    device = choose_device("auto")
    lean = not beams and device.kind == "cpu" and can_be_lean(config)
    if quantize == "int8" and not lean:
        raise UsageError(
            f"--quantize int8 is for {' and '.join(LEAN)} models on a CPU, without beams; this is {config.model_type} "
            f"on {device.kind}.",
            fix="Leave it out.",
        )  # fmt: skip
    # One token after the other waits for memory, and not for products: half the bytes win wherever they can be read.
    hardware = native_bf16(device.kind)
    int8 = lean and quantize != "none"
    # Elsewhere on a CPU rows of a batch are padded, and in narrow floats their last bits would change texts. A GPU
    # takes them all the same where it has them: emulated they are slow, and in float16 some models overflow.
    narrow = hardware and (lean or device.kind == "cuda")
    dtype = torch.bfloat16 if narrow else torch.float32
    return Way(device, lean, int8, dtype)


def _reader(model: Any, tokenizer: Any, way: Way, family: Any) -> Reader:
    if way.lean:
        return Lean(model, int8=way.int8, dtype=way.dtype)
    if not model.config.is_encoder_decoder:
        return Decoder(model, pad_token_id=tokenizer.pad_token_id)
    return EncoderDecoder(model, pad_token_id=tokenizer.pad_token_id, start=family.start)


def _kind(config: Any, name: str) -> str:
    """Return completion or seq2seq; raises ModelError that says what a model of another kind is good for."""
    try:
        return family_of("text_to_text", config, name=name)
    except ModelError as error:
        made = " ".join(config.architectures or ())
        if "SequenceClassification" in made:
            fix = f'Sort texts with it: `hflm classify {name} "..."`.'
        elif "TokenClassification" in made:
            fix = f"Tag words with it: `hflm predict {name}`."
        else:
            fix = f'Fill blanks with it: `hflm fill-mask {name} "... [MASK] ..."`, or train it: `hflm finetune`.'
        raise ModelError(error.problem, fix=fix) from error


def _tuned(config: Any) -> bool:
    """Tell whether hflm fine-tuned the model, and left in it how it is asked."""
    return bool(_saved(config))


def _on_text(config: Any) -> bool:
    """Tell whether a model was fine-tuned on plain text, which it goes on with."""
    return any("text" in one.get("columns", ()) for one in _saved(config))


def _saved(config: Any) -> list[dict[str, Any]]:
    saved = getattr(config, "task_specific_params", None) or {}
    return [one for one in saved.values() if isinstance(one, dict) and "family" in one]

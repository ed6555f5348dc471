"""The rows of the table: what was measured, the target, the result in words, and whether it is reached."""

from collections.abc import Callable
from typing import Any


def _speed(entry: Any, name: str) -> str:
    rate, plain = entry["median"][name], entry["median"]["plain"]
    return f"{rate:,.0f} tokens/s against {plain:,.0f}: {entry['over_plain'][name]:.2f} x"


def _fastest(entry: Any) -> float:
    return float(max(value for name, value in entry["median"].items() if name.startswith("hflm")))


def _best_pipeline(entry: Any) -> float:
    return float(max(value for name, value in entry["median"].items() if name.startswith("pipeline")))


def _decoding(entry: Any, name: str) -> str:
    plain = next(value for key, value in entry["median"].items() if key.startswith("transformers, bf16"))
    return f"{entry['median'][name]:.1f} tokens/s against {plain:.1f}: {entry['over_plain'][name]:.1f} x"


def _processes(entry: Any, name: str, other: str) -> str:
    rate, base = entry["median"][name], entry["median"][other]
    return f"{rate:,.0f} tokens/s against {base:,.0f}: {rate / base:.2f} x"


def _worst(runs: Any) -> float:
    return float(max(run["eval_loss"] for run in runs))


def _best_plain(entry: Any) -> float:
    """Return the lowest loss of the plain side, whatever threads it had: none of its runs is left out."""
    return float(min(run["eval_loss"] for run in (*entry["swept"], entry["plain"])))


def _losses(entry: Any) -> str:
    seeds = ", ".join(f"{run['eval_loss']:.3f}" for run in entry["hflm"])
    spent = max(run["steps"] * run["step_seconds"] for run in entry["hflm"])
    plain = entry["plain"]
    return f"loss {seeds} after {spent:.0f} s of steps against {plain['eval_loss']:.3f} after {plain['seconds']:,.0f} s"


def _counted(entry: Any) -> str:
    if "counted" not in entry["hflm"][0]:  # measured before there was a `--budget`
        return ""
    seeds = [run["counted"] for run in entry["hflm"]]
    losses, spent = ", ".join(f"{run['eval_loss']:.3f}" for run in seeds), max(run["seconds"] for run in seeds)
    return f"loss {losses} after {spent:.0f} s at most, from the call of the command to its end"


def _downstream(entry: Any) -> str:
    sides = {side: ", ".join(f"{run['accuracy']:.1%}" for run in runs) for side, runs in entry["tuned"].items()}
    losses = {side: found["eval_loss"] for side, found in entry["pretrained"].items()}
    return (
        f"{sides['hflm']} against {sides['plain']}: {entry['compared']['difference']:.1%} more (p "
        f"{entry['compared']['p_value']:.3f}); loss before: {losses['hflm']:.2f} against {losses['plain']:.2f}; with "
        f"the class read off the first token {sides['hflm, first token']}"
    )


def _shapes(entry: Any, what: str) -> str:
    with_it, without = entry["median"]["as it is"], entry["median"][what]
    return f"{without:,.0f} ms for {with_it:,.0f}: {without / with_it - 1:.0%} longer"


def _sizes(entry: Any) -> tuple[Any, Any]:
    return entry["median"][entry["smallest"]], entry["median"][entry["largest"]]


def _noted(entry: Any) -> str:
    return f" ({entry['note']})" if entry.get("note") else ""


def _memory_growth(entry: Any) -> float:
    sides = entry["median"]
    return float(sides["10,000"]["peak_memory_mib"] / sides["1,000"]["peak_memory_mib"])


Row = tuple[str, str, Callable[[Any], str], Callable[[Any], bool]]
ROWS: dict[str, list[Row]] = {
    "f1": [
        (
            "BERT mini, batch 32 x 128, V 8,192: hflm as it comes (Muon)", ">= 3.0 x plain",
            lambda e: _speed(e["mini"], "hflm"), lambda e: e["mini"]["over_plain"]["hflm"] >= 3.0,
        ),
        (
            "the same with AdamW, as the plain side has", ">= 3.0 x plain",
            lambda e: _speed(e["mini"], "hflm, adamw"), lambda e: e["mini"]["over_plain"]["hflm, adamw"] >= 3.0,
        ),
        (
            "BERT base, batch 4 x 128, V 30,522, AdamW on both sides", ">= 2.7 x plain",
            lambda e: _speed(e["base"], "hflm, adamw"), lambda e: e["base"]["over_plain"]["hflm, adamw"] >= 2.7,
        ),
    ],
    "f2": [
        (
            "BERT mini by a plain Trainer, 10 minutes, best of 3 learning rates x 2 batches; `hflm pretrain` as it "
            "comes, 1 minute, 3 seeds", "a loss as low in 1/10 of the time",
            _losses, lambda e: _worst(e["hflm"]) <= _best_plain(e),
        ),
        (
            "the same, with start, probe and evaluations in hflm's minute: `--budget 1m`", "none",
            lambda e: _counted(e), lambda e: True,
        ),
    ],
    "f2-small": [
        (
            "the same at size small: plain 5 minutes, hflm 1", "a loss as low in 1/5 of the time",
            _losses, lambda e: _worst(e["hflm"]) <= _best_plain(e),
        ),
    ],
    "downstream": [
        (
            "BERT mini by a plain Trainer, 5 minutes; `hflm pretrain --budget 5m`: both fine-tuned on the mood of "
            "3,000 sentences, accuracy on 2,000 others", "better than plain's",
            _downstream,
            lambda e: e["median"]["hflm"] > e["median"]["plain"] and e["compared"]["p_value"] < 0.05,
        ),
    ],
    "f3": [
        (
            "peak memory of the process, BERT mini, batch 32 x 128, V 30,522", "<= 1/2 of plain",
            lambda e: f"{e['median']['hflm']:,.0f} MiB against {e['median']['plain']:,.0f}: "
            f"{e['over_plain']['hflm']:.2f} x",
            lambda e: e["over_plain"]["hflm"] <= 0.5,
        ),
    ],
    "f4": [
        (
            "share of the matmul ceiling, BERT base, batch 16 x 128, AdamW", ">= 50 %",
            lambda e: f"{e['median']['adamw']:.0%}", lambda e: e["median"]["adamw"] >= 0.5,
        ),
    ],
    "f5": [
        (
            "mood of 1,000 reviews, MiniLM, 2 epochs, as it comes", "<= 1/3 of plain's time, the same accuracy",
            lambda e: f"{e['median']['hflm']:,.0f} s against {e['median']['plain']:,.0f}: "
            f"{e['over_plain']['hflm']:.2f} x; accuracy {e['accuracy']['hflm']:.1%} against "
            f"{e['accuracy']['plain']:.1%}",
            lambda e: e["over_plain"]["hflm"] <= 1 / 3 and e["accuracy"]["hflm"] >= e["accuracy"]["plain"] - 0.01,
        ),
    ],
    "f6": [
        (
            "classes of 640 texts of mixed lengths, MiniLM's shape", ">= 3.4 x the best pipeline setting",
            lambda e: f"{_fastest(e):,.0f} rows/s against {_best_pipeline(e):,.0f}: "
            f"{_fastest(e) / _best_pipeline(e):.2f} x",
            lambda e: _fastest(e) >= 3.4 * _best_pipeline(e),
        ),
    ],
    "f7": [
        (
            "SmolLM2-135M, 16 prompts in a file, greedy, int8", ">= 8 x plain bf16 one by one, the same texts",
            lambda e: _decoding(e, "hflm, int8, a file")
            + f", {e['same_texts']['int8']} of {e['prompts']} texts the same as one by one",
            lambda e: e["over_plain"]["hflm, int8, a file"] >= 8 and e["same_texts"]["int8"] == e["prompts"],
        ),
        (
            "the same with the weights as they are (bf16)", "none", lambda e: _decoding(e, "hflm, bf16, a file")
            + f", {e['same_texts']['bf16']} of {e['prompts']} texts the same as one by one", lambda e: True,
        ),
    ],
    "f8": [
        (
            "SmolLM2-135M, one prompt, greedy, int8", ">= 2 x plain bf16, and 45 tokens/s",
            lambda e: _decoding(e, "hflm, int8")
            + f"; the first token after {e['seconds_to_first_token']['hflm, int8']:.2f} s",
            lambda e: e["over_plain"]["hflm, int8"] >= 2 and e["median"]["hflm, int8"] >= 45,
        ),
        ("the same with the weights as they are (bf16)", "none", lambda e: _decoding(e, "hflm, bf16"), lambda e: True),
        (
            "what eight bits cost: perplexity of a novel", "none",
            lambda e: f"{e['perplexity']['hflm, int8']:.3f} against "
            f"{e['perplexity']['transformers, fp32']:.3f} in fp32", lambda e: True,
        ),
        (
            "outside anchor: llama.cpp on the same GGUF, 4 bits", "none",
            lambda e: next((f"{v:.1f} tokens/s" for name, v in e["median"].items() if "llama" in name), "not run"),
            lambda e: True,
        ),
    ],
    "f9": [
        (
            "`hflm --help`", "<= 0.25 s", lambda e: f"{e['median']['hflm --help']:.2f} s",
            lambda e: e["median"]["hflm --help"] <= 0.25,
        ),
    ],
    "f10": [
        (
            "preparing text: tokens a second of the largest to those of 10 MB", ">= 0.9 x",
            lambda e: f"{e['largest']}: {_sizes(e)[1]['tokens_per_second']:,.0f} tokens/s against "
            f"{_sizes(e)[0]['tokens_per_second']:,.0f}: {e['over_smallest']['tokens_per_second']:.2f} x",
            lambda e: e["over_smallest"]["tokens_per_second"] >= 0.9,
        ),
        (
            "peak memory of the same", "<= 1.3 x",
            lambda e: f"{_sizes(e)[1]['peak_memory_mib']:,.0f} MiB against {_sizes(e)[0]['peak_memory_mib']:,.0f}: "
            f"{e['over_smallest']['peak_memory_mib']:.2f} x",
            lambda e: e["over_smallest"]["peak_memory_mib"] <= 1.3,
        ),
        (
            "the largest again, from the cache", "<= 10 s", lambda e: f"{_sizes(e)[1]['cached_seconds']:.1f} s",
            lambda e: _sizes(e)[1]["cached_seconds"] <= 10,
        ),
    ],
    "f11": [
        (
            "BERT mini, batch 32 x 128, AdamW, steps alone: 2 processes x 1 thread against 1 x 2", ">= 0.85 x",
            lambda e: _processes(e, "2 processes x 1 thread", "1 process x 2 threads") + _noted(e),
            lambda e: e["two_over_one"] >= 0.85 and not e["note"],
        ),
        (
            "scaling: the same against 1 process x 1 thread", "none",
            lambda e: _processes(e, "2 processes x 1 thread", "1 process x 1 thread") + _noted(e), lambda e: True,
        ),
        (
            "the all-reduce of a step's gradients, two processes", "none",
            lambda e: f"{e['exchange']['gradient_bytes'] / 1e6:.1f} MB in "
            f"{1000 * e['exchange']['all_reduce_seconds']:.0f} ms: {e['exchange']['all_reduce_share']:.0%} of a step "
            f"by itself, {e['exchange']['exposed_share']:.0%} longer than without it" + _noted(e), lambda e: True,
        ),
    ],
    "muon": [
        (
            "F1's BERT base with Muon, whose cost does not shrink with the batch: hflm takes AdamW there", "none",
            lambda e: _speed(e, "hflm"), lambda e: True,
        ),
    ],
    "shapes": [
        (
            "a step of `hflm pretrain`, mini: the output layer for any number of positions, not 64 by 64", "none",
            lambda e: _shapes(e, "any number of positions"), lambda e: True,
        ),
        (
            "the same: Muon's matrices one by one, not those of a shape together", "none",
            lambda e: _shapes(e, "matrices one by one"), lambda e: True,
        ),
    ],
    "graph": [
        (
            "10,000 passages into a graph, two layers of width 64: everything around a model", "none",
            lambda e: f"{e['median']['10,000']['passages_per_second']:,.0f} passages/s, "
            f"{e['median']['10,000']['edges']:,.0f} edges", lambda e: True,
        ),
        (
            "peak memory of 10,000 passages to that of 1,000", "<= 1.1 x",
            lambda e: f"{e['median']['10,000']['peak_memory_mib']:,.0f} MiB against "
            f"{e['median']['1,000']['peak_memory_mib']:,.0f}: {_memory_growth(e):.2f} x",
            lambda e: _memory_growth(e) <= 1.1,
        ),
    ],
}  # fmt: skip

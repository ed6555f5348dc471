"""The rows of the table: what was measured, the target, the result in words, and whether it is reached."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bench.wording import (
    as_it_comes,
    best_pipeline,
    counted,
    decoded,
    decoding,
    downstream,
    losses,
    memory_growth,
    noted,
    of,
    prediction,
    predicts,
    processes,
    shapes,
    sizes,
    sooner,
    speed,
)


class Row(NamedTuple):
    """What was measured, its target, the result in words, whether it is reached, and the rounds that it is of."""

    what: str
    target: str
    value: Callable[[Any], str]
    good: Callable[[Any], bool] = lambda entry: True
    rounds: Callable[[Any], Sequence[Sequence[float]]] = lambda entry: ()


ROWS: dict[str, list[Row]] = {
    "f1": [
        Row(
            "BERT mini, batch 32 x 128, V 8,192: hflm as it comes (Muon)", ">= 3.0 x plain",
            lambda e: speed(e["mini"], "hflm"), lambda e: e["mini"]["over_plain"]["hflm"] >= 3.0,
            lambda e: of(e["mini"], "plain", "hflm"),
        ),
        Row(
            "the same with AdamW, as the plain side has", ">= 3.0 x plain",
            lambda e: speed(e["mini"], "hflm, adamw"), lambda e: e["mini"]["over_plain"]["hflm, adamw"] >= 3.0,
            lambda e: of(e["mini"], "plain", "hflm, adamw"),
        ),
        Row(
            "BERT base, batch 4 x 128, V 30,522, AdamW on both sides", ">= 2.7 x plain",
            lambda e: speed(e["base"], "hflm, adamw"), lambda e: e["base"]["over_plain"]["hflm, adamw"] >= 2.7,
            lambda e: of(e["base"]),
        ),
    ],
    "f2": [
        Row(
            "BERT mini by a plain Trainer, 10 minutes, best of 3 learning rates x 2 batches; `hflm pretrain` as it "
            "comes, 1 minute, 3 seeds", "a loss as low in 1/10 of the time, give or take a tenth", losses, sooner,
        ),
        Row(
            "the same, with start, probe and evaluations in hflm's minute: `--budget 1m`", "none",
            counted,
        ),
    ],
    "f2-small": [
        Row(
            "the same at size small: plain 5 minutes, hflm 1", "a loss as low in 1/5 of the time, give or take a tenth",
            losses, sooner,
        ),
    ],
    "downstream": [
        Row(
            "BERT mini by a plain Trainer, 5 minutes; `hflm pretrain --budget 5m`: both fine-tuned on the mood of "
            "3,000 sentences, accuracy on 2,000 others", "better than plain's",
            downstream,
            lambda e: e["median"]["hflm"] > e["median"]["plain"] and e["compared"]["p_value"] < 0.05,
        ),
    ],
    "f3": [
        Row(
            "peak memory of the process, BERT mini, batch 32 x 128, V 30,522", "<= 1/2 of plain",
            lambda e: f"{e['median']['hflm']:,.0f} MiB against {e['median']['plain']:,.0f}: "
            f"{e['over_plain']['hflm']:.2f} x",
            lambda e: e["over_plain"]["hflm"] <= 0.5, of,
        ),
    ],
    "f4": [
        Row(
            "share of the matmul ceiling, BERT base, batch 16 x 128, AdamW", ">= 50 %",
            lambda e: f"{e['median']['adamw']:.0%}", lambda e: e["median"]["adamw"] >= 0.5,
            lambda e: of(e, "adamw"),
        ),
    ],
    "f5": [
        Row(
            "mood of 1,000 reviews, MiniLM, 2 epochs, as it comes",
            "<= 1/3 of plain's time, the same accuracy (within 1 point)",
            lambda e: f"{e['median']['hflm']:,.0f} s against {e['median']['plain']:,.0f}: "
            f"{e['over_plain']['hflm']:.2f} x; accuracy {e['accuracy']['hflm']:.1%} against "
            f"{e['accuracy']['plain']:.1%}",
            lambda e: e["over_plain"]["hflm"] <= 1 / 3 and e["accuracy"]["hflm"] >= e["accuracy"]["plain"] - 0.01,
            of,
        ),
    ],
    "f6": [
        Row(
            "classes of 640 texts of mixed lengths, MiniLM's shape",
            ">= 3.4 x the best pipeline setting, the same classes",
            prediction, predicts, lambda e: of(e, as_it_comes(e), best_pipeline(e)),
        ),
    ],
    "f7": [
        Row(
            "SmolLM2-135M, 16 prompts in a file, greedy, int8", ">= 8 x plain bf16 one by one, the same texts",
            lambda e: decoding(e, "hflm, int8, a file")
            + f", {e['same_texts']['int8']} of {e['prompts']} texts the same as one by one",
            lambda e: e["over_plain"]["hflm, int8, a file"] >= 8 and e["same_texts"]["int8"] == e["prompts"],
            lambda e: decoded(e, "hflm, int8, a file"),
        ),
        Row(
            "the same with the weights as they are (bf16)", "none", lambda e: decoding(e, "hflm, bf16, a file")
            + f", {e['same_texts']['bf16']} of {e['prompts']} texts the same as one by one",
        ),
    ],
    "f8": [
        Row(
            "SmolLM2-135M, one prompt, greedy, int8", ">= 2 x plain bf16, and 45 tokens/s",
            lambda e: decoding(e, "hflm, int8")
            + f"; the first token after {e['seconds_to_first_token']['hflm, int8']:.2f} s",
            lambda e: e["over_plain"]["hflm, int8"] >= 2 and e["median"]["hflm, int8"] >= 45,
            lambda e: decoded(e, "hflm, int8"),
        ),
        Row("the same with the weights as they are (bf16)", "none", lambda e: decoding(e, "hflm, bf16")),
        Row(
            "what eight bits cost: perplexity of a novel", "none",
            lambda e: f"{e['perplexity']['hflm, int8']:.3f} against "
            f"{e['perplexity']['transformers, fp32']:.3f} in fp32",
        ),
        Row(
            "outside anchor: llama.cpp on the same GGUF, 4 bits", "none",
            lambda e: next((f"{v:.1f} tokens/s" for name, v in e["median"].items() if "llama" in name), "not run"),
        ),
    ],
    "f9": [
        Row(
            "`hflm --help`", "<= 0.25 s", lambda e: f"{e['median']['hflm --help']:.2f} s",
            lambda e: e["median"]["hflm --help"] <= 0.25,
        ),
    ],
    "f10": [
        Row(
            "preparing text: tokens a second of the largest to those of 10 MB", ">= 0.9 x",
            lambda e: f"{e['largest']}: {sizes(e)[1]['tokens_per_second']:,.0f} tokens/s against "
            f"{sizes(e)[0]['tokens_per_second']:,.0f}: {e['over_smallest']['tokens_per_second']:.2f} x",
            lambda e: e["over_smallest"]["tokens_per_second"] >= 0.9, of,
        ),
        Row(
            "peak memory of the same", "<= 1.3 x",
            lambda e: f"{sizes(e)[1]['peak_memory_mib']:,.0f} MiB against {sizes(e)[0]['peak_memory_mib']:,.0f}: "
            f"{e['over_smallest']['peak_memory_mib']:.2f} x",
            lambda e: e["over_smallest"]["peak_memory_mib"] <= 1.3,
        ),
        Row(
            "the largest again, from the cache", "<= 10 s", lambda e: f"{sizes(e)[1]['cached_seconds']:.1f} s",
            lambda e: sizes(e)[1]["cached_seconds"] <= 10,
        ),
    ],
    "f11": [
        Row(
            "BERT mini, batch 32 x 128, AdamW, steps alone: 2 processes x 1 thread against 1 x 2", ">= 0.85 x",
            lambda e: processes(e, "2 processes x 1 thread", "1 process x 2 threads") + noted(e),
            lambda e: e["two_over_one"] >= 0.85 and not e["note"],
            lambda e: of(e, "2 processes x 1 thread", "1 process x 2 threads"),
        ),
        Row(
            "scaling: the same against 1 process x 1 thread", "none",
            lambda e: processes(e, "2 processes x 1 thread", "1 process x 1 thread") + noted(e),
        ),
        Row(
            "the all-reduce of a step's gradients, two processes", "none",
            lambda e: f"{e['exchange']['gradient_bytes'] / 1e6:.1f} MB in "
            f"{1000 * e['exchange']['all_reduce_seconds']:.0f} ms: {e['exchange']['all_reduce_share']:.0%} of a step "
            f"by itself, {e['exchange']['exposed_share']:.0%} longer than without it" + noted(e),
        ),
    ],
    "muon": [
        Row(
            "F1's BERT base with Muon, whose cost does not shrink with the batch: hflm takes AdamW there", "none",
            lambda e: speed(e, "hflm"),
        ),
    ],
    "shapes": [
        Row(
            "a step of `hflm pretrain`, mini: the output layer for any number of positions, not 64 by 64", "none",
            lambda e: shapes(e, "any number of positions"),
        ),
        Row(
            "the same: Muon's matrices one by one, not those of a shape together", "none",
            lambda e: shapes(e, "matrices one by one"),
        ),
    ],
    "graph": [
        Row(
            "10,000 passages into a graph, two layers of width 64: everything around a model", "none",
            lambda e: f"{e['median']['10,000']['passages_per_second']:,.0f} passages/s, "
            f"{e['median']['10,000']['edges']:,.0f} edges",
        ),
        Row(
            "peak memory of 10,000 passages to that of 1,000", "<= 1.1 x",
            lambda e: f"{e['median']['10,000']['peak_memory_mib']:,.0f} MiB against "
            f"{e['median']['1,000']['peak_memory_mib']:,.0f}: {memory_growth(e):.2f} x",
            lambda e: memory_growth(e) <= 1.1,
        ),
    ],
}  # fmt: skip

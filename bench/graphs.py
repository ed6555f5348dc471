"""Passages a second of `hflm graph build`, and its memory, for ten times as many passages.

The model is the smallest that shows all of the way: a decoder of two layers of width 64 with random weights, which
writes 16 tokens a passage at most. So this measures everything around the model; the model's own time adds to it.

python -m bench.graphs COUNT      # one side, in a process of its own
"""

import gzip
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from hflm.build_graph import GraphOptions, build_graph
from hflm.data.corpus import embedded_corpus
from hflm.engine.device import peak_memory
from hflm.engine.trainer import quiet_libraries
from hflm.graphs.extraction import Extractor

LENGTH, TOKENS = 200, 16
RELATIONS = ["is a", "part of", "instance of", "related to"]


def sentences() -> Iterator[str]:
    """Yield paragraphs of the novels of the package, again and again."""
    train, held = embedded_corpus()
    while True:
        for path in (*train, *held):
            with gzip.open(path, "rt", encoding="utf-8") as stream:
                yield from (line.strip() for line in stream if 40 <= len(line) < LENGTH)


def save_model(folder: Path, texts: list[str]) -> None:
    """Save a decoder with random weights that knows some relations."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from hflm.models.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(
        iter([*texts, *[" | ".join(RELATIONS)] * 50]), kind="bpe", vocab_size=2000, arch="llama", max_length=256,
        objective="clm",
    )  # fmt: skip
    torch.manual_seed(1)
    end = tokenizer.eos_token_id
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
        max_position_embeddings=512, bos_token_id=end, eos_token_id=end, tie_word_embeddings=False,
    )  # fmt: skip
    told = {"family": "completion", "instruction": "Facts:", "relations": RELATIONS, "max_source_length": 160,
            "max_target_length": TOKENS}  # fmt: skip
    config.task_specific_params = {"knowledge-graph": told}
    model = LlamaForCausalLM(config)
    # The mark is made likely about every other time, so that triples are written, and graphs are merged.
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    marks = [number for number, piece in enumerate(pieces) if "|" in piece]
    with torch.no_grad():
        model.lm_head.weight[marks] *= 12
    model.generation_config.max_new_tokens = TOKENS
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def side(count: int) -> dict[str, Any]:
    """Build a graph of `count` passages; return passages a second, peak memory in MiB, and what was found."""
    quiet_libraries()
    with tempfile.TemporaryDirectory() as name:
        folder, lines = Path(name), sentences()
        texts = [next(lines) for _ in range(count)]
        (folder / "text.txt").write_text("\n\n".join(texts), encoding="utf-8")
        # The same model on every side: a vocabulary of more text would be another one.
        save_model(folder / "model", texts[:1000])
        began = perf_counter()
        graph = build_graph(
            [str(folder / "text.txt")], folder / "graph.jsonl", Extractor(model=str(folder / "model")),
            GraphOptions(passage_length=LENGTH), overwrite=False, watch=lambda kind, content: None,
        )  # fmt: skip
        seconds = perf_counter() - began
        passages = graph.about["passages"]
        peak = peak_memory("cpu") / 2**20
        return {"passages": passages, "passages_per_second": passages / seconds, "peak_memory_mib": peak,
                "entities": len(graph.entities), "edges": len(graph.edges)}  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(side(int(sys.argv[1]))))

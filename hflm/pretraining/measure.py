"""What a pretraining run is worth: its loss beside a baseline, its speed beside the machine's."""

import math
from itertools import islice
from typing import Any

import numpy as np

from hflm.data.holdout import sample_sentences
from hflm.engine.device import matmul_ceiling, peak_memory
from hflm.engine.order import Placed
from hflm.errors import HflmError
from hflm.inference.fill_mask import blank_one_word, fill_mask
from hflm.models.architecture import count_parameters
from hflm.models.flops import flops_shape, forward_flops
from hflm.pretraining.assemble import Setup
from hflm.pretraining.forecast import body_parameters
from hflm.run import read_json
from hflm.training.training import Trained
from hflm.words import word_pattern

# Words of a sentence for a model to go on with.
BEGINNING = 3


def measure(setup: Setup, trained: Trained) -> dict[str, Any]:
    """Return the metrics of a finished run; losses in nats a token, speeds a second, memory in bytes.

    Speeds are 0 where no step was timed: the run was stopped after its last one, and resumed.
    """
    tokens = int(setup.training.tokens_per_step)
    steps, last, step_seconds = trained.steps, trained.evaluation, trained.step_seconds
    share = 1.0 if setup.config.objective == "clm" else setup.config.mlm_probability
    length = setup.data.eval_rows.ids.shape[1]
    forward = forward_flops(
        flops_shape(setup.model), tokens=tokens, sequence_length=length, predicted=int(share * tokens)
    )
    ceiling = matmul_ceiling(setup.device)
    rate = 1 / step_seconds if step_seconds > 0 else 0.0
    return {
        "job": "pretrain",
        "started": read_json(setup.run.environment)["started"],
        "data": setup.data.name,
        "arch": setup.arch,
        "objective": setup.config.objective,
        "parameters": count_parameters(setup.model),
        "body_parameters": body_parameters(setup.model),
        "steps": steps,
        # Patience brings back weights from before the last step; all else is counted to the end.
        **({"best_step": trained.best_step} if trained.best_step else {}),
        "seconds": round(trained.seconds, 2),
        # None of a stream, whose end nobody has seen.
        "train_tokens": setup.data.report.get("tokens"),
        "tokens_seen": steps * tokens,
        "eval_loss": last["eval_loss"],
        "perplexity": math.exp(min(last["eval_loss"], 50)),
        "eval_accuracy": last["eval_accuracy"],
        "unigram_loss": unigram_loss(setup),
        "tokens_per_second": tokens * rate,
        "flops_per_second": 3 * forward * rate,
        "matmul_ceiling": ceiling,
        "model_flops_utilisation": 3 * forward * rate / ceiling,
        "peak_memory_bytes": peak_memory(setup.device.kind),
        **({"first_step": trained.first} if trained.first else {}),
        "samples": samples(setup),
        "beginning": beginning(setup),
        **{f"data_{name}": value for name, value in setup.data.report.items()},
    }


def unigram_loss(setup: Setup) -> float:
    """Score the evaluation targets by how often each token stands in the training text (one added to each count)."""
    counts = setup.data.counts + 1.0
    surprise = -np.log(counts / counts.sum())
    data, total, number = Placed(setup.data.eval_rows), 0.0, 0
    for index in range(len(data)):
        labels = setup.family.collate_eval([data[0, index]])["labels"].numpy()
        total += float(surprise[labels].sum())
        number += labels.size
    return total / number


def beginning(setup: Setup) -> str:
    """Return the first words of a sentence that the model was not trained on, to be gone on with; "" without one."""
    for sentence in sample_sentences(setup.data.sentences, count=1, seed=setup.config.seed):
        ends = [match.end() for match in islice(word_pattern().finditer(sentence), BEGINNING)]
        return sentence[: ends[-1]] if ends else ""
    return ""


def samples(setup: Setup) -> list[dict[str, Any]]:
    """Let the model fill a blank in sentences that it was not trained on."""
    if setup.config.objective == "clm":
        return []
    draw = np.random.Generator(np.random.Philox(key=[setup.config.seed, 11]))
    model = setup.model.eval()
    found = []
    for sentence in sample_sentences(setup.data.sentences, count=5, seed=setup.config.seed):
        text, word = blank_one_word(sentence, draw)
        try:
            candidates = fill_mask(model, setup.data.tokenizer, text, top=3)[0]
        except HflmError:
            # Longer than the rows that the model was trained on: no reason to lose the results of the run.
            continue
        found.append({"text": text, "word": word, "guesses": [candidate.token for candidate in candidates]})
    return found

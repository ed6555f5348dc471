"""A model from scratch for a task: a vocabulary of the training rows and weights drawn from the seed, kept by content.

hflm finetune --task translation --arch t5 --size mini --source-lang en --target-lang es --data rows.jsonl
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hflm.cache import cache_folder, in_cache, staged
from hflm.data.examples import Example
from hflm.data.rows import cache_key
from hflm.data.splits import Splits, content_key
from hflm.data.vocabulary import enough, lines, vocabulary_size
from hflm.errors import ModelError
from hflm.finetune_config import FinetuneConfig
from hflm.models.architecture import (
    SEQ2SEQ,
    Shape,
    build_config,
    build_model,
    check_shape,
    choose_shape,
    objective_of,
)
from hflm.models.safety import check_folder
from hflm.models.tokenizer import check_opens, train_tokenizer
from hflm.task import Task

# Counts up when the same rows and settings give another model.
MAKER = 3
# Families that write text.
WRITING = ("text_to_text", "causal_lm")


def check_scratch(config: FinetuneConfig, task: Task) -> tuple[Shape, str]:
    """Return shape and objective of the model that is asked for; raises ModelError where it cannot be built."""
    assert config.arch
    objective = objective_of(config.arch, writes=task.family in WRITING)
    shape = choose_shape(size=config.size, layers=config.layers, width=config.width, heads=config.heads)
    if task.family == "causal_lm" and objective == SEQ2SEQ:
        raise ModelError(f"{config.arch} is an encoder-decoder.", fix="Try --arch llama or gpt2.")
    check_opens(config.arch)
    check_shape(config.arch, shape, objective=objective)
    return shape, objective


def from_scratch(config: FinetuneConfig, task: Task, rows: Sequence[Example], *, say: Callable[[str], None]) -> str:
    """Return the folder of an untrained model, made where it is not in the cache.

    Its vocabulary is that of the training rows: nothing is read of those that the model is scored on.
    """
    shape, objective = check_scratch(config, task)
    assert config.arch
    length = max(config.max_source_length, config.max_target_length)
    if objective == "clm" and task.family in WRITING:
        # A decoder reads a source and its target one after the other.
        length = config.max_source_length + config.max_target_length
    key = cache_key(
        rows=content_key(Splits(rows, (), (), {})), arch=config.arch, shape=[shape.layers, shape.width, shape.heads],
        size=config.vocab_size, length=length, dropout=config.dropout, seed=config.seed, objective=objective,
        maker=MAKER,
    )  # fmt: skip
    folder = cache_folder() / f"scratch-{key}"
    if in_cache(folder, opens=check_folder):
        return str(folder)
    tokenizer = _tokenizer(config, rows, objective=objective, length=length, say=say)
    made = build_config(
        arch=config.arch, shape=shape, vocab_size=len(tokenizer), max_length=length + 2, tokenizer=tokenizer,
        dropout=config.dropout,
    )  # fmt: skip
    model = build_model(made, objective=objective, seed=config.seed)
    with staged(folder) as staging:
        model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
    return str(folder)


def _tokenizer(
    config: FinetuneConfig, rows: Sequence[Example], *, objective: str, length: int, say: Callable[[str], None]
) -> Any:
    """Train the vocabulary; bytes for what writes, so that nothing is unknown to it, and WordPiece for what reads."""
    size = config.vocab_size or vocabulary_size(enough(_texts(rows)))
    kind = "bpe" if objective in ("clm", SEQ2SEQ) else "wordpiece"
    say(f"training a {kind} tokenizer of {size:,} pieces on the training rows")
    return train_tokenizer(
        lines(enough(_texts(rows))), kind=kind, vocab_size=size, arch=str(config.arch), max_length=length,
        objective=objective, strict=config.vocab_size is not None,
    )  # fmt: skip


def _texts(rows: Sequence[Example]) -> Iterator[str]:
    """Yield every text of the rows, those inside messages and lists of words too."""
    for row in rows:
        for value in row.values.values():
            if isinstance(value, str):
                yield value
            elif isinstance(value, list):
                if all(isinstance(each, str) for each in value):
                    yield " ".join(value)
                else:
                    yield from (str(each["content"]) for each in value if isinstance(each, dict) and "content" in each)

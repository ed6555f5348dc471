"""The plain equivalents: what a careful user writes with transformers alone, as its public examples do it.

Dense texts of `max_length` tokens without padding, `DataCollatorForLanguageModeling`, a BERT as its configuration
builds it (dropout 0.1, all logits), float32, AdamW: the way of the masked-language-model example of transformers.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from hflm.models.architecture import SIZES


class Texts(torch.utils.data.Dataset[dict[str, list[int]]]):
    """Rows of ids [N, T], as `group_texts` of the public example leaves them."""

    def __init__(self, ids: np.ndarray) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return {"input_ids": self.ids[index].tolist()}


def plain_trainer(
    ids: np.ndarray, *, tokenizer: Any, size: str, vocab_size: int, batch_size: int, steps: int, lr: float,
    folder: Path, callbacks: list[TrainerCallback], schedule: str = "linear",
) -> Trainer:  # fmt: skip
    """Build the plain Trainer; nothing of hflm's engine is in it."""
    shape = SIZES[size]
    torch.manual_seed(1)
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=vocab_size,
            hidden_size=shape.width,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=4 * shape.width,
            max_position_embeddings=512,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    arguments = TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=batch_size, max_steps=steps, learning_rate=lr,
        lr_scheduler_type=schedule, warmup_steps=0.06, weight_decay=0.01, logging_steps=10, save_strategy="no",
        report_to=[], use_cpu=True, disable_tqdm=True, seed=1,
    )  # fmt: skip
    return Trainer(
        model=model, args=arguments, train_dataset=Texts(ids), callbacks=callbacks,
        data_collator=DataCollatorForLanguageModeling(tokenizer=tokenizer, mlm_probability=0.15),
    )  # fmt: skip

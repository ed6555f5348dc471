"""Pretrain a masked language model, or a next-token one, from raw text.

hflm pretrain book.txt --budget 10m
"""

from hflm.task import Task

task = Task(
    name="pretraining",
    columns={"text": ("text", "content", "document", "sentence")},
    family="masked_lm",
    metrics=("loss", "perplexity", "masked_accuracy"),
    defaults={
        "arch": "modernbert",
        "size": "mini",
        "objective": "mlm",
        "mlm_probability": 0.30,
        "batch_size": 16,
        "learning_rate": 4e-3,
        "optimizer": "auto",
        "schedule": "trapezoid",
    },
)

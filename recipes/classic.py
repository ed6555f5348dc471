"""Pretrain BERT as its authors did: AdamW, 15 % masked, dropout, a linear schedule (Devlin et al. 2019).

hflm pretrain book.txt --recipe classic --budget 10m
"""

from hflm.task import Task

task = Task(
    name="classic",
    columns={"text": ("text", "content", "document", "sentence")},
    family="masked_lm",
    metrics=("loss", "perplexity", "masked_accuracy"),
    defaults={
        "arch": "bert",
        "size": "mini",
        "objective": "mlm",
        "mlm_probability": 0.15,
        "batch_size": 32,
        "dropout": 0.1,
        "learning_rate": 5e-4,
        "optimizer": "adamw",
        "schedule": "linear",
    },
)

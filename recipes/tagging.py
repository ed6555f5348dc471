"""Tag words, such as names by BIO tags: {"tokens": ["Ada", "ran"], "tags": ["B-PER", "O"]}.

hflm finetune --task tagging --model google-bert/bert-base-cased --data names.jsonl
"""

from hflm.task import Task

task = Task(
    name="tagging",
    columns={"tokens": ("tokens", "words"), "tags": ("tags", "ner_tags", "labels", "pos_tags", "bio")},
    family="tagging",
    metric="tagging",
    best="accuracy",
    sample="tagging",
    defaults={
        "model": "google-bert/bert-base-cased",
        "epochs": 3,
        "batch_size": 32,
    },
)

"""Translate: one column a language, {"en": ..., "es": ...}, or the hub's {"translation": {...}}.

hflm finetune --task translation --model Helsinki-NLP/opus-mt-en-es --source-lang en --target-lang es --data rows.jsonl
"""

from hflm.task import Task

task = Task(
    name="translation",
    columns={"source": ("source", "src"), "target": ("target", "tgt")},
    family="text_to_text",
    metric="bleu",
    prefix="translate {source} to {target}: ",
    instruction="Translate this text from {source} to {target}.",
    sample="translation",
    defaults={
        "model": "google-t5/t5-small",
        "epochs": 3,
        "batch_size": 32,
        "max_source_length": 128,
        "max_target_length": 128,
    },
)

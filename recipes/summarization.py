"""Summarize texts: {"document": ..., "summary": ...}.

hflm finetune --task summarization --model google-t5/t5-small --data articles.jsonl
"""

from hflm.task import Task

task = Task(
    name="summarization",
    columns={
        "source": ("document", "article", "dialogue", "text", "source", "content", "body"),
        "target": ("summary", "highlights", "abstract", "target", "tldr", "title", "headline"),
    },
    by_place=True,
    family="text_to_text",
    metric="rouge",
    prefix="summarize: ",
    instruction="Summarize this text in one line.",
    sample="summarization",
    defaults={
        "model": "google-t5/t5-small",
        "epochs": 3,
        "batch_size": 16,
        "max_source_length": 1024,
        "max_target_length": 128,
    },
)

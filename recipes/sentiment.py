"""Sort texts by sentiment, or into any other classes that the rows name: {"text": ..., "label": ...}.

hflm finetune --task sentiment --model distilbert/distilbert-base-uncased --data reviews.jsonl
"""

from hflm.task import Task

task = Task(
    name="sentiment",
    columns={
        "text": ("text", "sentence", "review", "content", "comment", "tweet"),
        "label": ("label", "labels", "sentiment", "class", "category", "target", "rating"),
        "label_name": ("label_name", "label_text"),
    },
    shapes=(("text", "label"),),
    family="classification",
    metric="classification",
    best="accuracy",
    sample="sentiment",
    defaults={
        "model": "distilbert/distilbert-base-uncased",
        "epochs": 3,
        "batch_size": 32,
    },
)

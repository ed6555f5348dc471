"""Write down what a text says as triples: {"text": ..., "triples": [["Ada", "born in", "London"]]}.

hflm finetune --task knowledge-graph --model google-t5/t5-small --data facts.jsonl
"""

from hflm.task import Task

task = Task(
    name="knowledge-graph",
    columns={
        "source": ("text", "source", "sentence", "passage", "document", "content"),
        "target": ("triples", "triplets", "relations", "target"),
    },
    family="text_to_text",
    writes="triples",
    metric="triples",
    prefix="extract triples: ",
    instruction="List the facts as head | relation | tail.",
    sample="knowledge_graph",
    defaults={
        "model": "google-t5/t5-small",
        "epochs": 3,
        "batch_size": 16,
        "max_source_length": 256,
        "max_target_length": 96,
    },
)

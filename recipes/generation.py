"""Continue text, or answer: plain text, chats, prompts with completions, instructions.

hflm finetune --task generation --model HuggingFaceTB/SmolLM2-135M-Instruct --data chats.jsonl --lora-rank 8
"""

from hflm.task import Task

task = Task(
    name="generation",
    columns={
        "messages": ("messages",),
        "conversations": ("conversations", "conversation"),
        "prompt": ("prompt", "question"),
        "completion": ("completion", "response", "answer"),
        "instruction": ("instruction",),
        "input": ("input", "context"),
        "output": ("output",),
        "text": ("text", "content"),
    },
    shapes=(
        ("messages",),
        ("conversations",),
        ("prompt", "completion"),
        ("instruction", "output"),
        ("text",),
    ),  # fmt: skip
    family="causal_lm",
    metric="perplexity",
    sample="pride_and_prejudice",
    defaults={
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "epochs": 3,
        "batch_size": 16,
        "learning_rate": 5e-5,
        "max_source_length": 512,
    },
)

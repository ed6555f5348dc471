"""Options of other tools that hflm has no use for, and what to do instead."""

# Option -> what to do; looked up where a command of training does not know an option.
INSTEAD = {
    "fp16": "Pass --precision fp16.",
    "bf16": "Pass --precision bf16; where the hardware is fast with it, it is the default.",
    "gradient-accumulation-steps": "It is solved from --batch-size and --micro-batch-size, and printed.",
    "per-device-eval-batch-size": "Leave it away: evaluation keeps to a budget of tokens.",
    "eval-batch-size": "Leave it away: evaluation keeps to a budget of tokens.",
    "load-best-model-at-end": "Leave it away: the best weights are kept in any case.",
    "metric-for-best-model": "Leave it away: the recipe says it; `hflm recipes show` shows where.",
    "metric": "Leave it away: the recipe says it; `hflm recipes show` shows where.",
    "evaluation-strategy": "Pass --eval-steps N.",
    "eval-strategy": "Pass --eval-steps N.",
    "save-strategy": "Pass --save-steps N.",
    "do-train": "Leave it away: what there are rows for is done.",
    "do-eval": "Leave it away: what there are rows for is done.",
    "do-predict": "Leave it away: what there are rows for is done.",
    "predict-with-generate": "Leave it away: texts are written for the test.",
    "overwrite-output-dir": "Pass --overwrite.",
    "resume-from-checkpoint": "Run `hflm resume RUN`.",
    "pad-to-max-length": "Leave it away: batches of like length need little padding.",
    "group-by-length": "Leave it away: batches have rows of like length in any case.",
    "push-to-hub": "When the run is done: `hf upload NAME RUN/model`.",
    "trust-remote-code": "No code out of a model folder is run; name a model that transformers knows by itself.",
    "use-peft": "Pass --lora-rank 8.",
    "lora-r": "Pass --lora-rank.",
    "lora-alpha": "Leave it away: it is twice the rank.",
    "text-column-name": "Pass --text-column.",
    "label-column-name": "Pass --label-column.",
    "summary-column": "Pass --target-column.",
}
# The same for one command, where it is otherwise.
OTHERWISE = {
    "pretrain": {
        "load-best-model-at-end": "Pass --patience N; without it the last weights are kept.",
        "metric-for-best-model": "Leave it away: it is the loss on the evaluation text.",
        "metric": "Leave it away: it is the loss on the evaluation text.",
        "do-predict": "Leave it away: pretraining has no test rows.",
        "predict-with-generate": "Leave it away: pretraining has no test rows.",
        "pad-to-max-length": "Leave it away: rows are packed and need no padding.",
        "group-by-length": "Leave it away: rows are packed and equally long.",
        "use-peft": "Pretraining trains all weights; `hflm finetune --lora-rank 8` does not.",
        "lora-r": "Pretraining trains all weights; `hflm finetune --lora-rank 8` does not.",
        "lora-alpha": "Pretraining trains all weights; `hflm finetune --lora-rank 8` does not.",
        "label-column-name": "Leave it away: pretraining reads text alone.",
        "summary-column": "Leave it away: pretraining reads text alone.",
    }
}  # fmt: skip


def instead(command: str, name: str) -> str | None:
    """Say what to do instead of an option of other tools; None where it is none of them."""
    return OTHERWISE.get(command, {}).get(name) or INSTEAD.get(name)

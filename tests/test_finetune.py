"""A fine-tuning from rows to a tested model: what it leaves and keeps, that it can be stopped, who can load it."""

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from hflm.errors import Interrupted, UsageError
from hflm.finetune import finetune
from hflm.finetune_config import FinetuneConfig
from hflm.inference.trained import open_trained
from hflm.predict import predict_texts
from hflm.recipe_files import load_task
from hflm.settings import build, read_yaml
from tests.tiny import asked, moods, pairs, tagged, write

Run = Callable[..., Path]
Tiny = Callable[[str], str]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """A file of rows for every task."""
    folder = tmp_path_factory.mktemp("rows")
    made = {"moods": moods(60), "pairs": pairs(60), "tagged": tagged(60), "asked": asked(60),
            "plain": [{"text": row["document"]} for row in pairs(60)]}  # fmt: skip
    return {name: str(write(folder / f"{name}.jsonl", content)) for name, content in made.items()}


@pytest.fixture(scope="module")
def sentiment(run_finetune: Run, tiny: Tiny, rows: Mapping[str, str]) -> Path:
    return run_finetune(
        "sentiment",
        model=tiny("bert"),
        data=[rows["moods"]],
        max_steps=40,
        learning_rate=1e-2,
        eval_steps=8,
        save_total_limit=9,
    )


def files(run: Path) -> set[str]:
    return {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file() and "checkpoints" not in path.parts}


ALWAYS = {
    "config.yaml", "environment.json", "files.sha256", "log.jsonl", "loss.png", "metrics.json", "plan.json",
    "predictions.jsonl", "recipe.py", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json",
    "model/README.md", "model/config.json", "model/loss.png", "model/model.safetensors", "model/tokenizer.json",
    "model/tokenizer_config.json",
}  # fmt: skip


def test_the_files_of_a_run(sentiment: Path) -> None:
    assert files(sentiment) == ALWAYS | {"confusion.png"}
    metrics = json.loads((sentiment / "metrics.json").read_text())
    lines = [json.loads(line) for line in (sentiment / "predictions.jsonl").read_text().splitlines()]
    assert metrics["test_rows"] == len(lines) == metrics["preflight"]["rows"]["test"]
    assert set(lines[0]) == {"text", "reference", "prediction", "score"}
    right = sum(line["prediction"] == line["reference"] for line in lines) / len(lines)
    accuracy = metrics["test"]["scores"]["accuracy"]
    assert accuracy["value"] == pytest.approx(right) and accuracy["low"] <= right <= accuracy["high"]
    assert right > 0.8, "words tell the two apart"
    assert metrics["family"] == "classification" and metrics["task"] == "sentiment" and metrics["steps"] == 40
    card = (sentiment / "model" / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card and "accuracy" in card
    assert not list(sentiment.rglob("training_args.bin"))


def test_the_test_split_is_scored_once(
    run_finetune: Run, tiny: Tiny, rows: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hflm.inference import testing

    scored = []

    def spy(*words: Any, **more: Any) -> Any:
        scored.append(len(words[2]))
        return real(*words, **more)

    real = testing.predict_examples
    monkeypatch.setattr(testing, "predict_examples", spy)
    run = run_finetune("sentiment", model=tiny("distilbert"), data=[rows["moods"]], max_steps=2, eval_steps=1)
    assert scored == [json.loads((run / "metrics.json").read_text())["test_rows"]]
    again = run_finetune("sentiment", model=tiny("distilbert"), data=[rows["moods"]], max_steps=2, test_fraction=0.0)
    assert len(scored) == 1 and not (again / "predictions.jsonl").exists()
    assert json.loads((again / "metrics.json").read_text())["test_rows"] == 0


def test_the_best_model_is_kept(run_finetune: Run, tiny: Tiny, rows: Mapping[str, str]) -> None:
    # The rate only grows, until it breaks what was learned: the last is not the best.
    run = run_finetune(
        "sentiment", model=tiny("bert"), data=[rows["moods"]], max_steps=60, eval_steps=6, save_steps=60,
        learning_rate=0.06, warmup=0.9, save_total_limit=1, max_grad_norm=0.0, seed=2, eval_fraction=0.5,
    )  # fmt: skip
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    scores = {line["step"]: line["eval_accuracy"] for line in log if "eval_accuracy" in line}
    metrics = json.loads((run / "metrics.json").read_text())
    # The last that as many rows cannot tell from the best.
    best, count = max(scores.values()), metrics["preflight"]["rows"]["eval"]
    least = best - (best * (1 - best) / count) ** 0.5
    assert metrics["best_step"] == max(step for step, score in scores.items() if score >= least)
    assert scores[metrics["best_step"]] == metrics["eval_accuracy"]
    assert metrics["best_step"] < 60, "a harder rate is needed for this test"
    kept = run / "checkpoints" / f"checkpoint-{metrics['best_step']}" / "model.safetensors"
    assert_equal(load_file(kept), load_file(run / "model" / "model.safetensors"))


def test_patience_stops(run_finetune: Run, tiny: Tiny, rows: Mapping[str, str]) -> None:
    run = run_finetune(
        "sentiment", model=tiny("bert"), data=[rows["moods"]], max_steps=40, eval_steps=1, patience=2,
        learning_rate=1e-9, test_fraction=0.0,
    )  # fmt: skip
    assert json.loads((run / "metrics.json").read_text())["steps"] < 10


def assert_equal(one: Mapping[str, torch.Tensor], two: Mapping[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


STOPPED: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "sentiment": ("sentiment", "bert", "moods", {"micro_batch_size": 4}),
    "lora": ("generation", "llama", "asked", {"lora_rank": 4}),
    "lora on a classifier": ("sentiment", "gpt2", "moods", {"lora_rank": 2}),
    "t5": ("summarization", "t5", "pairs", {"label_smoothing": 0.1}),
}


@pytest.mark.promise("R3")
@pytest.mark.parametrize("case", STOPPED)
def test_stopped_and_resumed_is_the_straight_run(
    case: str, run_finetune: Run, tiny: Tiny, rows: Mapping[str, str], tmp_path: Path
) -> None:
    task, kind, data, more = STOPPED[case]
    settings = {"model": tiny(kind), "data": [rows[data]], "max_steps": 8, "eval_steps": 3, "save_steps": 8, **more}
    straight = run_finetune(task, **settings)
    recipe, folder = load_task(task), tmp_path / "stopped"
    config = build(FinetuneConfig, read_yaml(straight / "config.yaml"), where="a test")

    def stop(kind: str, content: Mapping[str, Any]) -> None:
        if kind == "step" and content["step"] == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=f"hflm resume {folder}"):
        finetune(config, recipe, folder, overwrite=False, resume=False, watch=stop)
    assert not (folder / "metrics.json").exists() and not (folder / "model").exists()
    finetune(config, recipe, folder, overwrite=False, resume=True, watch=lambda kind, content: None)
    assert_equal(*(load_file(run / "model" / "model.safetensors") for run in (straight, folder)))
    assert (folder / "predictions.jsonl").read_text() == (straight / "predictions.jsonl").read_text()
    one, two = (json.loads((run / "metrics.json").read_text()) for run in (straight, folder))
    for name in ("test", "eval_loss", "best_step", "steps"):
        assert one[name] == two[name]
    # Done is done.
    said = []
    finetune(config, recipe, folder, overwrite=False, resume=True, watch=lambda kind, content: said.append(content))
    assert said == [{"text": f"{folder} is done; nothing is left to train."}]


@pytest.mark.promise("R4")
def test_changed_rows_are_refused_on_resume(run_finetune: Run, tiny: Tiny, tmp_path: Path) -> None:
    data = write(tmp_path / "a.jsonl", moods())
    run = run_finetune("sentiment", model=tiny("bert"), data=[str(data)], max_steps=2)
    (run / "metrics.json").unlink()
    write(data, [*moods(), {"text": "one more", "label": "good"}])
    with pytest.raises(UsageError, match="The training data of .* has changed"):
        finetune(build(FinetuneConfig, read_yaml(run / "config.yaml"), where="a test"), load_task("sentiment"), run,
                 overwrite=False, resume=True, watch=lambda kind, content: None)  # fmt: skip


def test_transformers_pipeline_opens_the_classifier(sentiment: Path) -> None:
    from transformers import pipeline

    pipe = pipeline("text-classification", model=str(sentiment / "model"))
    lines = [json.loads(line) for line in (sentiment / "predictions.jsonl").read_text().splitlines()]
    found = pipe([line["text"] for line in lines])
    assert [one["label"] for one in found] == [line["prediction"] for line in lines]
    assert {one["label"] for one in found} <= {"good", "bad"}
    assert [one["score"] for one in found] == pytest.approx([line["score"] for line in lines], abs=1e-5)


@pytest.mark.parametrize(("kind", "task"), [("llama", "generation"), ("gpt2", "summarization")])
def test_lora_leaves_a_plain_model(
    kind: str, task: str, run_finetune: Run, tiny: Tiny, rows: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    from hflm.inference import testing
    from hflm.models import adapters
    from hflm.models.architecture import count_parameters

    ids, before = torch.arange(4, 16).view(2, 6), []
    tested = list[list[str]]()
    real, ask = adapters.merge_lora, testing.predict_examples

    def merge(model: Any) -> None:
        with torch.no_grad():
            before.append(model(input_ids=ids).logits)
        real(model)

    def spy(model: Any, *words: Any, **more: Any) -> Any:
        tested.append([name for name in model.state_dict() if "lora" in name])
        return ask(model, *words, **more)

    monkeypatch.setattr(adapters, "merge_lora", merge)
    monkeypatch.setattr(testing, "predict_examples", spy)
    data = rows["asked" if task == "generation" else "pairs"]
    run = run_finetune(task, model=tiny(kind), data=[data], lora_rank=4, learning_rate=2e-2, max_steps=6)
    monkeypatch.setattr(transformers.utils.import_utils, "is_peft_available", lambda *words, **more: False)
    model = transformers.AutoModelForCausalLM.from_pretrained(run / "model")
    assert not [name for name in model.state_dict() if "lora" in name]
    assert "adapter_config.json" not in os.listdir(run / "model")
    plain = transformers.AutoModelForCausalLM.from_pretrained(tiny(kind))
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=ids).logits, before[0], rtol=0, atol=1e-5)
        assert (plain(input_ids=ids).logits - before[0]).abs().max() > 1e-3
    assert {"model/model.safetensors", "model/generation_config.json"} <= files(run)
    assert tested == [[]], "what is tested is what is saved"
    assert json.loads((run / "metrics.json").read_text())["parameters"] == count_parameters(model)


WRITING = {"num_beams": 2, "no_repeat_ngram_size": 3, "length_penalty": 1.5}
RUNS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "tags": ("tagging", "distilbert", "tagged", {}),
    "summaries by bart": ("summarization", "bart", "pairs", {"gradient_checkpointing": True}),
    "summaries by marian": ("summarization", "marian", "pairs", WRITING),
    "prompts by gpt2": ("generation", "gpt2", "asked", {"freeze": 1}),
    "plain text": ("generation", "llama", "plain", {}),
    "weights and smoothing": ("sentiment", "distilbert", "moods",
                              {"class_weights": "balanced", "label_smoothing": 0.1, "freeze": 1}),
    "a decoder that classifies": ("sentiment", "llama", "moods", {}),
}  # fmt: skip


@pytest.mark.parametrize("case", RUNS)
def test_every_kind_of_run(case: str, run_finetune: Run, tiny: Tiny, rows: Mapping[str, str]) -> None:
    task, kind, data, more = RUNS[case]
    run = run_finetune(task, model=tiny(kind), data=[rows[data]], max_steps=4, learning_rate=1e-3, **more)
    metrics = json.loads((run / "metrics.json").read_text())
    extra = {"classification": {"confusion.png"}, "tagging": set()}.get(
        metrics["family"], {"model/generation_config.json"}
    )  # fmt: skip
    chat = {name for name in files(run) if name.endswith("chat_template.jinja")}
    assert files(run) - chat == ALWAYS | extra and bool(chat) == (kind == "llama")
    lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == metrics["test_rows"] > 0 and "reference" in lines[0]
    assert all(score["low"] <= score["value"] <= score["high"] for score in metrics["test"]["scores"].values())
    assert metrics["metric"] == load_task(task).metric
    # Plain `generate` goes on behind the last token of a row.
    side = AutoTokenizer.from_pretrained(run / "model").padding_side
    assert side == ("left" if metrics["family"] == "completion" else "right")
    if more.get("freeze"):
        old, new = load_file(Path(tiny(kind), "model.safetensors")), load_file(run / "model" / "model.safetensors")
        frozen = [name for name in new if "embed" in name or "wte" in name or ".0." in name or "h.0." in name]
        same = [name for name in frozen if name in old]
        assert same and all(torch.equal(old[name], new[name]) for name in same)
        assert any(not torch.equal(old[name], new[name]) for name in set(old) & set(new))
    if "model/generation_config.json" in extra:
        config = json.loads((run / "model" / "generation_config.json").read_text())
        lengths = metrics["preflight"]["target_lengths"]
        assert config["max_new_tokens"] in range(lengths["p95"], lengths["max"] + 2)
    if more == WRITING:
        assert {name: config[name] for name in WRITING} == WRITING
        told = predict_texts(open_trained(str(run)), [lines[0]["source"]])
        assert told[0]["prediction"] == lines[0]["prediction"], "a model is used as it was tested"


def test_many_shapes_train(run_finetune: Run, tiny: Tiny, tmp_path: Path) -> None:
    shapes: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "alpaca": lambda row: {"instruction": "Count.", "input": row["prompt"], "output": row["completion"]},
        "sharegpt": lambda row: {"conversations": [{"from": "human", "value": row["prompt"]},
                                                   {"from": "gpt", "value": row["completion"]}]},
        "messages": lambda row: {"messages": [{"role": "user", "content": row["prompt"]},
                                              {"role": "assistant", "content": row["completion"]}]},
    }  # fmt: skip
    losses = set()
    for name, make in shapes.items():
        data = write(tmp_path / f"{name}.jsonl", [make(row) for row in asked()])
        run = run_finetune(
            "generation", model=tiny("gpt2"), train_file=str(data), validation_file=str(data), test_file=str(data),
            max_steps=2, eval_steps=2,
        )  # fmt: skip
        losses.add((name == "alpaca", json.loads((run / "metrics.json").read_text())["eval_loss"]))
    assert len(losses) == 2, "the same conversation in two shapes is the same to the model"

"""A distillation from rows to a student beside its teacher: what it leaves, that it can be stopped, what it refuses."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hflm.cli.app import main
from hflm.distill_config import DistillConfig
from hflm.distilling import answers
from hflm.errors import Interrupted, UsageError
from hflm.reproduce import reproduce
from hflm.resume import resume, settings_of
from hflm.run import RunFolder
from hflm.stress import _splits_of
from tests.tiny import moods, write

Run = Callable[..., Path]
Tiny = Callable[[str], str]


def silent(kind: str, content: Mapping[str, Any]) -> None:
    """Hear nothing."""


@pytest.fixture(scope="module")
def small(run_distill: Run, distill_rows: dict[str, str]) -> Path:
    return run_distill("sentiment", data=[distill_rows["moods"]], max_steps=30, learning_rate=3e-3, eval_steps=30)


def metrics_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return found


def test_what_is_kept_is_measured_on_the_same_rows(small: Path, teachers: dict[str, str]) -> None:
    metrics = metrics_of(small)
    found, kept = metrics["distillation"], metrics["distillation"]["kept"]["accuracy"]
    ours, theirs = (
        [json.loads(line) for line in (small / name).read_text().splitlines()]
        for name in ("predictions.jsonl", "teacher_predictions.jsonl")
    )
    assert [row["text"] for row in ours] == [row["text"] for row in theirs] and len(ours) == metrics["test_rows"]
    for side, said in (("student", ours), ("teacher", theirs)):
        right = sum(row["prediction"] == row["reference"] for row in said) / len(said)
        assert kept[side]["value"] == pytest.approx(right)
        assert kept[side]["low"] <= right <= kept[side]["high"]
    assert kept["share"] == pytest.approx(kept["student"]["value"] / kept["teacher"]["value"])
    assert kept["low"] <= kept["difference"] <= kept["high"]
    assert kept["student"] == metrics["test"]["scores"]["accuracy"]
    teacher = metrics_of(Path(teachers["sentiment"]))
    assert found["teacher"]["parameters"] == teacher["parameters"] > found["student"]["parameters"]
    assert found["student"]["parameters"] == metrics["parameters"]
    for side, folder in (("teacher", Path(teachers["sentiment"])), ("student", small)):
        on_disk = (folder / "model" / "model.safetensors").stat().st_size
        assert found[side]["bytes"] == pytest.approx(on_disk, rel=0.05) and found[side]["rows_per_second"] > 0
    assert found["speedup"] == found["student"]["rows_per_second"] / found["teacher"]["rows_per_second"]
    assert metrics["job"] == "distill" and kept["student"]["value"] > 0.8, "words tell the two apart"


def test_its_rows_of_validation_are_read_again(small: Path) -> None:
    """A temperature is fitted to them by `hflm stress`."""
    splits = _splits_of(RunFolder(small))
    assert len(splits.eval) == metrics_of(small)["preflight"]["rows"]["eval"] > 0


def test_the_files_of_a_run(small: Path) -> None:
    assert {"distillation.png", "teacher_predictions.jsonl", "predictions.jsonl", "loss.png", "recipe.py"} <= {
        path.name for path in small.iterdir()
    }
    card = (small / "model" / "README.md").read_text()
    assert "Distilled by `hflm distill`" in card and "## Beside its teacher" in card and "| accuracy |" in card
    saved = load_file(small / "model" / "model.safetensors")
    assert any(".layer.0." in name for name in saved) and not any(".layer.1." in name for name in saved)
    # The teacher is not part of the checkpoints.
    weights = load_file(next((small / "checkpoints").glob("checkpoint-30")) / "model.safetensors")
    assert weights.keys() == saved.keys()
    assert "student_layers: 1\n" in (small / "config.yaml").read_text()
    assert "model: null" in (small / "config.yaml").read_text(), "no path of a cache"


CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "classes": ("sentiment", "moods", {"micro_batch_size": 4, "hidden_weight": 0.5, "lora_rank": 2}),
    "texts": ("summarization", "pairs", {}),
    "masked": ("pretraining", "", {"hidden_weight": 1.0}),
}


@pytest.mark.promise("R3")
@pytest.mark.parametrize("case", CASES)
def test_stopped_and_resumed_is_the_straight_run(
    case: str, run_distill: Run, distill_rows: dict[str, str], text_file: Path, tmp_path: Path
) -> None:
    task, data, more = CASES[case]
    settings = {"data": [distill_rows[data] if data else str(text_file)], "save_steps": 6, **more}
    straight, folder = run_distill(task, **settings), tmp_path / "stopped"

    def stop(kind: str, content: Mapping[str, Any]) -> None:
        if kind == "step" and content["step"] == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=f"hflm resume {folder}"):
        run_distill(task, folder=folder, watch=stop, **settings)
    assert not (folder / "metrics.json").exists()
    resume(folder, watch=silent)
    one, two = (load_file(run / "model" / "model.safetensors") for run in (straight, folder))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    for name in ("eval_loss", "steps", "test"):
        assert metrics_of(straight).get(name) == metrics_of(folder).get(name)
    assert metrics_of(straight)["distillation"]["kept"] == metrics_of(folder)["distillation"]["kept"]
    # Those of LoRA are merged before they could be counted or take time.
    counted = metrics_of(straight)["distillation"]["student"]["parameters"], metrics_of(straight)["parameters"]
    assert counted == (sum(weight.numel() for weight in one.values()),) * 2


def test_the_command_of_a_run_goes_on_with_it(
    run_distill: Run, teachers: dict[str, str], distill_rows: dict[str, str]
) -> None:
    """A teacher reads less than was asked for: the run keeps what was asked for, and reads what the teacher reads."""
    run = run_distill("sentiment", data=[distill_rows["moods"]], max_steps=2, max_source_length=4000)
    found = settings_of(DistillConfig, RunFolder(run), {"max_source_length": 4000})
    assert found.max_source_length == 4000
    student, teacher = (
        json.loads((path / "model" / "config.json").read_text()) for path in (run, Path(teachers["sentiment"]))
    )
    assert student["task_specific_params"]["sentiment"]["max_length"] == teacher["max_position_embeddings"]


@pytest.mark.promise("R4")
def test_another_teacher_is_refused_on_resume(
    run_distill: Run, teachers: dict[str, str], distill_rows: dict[str, str], tmp_path: Path
) -> None:
    teacher = tmp_path / "teacher"
    shutil.copytree(Path(teachers["sentiment"]) / "model", teacher)
    run = run_distill("sentiment", folder=tmp_path / "run", teacher=str(teacher), data=[distill_rows["moods"]],
                      max_steps=2, eval_steps=1)  # fmt: skip
    (run / "metrics.json").unlink()
    weights = load_file(teacher / "model.safetensors")
    weights["classifier.bias"] += 1
    save_file(weights, teacher / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"The teacher of .* has changed since the run began"):
        resume(run, watch=silent)
    with pytest.raises(UsageError, match="--temperature of .* was 2.0, and is 3.0 now"):
        settings_of(DistillConfig, RunFolder(run), {"temperature": 3.0})


@pytest.mark.promise("R1")
def test_one_that_was_ended_while_its_folder_was_made_begins_again(small: Path, tmp_path: Path) -> None:
    """Its settings are there, and no recipe yet."""
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(small / "config.yaml", run / "config.yaml")
    assert main(["distill", "-o", str(run), "--resume", "--json"]) == 0
    one, two = (load_file(folder / "model" / "model.safetensors") for folder in (small, run))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_is_done_again(small: Path, tmp_path: Path) -> None:
    found = reproduce(small, tmp_path / "again", overwrite=False, watch=silent)
    assert [figure.name for figure in found.figures if not figure.same] == []
    assert any(figure.name == "distillation.kept.accuracy.difference" for figure in found.figures)


def test_a_masked_model_beside_its_teacher(run_distill: Run, text_file: Path) -> None:
    run = run_distill("pretraining", data=[str(text_file)])
    metrics = metrics_of(run)
    found = metrics["distillation"]
    assert set(found["kept"]) == {"accuracy", "loss", "perplexity"} and metrics["objective"] == "mlm"
    # Scored at once as in the evaluations of the training: the same masks, the same rows.
    assert found["kept"]["loss"]["student"]["value"] == pytest.approx(metrics["eval_loss"], rel=1e-4)
    assert found["kept"]["accuracy"]["student"]["value"] == pytest.approx(metrics["eval_accuracy"], abs=1e-6)
    assert found["teacher"]["parameters"] > found["student"]["parameters"] == metrics["parameters"]
    assert "Distilled by `hflm distill`" in (run / "model" / "README.md").read_text()


def test_a_student_that_follows_is_nearer_to_its_teacher(run_distill: Run, distill_rows: dict[str, str]) -> None:
    """The same student, steps and rows, with labels that say the opposite of what the teacher knows."""
    from hflm.inference.trained import open_trained
    from hflm.predict import predict_texts

    swapped = write(Path(distill_rows["moods"]).with_name("swapped.jsonl"),
                    [{**row, "label": {"good": "bad", "bad": "good"}[row["label"]]} for row in moods(60)])  # fmt: skip
    texts = [row["text"] for row in moods(20)]
    said = {}
    for share in (0.0, 1.0):
        run = run_distill("sentiment", data=[str(swapped)], soft_share=share, max_steps=30, learning_rate=1e-2,
                          eval_steps=30)  # fmt: skip
        said[share] = [one["prediction"] for one in predict_texts(open_trained(str(run)), texts)]
    right = [row["label"] for row in moods(20)]
    agree = {share: sum(one == other for one, other in zip(found, right, strict=True)) for share, found in said.items()}
    assert agree[1.0] >= 18 and agree[0.0] <= 12


def test_texts_are_written_once_and_learned(
    run_distill: Run, distill_rows: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: Tiny
) -> None:
    monkeypatch.setenv("HFLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(answers, "CHUNK", 16)
    asked = []

    def spy(model: Any, family: Any, examples: Any, **more: Any) -> Any:
        asked.append(len(examples))
        return [{"prediction": f"dos {len(example['source']) % 7}"} for example in examples], 0

    monkeypatch.setattr(answers, "write_rows", spy)
    learned = []

    def hear(kind: str, content: Mapping[str, Any]) -> None:
        learned.append(content.get("done") or content.get("text"))

    one = run_distill("summarization", data=[distill_rows["pairs"]], watch=hear, max_steps=2)
    count = metrics_of(one)["preflight"]["rows"]["train"]
    assert sum(asked) == count and max(asked) == 16 and len(asked) == -(-count // 16)
    assert count in learned
    # A chunk that is lost or damaged is written again, and no other; a student of another kind reads the same texts.
    folder = next((tmp_path / "cache").glob("answers-*"))
    shutil.rmtree(folder / "000001")
    (folder / "000000" / "texts.json").write_text('["dos')
    asked.clear()
    two = run_distill("summarization", data=[distill_rows["pairs"]], model=tiny("gpt2"), max_steps=2, watch=hear)
    assert asked == [16, 16] and f"{count - 32} of the teacher's texts were in the cache" in learned
    lengths = [metrics_of(run)["preflight"]["target_lengths"]["max"] for run in (one, two)]
    assert max(lengths) < 8, "what is learned is what the teacher wrote"
    # References stay where students are tested.
    said = [json.loads(line) for line in (one / "predictions.jsonl").read_text().splitlines()]
    assert all("كتاب" in line["reference"] for line in said)


def test_the_command_tells_what_is_kept(
    teachers: dict[str, str], distill_rows: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["distill", "--teacher", teachers["sentiment"], "--student-layers", "1", "--data", distill_rows["moods"],
             "--max-steps", "2", "--precision", "fp32", "--threads", "1"]  # fmt: skip
    threads = torch.get_num_threads()
    assert main([*words, "-o", str(tmp_path / "a")]) == 0
    said = capsys.readouterr().out
    assert f"Kept of {teachers['sentiment']}:" in said and "accuracy" in said and "rows/s" in said
    assert main(["resume", str(tmp_path / "a")]) == 0
    assert "is done" in capsys.readouterr().out
    assert main([*words, "-o", str(tmp_path / "b"), "--json", "--test-fraction", "0"]) == 0
    found = json.loads(capsys.readouterr().out)["distillation"]
    assert found["kept"] == {} and found["student"]["rows_per_second"] > 0
    torch.set_num_threads(threads)


def test_a_shallow_copy_that_is_damaged_in_the_cache_is_made_anew(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForMaskedLM

    from hflm.distilling.teacher import student_folder
    from hflm.models.tokenizer import load_tokenizer

    monkeypatch.setenv("HFLM_CACHE", str(tmp_path))
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(tiny("bert")), load_tokenizer(tiny("bert"))
    weights = Path(student_folder(DistillConfig(student_layers=1), model, tokenizer)) / "model.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(before[:100])
    assert student_folder(DistillConfig(student_layers=1), model, tokenizer) == str(weights.parent)
    assert weights.read_bytes() == before

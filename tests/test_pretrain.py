"""The whole way: every objective, tokenizer, kind of file and script, and what a run folder holds."""

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hflm.config import PretrainConfig
from hflm.errors import DataError
from hflm.settings import build, read_yaml, to_dict

Run = Callable[..., Path]

SPANISH = [
    "En un lugar de la Mancha, de cuyo nombre no quiero acordarme, no ha mucho tiempo que vivía un hidalgo.",
    "Una olla de algo más vaca que carnero, salpicón las más noches, duelos y quebrantos los sábados.",
    "¿Qué gigantes?, dijo Sancho Panza. Aquellos que allí ves, respondió su amo, de los brazos largos.",
]
CHINESE = [
    "学而时习之，不亦说乎？有朋自远方来，不亦乐乎？人不知而不愠，不亦君子乎？",
    "道可道，非常道；名可名，非常名。无名天地之始，有名万物之母。",
    "知之为知之，不知为不知，是知也。三人行，必有我师焉；择其善者而从之。",
]
ARABIC = [
    "كان يا ما كان في قديم الزمان وسالف العصر والأوان ملك من ملوك الهند والصين.",
    "وكان له ولدان أحدهما كبير والآخر صغير، وكانا فارسين بطلين.",
    "فلما كان الليل قالت شهرزاد بلغني أيها الملك السعيد ذو الرأي الرشيد.",
]


def lines(sentences: list[str], number: int = 400) -> list[str]:
    """Make many different documents out of a few sentences."""
    return [f"{sentences[n % 3]} {n} {sentences[(n * 7 + 1) % 3]} {n * n}" for n in range(number)]


def metrics_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return found


FILES = [
    "config.yaml", "environment.json", "files.sha256", "log.jsonl", "loss.png", "metrics.json", "plan.json",
    "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json",
]  # fmt: skip
CHECKPOINT = [
    "config.json", "manifest.json", "model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt",
    "trainer_state.json",
]  # fmt: skip
MODEL = ["README.md", "config.json", "loss.png", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


def test_the_run_folder(finished: Path) -> None:
    found = sorted(str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file())
    checkpoints = [f"checkpoints/checkpoint-{step}/{name}" for step in (4, 8) for name in CHECKPOINT]
    assert found == sorted([*FILES, *checkpoints, *(f"model/{name}" for name in MODEL)])


def test_the_settings_go_round(finished: Path, text_file: Path) -> None:
    config = build(PretrainConfig, read_yaml(finished / "config.yaml"), where="a test")
    assert to_dict(config) == read_yaml(finished / "config.yaml")
    assert config.data == (str(text_file),) and config.max_steps == 8


def test_metrics(finished: Path) -> None:
    metrics = metrics_of(finished)
    assert metrics["job"] == "pretrain" and metrics["arch"] == "bert" and metrics["steps"] == 8
    assert metrics["tokens_seen"] == 8 * 8 * 32
    assert metrics["perplexity"] == pytest.approx(2.718281828 ** metrics["eval_loss"], rel=1e-6)
    assert 4 < metrics["unigram_loss"] < 6.3 and 0 <= metrics["eval_accuracy"] <= 1
    assert metrics["parameters"] == sum(w.numel() for w in load_file(finished / "model/model.safetensors").values())
    assert metrics["tokens_per_second"] > 0 and 0 < metrics["model_flops_utilisation"] < 5
    assert metrics["peak_memory_bytes"] > 2**27
    assert metrics["samples"] and all(len(sample["guesses"]) == 3 for sample in metrics["samples"])
    assert metrics["data_eval_rows"] >= 1 and metrics["data_cleaning"]["read"] > 0


def test_the_log(finished: Path) -> None:
    found = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in found if "loss" in line] == list(range(1, 9))
    assert [line["step"] for line in found if "eval_loss" in line] == [4, 8]
    assert all(line["grad_norm"] > 0 and line["learning_rate"] > 0 for line in found if "loss" in line)


def test_epochs_are_passes_over_the_rows(run_pretrain: Run, text_file: Path) -> None:
    def epochs(run: Path) -> list[Any]:
        return [json.loads(line)["epoch"] for line in (run / "log.jsonl").read_text().splitlines()]

    run = run_pretrain(max_steps=6, micro_batch_size=4)
    rows = metrics_of(run)["data_rows"]
    assert epochs(run)[-1] == pytest.approx(6 * 8 / rows, abs=1e-3) != 1
    # The length of a stream is not known.
    assert set(epochs(run_pretrain(streaming=True, eval_data=[str(text_file)], max_steps=2))) == {None}


def test_an_end_of_text_ends_documents_and_not_rows(tmp_path: Path, run_pretrain: Run) -> None:
    from hflm.cache import cache_folder
    from hflm.data.packing import PADDING
    from hflm.data.rows import open_rows

    text = write(tmp_path / "long.txt", lines(SPANISH, 60))
    before = set(cache_folder().glob("rows-*-train"))
    run_pretrain(data=[str(text)], documents="file", objective="clm", arch="llama", max_steps=1, batch_size=1)
    (folder,) = set(cache_folder().glob("rows-*-train")) - before
    rows = open_rows(folder)
    from hflm.models.tokenizer import load_tokenizer

    end = load_tokenizer(str(next(cache_folder().glob("tokenizer-*")))).eos_token_id
    ids = rows.ids[rows.segments != PADDING]
    assert len(rows) > 5 and int((ids == end).sum()) <= 1


def test_the_pictures(finished: Path) -> None:
    for name in ("loss.png", "model/loss.png"):
        assert (finished / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_the_card(finished: Path) -> None:
    import yaml

    _, front, text = (finished / "model" / "README.md").read_text().split("---\n", 2)
    matter = yaml.safe_load(front)
    assert matter["pipeline_tag"] == "fill-mask" and matter["library_name"] == "transformers"
    # The text is the user's: only they can say under which licence the weights are.
    assert "license" not in matter and "not stated" in text
    assert f"{metrics_of(finished)['eval_loss']:.4g}" in text and "emma.txt" in text and "(loss.png)" in text


def test_a_licence_that_was_given(run_pretrain: Run) -> None:
    assert "license: cc-by-4.0\n" in (run_pretrain(license="cc-by-4.0") / "model" / "README.md").read_text()


def without_hflm(script: str, *words: str) -> str:
    """Run a script in a process that cannot import hflm."""
    blocked = f"import sys; sys.modules['hflm'] = None\n{script}"
    done = subprocess.run([sys.executable, "-c", blocked, *words], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_masked_model_opens_without_hflm(finished: Path) -> None:
    script = """
import sys
from transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline
folder = sys.argv[1]
model, report = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
assert not report["missing_keys"] and not report["unexpected_keys"], report
tokenizer = AutoTokenizer.from_pretrained(folder)
assert tokenizer.decode(tokenizer("She was happy.")["input_ids"], skip_special_tokens=True) == "She was happy."
print(len(pipeline("fill-mask", folder)("She was [MASK] .")))
"""
    assert without_hflm(script, str(finished / "model")).split()[-1] == "5"


def test_a_next_token_model_opens_without_hflm(run_pretrain: Run) -> None:
    run = run_pretrain(arch=None, objective="clm")
    metrics = metrics_of(run)
    assert metrics["arch"] == "llama" and metrics["samples"] == []
    # The Trainer turns it off: whoever opens the model would read the whole text again for each token.
    assert json.loads((run / "model" / "config.json").read_text()).get("use_cache", True)
    assert "pipeline_tag: text-generation" in (run / "model" / "README.md").read_text()
    script = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
model, report = AutoModelForCausalLM.from_pretrained(sys.argv[1], output_loading_info=True)
assert not report["missing_keys"] and not report["unexpected_keys"], report
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
ids = model.generate(**tokenizer("She was", return_tensors="pt", return_token_type_ids=False), max_new_tokens=3)
assert ids.shape[1] > 2 and tokenizer.decode(ids[0]).startswith("She was")
"""
    without_hflm(script, str(run / "model"))


@pytest.mark.parametrize("tokenizer", ["wordpiece", "bpe", "unigram"])
@pytest.mark.parametrize("objective", ["mlm", "wwm", "clm"])
def test_every_objective_with_every_tokenizer(run_pretrain: Run, objective: str, tokenizer: str) -> None:
    arch = "llama" if objective == "clm" else "modernbert"
    run = run_pretrain(objective=objective, tokenizer=tokenizer, arch=arch, max_steps=4)
    metrics = metrics_of(run)
    assert metrics["objective"] == objective and metrics["data_tokenizer"]["unknown_rate"] < 0.01
    assert 0 < metrics["eval_loss"] < 7


@pytest.mark.parametrize("arch", ["roberta", "distilbert", "modernbert", "deberta-v2", "electra", "albert"])
def test_every_encoder(run_pretrain: Run, arch: str) -> None:
    metrics = metrics_of(run_pretrain(arch=arch, max_steps=4))
    assert metrics["arch"] == arch and 0 < metrics["eval_loss"] < 7


def write(path: Path, rows: list[str]) -> Path:
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table({"text": rows}), path)
    elif name.endswith(".csv"):
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([["id", "text"], *enumerate(rows)])
    elif name.endswith(".jsonl"):
        path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), encoding="utf-8")
    else:
        path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(path.read_bytes()))
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.txt.gz", "a.jsonl.gz", "a.csv.gz"])
def test_every_kind_of_file_gives_the_same_run(run_pretrain: Run, tmp_path: Path, name: str) -> None:
    rows = lines(SPANISH)
    plain = run_pretrain(data=[str(write(tmp_path / "plain.txt", rows))], tokenizer="bpe", max_steps=3)
    other = run_pretrain(data=[str(write(tmp_path / name, rows))], tokenizer="bpe", max_steps=3)
    assert metrics_of(plain)["data_rows"] == metrics_of(other)["data_rows"]
    one, two = (load_file(run / "model" / "model.safetensors") for run in (plain, other))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("sentences", [SPANISH, CHINESE, ARABIC], ids=["spanish", "chinese", "arabic"])
def test_every_script(run_pretrain: Run, tmp_path: Path, sentences: list[str]) -> None:
    run = run_pretrain(data=[str(write(tmp_path / "text.txt", lines(sentences)))], vocab_size=None, max_steps=6)
    metrics = metrics_of(run)
    assert metrics["data_tokenizer"]["unknown_rate"] == 0 and metrics["data_cleaning"]["kept"] == 400
    assert 0 < metrics["eval_loss"] < 8


def test_streaming(run_pretrain: Run, tmp_path: Path) -> None:
    data = [str(write(tmp_path / "text.txt", lines(SPANISH)))]
    run = run_pretrain(data=data, streaming=True, max_steps=30)
    # More rows than the stream holds: it is read again from its start.
    metrics = metrics_of(run)
    assert metrics["steps"] == 30
    # How many tokens it holds is not known.
    assert metrics["data_streaming"] and metrics["train_tokens"] is None and "data_tokens" not in metrics
    assert " on text.txt: a stream of text, " in (run / "model" / "README.md").read_text()
    with pytest.raises(DataError, match="first 200 documents to evaluate on.*Leave --streaming away"):
        run_pretrain(data=data, streaming=True, max_documents=150)


def test_going_on_from_a_run(run_pretrain: Run, finished: Path) -> None:
    run = run_pretrain(
        model=str(finished), arch=None, layers=None, width=None, heads=None, vocab_size=None, max_steps=4,
        learning_rate=1e-5, max_length=64,
    )  # fmt: skip
    assert metrics_of(run)["arch"] == "bert"
    assert metrics_of(run)["eval_loss"] == pytest.approx(metrics_of(finished)["eval_loss"], abs=0.01)
    one, two = ((path / "model" / "tokenizer.json").read_bytes() for path in (run, finished))
    assert one == two
    # The model reads no more than it was made for.
    assert "reads at most 32 tokens" in (run / "model" / "README.md").read_text()


def test_evaluation_data_of_its_own(run_pretrain: Run, tmp_path: Path) -> None:
    held = write(tmp_path / "held.txt", lines(SPANISH, 20))
    metrics = metrics_of(run_pretrain(eval_data=[str(held)]))
    assert metrics["data_eval_tokens"] > 500 and metrics["data_cleaning"]["read"] == 135


def test_patience_stops_early(run_pretrain: Run) -> None:
    run = run_pretrain(learning_rate=0.0, max_steps=40, eval_steps=2, save_steps=2, patience=2)
    assert metrics_of(run)["steps"] == 6


@pytest.mark.parametrize("save_steps", [4, 100])
def test_patience_brings_the_best_model_back(run_pretrain: Run, save_steps: int) -> None:
    # So high a rate that the model gets worse, saved more seldom than it is evaluated.
    run = run_pretrain(
        learning_rate=0.05, optimizer="adamw", schedule="linear", warmup=1, max_steps=60, eval_steps=2,
        save_steps=save_steps, save_total_limit=1, patience=2,
    )  # fmt: skip
    found = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    evaluated = {line["step"]: line["eval_loss"] for line in reversed(found) if "eval_loss" in line}
    best = min(evaluated, key=lambda step: (evaluated[step], step))
    assert best < metrics_of(run)["steps"] < 60
    assert metrics_of(run)["eval_loss"] == pytest.approx(evaluated[best], rel=1e-6)
    assert metrics_of(run)["best_step"] == best
    assert f"those after step {best}, which did best" in (run / "model" / "README.md").read_text()
    one, two = (load_file(run / at / "model.safetensors") for at in (f"checkpoints/checkpoint-{best}", "model"))
    assert all(torch.equal(one[name], two[name]) for name in two)


@pytest.mark.slow
def test_compiled(run_pretrain: Run) -> None:
    run = run_pretrain(torch_compile=True, max_steps=4)
    assert metrics_of(run)["eval_loss"] == pytest.approx(metrics_of(run_pretrain(max_steps=4))["eval_loss"], abs=1e-3)

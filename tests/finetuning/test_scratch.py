"""Models from scratch for a task: built as asked, from the training rows and the seed alone, and opened by others."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hflm.cache import cache_folder
from hflm.errors import HflmError, UsageError
from hflm.finetune_config import resolve_finetune
from hflm.finetuning.fitting import read_data
from hflm.finetuning.scratch import check_scratch, from_scratch
from hflm.recipe_files import load_task
from hflm.run import read_json
from hflm.settings import read_yaml
from tests.tiny import asked, moods, pairs, tagged, write

Run = Callable[..., Path]
SHAPE = {"layers": 1, "width": 32, "heads": 2}
ROWS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "sentiment": moods, "tagging": tagged, "summarization": pairs,
    "translation": lambda: pairs(source="en", target="es"), "generation": asked,
}  # fmt: skip
CASES = [
    ("sentiment", "bert", "classification"), ("sentiment", "llama", "classification"),
    ("tagging", "distilbert", "tagging"),
    ("translation", "t5", "seq2seq"), ("translation", "mbart", "seq2seq"), ("summarization", "bart", "seq2seq"),
    ("translation", "marian", "seq2seq"), ("summarization", "gpt2", "completion"),
    ("generation", "llama", "completion"),
]  # fmt: skip


def config_of(task: str, **flags: Any) -> Any:
    return resolve_finetune(load_task(task), name=task, file={}, flags={**SHAPE, **flags}, where="a test")


@pytest.mark.parametrize(("task", "arch", "family"), CASES)
def test_every_kind_trains_and_opens_elsewhere(
    task: str, arch: str, family: str, run_finetune: Run, tmp_path: Path
) -> None:
    import transformers

    from hflm.models.heads import FACTORIES

    rows = str(write(tmp_path / "rows.jsonl", ROWS[task]()))
    run = run_finetune(task, folder=tmp_path / "run", arch=arch, data=[rows], max_steps=3, **SHAPE)
    metrics = read_json(run / "metrics.json")
    assert metrics["family"] == family and metrics["arch"] == arch and metrics["model"] == f"{arch} from scratch"
    assert metrics["steps"] == 3 and metrics["test_rows"] > 0
    model = getattr(transformers, FACTORIES[family]).from_pretrained(run / "model")
    assert model.config.model_type == arch and model.config.hidden_size == 32
    assert read_yaml(run / "config.yaml")["model"] is None
    assert "from scratch" in (run / "model" / "README.md").read_text(encoding="utf-8")


def test_an_encoder_decoder_learns_to_translate(run_finetune: Run, tmp_path: Path) -> None:
    rows = [{"en": f"{a} {b}", "es": f"{c} {d}"} for a, c in PAIRS for b, d in PAIRS for _ in range(2)]
    data = str(write(tmp_path / "rows.jsonl", rows))
    run = run_finetune(
        "translation", folder=tmp_path / "run", arch="mbart", train_file=data, validation_file=data, test_file=data,
        max_steps=80, learning_rate=2e-2, layers=1, width=64, heads=4, batch_size=16, eval_steps=40,
    )  # fmt: skip
    metrics = read_json(run / "metrics.json")
    assert metrics["test"]["scores"]["chrf"]["value"] > 90


PAIRS = (("one", "uno"), ("two", "dos"), ("the house", "la casa"), ("a dog", "un perro"), ("书", "libro"))


def made(task: str, rows: list[dict[str, Any]], folder: Path, **flags: Any) -> Path:
    data = str(write(folder / "rows.jsonl", rows))
    test = str(write(folder / "test.jsonl", flags.pop("test", rows[:4])))
    config = config_of(task, train_file=data, validation_file=test, test_file=test, **flags)
    splits = read_data(config, load_task(task))
    return Path(from_scratch(config, load_task(task), splits.train, say=lambda text: None))


def test_made_from_the_training_rows_and_the_seed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HFLM_CACHE", str(tmp_path / "cache"))
    before = torch.random.get_rng_state()
    first = made("translation", pairs(source="en", target="es"), tmp_path, arch="t5")
    weights = load_file(first / "model.safetensors")
    assert torch.equal(torch.random.get_rng_state(), before), "a draw from the global state"
    other_test = [{"en": "nine thousand", "es": "nueve mil"}] * 4
    assert made("translation", pairs(source="en", target="es"), tmp_path, arch="t5", test=other_test) == first
    assert made("translation", pairs(39, source="en", target="es"), tmp_path, arch="t5") != first
    seeded = made("translation", pairs(source="en", target="es"), tmp_path, arch="t5", seed=2)
    assert not all(torch.equal(value, weights[name]) for name, value in load_file(seeded / "model.safetensors").items())
    for path in (first / "model.safetensors", first / "tokenizer.json"):
        content = path.read_bytes()
        path.unlink()  # the weights that were read are mapped from it
        path.write_bytes(content[:-1])
        # What is damaged is made anew, and so is what is gone.
        assert made("translation", pairs(source="en", target="es"), tmp_path, arch="t5") == first
        assert path.read_bytes() == content
    shutil.rmtree(cache_folder())
    again = made("translation", pairs(source="en", target="es"), tmp_path, arch="t5")
    assert (again / "tokenizer.json").read_bytes() and again == first
    assert all(torch.equal(value, weights[name]) for name, value in load_file(again / "model.safetensors").items())


def test_the_vocabulary_ends_texts_and_knows_every_script(tmp_path: Path) -> None:
    from hflm.models.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(str(made("translation", pairs(source="en", target="es"), tmp_path, arch="t5")))
    for text in ("one كتاب 书 ñandú", "🙂 ไทย"):
        ids = tokenizer(text)["input_ids"]
        assert ids[-1] == tokenizer.eos_token_id and tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"arch": "t55"}, "Did you mean 't5'"),
        ({"arch": "bert"}, "writes no text"),
        ({"arch": "t5", "width": 33, "heads": 2}, "do not divide a width of 33"),
        ({"arch": "t5", "size": "huge"}, "--size is 'huge'"),
        ({"arch": "zzz"}, "Try t5"),
        ({"arch": "qwen2"}, "opens every qwen2 with its own Qwen2Tokenizer"),
    ],
)
def test_what_cannot_be_built_is_refused_in_a_line(flags: dict[str, Any], said: str) -> None:
    config = resolve_finetune(
        load_task("translation"), name="translation", file={}, flags={"heads": 2, **flags}, where="a test"
    )
    with pytest.raises(HflmError) as caught:
        check_scratch(config, load_task("translation"))
    assert said in str(caught.value) + caught.value.fix


@pytest.mark.parametrize("flags", [{"model": "minilm"}, {"lora_rank": 4}, {"freeze": 1}, {"freeze": 0}])
def test_weights_and_no_weights_contradict_each_other(flags: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        config_of("sentiment", arch="bert", **flags)


def test_a_run_goes_on_where_the_cache_was_emptied(
    run_finetune: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HFLM_CACHE", str(tmp_path / "cache"))
    rows = str(write(tmp_path / "rows.jsonl", moods()))
    run = run_finetune("sentiment", folder=tmp_path / "run", arch="bert", data=[rows], **SHAPE)
    whole = load_file(run / "model" / "model.safetensors")
    for name in ("metrics.json", "checkpoints/checkpoint-8"):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(tmp_path / "cache")
    from hflm.resume import resume

    resume(run, watch=lambda kind, content: None)
    again = load_file(run / "model" / "model.safetensors")
    assert all(torch.equal(value, again[name]) for name, value in whole.items())

"""The pipelines that transformers 5 took out are there again after `import hflm`, and do not hang on the batch."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hflm.errors import DataError, HflmError, ModelError, UsageError
from tests.tiny import DECODERS, ENCODERS, SEQ2SEQ, pairs, write

Tiny = Callable[[str], str]
TEXTS = [
    "a short one",
    "Mr. Knightley said nothing. Emma laughed, and so did he.",
    "no",
    "what will she say now, then?",
    "one two كتاب 书 3",
    "",
    "a merry film, number 4. " * 8,
]
KEYS = {"summarization": "summary_text", "translation": "translation_text", "text2text-generation": "generated_text"}
NAMED = {"src_lang": "en", "tgt_lang": "es"}


def told(folder: str, path: Path, **config: Any) -> str:
    """Copy a model, with more in its configuration."""
    import shutil

    shutil.copytree(folder, path)
    known = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**known, **config}))
    return str(path)


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize("kind", [*SEQ2SEQ, *DECODERS])
def test_a_batch_says_what_each_text_says_alone(kind: str, beams: int, lively: Tiny) -> None:
    from transformers import pipeline

    options = {"max_new_tokens": 12, "min_new_tokens": 12, "num_beams": beams}
    run = pipeline("summarization", model=lively(kind), **options)
    alone = [run(text)[0] for text in TEXTS]
    assert all(set(one) == {"summary_text"} for one in alone)
    assert len({one["summary_text"] for one in alone}) >= 4, "the texts are told apart"
    for size in (1, 3, 8):
        assert run(TEXTS, batch_size=size) == alone
        assert pipeline("summarization", model=lively(kind), batch_size=size, **options)(TEXTS[::-1]) == alone[::-1]


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
@pytest.mark.parametrize("more", [{"max_new_tokens": 40}, {"max_new_tokens": 100}])
def test_nor_at_the_end_of_its_positions(kind: str, more: dict[str, Any], lively: Tiny) -> None:
    from transformers import pipeline

    run = pipeline("summarization", model=lively(kind), **{"max_new_tokens": 8, "min_new_tokens": 8, **more})
    assert run(TEXTS) == [run(text)[0] for text in TEXTS]


def test_nor_where_padding_would_be_a_repetition(lively: Tiny) -> None:
    from transformers import pipeline

    run = pipeline("summarization", model=lively("gpt2"), max_new_tokens=8, min_new_tokens=8)
    for token in sorted({token for one in run(TEXTS) for token in run.tokenizer(one["summary_text"])["input_ids"]})[:8]:
        # As in GPT-2 itself, padding is a token that is also written.
        run.tokenizer.pad_token = run.tokenizer.convert_ids_to_tokens(token)
        assert run(TEXTS, no_repeat_ngram_size=1) == [run(text, no_repeat_ngram_size=1)[0] for text in TEXTS]


def test_it_writes_what_generate_writes(lively: Tiny) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, pipeline

    model, ids = AutoModelForSeq2SeqLM.from_pretrained(lively("t5")), AutoTokenizer.from_pretrained(lively("t5"))
    found = pipeline("translation_en_to_es", model=lively("t5"))(TEXTS[:4], max_length=11, num_beams=2)
    for text, one in zip(TEXTS, found, strict=False):
        source = ids(f"translate English to Spanish: {text}", return_tensors="pt")
        (written,) = model.generate(
            input_ids=source["input_ids"], max_new_tokens=10, num_beams=2, do_sample=False,
            pad_token_id=ids.pad_token_id,
        )  # fmt: skip
        assert one == {"translation_text": ids.decode(written, skip_special_tokens=True).strip()}


@pytest.mark.parametrize("task", [*KEYS, "translation_en_to_es"])
def test_each_task_answers_under_its_old_key(task: str, tiny: Tiny) -> None:
    from transformers import pipeline

    run = pipeline(task, model=tiny("t5"), max_new_tokens=4)
    named = NAMED if task == "translation" else {}
    (found,) = run("one text", **named)
    assert list(found) == [KEYS[task.split("_")[0]]] and run.task == task
    assert run(["one text", "two"], **named)[0] == found and run([], **named) == []
    said = next(iter(found.values()))
    (clean,) = run("one text", clean_up_tokenization_spaces=True, **named)
    assert clean[KEYS[task.split("_")[0]]] == run.tokenizer.clean_up_tokenization(said)
    assert pipeline(task, model=run.model, tokenizer=run.tokenizer, max_new_tokens=4)("one text", **named) == [found]


@pytest.mark.parametrize("kind", ["t5", "marian", "gpt2", "llama"])
def test_what_hflm_trained_is_used_as_it_was_trained(
    kind: str, run_finetune: Callable[..., Path], tiny: Tiny, tmp_path: Path
) -> None:
    from transformers import pipeline

    from hflm.inference.trained import open_trained
    from hflm.predict import predict_texts

    rows = write(tmp_path / "rows.jsonl", pairs(source="en", target="es"))
    languages = {"source_lang": "en", "target_lang": "es"}
    run = run_finetune(
        "translation", model=tiny(kind), data=[str(rows)], max_steps=2, eval_steps=2, test_fraction=0.0, **languages
    )
    known = open_trained(str(run), precision="fp32", max_new_tokens=6)
    wanted = [row["prediction"] for row in predict_texts(known, TEXTS)]
    for task in ("translation", "text2text-generation"):
        made = pipeline(task, model=str(run / "model"), max_new_tokens=6)
        assert [one[KEYS[task]] for one in made(TEXTS)] == wanted
        used = made.trained((None, None), cap=6)
        assert used.languages == ("en", "es") and used.family.max_source_length == known.family.max_source_length


def test_a_model_of_the_hub_keeps_its_habits(lively: Tiny, tmp_path: Path) -> None:
    import torch
    from transformers import pipeline

    habits = {"prefix": "tell: ", "num_beams": 3, "max_length": 9, "min_length": 9, "no_repeat_ngram_size": 2}
    run = pipeline(
        "summarization", model=told(lively("t5"), tmp_path / "t5", task_specific_params={"summarization": habits})
    )
    used = run.trained((None, None), cap=None)
    # What it writes at most is not what it reads at most.
    assert used.family.prefix == "tell: " and used.family.max_source_length == 1024
    plain = pipeline("text2text-generation", model=lively("t5"))
    said = [f"tell: {text}" for text in TEXTS]
    options = {"num_beams": 3, "max_new_tokens": 8, "min_new_tokens": 8, "no_repeat_ngram_size": 2}
    assert [one["summary_text"] for one in run(TEXTS)] == [one["generated_text"] for one in plain(said, **options)]
    assert run(TEXTS, num_beams=1, max_new_tokens=5, min_length=0) != run(TEXTS)
    # Saved narrow, read wide, unless told.
    run.model.bfloat16().save_pretrained(tmp_path / "narrow")
    run.tokenizer.save_pretrained(tmp_path / "narrow")
    assert pipeline("summarization", model=str(tmp_path / "narrow")).model.dtype == torch.float32
    asked = pipeline("summarization", model=str(tmp_path / "narrow"), dtype=torch.bfloat16)
    assert asked.model.dtype == torch.bfloat16 and asked("a text", max_new_tokens=2)


@pytest.mark.parametrize("kind", ["bart", "gpt2"])
def test_long_texts_are_split_by_sentences(kind: str, lively: Tiny) -> None:
    from transformers import pipeline

    from hflm.data.examples import Example
    from hflm.long_texts import split_text

    run = pipeline("summarization", model=lively(kind), max_new_tokens=6, min_new_tokens=6)
    long = " ".join(f"This is sentence number {number} of many." for number in range(20)) + " and" * 90
    trained = run.trained((None, None), cap=6)
    pieces = split_text(trained, long)
    assert len(pieces) > 2 and " ".join(pieces) == long
    assert not any(trained.family.prompt(Example("", {"source": piece})).cut for piece in pieces)
    (whole,), (split,) = run(long), run(long, long="split")
    assert split["summary_text"] == " ".join(one["summary_text"] for one in run(pieces)) != whole["summary_text"]
    assert run(["no", long], long="split") == [*run("no"), split]


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_is_refused_in_one_line(kind: str, tiny: Tiny) -> None:
    from transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline

    model, ids = AutoModelForMaskedLM.from_pretrained(tiny(kind)), AutoTokenizer.from_pretrained(tiny(kind))
    for task in KEYS:
        for given in ({"model": tiny(kind)}, {"model": model, "tokenizer": ids}):
            with pytest.raises(ModelError, match=r"MaskedLM") as error:
                pipeline(task, **given)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("task", "inputs", "options", "error", "said"),
    [
        ("translation", "a", {}, UsageError, "languages are not named. Pass src_lang"),
        ("summarization", ["a", 3], {}, DataError, "Input 2 is a int"),
        ("summarization", "a", {"long": "cat"}, UsageError, "long is 'cat'"),
        ("summarization", "a", {"return_tensors": True}, UsageError, "only texts"),
        ("summarization", "a", {"num_return_sequences": 2}, UsageError, "one answer"),
    ],
)
def test_wrong_calls(
    task: str, inputs: Any, options: dict[str, Any], error: type[HflmError], said: str, tiny: Tiny
) -> None:
    from transformers import pipeline

    with pytest.raises(error, match=said):
        pipeline(task, model=tiny("t5"))(inputs, **options)


def test_a_model_that_is_not_whole(tiny: Tiny, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file
    from transformers import pipeline

    folder = told(tiny("bart"), tmp_path / "bart")
    weights = load_file(tmp_path / "bart" / "model.safetensors")
    lost = next(name for name in weights if "encoder.layers.0.fc1.weight" in name)
    save_file(
        {n: w for n, w in weights.items() if n != lost}, tmp_path / "bart" / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(ModelError, match="lacks weights: .*fc1.weight"):
        pipeline("summarization", model=folder)
    (tmp_path / "bart" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be loaded") as error:
        pipeline("summarization", model=folder)
    assert "\n" not in str(error.value)


def test_one_that_is_saved_carries_no_code(tiny: Tiny, tmp_path: Path) -> None:
    from transformers import pipeline

    run = pipeline("summarization", model=tiny("t5"), max_new_tokens=4)
    run.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.py"))
    assert pipeline("summarization", model=str(tmp_path), max_new_tokens=4)("a text") == run("a text")


def python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.long
@pytest.mark.parametrize(
    "code",
    [
        "import hflm; from transformers import pipeline",
        "from transformers import pipeline; import hflm",
    ],
)
def test_registered_in_whatever_order(code: str, tiny: Tiny) -> None:
    code += f"; print(list(pipeline('summarization', model={tiny('t5')!r})('a text', max_new_tokens=2)[0]))"
    done = python(code)
    assert done.stdout.strip() == "['summary_text']", done.stderr[-500:]


def test_importing_hflm_imports_nothing_heavy() -> None:
    done = python("import sys, hflm; print(sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)))")
    assert done.stdout.strip() == "[]", done.stderr[-500:]


def test_what_is_no_text_is_refused(tiny: Callable[[str], str]) -> None:
    import transformers

    pipe = transformers.pipeline("summarization", tiny("t5"))
    for given, kind in (({"text": "one two"}, "dict"), (None, "NoneType"), (b"ab", "bytes")):
        with pytest.raises(DataError, match=f"The input is a {kind}, not a text"):
            pipe(given)
    with pytest.raises(UsageError, match="max_new_tokens is 0"):
        pipe("one two", max_new_tokens=0)

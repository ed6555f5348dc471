"""Models as they come from elsewhere: their rates, ends, templates, least lengths, and what their heads were for."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, MarianConfig, T5Config

from hflm.cli.app import main
from hflm.data.examples import Example
from hflm.errors import DataError
from hflm.families.completion import Completion
from hflm.families.encoded import IGNORED, Encoded, in_parts
from hflm.families.prompts import spans, turn_end
from hflm.families.tagging import Tagging, joins_words
from hflm.finetuning import estimate
from hflm.finetuning.rates import usual_rate
from tests.tiny import moods, pairs, tagged, tokenizer, write

Run = Callable[..., Path]
Tiny = Callable[[str], str]
TURNS = (
    "{% for m in messages %}<s>{{ m['role'] }} {{ m['content'] }}</s>\n{% endfor %}{% if add_generation_prompt %}<s>"
)
TURNS += "assistant {% endif %}"
WANTS = "{% if messages[0]['role'] != 'system' %}{{ raise_exception('A system text comes first') }}{% endif %}"


def test_rates_by_kind() -> None:
    assert usual_rate(T5Config()) == 3e-4
    assert usual_rate(MarianConfig(d_model=512)) == 1e-4 and usual_rate(MarianConfig(d_model=1024)) == 2e-5


def test_words_of_a_tokenizer_of_bytes_keep_their_spaces() -> None:
    """RoBERTa, GPT-2 and ModernBERT: what is tagged is read as it stands in a text."""
    ids = tokenizer("decoder")
    assert joins_words(ids) and not joins_words(tokenizer("bert"))
    words = ["Emma", "ran", "home", "李明", "文"]
    (row,) = Tagging(ids, ["O", "B-PER"], 64).encode([Example("", {"tokens": words, "tags": ["B-PER", *["O"] * 4]})])
    text = ids.decode(row.ids, skip_special_tokens=True)
    assert text == "Emma ran home李明文" and len(row.words) == 5
    assert row.ids == ids(text)["input_ids"]


def test_rows_are_encoded_in_parts() -> None:
    seen: list[int] = []

    def encode(rows: Any) -> Any:
        seen.append(len(rows))
        return list(rows)

    assert in_parts(encode, range(2500)) == list(range(2500)) and seen == [1000, 1000, 500]


def test_a_head_is_for_one_class_and_pads_by_the_tokenizer(run_finetune: Run, tiny: Tiny, tmp_path: Path) -> None:
    """A model of several labels, and a decoder whose configuration names another padding than its tokenizer."""
    data = [str(write(tmp_path / "rows.jsonl", moods()))]
    for kind, told in (("bert", {"problem_type": "multi_label_classification"}), ("llama", {"pad_token_id": 7})):
        folder = Path(shutil.copytree(tiny(kind), tmp_path / kind))
        config = folder / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), **told}))
        run = run_finetune("sentiment", model=str(folder), data=data, max_steps=2)
        made = AutoModelForSequenceClassification.from_pretrained(run / "model").config
        assert made.problem_type == "single_label_classification"
        assert made.pad_token_id == AutoTokenizer.from_pretrained(run / "model").pad_token_id


def test_texts_are_as_short_as_they_were_learned(run_finetune: Run, tiny: Tiny, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("bart"), tmp_path / "bart"))
    told = folder / "generation_config.json"
    told.write_text(json.dumps({**json.loads(told.read_text()), "min_length": 56, "min_new_tokens": 50}))
    data = [str(write(tmp_path / "rows.jsonl", pairs()))]
    run = run_finetune("summarization", model=str(folder), data=data, max_steps=2)
    kept = json.loads((run / "model" / "generation_config.json").read_text())
    assert not kept.get("min_length") and not kept.get("min_new_tokens")


def with_template(folder: Path, template: str) -> Any:
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return AutoTokenizer.from_pretrained(folder)


def test_an_answer_ends_where_the_template_ends_it(run_finetune: Run, tiny: Tiny, tmp_path: Path) -> None:
    """Base models come with a template whose turns end otherwise than their texts."""
    folder = Path(shutil.copytree(tiny("gpt2"), tmp_path / "gpt2"))
    ids = AutoTokenizer.from_pretrained(folder)
    ids.add_special_tokens({"additional_special_tokens": ["<turn>", "<done>"]})
    ids.save_pretrained(folder)
    template = TURNS.replace("</s>", "<done>").replace("<s>", "<turn>")
    ids = with_template(folder, template)
    end = turn_end(ids)
    assert end == ids.convert_tokens_to_ids("<done>") != ids.eos_token_id
    assert turn_end(with_template(folder, WANTS + template)) == end
    assert turn_end(AutoTokenizer.from_pretrained(tiny("llama"))) is None, "its turns end as its texts do"
    assert turn_end(AutoTokenizer.from_pretrained(tiny("gpt2"))) is None, "no template"


@pytest.mark.parametrize("ends", [[5], None])
def test_what_a_row_is_taught_to_end_with_ends_a_text(
    ends: list[int] | None, run_finetune: Run, tiny: Tiny, tmp_path: Path
) -> None:
    """Base models of the hub name another end than their tokenizer, or none."""
    folder = Path(shutil.copytree(tiny("gpt2"), tmp_path / "gpt2"))
    told = folder / "generation_config.json"
    told.write_text(json.dumps({**json.loads(told.read_text()), "eos_token_id": ends}))
    data = [str(write(tmp_path / "rows.jsonl", pairs()))]
    run = run_finetune("summarization", model=str(folder), data=data, max_steps=2)
    kept = json.loads((run / "model" / "generation_config.json").read_text())["eos_token_id"]
    assert kept == sorted([*(ends or []), AutoTokenizer.from_pretrained(folder).eos_token_id])


def test_a_template_that_wants_a_system_text_is_trained_with_one(run_finetune: Run, tiny: Tiny, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("llama"), tmp_path / "llama"))
    with_template(folder, WANTS + TURNS)
    chats = [{"messages": [{"role": "system", "content": "Count."}, {"role": "user", "content": row["document"]},
                           {"role": "assistant", "content": row["summary"]}]} for row in pairs()]  # fmt: skip
    data = [str(write(tmp_path / "rows.jsonl", chats))]
    run = run_finetune("generation", model=str(folder), data=data, max_steps=2, max_source_length=96)
    assert json.loads((run / "metrics.json").read_text())["test_rows"] > 0


def test_the_assistant_may_speak_first(tiny: Tiny, tmp_path: Path) -> None:
    ids = AutoTokenizer.from_pretrained(tiny("llama"))
    turns = [{"role": "assistant", "content": "uno"}, {"role": "user", "content": "one"},
             {"role": "assistant", "content": "dos"}]  # fmt: skip
    learned = [label for label in spans(ids, turns)[-1][1] if label != IGNORED]
    assert "uno" in ids.decode(learned) and "dos" in ids.decode(learned) and "one" not in ids.decode(learned)


def test_a_conversation_that_the_template_refuses_is_named(tiny: Tiny, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("llama"), tmp_path / "llama"))
    refuses = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    family = Completion(with_template(folder, refuses + TURNS), "", 32, 16)
    turns = [
        {"role": "system", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c"},
    ]
    with pytest.raises(DataError, match=r"chats\.jsonl, line 7: .*System role not supported"):
        family.encode([Example("chats.jsonl, line 7", {"messages": turns})])


def test_a_test_row_that_the_template_refuses_is_told_before_training(tiny: Tiny, tmp_path: Path, capsys: Any) -> None:
    folder = Path(shutil.copytree(tiny("llama"), tmp_path / "llama"))
    with_template(folder, "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No') }}{% endif %}" + TURNS)
    chats = [{"messages": [{"role": "user", "content": row["document"]},
                           {"role": "assistant", "content": row["summary"]}]} for row in pairs()]  # fmt: skip
    write(tmp_path / "train.jsonl", chats)
    odd = {"messages": [{"role": "system", "content": "Count."}, *chats[0]["messages"]]}
    write(tmp_path / "test.jsonl", [chats[1], odd])
    words = ["--train-file", str(tmp_path / "train.jsonl"), "--test-file", str(tmp_path / "test.jsonl")]
    out = tmp_path / "out"
    assert main(["finetune", "--task", "generation", "--model", str(folder), *words, "-o", str(out)]) == 2
    assert "test.jsonl, line 2: " in capsys.readouterr().err and not out.exists()


def test_a_long_answer_keeps_what_it_answers_and_loses_its_end(tiny: Tiny) -> None:
    family = Completion(AutoTokenizer.from_pretrained(tiny("llama")), "", 40, 20)
    long = " ".join(f"word {number}" for number in range(200))
    first = {"prompt": "Who ran home?", "completion": "Ada did."}
    (row,) = family.encode([Example("a row", {"prompt": "Who ran home?", "completion": long})])
    read = family.tokenizer.decode(row.ids)
    assert row.cut and len(row.ids) == family.room and "Who ran home?" in read and "word 0" in read
    assert "word 199" not in read and row.targets > 20
    # What fits is as it was.
    (row,) = family.encode([Example("a row", first)])
    assert not row.cut and "Ada did." in family.tokenizer.decode(row.ids)


def test_weights_are_trained_on_in_float32(run_pretrain: Run, finished: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForMaskedLM

    half = AutoModelForMaskedLM.from_pretrained(finished / "model", dtype=torch.bfloat16)
    half.save_pretrained(tmp_path / "half")
    AutoTokenizer.from_pretrained(finished / "model").save_pretrained(tmp_path / "half")
    start = {"arch": None, "layers": None, "heads": None, "width": None, "vocab_size": None}
    run = run_pretrain(model=str(tmp_path / "half"), max_steps=1, learning_rate=1e-5, optimizer="adamw", **start)
    was, now = (load_file(folder / "model.safetensors") for folder in (tmp_path / "half", run / "model"))
    assert all(weight.dtype == torch.float32 for weight in now.values())
    moved = [name for name, weight in now.items() if (weight != was[name].float()).any()]
    assert "bert.embeddings.LayerNorm.weight" in moved, "smaller steps than bfloat16 has numbers for"


def test_a_model_keeps_its_tokenizer(finished: Path, text_file: Path, tmp_path: Path, capsys: Any) -> None:
    words = [
        "pretrain",
        str(text_file),
        "--model",
        str(finished),
        "--tokenizer",
        str(finished),
        "-o",
        str(tmp_path / "o"),
    ]
    assert main([*words, "--max-steps", "1"]) == 2
    assert "comes with a tokenizer of its own" in capsys.readouterr().err


def test_memory_that_runs_out_in_the_estimate(
    run_finetune: Run, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long run is timed before it begins, by its largest micro-batches: smaller ones are taken then too."""
    real, tried = estimate.probe, list[int]()

    def probe(model: Any, *, split: Any, **more: Any) -> Any:
        tried.append(split.micro_batch)
        if split.micro_batch > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, split=split, **more)

    monkeypatch.setattr(estimate, "probe", probe)
    data = [str(write(tmp_path / "rows.jsonl", tagged()))]
    run = run_finetune("tagging", model=tiny("bert"), data=data, max_steps=26)
    assert tried == [8, 4, 2] and json.loads((run / "plan.json").read_text())["micro_batch"] == 2


def test_a_model_of_the_hub_that_names_a_temperature_is_saved(run_finetune: Run, tiny: Tiny, tmp_path: Path) -> None:
    """transformers refuses to save numbers of sampling in a config that does not sample, once it was changed."""
    folder = Path(shutil.copytree(tiny("llama"), tmp_path / "llama"))
    config = json.loads((folder / "generation_config.json").read_text())
    hub = {"temperature": 0.9, "top_p": 0.6, "top_k": 20, "pad_token_id": -1}
    (folder / "generation_config.json").write_text(json.dumps(config | hub))
    rows = write(tmp_path / "rows.jsonl", pairs(source="prompt", target="completion"))
    run = run_finetune("generation", model=str(folder), data=[str(rows)], max_steps=2)
    saved = json.loads((run / "model" / "generation_config.json").read_text())
    assert "temperature" not in saved and "max_new_tokens" in saved


def test_classes_of_xlnet_are_read_off_the_end_of_a_text_and_not_off_padding() -> None:
    import transformers

    from hflm.families.classification import Classification

    ids = tokenizer("decoder")
    marked = transformers.PreTrainedTokenizerFast(
        tokenizer_object=ids.backend_tokenizer, pad_token=ids.pad_token, cls_token=ids.eos_token
    )
    config = transformers.XLNetConfig(
        vocab_size=len(ids), d_model=32, n_layer=2, n_head=2, d_inner=64, num_labels=2, dropout=0.0,
        summary_last_dropout=0.0, pad_token_id=ids.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(1)
    model = transformers.XLNetForSequenceClassification(config).eval()
    family = Classification(marked, ["a", "b"], 32)
    short, long = Encoded([9, 12, marked.cls_token_id], None), Encoded([*range(9, 20), marked.cls_token_id], None)
    with torch.no_grad():
        alone, both = family.logits(model, [short]), family.logits(model, [short, long])
    assert torch.allclose(alone[0], both[0], atol=1e-5)
    # XLM has one token for the class and for the end of a text, and reads the class off the first place.
    marked.sep_token = marked.cls_token
    assert family.inputs([short, long])["input_ids"][0, -1] == ids.pad_token_id


def test_the_end_of_a_text_within_a_text_is_text(run_finetune: Run, tiny: Tiny, tmp_path: Path) -> None:
    """An encoder-decoder reads the class off the end: another one before it ended the run."""
    rows = [{"text": f"{row['text']} {'</s> more' if n % 3 else ''}", "label": row["label"]}
            for n, row in enumerate(moods())]  # fmt: skip
    path = write(tmp_path / "rows.jsonl", rows)
    run = run_finetune("sentiment", model=tiny("bart"), data=[str(path)], max_steps=2)
    assert (run / "model" / "config.json").exists()


@pytest.mark.parametrize(("task", "model"), [("sentiment", "marian"), ("tagging", "bart"), ("tagging", "scratch")])
def test_a_kind_without_the_head_is_named(
    task: str, model: str, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write(tmp_path / "rows.jsonl", moods() if task == "sentiment" else tagged())
    kind = ["--model", tiny(model)] if model in ("marian", "bart") else ["--arch", "bart", "--size", "tiny"]
    words = ["finetune", "--task", task, "--data", str(rows), "--max-steps", "2", "-o", str(tmp_path / "run")]
    assert main([*words, *kind]) == 2
    said = capsys.readouterr().err
    assert "has no head for" in said and "Take an encoder" in said and "scratch-" not in said

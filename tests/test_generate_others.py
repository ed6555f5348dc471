"""Models that write in other ways than most: hybrid caches, penalties of an encoder-decoder, other places and ends."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from hflm.cli.app import main
from hflm.engine.device import Device
from hflm.errors import DataError, UsageError
from hflm.generate import beam_search, generate, generate_file
from hflm.inference.asking import SIDES, Ask, _part, _within_reach, make_prompt
from hflm.inference.decoding import Settings, Timing
from hflm.inference.sampling import Sampling
from hflm.inference.structured import read_schema
from hflm.inference.writer import Writer, _choose_way, _limit, open_writer
from hflm.models.heads import max_positions, max_target_positions
from tests.tiny import tokenizer, write

Tiny = Callable[[str], str]
PROMPTS = ["one two", "three", "five four three two one"]


def saved(model: Any, ids: Any, folder: Path) -> str:
    """Save a model whose weights are large, so that other texts get other answers."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(8)
    model.save_pretrained(folder)
    ids.save_pretrained(folder)
    return str(folder)


def ids_of(writer: Writer, prompts: list[str], *, tokens: int = 12, **more: Any) -> list[list[list[int]]]:
    found = generate(writer, prompts, ask=Ask(max_new_tokens=tokens), settings=Settings(**more))
    return [[answer.ids for answer in row] for row in found]


def test_a_hybrid_model_writes_in_batches_what_it_writes_alone(tmp_path: Path) -> None:
    """Its layers that keep no keys have to be left with the rows that go on, too."""
    ids = tokenizer("decoder")
    torch.manual_seed(3)
    config = transformers.Lfm2Config(
        vocab_size=len(ids), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, layer_types=["conv", "full_attention"], max_position_embeddings=64,
        bos_token_id=ids.eos_token_id, eos_token_id=ids.eos_token_id, pad_token_id=ids.pad_token_id,
    )  # fmt: skip
    writer = open_writer(saved(transformers.Lfm2ForCausalLM(config), ids, tmp_path), quantize="none")
    alone = [ids_of(writer, [prompt])[0] for prompt in PROMPTS]
    # Each row may end at another place: then it leaves the batch.
    assert all(len(row[0]) <= 12 for row in alone)
    drawn = ids_of(writer, PROMPTS[:1], n=2, sampling=Sampling(temperature=1.0))
    assert len(drawn[0]) == 2 and drawn[0][0] != drawn[0][1]


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_a_penalty_leaves_what_an_encoder_reads_alone(kind: str, lively: Tiny) -> None:
    writer = open_writer(lively(kind), quantize="none")
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(lively(kind)).eval()
    for prompt in PROMPTS:
        read = torch.tensor([writer.tokenizer(prompt)["input_ids"]])
        wanted = model.generate(read, max_new_tokens=8, do_sample=False, num_beams=1, repetition_penalty=1.5)[0, 1:]
        ((found,),) = ids_of(writer, [prompt], tokens=8, sampling=Sampling(repetition_penalty=1.5))
        assert found == wanted.tolist()[: len(found)] and found


def test_a_decoder_of_robertas_kind_counts_from_behind_its_padding(tmp_path: Path) -> None:
    ids = tokenizer("decoder")
    torch.manual_seed(3)
    config = transformers.RobertaConfig(
        vocab_size=len(ids), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, is_decoder=True, pad_token_id=ids.pad_token_id, eos_token_id=ids.eos_token_id,
    )  # fmt: skip
    model = transformers.RobertaForCausalLM(config).eval()
    writer = open_writer(saved(model, ids, tmp_path), quantize="none")
    for prompt in PROMPTS:
        read = list(make_prompt(writer, prompt, Ask(max_new_tokens=8)).ids)
        ((found,),) = ids_of(writer, [prompt], tokens=8)
        for token in found:
            with torch.no_grad():
                assert token == int(model(input_ids=torch.tensor([read])).logits[0, -1].argmax())
            read.append(token)


def test_beams_of_a_decoder_do_not_count_what_it_reads_for_said(lively: Tiny, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(lively("gpt2"), tmp_path / "gpt2"))
    plain = open_writer(str(folder), beams=True)
    wanted = beam_search(plain, PROMPTS[:1], ask=Ask(max_new_tokens=8), num_beams=2, timing=Timing())
    told = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(told | {"repetition_penalty": 50.0}))
    writer = open_writer(str(folder), beams=True)
    assert beam_search(writer, PROMPTS[:1], ask=Ask(max_new_tokens=8), num_beams=2, timing=Timing()) == wanted


def test_answers_of_a_file_of_chats_are_not_read_before_they_are_written(lively: Tiny, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(lively("llama"), tmp_path / "llama"))
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}<a>{% endif %}"
    )
    writer = open_writer(str(folder), quantize="none")
    asked = {"role": "user", "content": "one two"}
    rows = [{"messages": [asked, *rest]} for rest in ([], [{"role": "assistant", "content": "three four"}])]

    def run(name: str, some: list[dict[str, Any]]) -> list[str]:
        source = write(tmp_path / f"{name}.jsonl", some)
        generate_file(
            writer, source, tmp_path / f"{name}.out", ask=Ask(max_new_tokens=6), settings=Settings(), resume=False,
            watch=lambda kind, content: None, timing=Timing(),
        )  # fmt: skip
        return [json.loads(line)["generated"] for line in (tmp_path / f"{name}.out").read_text().splitlines()]

    one, other = run("rows", rows)
    assert one == other
    with pytest.raises(DataError, match="line 1, column 'messages': nobody asks anything"):
        run("none", [{"messages": rows[1]["messages"][1:]}])


def test_the_end_of_a_turn_ends_an_answer_of_a_base_model_too(lively: Tiny, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(lively("llama"), tmp_path / "llama"))
    ids = transformers.AutoTokenizer.from_pretrained(folder)
    end = next(token for token in ids.all_special_tokens if token not in (ids.eos_token, ids.pad_token))
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }}" + end + "{% endfor %}<assistant> "
    )
    assert ids.convert_tokens_to_ids(end) in open_writer(str(folder), quantize="none").ends


def test_a_long_system_prompt_does_not_take_the_question(lively: Tiny, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(lively("llama"), tmp_path / "llama"))
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}\n{% endfor %}")
    writer = open_writer(str(folder), quantize="none")
    one = len(writer.tokenizer("one ")["input_ids"]) - 1 or 1
    system = "one " * ((writer.limit - 40) // one)
    asked = Ask(max_new_tokens=100, system=system, truncate="left")
    read = writer.tokenizer.decode(make_prompt(writer, "three " * 60 + "five", asked).ids)
    assert read.strip().endswith("five")
    with pytest.raises(DataError, match="The prompt has"):
        make_prompt(writer, "three", Ask(max_new_tokens=100, system="one " * 2 * writer.limit, truncate="left"))


def test_how_much_models_read() -> None:
    assert max_positions(transformers.MptConfig(max_seq_len=2048)) == 2048
    led = transformers.LEDConfig(max_encoder_position_embeddings=4096)
    assert (max_positions(led), max_target_positions(led)) == (4096, 1024), "it writes less than it reads"
    assert max_target_positions(transformers.BartConfig(max_position_embeddings=77)) == 77
    long = transformers.LongT5Config()
    long.n_positions = 4096
    assert max_positions(long) > 100_000


def test_t5_reads_as_much_as_it_summarizes_and_writes_as_much_as_it_is_told(tiny: Tiny) -> None:
    """It has no limit, and for a long text what it holds grows with the square."""
    writer, long = open_writer(tiny("t5")), "one two three " * 2000
    with pytest.raises(DataError, match=r"The prompt has [\d,]+ tokens, and .* reads 1,024"):
        make_prompt(writer, long, Ask())
    for side in SIDES:
        assert len(make_prompt(writer, long, Ask(truncate=side)).ids) <= 1024
    assert make_prompt(writer, "one", Ask(max_new_tokens=3000)).most == 3000
    config = transformers.LongT5Config()
    config.n_positions = 4096
    assert _limit(config, SimpleNamespace(max_source_length=1024)) == 4096


def test_what_is_far_from_the_cut_is_not_tokenized() -> None:
    writer: Any = SimpleNamespace(limit=64)
    assert _within_reach(writer, "a" * 150_000 + "b", "left") == "a" * 99_999 + "b"
    assert _within_reach(writer, "b" + "a" * 150_000, "right") == "b" + "a" * 99_999
    assert _within_reach(writer, "ab", "left") == _within_reach(writer, "ab", "right") == "ab"


def test_a_tokenizer_that_knows_no_places_leaves_halves_of_characters_out() -> None:
    ids: Any = SimpleNamespace(is_fast=False, decode=lambda part, **_: bytes(part).decode(errors="replace"))
    found = {"input_ids": list("一二三".encode())}
    assert _part(ids, "一二三", found, 5, left=True) == "三" and _part(ids, "一二三", found, 5, left=False) == "一"


@pytest.mark.parametrize(("kind", "native", "dtype"), [
    ("cuda", True, torch.bfloat16), ("cuda", False, torch.float32), ("cpu", True, torch.float32),
])  # fmt: skip
def test_narrow_floats_are_those_of_the_hardware(
    kind: str, native: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hflm.inference.writer.choose_device", lambda precision: Device(kind, "fp32"))
    monkeypatch.setattr("hflm.inference.writer.native_bf16", lambda kind: native)
    assert _choose_way(transformers.GPT2Config(), quantize="auto", beams=False).dtype == dtype


def test_messages_without_the_template(tiny: Tiny) -> None:
    with pytest.raises(DataError, match="--no-chat goes on with a text.*Leave --no-chat out"):
        make_prompt(open_writer(tiny("llama")), [{"role": "user", "content": "one"}], Ask(chat=False))


def test_a_tokenizer_that_cannot_be_held_to_a_schema_is_named(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text('{"type": "object", "properties": {"a": {"type": "integer"}}}')
    with pytest.raises(UsageError, match="--json-schema: the tokenizer of this model"):
        read_schema(tmp_path / "schema.json", SimpleNamespace(is_fast=False))


def test_what_ended_an_answer_is_said(lively: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a file and with beams too; and where the model reads no more, another number does not help."""
    rows = write(tmp_path / "rows.jsonl", [{"prompt": prompt} for prompt in PROMPTS])
    model = lively("gpt2")
    words = ["generate", "--model", model, "--max-new-tokens", "2"]
    assert main([*words, "--input-file", str(rows), "-o", str(tmp_path / "out.jsonl")]) == 0
    assert "stopped by --max-new-tokens: the text may not be whole, of 3 answers" in capsys.readouterr().err
    assert main([*words, "one two", "--num-beams", "2"]) == 0
    assert "stopped by --max-new-tokens: the text may not be whole" in capsys.readouterr().err
    assert main(["generate", "--model", model, "one two", "--max-new-tokens", "999", "--stop", "never"]) == 0
    said = capsys.readouterr().err
    assert "--max-new-tokens" not in said and "reads no more (64)" in said

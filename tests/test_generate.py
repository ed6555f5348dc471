"""`hflm generate`: texts are those of transformers, a batch writes what each prompt gets alone, and the command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hflm.errors import DataError, UsageError
from hflm.generate import beam_search, check_prompts, generate, generate_file
from hflm.inference.asking import SIDES, Ask, make_prompt
from hflm.inference.decoding import Settings, Timing
from hflm.inference.sampling import Sampling
from hflm.inference.structured import read_schema
from hflm.inference.writer import Writer, open_writer
from tests.tiny import DECODERS, SEQ2SEQ

Tiny = Callable[[str], str]
PROMPTS = ["one two", "a merry film كتاب", "五 书", "three four five one two three", "I loved it", "ممل"]


@pytest.fixture(scope="module")
def writers(lively: Tiny) -> Callable[[str], Writer]:
    from functools import cache

    return cache(lambda kind: open_writer(lively(kind), quantize="none"))


def texts(writer: Writer, prompts: list[str], *, tokens: int = 12, **more: Any) -> list[str]:
    found = generate(writer, prompts, ask=Ask(max_new_tokens=tokens), settings=Settings(**more))
    return [answer.text for (answer,) in found]


@pytest.mark.parametrize("kind", ["gpt2", *SEQ2SEQ])
def test_it_writes_what_transformers_writes(kind: str, writers: Callable[[str], Writer], lively: Tiny) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    factory = AutoModelForCausalLM if kind in DECODERS else AutoModelForSeq2SeqLM
    model, ids = factory.from_pretrained(lively(kind)).eval(), writers(kind).tokenizer
    for prompt, found in zip(PROMPTS, texts(writers(kind), PROMPTS), strict=True):
        read = ids(prompt)["input_ids"]
        read = read[:-1] if kind == "gpt2" and read[-1] == ids.eos_token_id else read
        written = model.generate(torch.tensor([read]), max_new_tokens=12, do_sample=False, num_beams=1)[0]
        assert found == ids.decode(written[len(read) if kind == "gpt2" else 0 :], skip_special_tokens=True)
    assert len(set(texts(writers(kind), PROMPTS))) >= 4, "the prompts are told apart"


@pytest.mark.parametrize("more", [{}, {"sampling": Sampling(temperature=1.0, top_p=0.9), "seed": 5}])
@pytest.mark.parametrize("kind", [*DECODERS, *SEQ2SEQ])
def test_a_batch_writes_what_each_gets_alone(kind: str, more: Any, writers: Callable[[str], Writer]) -> None:
    writer = writers(kind)
    together = texts(writer, PROMPTS, **more)
    ask = Ask(max_new_tokens=12)
    alone = [
        generate(writer, [prompt], ask=ask, settings=Settings(**more), first=place)[0][0].text
        for place, prompt in enumerate(PROMPTS)
    ]
    assert together == alone


def test_beams_are_those_of_transformers(lively: Tiny) -> None:
    from transformers import AutoModelForCausalLM

    writer = open_writer(lively("gpt2"), beams=True)
    model = AutoModelForCausalLM.from_pretrained(lively("gpt2")).eval()
    (found,) = beam_search(writer, PROMPTS[:1], ask=Ask(max_new_tokens=8), num_beams=3, timing=Timing())
    ids = torch.tensor([writer.tokenizer(PROMPTS[0])["input_ids"]])
    ids = ids[:, :-1] if ids[0, -1] == writer.tokenizer.eos_token_id else ids
    written = model.generate(ids, max_new_tokens=8, num_beams=3, do_sample=False)[0]
    assert found == writer.tokenizer.decode(written[ids.size(1) :], skip_special_tokens=True)


def test_the_seed_says_what_is_drawn(writers: Callable[[str], Writer]) -> None:
    def drawn(seed: int, n: int) -> list[str]:
        options = Settings(sampling=Sampling(temperature=1.0), seed=seed, n=n)
        (answers,) = generate(writers("llama"), ["one"], ask=Ask(max_new_tokens=10), settings=options)
        return [answer.text for answer in answers]

    assert drawn(1, 3) == drawn(1, 3) and drawn(1, 3)[:2] == drawn(1, 2) and drawn(1, 3) != drawn(2, 3)
    assert len(set(drawn(1, 3))) == 3


def test_a_stop_text_ends_the_answer(writers: Callable[[str], Writer]) -> None:
    (whole,) = texts(writers("llama"), ["one"], tokens=20)
    stop = whole[6:9]
    (found,) = generate(writers("llama"), ["one"], ask=Ask(max_new_tokens=20), settings=Settings(stops=(stop,)))
    assert found[0].text == whole.partition(stop)[0] and found[0].ended == "stop" and len(found[0].ids) < 20


def test_explain_gives_probabilities(writers: Callable[[str], Writer]) -> None:
    ((answer,),) = generate(writers("gpt2"), ["one"], ask=Ask(max_new_tokens=5), settings=Settings(explain=4))
    assert len(answer.candidates) == len(answer.ids) > 0
    for token, candidates in answer.candidates:
        chances = [one.probability for one in candidates]
        assert candidates[0].token == token and chances == sorted(chances, reverse=True) and 0 < sum(chances) <= 1


def test_json_of_a_schema(writers: Callable[[str], Writer], tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    schema = {
        "type": "object", "required": ["good", "mood"], "additionalProperties": False,
        "properties": {"good": {"type": "boolean"}, "mood": {"enum": ["merry", "很好"]}},
    }  # fmt: skip
    path.write_text(json.dumps(schema), encoding="utf-8")
    grammar = read_schema(path, writers("llama").tokenizer)
    for found in texts(writers("llama"), PROMPTS, tokens=60, grammar=grammar):
        row = json.loads(found)
        assert set(row) == {"good", "mood"} and row["good"] in (True, False) and row["mood"] in ("merry", "很好")


@pytest.mark.parametrize("content", ["{", "[]", '{"type": "sausage"}', '"x"'])
def test_no_schema(content: str, writers: Callable[[str], Writer], tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text(content)
    with pytest.raises(DataError, match="schema.json is no"):
        read_schema(path, writers("llama").tokenizer)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bart"])
def test_a_prompt_beyond_the_context(kind: str, writers: Callable[[str], Writer]) -> None:
    writer, long = writers(kind), "one two three four " * 100
    with pytest.raises(DataError, match=r"The prompt has [\d,]+ tokens, and .* reads \d+") as caught:
        texts(writer, [long])
    assert "--truncate" in (caught.value.fix or "")
    for side in ("left", "right"):
        ask = Ask(max_new_tokens=8, truncate=side)
        ((answer,),) = generate(writer, ["zuerst " + long + " zuletzt"], ask=ask, settings=Settings())
        assert 0 < len(answer.ids) <= 8


@pytest.mark.parametrize("side", SIDES)
def test_a_text_is_cut_between_characters(side: str, writers: Callable[[str], Writer]) -> None:
    """Each of these is three tokens, for its three bytes."""
    writer, text = writers("gpt2"), "".join(chr(0x4E00 + 7 * n) for n in range(200))
    for tokens in range(6, 12):
        ids = make_prompt(writer, text, Ask(max_new_tokens=tokens, truncate=side)).ids
        read = writer.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert len(read) > 10 and len(ids) <= writer.limit - tokens + 1
        assert text.endswith(read) if side == "left" else text.startswith(read)


def test_an_answer_ends_where_the_context_ends(writers: Callable[[str], Writer]) -> None:
    ((answer,),) = generate(writers("gpt2"), ["one two"], ask=Ask(max_new_tokens=500), settings=Settings())
    read = len(writers("gpt2").tokenizer("one two")["input_ids"])
    assert answer.ended == "end" or len(answer.ids) in (64 - read + 1, 64 - read + 2)


def test_a_file_is_answered_in_order_and_goes_on(writers: Callable[[str], Writer], tmp_path: Path) -> None:
    rows = [{"id": n, "prompt": prompt} for n, prompt in enumerate(PROMPTS * 3)]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    drawn = Settings(sampling=Sampling(temperature=1.0), seed=3)

    def run(*, resume: bool = False) -> int:
        return generate_file(
            writers("llama"), source, target, ask=Ask(max_new_tokens=6), settings=drawn, resume=resume,
            watch=lambda kind, content: None, timing=Timing(),
        )  # fmt: skip

    assert run() == 18
    whole = target.read_text(encoding="utf-8")
    found = [json.loads(line) for line in whole.splitlines()]
    assert [(row["id"], row["prompt"]) for row in found] == [(row["id"], row["prompt"]) for row in rows]
    assert all(isinstance(row["generated"], str) for row in found)
    with pytest.raises(UsageError, match="exists"):
        run()
    target.write_text("".join(whole.splitlines(keepends=True)[:7]) + '{"id": 7, "pro', encoding="utf-8")
    assert run(resume=True) == 18 and target.read_text(encoding="utf-8") == whole


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"other": "x"}', "line 2: no prompt; it has .'other'.*Name the column prompt"),
        ('{"prompt": 7}', "line 2, column 'prompt': found 7"),
        ('{"prompt": " "}', "line 2, column 'prompt'"),
        ('{"prompt": ', "line 2"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "line 2.*has no chat template|Messages are for chats"),
    ],
)
def test_a_wrong_row(line: str, said: str, writers: Callable[[str], Writer], tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "one"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=said):
        generate_file(
            writers("gpt2"), source, tmp_path / "out.jsonl", ask=Ask(max_new_tokens=2), settings=Settings(),
            resume=False, watch=lambda kind, content: None, timing=Timing(),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("row", "column", "prompt"),
    [
        ({"text": "Add. 1 2: 3", "instruction": "Add.", "input": "1 2", "output": "3"}, "instruction", "Add.\n\n1 2"),
        ({"source": "a book", "question": "How many?"}, "question", "How many?"),
        ({"source": "a book", "text": "one two"}, "text", "one two"),
        ({"Source": "a book", "Prompt": "How many?", "Context": "one two"}, "Prompt", "one two\n\nHow many?"),
        ({"编号": "3", "问题": "多少?"}, "问题", "多少?"),
    ],
)
def test_a_row_is_asked_by_what_asks_in_it(
    row: dict[str, Any], column: str, prompt: str, writers: Callable[[str], Writer], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    source, target, made = tmp_path / "in.jsonl", tmp_path / "out.jsonl", set[Any]()
    source.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert check_prompts(source, target, resume=False) == [column]

    def make(writer: Writer, text: Any, *words: Any, **more: Any) -> Any:
        made.add(text)
        return make_prompt(writer, text, *words, **more)

    monkeypatch.setattr("hflm.generate.make_prompt", make)
    generate_file(
        writers("gpt2"), source, target, ask=Ask(max_new_tokens=2), settings=Settings(), resume=False,
        watch=lambda kind, content: None, timing=Timing(),
    )  # fmt: skip
    assert made == {prompt}


def test_a_prompt_that_is_too_long_is_found_before_one_is_answered(
    writers: Callable[[str], Writer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hflm.generate.CHUNK", 1)
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"prompt": "one"}) + "\n" + json.dumps({"prompt": "one two " * 90}) + "\n")
    with pytest.raises(DataError, match="line 2: The prompt has"):
        generate_file(
            writers("gpt2"), source, tmp_path / "out.jsonl", ask=Ask(max_new_tokens=2), settings=Settings(),
            resume=False, watch=lambda kind, content: None, timing=Timing(),
        )  # fmt: skip
    assert not (tmp_path / "out.jsonl").exists()


def test_a_model_tuned_on_plain_text_goes_on_with_a_text(
    run_finetune: Callable[..., Path], tiny: Tiny, tmp_path: Path
) -> None:
    from tests.tiny import moods, pairs, write

    rows = {
        "text": [{"text": row["text"]} for row in moods(40)],
        "asked": [{"prompt": row["document"], "completion": row["summary"]} for row in pairs(40)],
    }
    asked = {}
    for name, some in rows.items():
        data = str(write(tmp_path / f"{name}.jsonl", some))
        writer = open_writer(str(run_finetune("generation", model=tiny("gpt2"), data=[data], max_steps=1)))
        asked[name] = writer.tokenizer.decode(make_prompt(writer, "one two", Ask()).ids)
    assert asked == {"text": "one two", "asked": "one two\n\n"}


def test_an_unfinished_file_goes_on_with_the_options_that_began_it(
    writers: Callable[[str], Writer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hflm.generate.CHUNK", 2)
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS), encoding="utf-8")

    def run(kind: str = "gpt2", *, stopped: bool = False, seed: int | None = None, **more: Any) -> int:
        def watch(event: str, content: Any) -> None:
            if stopped:
                raise KeyboardInterrupt

        return generate_file(
            writers(kind), source, target, ask=Ask(max_new_tokens=3), settings=Settings(**more), resume=not stopped,
            watch=watch, timing=Timing(), seed=seed,
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        run(stopped=True)
    kept = target.read_bytes()
    others: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("llama", {}, "model"), ("gpt2", {"sampling": Sampling(temperature=1.0)}, "temperature"),
        ("gpt2", {"seed": 3}, "seed"), ("gpt2", {"stops": ("a",)}, "stops"),
    )  # fmt: skip
    for kind, more, what in others:
        with pytest.raises(UsageError, match=f"out.jsonl was begun with another {what}"):
            run(kind, **more)
    assert target.read_bytes() == kept and run() == len(PROMPTS) and not list(tmp_path.glob(".*"))

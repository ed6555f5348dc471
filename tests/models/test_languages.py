"""Models of many languages are told which to read and to write, in every place that asks for it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hflm.cli.app import main
from hflm.errors import UsageError
from hflm.inference.trained import open_trained
from hflm.language_codes import LANGUAGE_NAMES
from hflm.models.languages import LONG, language_tokens, set_languages
from tests.tiny import pairs, write

# name -> (tokenizer, model, the codes of English and Spanish, language at the end of a text)
MODELS = {
    "nllb": ("NllbTokenizer", "M2M100", "eng_Latn", "spa_Latn", False),
    "mbart-50": ("MBart50Tokenizer", "MBart", "en_XX", "es_XX", False),
    "mbart": ("MBartTokenizer", "MBart", "en_XX", "es_XX", True),
}
Pair = tuple[Any, Any]


def build(name: str) -> Pair:
    import transformers

    tokenizer_class, model_class, *_, last = MODELS[name]
    letters = ["<s>", "<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyzكتاب书"]
    numbers: Any = {letter: number for number, letter in enumerate(dict.fromkeys(letters))}
    if name == "nllb":
        tokenizer = transformers.NllbTokenizer(vocab=numbers, merges=[])
    else:
        tokenizer = getattr(transformers, tokenizer_class)(vocab=[(letter, -1.0) for letter in numbers])
    config = getattr(transformers, f"{model_class}Config")(
        vocab_size=len(tokenizer), d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=64, dropout=0.0,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=0,
        decoder_start_token_id=None if last else tokenizer.eos_token_id, forced_eos_token_id=None,
    )  # fmt: skip
    return tokenizer, getattr(transformers, f"{model_class}ForConditionalGeneration")(config)


@pytest.fixture(scope="module")
def models() -> dict[str, Pair]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return {name: build(name) for name in MODELS}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("short", [True, False])
def test_texts_and_generation_carry_the_language(name: str, short: bool, models: dict[str, Pair]) -> None:
    tokenizer, model = models[name]
    *_, english, spanish, last = MODELS[name]
    source, target = ("en", "es") if short else (english, spanish)
    token = set_languages(tokenizer, model, source=source, target=target)
    assert token == tokenizer.convert_tokens_to_ids(spanish)
    read, written = tokenizer("one")["input_ids"], tokenizer(text_target="uno")["input_ids"]
    place = -1 if last else 0
    assert read[place] == tokenizer.convert_tokens_to_ids(english) and written[place] == token
    found = model.generate(input_ids=torch.tensor([read]), max_new_tokens=3, do_sample=False)[0].tolist()
    # The language is written once, first.
    assert token in found[:2] and found[: 1 if last else 2] == ([token] if last else [tokenizer.eos_token_id, token])


@pytest.mark.parametrize(
    ("name", "given", "code"),
    [("nllb", "en_XX", "eng_Latn"), ("nllb", "de-DE", "deu_Latn"), ("nllb", "sw", "swh_Latn"),
     ("nllb", "zh", "zho_Hans"), ("nllb", "sr-Latn", None), ("mbart-50", "eng_Latn", "en_XX"),
     ("mbart-50", "pt-BR", "pt_XX"), ("mbart-50", "zh", "zh_CN"), ("mbart-50", "srp_Cyrl", None),
     ("nllb", "zh_CN", "zho_Hans"), ("nllb", "zh-SG", "zho_Hans"), ("mbart-50", "zho_Hans", "zh_CN"),
     ("nllb", "zh-Hant", "zho_Hant"), ("nllb", "zh-TW", "zho_Hant"), ("nllb", "zh_HK", "zho_Hant")],
)  # fmt: skip
def test_a_code_of_another_model_is_understood(
    name: str, given: str, code: str | None, models: dict[str, Pair]
) -> None:
    tokenizer, model = models[name]
    if code is None:
        with pytest.raises(UsageError, match="no language"):
            set_languages(tokenizer, model, source="en", target=given)
    else:
        token = set_languages(tokenizer, model, source="en", target=given)
        assert tokenizer.convert_ids_to_tokens(token) == code


@pytest.mark.parametrize(
    ("name", "given", "has"),
    [("nllb", "sr-Latn", "srp_Cyrl"), ("mbart-50", "zh-TW", "zh_CN"), ("mbart", "zho_Hant", "zh_CN")],
)
def test_another_script_is_another_text(name: str, given: str, has: str, models: dict[str, Pair]) -> None:
    with pytest.raises(UsageError, match=f"no language {given!r} in the script .* it has {has}: name that"):
        set_languages(*models[name], source="en", target=given)


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        (None, None, "must be told its languages.*--source-lang"), ("en", None, "must be told"),
        ("en", "tlh", "no language 'tlh'.*It has"), ("en", "spa_Latin", "no language 'spa_Latin'. Did you mean"),
        ("en", "", "must be told"),
    ],
)  # fmt: skip
def test_an_unknown_language(source: str | None, target: str | None, said: str, models: dict[str, Pair]) -> None:
    with pytest.raises(UsageError) as caught:
        set_languages(*models["nllb"], source=source, target=target)
    assert re.search(said, str(caught.value)) and caught.value.exit_code == 2


def test_models_of_one_pair_are_told_nothing(tiny: Callable[[str], str]) -> None:
    from transformers import AutoTokenizer

    from hflm.models.heads import load_with_head

    for kind in ("t5", "bart", "marian"):
        tokenizer = AutoTokenizer.from_pretrained(tiny(kind))
        assert language_tokens(tokenizer) == {}
        assert set_languages(tokenizer, load_with_head(tiny(kind), "seq2seq"), source="en", target="es") is None


def test_m2m_writes_its_codes_between_underscores() -> None:
    class Tokenizer:
        def get_added_vocab(self) -> dict[str, int]:
            return {"__en__": 5, "__ast__": 6, "<pad>": 1, "madeupword": 7, "[MASK]": 8}

    assert language_tokens(Tokenizer()) == {"en": "__en__", "ast": "__ast__"}


def test_the_tables_agree() -> None:
    assert set(LONG) == set(LANGUAGE_NAMES)


def test_from_columns_to_translations(models: dict[str, Pair], tmp_path: Path) -> None:
    import json

    folder, run = tmp_path / "nllb", tmp_path / "run"
    for part in models["nllb"]:
        part.save_pretrained(folder)
    rows = write(tmp_path / "rows.jsonl", [{"translation": row} for row in pairs(source="en", target="es")])
    words = ["finetune", "--task", "translation", "--model", str(folder), "--data", str(rows), "-o", str(run),
             "--max-steps", "2", "--batch-size", "4", "--precision", "fp32", "--json"]  # fmt: skip
    assert main(words) == 0
    config = json.loads((run / "model" / "generation_config.json").read_text())
    assert config["forced_bos_token_id"] == models["nllb"][0].convert_tokens_to_ids("spa_Latn")
    # The other way round in the file, and still English to Spanish; a target need not be there.
    asked = write(tmp_path / "in.jsonl", [{"es": "x", "en": "one"}, {"es": "y", "en": "two"}])
    out = tmp_path / "out.jsonl"
    assert main(["predict", str(run), "--input-file", str(asked), "-o", str(out), "--max-new-tokens", "3"]) == 0
    assert [json.loads(line)["en"] for line in out.read_text().splitlines()] == ["one", "two"]
    alone = write(tmp_path / "alone.jsonl", [{"en": "one"}])
    assert (
        main(["predict", str(run), "--input-file", str(alone), "-o", str(tmp_path / "o"), "--max-new-tokens", "3"]) == 0
    )


def test_other_languages_are_told_where_the_model_can_be(
    run_finetune: Callable[..., Path], tiny: Callable[[str], str], tmp_path: Path
) -> None:
    data = str(write(tmp_path / "rows.jsonl", pairs(source="en", target="es")))
    for kind, key in (("t5", "prefix"), ("llama", "instruction")):
        run = str(
            run_finetune("translation", model=tiny(kind), data=[data], max_steps=1, eval_steps=1, test_fraction=0.0)
        )
        told = {
            code: getattr(open_trained(run, target_lang=code).family, key) for code in (None, "es", "spa_Latn", "fr")
        }
        assert told[None] == told["es"] == told["spa_Latn"] and "Spanish" in told[None]
        assert told["fr"] == told[None].replace("Spanish", "French")
        with pytest.raises(UsageError, match="'xq' is not known.*--to Quechua"):
            open_trained(run, target_lang="xq")

"""Models whose settings lie in parts: how much they read, and which of them are trained."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transformers

from hflm.cli.app import main
from hflm.errors import UsageError
from hflm.models.at_hand import kind_of
from hflm.models.heads import max_positions
from hflm.models.languages import kept_languages, language_mark
from tests.tiny import moods, write


def test_a_model_of_parts_reads_what_all_of_them_do() -> None:
    encoder = transformers.BertConfig(max_position_embeddings=512)
    decoder = transformers.BertConfig(max_position_embeddings=128)
    both = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    assert max_positions(both) == 128
    assert max_positions(transformers.XLNetConfig()) == max_positions(transformers.T5Config()) == 10**6
    assert max_positions(transformers.RobertaConfig(max_position_embeddings=514)) == 512
    text = transformers.Gemma3TextConfig(max_position_embeddings=77)
    assert max_positions(transformers.Gemma3Config(text_config=text)) == 77


def pictures(folder: Path, tokenizer: str) -> Path:
    """A model that reads pictures too, as Gemma 3 of 4 billion parameters and more."""
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    text = transformers.Gemma3TextConfig(vocab_size=450, num_key_value_heads=1, head_dim=16, **small)
    vision = transformers.SiglipVisionConfig(image_size=28, patch_size=14, **small)
    config = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    transformers.Gemma3ForConditionalGeneration(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    return folder


def test_a_model_of_pictures_is_refused_in_a_line(
    tiny: Callable[[str], str], tmp_path: Path, text_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(pictures(tmp_path / "gemma", tiny("gpt2")))
    rows = str(write(tmp_path / "rows.jsonl", [{"prompt": row["text"], "completion": "one"} for row in moods()]))
    for words in (
        ["finetune", "--task", "generation", "--model", model, "--data", rows],
        ["pretrain", str(text_file), "--objective", "clm", "--model", model],
    ):
        assert main([*words, "--max-steps", "1", "-o", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err
        assert "reads vision too, and only models of text are trained" in said and "internal" not in said
    assert main(["generate", "--model", model, "one two", "--max-new-tokens", "2"]) == 0
    assert kind_of({"architectures": ["Gemma3ForConditionalGeneration"], "vision_config": {}}) == "decoder"


def marian(**known: Any) -> Any:
    return SimpleNamespace(**known)


def test_marian_is_told_a_language_where_it_can_be() -> None:
    many = marian(supported_language_codes=[">>fra<<", ">>spa<<"], source_lang="en", target_lang="ROMANCE")
    assert language_mark(many, source="en", target="fr") == ">>fra<< "
    assert language_mark(many, source=None, target=None) == ""
    chinese = marian(supported_language_codes=[">>cmn_Hant<<", ">>cmn<<", ">>cmn_Hans<<", ">>ara<<"])
    for target, mark in (
        ("zh", ">>cmn<< "), ("cmn_Hans", ">>cmn_Hans<< "), ("ar", ">>ara<< "), ("zh-Hant", ">>cmn_Hant<< "),
        ("zh-TW", ">>cmn_Hant<< "), ("zh_cn", ">>cmn_Hans<< "), ("ar-Arab", ">>ara<< "),
    ):  # fmt: skip
        assert language_mark(chinese, source="en", target=target) == mark
    serbian = marian(supported_language_codes=[">>srp_Cyrl<<", ">>srp_Latn<<"])
    assert language_mark(serbian, source="en", target="sr-Latn") == ">>srp_Latn<< "
    serbian.supported_language_codes.pop()
    with pytest.raises(UsageError, match="'sr-Latn' in the script Latn. Of this language it has >>srp_Cyrl<<: name"):
        language_mark(serbian, source="en", target="sr-Latn")
    group = marian(source_lang="mul", target_lang="eng")
    assert language_mark(group, source="fr", target="en") == ""
    with pytest.raises(UsageError, match="no language 'de'"):
        language_mark(many, source=None, target="de")
    one = marian(supported_language_codes=[], source_lang="eng", target_lang="deu")
    assert language_mark(one, source="en", target="de") == ""
    with pytest.raises(UsageError, match="target language is deu, and it cannot be told fr"):
        language_mark(one, source="en", target="fr")
    assert language_mark(marian(), source="en", target="fr") == ""


def test_marian_of_many_languages_is_trained_with_the_mark_of_one(tiny: Callable[[str], str]) -> None:
    from dataclasses import replace

    from hflm.families.seq2seq import Seq2Seq
    from hflm.finetune_config import FinetuneConfig
    from hflm.finetuning.fitting import make_family
    from hflm.recipe_files import load_task

    ids = transformers.AutoTokenizer.from_pretrained(tiny("marian"))
    settings = transformers.AutoConfig.from_pretrained(tiny("marian"))
    config = FinetuneConfig(task="translation", model="m", source_lang="en", target_lang="fr")

    def prefix(config: FinetuneConfig) -> str:
        made = make_family(config, load_task("translation"), "seq2seq", tokenizer=ids, pretrained=settings, labels=[])
        assert isinstance(made, Seq2Seq)
        return made.prefix

    assert prefix(config) == ""
    ids.supported_language_codes = [">>fra<<", ">>spa<<"]
    assert prefix(config) == ">>fra<< "
    assert prefix(replace(config, prefix="to French: ")) == "to French: "


def test_led_learns_to_write_no_more_than_it_has_places_for(tiny: Callable[[str], str]) -> None:
    from hflm.finetune_config import FinetuneConfig
    from hflm.finetuning.fitting import make_family
    from hflm.recipe_files import load_task

    ids = transformers.AutoTokenizer.from_pretrained(tiny("bart"))
    config = FinetuneConfig(task="summarization", model="m", max_source_length=4000, max_target_length=2000)
    made = make_family(
        config, load_task("summarization"), "seq2seq", tokenizer=ids, pretrained=transformers.LEDConfig(), labels=[]
    )
    assert (made.max_source_length, made.max_target_length) == (4000, 1024)


def test_an_mbart_of_one_language_keeps_it() -> None:
    class Ids:
        src_lang = "ru_RU"

        def get_added_vocab(self) -> dict[str, int]:
            return {"en_XX": 4, "ru_RU": 5, "<mask>": 6}

        def convert_tokens_to_ids(self, token: str) -> int:
            return self.get_added_vocab()[token]

    def of(kind: str, start: int) -> Any:
        return SimpleNamespace(model_type=kind, decoder_start_token_id=start)

    assert kept_languages(Ids(), of("mbart", 5)) == ("ru_RU", "ru_RU")
    assert kept_languages(Ids(), of("mbart", 2)) == kept_languages(Ids(), of("bart", 5)) == (None, None)

"""The smallest models of every kind that fine-tuning takes, built and saved by the test, and rows to train them on."""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

ENCODERS = ("bert", "distilbert")
SEQ2SEQ = ("t5", "bart", "marian")
DECODERS = ("gpt2", "llama")
KINDS = (*ENCODERS, *SEQ2SEQ, *DECODERS)
POSITIONS = 64
CHAT = (
    "{% for message in messages %}{{ '<' + message['role'] + '> ' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant> ' }}{% endif %}"
)
GOOD = ("a merry film", "bright and warm", "I loved it", "a delight", "فيلم رائع", "很好的电影")
BAD = ("a dull film", "cold and grey", "I hated it", "a bore", "فيلم ممل", "很差的电影")
NUMBERS = {
    "en": ("one", "two", "three", "four", "five"), "es": ("uno", "dos", "tres", "cuatro", "cinco"),
}  # fmt: skip


def moods(count: int = 40) -> list[dict[str, Any]]:
    """Texts that a few words tell apart."""
    return [
        {"text": f"{(GOOD, BAD)[n % 2][n // 2 % 6]}, number {n}.", "label": ("good", "bad")[n % 2]}
        for n in range(count)
    ]  # fmt: skip


def pairs(count: int = 40, *, source: str = "document", target: str = "summary") -> list[dict[str, Any]]:
    """Counting in English and in Spanish, with an Arabic and a Chinese word beside it."""
    rows = []
    for n in range(count):
        picked = (n % 5, n // 5 % 5)
        one, two = (" ".join(NUMBERS[code][at] for at in picked) for code in ("en", "es"))
        rows.append({source: f"{one} كتاب 书 {n}", target: f"{two} كتاب"})
    return rows


def tagged(count: int = 40) -> list[dict[str, Any]]:
    """Sentences with a name in them."""
    names = ("Emma", "محمد", "李明")
    return [{"tokens": [names[n % 3], "ran", "home", str(n)], "tags": ["B-PER", "O", "O", "O"]} for n in range(count)]


def asked(count: int = 40) -> list[dict[str, Any]]:
    """Prompts with their completions."""
    return [{"prompt": row["document"], "completion": row["summary"]} for row in pairs(count)]


def facts(count: int = 40) -> list[dict[str, Any]]:
    """Sentences that say where somebody lives; of every five, one says nothing."""
    names, towns = ("Emma", "محمد", "李明"), ("Bath", "Rom", "北京")
    return [
        {"text": f"{names[n % 3]} ran {n}", "triples": []} if n % 5 == 4
        else {"text": f"{names[n % 3]} in {towns[n // 3 % 3]} {n}",
              "triples": [[names[n % 3], "in", towns[n // 3 % 3]]]}
        for n in range(count)
    ]  # fmt: skip


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write rows as JSON Lines and return the path."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def _texts() -> list[str]:
    rows = [*moods(), *pairs(), *tagged(), *facts()]
    said = ["summarize: ", "translate English to Spanish: ", "Summarize this text in one line.\n\n",
            "Translate this text from English to Spanish.\n\n", "extract triples: ",
            "List the facts as head | relation | tail.\n\n", "<user> <assistant> "]  # fmt: skip
    return [*said * 10, *(json.dumps(list(row.values()), ensure_ascii=False) for row in rows)]


@cache
def tokenizer(flavour: str) -> Any:
    """Train a tokenizer on the rows above: of BERT, of an encoder-decoder, or of a decoder."""
    from hflm.models.tokenizer import train_tokenizer

    arch, objective = {"bert": ("bert", "mlm"), "seq2seq": ("roberta", "mlm"), "decoder": ("llama", "clm")}[flavour]
    kind = "wordpiece" if flavour == "bert" else "bpe"
    return train_tokenizer(
        iter(_texts()), kind=kind, vocab_size=450, arch=arch, max_length=POSITIONS, objective=objective
    )


def _bert(ids: Any) -> Any:
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(BertConfig(
        vocab_size=len(ids), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=POSITIONS, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        pad_token_id=ids.pad_token_id,
    ))  # fmt: skip


def _distilbert(ids: Any) -> Any:
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    return DistilBertForMaskedLM(DistilBertConfig(
        vocab_size=len(ids), dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=POSITIONS,
        dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0, pad_token_id=ids.pad_token_id,
    ))  # fmt: skip


def _t5(ids: Any) -> Any:
    from transformers import T5Config, T5ForConditionalGeneration

    return T5ForConditionalGeneration(T5Config(
        vocab_size=len(ids), d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, dropout_rate=0.0,
        pad_token_id=ids.pad_token_id, eos_token_id=ids.eos_token_id, decoder_start_token_id=ids.pad_token_id,
    ))  # fmt: skip


def _bart_like(ids: Any, name: str, start: int) -> Any:
    import transformers

    config = getattr(transformers, f"{name}Config")(
        vocab_size=len(ids), d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=POSITIONS,
        dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, classifier_dropout=0.0,
        pad_token_id=ids.pad_token_id, bos_token_id=ids.bos_token_id, eos_token_id=ids.eos_token_id,
        decoder_start_token_id=start,
        forced_eos_token_id=None, decoder_vocab_size=len(ids),
    )  # fmt: skip
    head = {"Bart": "BartForConditionalGeneration", "Marian": "MarianMTModel"}[name]
    return getattr(transformers, head)(config)


def _gpt2(ids: Any) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(
        vocab_size=len(ids), n_embd=32, n_layer=2, n_head=2, n_positions=POSITIONS, resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, bos_token_id=ids.eos_token_id, eos_token_id=ids.eos_token_id,
    ))  # fmt: skip


def _llama(ids: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(
        vocab_size=len(ids), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=256, bos_token_id=ids.eos_token_id, eos_token_id=ids.eos_token_id,
        tie_word_embeddings=False,
    ))  # fmt: skip


MAKERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "bert": ("bert", _bert),
    "distilbert": ("bert", _distilbert),
    "t5": ("seq2seq", _t5),
    "bart": ("seq2seq", lambda ids: _bart_like(ids, "Bart", ids.eos_token_id)),
    "marian": ("seq2seq", lambda ids: _bart_like(ids, "Marian", ids.pad_token_id)),
    "gpt2": ("decoder", _gpt2),
    "llama": ("decoder", _llama),
}


def save(kind: str, folder: Path) -> Path:
    """Build a tiny model from a fixed seed, and save it with its tokenizer; Llama chats by a template."""
    import torch

    flavour, make = MAKERS[kind]
    ids = tokenizer(flavour)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        make(ids).save_pretrained(folder)
    ids.save_pretrained(folder)
    if kind == "llama":
        (folder / "chat_template.jinja").write_text(CHAT, encoding="utf-8")
    return folder

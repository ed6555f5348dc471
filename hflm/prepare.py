"""From files to packed rows: read, clean, hold out, train a tokenizer, encode; each kept in a cache by content."""

import hashlib
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hflm.config import PretrainConfig
from hflm.data.clean import CleanReport, clean_documents, parse_filters
from hflm.data.corpus import embedded_corpus
from hflm.data.documents import Document, choose_unit, read_documents
from hflm.data.hub import hub_documents, looks_like_hub_id
from hflm.data.packing import Frame
from hflm.data.rows import Rows, cache_folder, cache_key, encode_rows, open_rows, write_rows
from hflm.data.sources import Source, find_sources, fingerprint
from hflm.data.stream import StreamedRows
from hflm.errors import DataError
from hflm.models.tokenizer import KINDS, load_tokenizer, special_flags, tokenizer_report, train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Say = Callable[[str], None]

# A document of this many characters gives its own end to the evaluation; a shorter one goes whole to one side.
LONG = 20_000
SAMPLE = 200
# Streams hold out this many documents from their start, and train a tokenizer on as many characters.
STREAM_EVAL = 200
STREAM_CHARACTERS = 50_000_000


@dataclass(frozen=True)
class Corpus:
    """Text to read, again and again in the same order: files or a hub data set, and what `documents` means in them."""

    config: PretrainConfig
    sources: tuple[Source, ...]
    units: tuple[str, ...]
    hub: str | None = None
    report: CleanReport = field(default_factory=CleanReport)

    def documents(self) -> Iterator[Document]:
        """Read and clean; the report of the latest full reading stays in `report`."""
        config = self.config
        read: Iterator[Document]
        if self.hub:
            read = hub_documents(self.hub, text_column=config.text_column)
        else:
            pairs = zip(self.sources, self.units, strict=True)
            read = itertools.chain.from_iterable(
                read_documents(source, unit=unit, text_column=config.text_column) for source, unit in pairs
            )
        self.report.__dict__.update(CleanReport().__dict__)
        cleaned = clean_documents(read, filters=parse_filters(config.clean), report=self.report)
        return itertools.islice(cleaned, config.max_documents)

    @property
    def key(self) -> str:
        """Hash of the content and of every setting that decides which documents come out."""
        content = self.hub or fingerprint(self.sources)
        config = self.config
        return cache_key(
            content=content, units=self.units, filters=parse_filters(config.clean), column=config.text_column,
            most=config.max_documents,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a run trains on: tokenizer, rows, and what was found on the way."""

    tokenizer: "PreTrainedTokenizerBase"
    rows: Rows | None
    eval_rows: Rows
    stream: Callable[[int], StreamedRows] | None
    counts: NDArray[np.int64]
    sentences: tuple[str, ...]
    report: Mapping[str, Any]
    key: str
    name: str


def open_corpus(config: PretrainConfig, paths: tuple[str, ...], *, say: Say) -> Corpus:
    """Find the files and decide what a document is in each, saying so once a kind."""
    if len(paths) == 1 and looks_like_hub_id(paths[0]):
        return Corpus(config, (), (), hub=paths[0])
    sources = tuple(find_sources(paths))
    chosen = [choose_unit(source, config.documents) for source in sources]
    if any(source.kind == "text" for source in sources):
        for unit, reason in sorted({pair for pair, source in zip(chosen, sources, strict=True) if source.kind == "text"}):
            say(f"documents: {unit} ({reason})")
    return Corpus(config, sources, tuple(unit for unit, _ in chosen))


def prepare(config: PretrainConfig, *, arch: str, max_length: int, pack: bool, say: Say) -> Prepared:
    """Prepare the data of a run; what was prepared before is taken from the cache.

    Raises DataError for anything wrong with the text, before a model is built.
    """
    config, paths, eval_paths, name = _choose_data(config)
    train = open_corpus(config, paths, say=say)
    held = open_corpus(config, eval_paths, say=lambda _: None) if eval_paths else None
    train_texts, eval_texts = _sides(train, held, config)
    tokenizer = _tokenizer(config, train_texts, arch=arch, max_length=max_length, key=train.key, say=say)
    frame = _frame(tokenizer, max_length=max_length, pack=pack, objective=config.objective)
    sentences = tuple(itertools.islice(eval_texts(), SAMPLE))
    key = cache_key(
        train=train.key, held=held.key if held else None, fraction=config.eval_fraction, frame=vars(frame),
        tokenizer=tokenizer.backend_tokenizer.to_str(), streaming=config.streaming,
    )  # fmt: skip

    def encode(texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(texts, add_special_tokens=False, truncation=False)["input_ids"]
        return ids

    def rows_of(texts: Callable[[], Iterator[str]], side: str) -> Rows:
        folder = cache_folder() / f"rows-{key}-{side}"
        if folder.exists():
            return open_rows(folder)
        return write_rows(encode_rows(texts(), encode=encode, frame=frame), folder, max_length=max_length)

    eval_rows = rows_of(eval_texts, "eval")
    stream = None
    if config.streaming:
        rows = rows_of(lambda: itertools.islice(train_texts(), 10 * STREAM_EVAL), "head")

        def stream(length: int) -> StreamedRows:
            return StreamedRows(lambda: encode_rows(train_texts(), encode=encode, frame=frame), length=length)
    else:
        rows = rows_of(train_texts, "train")
    if not len(eval_rows):
        rows, eval_rows = _split_rows(rows)
    report = _report(train, tokenizer, rows, eval_rows, sentences, say)
    return Prepared(
        tokenizer=tokenizer, rows=None if stream else rows, eval_rows=eval_rows, stream=stream,
        counts=_counts(rows, tokenizer), sentences=sentences, report=report, key=key, name=name,
    )  # fmt: skip


def _choose_data(config: PretrainConfig) -> tuple[PretrainConfig, tuple[str, ...], tuple[str, ...], str]:
    from dataclasses import replace

    if config.data:
        names = ", ".join(Path(path).name for path in config.data[:3])
        return config, config.data, config.eval_data, names + (" ..." if len(config.data) > 3 else "")
    train, held = embedded_corpus()
    paths = tuple(str(path) for path in train)
    if config.documents == "auto":
        # A novel is one document: its paragraphs follow from each other.
        config = replace(config, documents="file")
    return config, paths, config.eval_data or tuple(str(path) for path in held), "three novels by Jane Austen"


def _sides(
    train: Corpus, held: Corpus | None, config: PretrainConfig
) -> tuple[Callable[[], Iterator[str]], Callable[[], Iterator[str]]]:
    """Return how to read the training and the evaluation texts, each any number of times."""
    if held is not None:
        return (lambda: (d.text for d in train.documents())), (lambda: (d.text for d in held.documents()))
    if config.streaming:
        return (
            lambda: (d.text for d in itertools.islice(train.documents(), STREAM_EVAL, None)),
            lambda: (d.text for d in itertools.islice(train.documents(), STREAM_EVAL)),
        )

    def side(which: int) -> Iterator[str]:
        return (parts[which] for parts in _held_out(train.documents(), config.eval_fraction) if parts[which])

    return (lambda: side(0)), (lambda: side(1))


def _held_out(documents: Iterator[Document], fraction: float) -> Iterator[tuple[str, str]]:
    """Divide each document into what is trained and what is evaluated on; a function of its text alone."""
    for document in documents:
        text = document.text
        if len(text) >= LONG:
            cut = text.rfind("\n", 0, int(len(text) * (1 - fraction)))
            cut = cut if cut > len(text) // 2 else int(len(text) * (1 - fraction))
            yield text[:cut], text[cut:]
        else:
            digest = hashlib.blake2b(text.encode(), digest_size=4).digest()
            share = int.from_bytes(digest, "big") / 2**32
            yield ("", text) if share < fraction else (text, "")


def _tokenizer(
    config: PretrainConfig, texts: Callable[[], Iterator[str]], *, arch: str, max_length: int, key: str, say: Say
) -> "PreTrainedTokenizerBase":
    asked = config.tokenizer or (config.model if config.model else None)
    if asked and asked not in KINDS:
        return load_tokenizer(asked)
    kind = asked or ("bpe" if config.objective == "clm" else "wordpiece")
    wanted = {
        "kind": kind, "arch": arch, "objective": config.objective, "lowercase": config.lowercase,
        "max_length": max_length,
    }  # fmt: skip
    name = cache_key(data=key, fraction=config.eval_fraction, held=bool(config.eval_data), size=config.vocab_size, **wanted)
    folder = cache_folder() / f"tokenizer-{name}"
    if folder.exists():
        return load_tokenizer(str(folder))
    size = config.vocab_size or _vocabulary_size(_limited(texts()))
    say(f"training a {kind} tokenizer of {size:,} pieces")
    tokenizer = train_tokenizer(
        _pieces(_limited(texts())), vocab_size=size, strict=config.vocab_size is not None, **wanted
    )
    staging = folder.with_name(f".{folder.name}.part")
    tokenizer.save_pretrained(staging)
    if not folder.exists():
        staging.rename(folder)
    return load_tokenizer(str(folder))


def _limited(texts: Iterator[str]) -> Iterator[str]:
    """Stop after as much text as a vocabulary can gain from."""
    seen = 0
    for text in texts:
        if seen > STREAM_CHARACTERS:
            return
        seen += len(text)
        yield text


def _pieces(texts: Iterator[str]) -> Iterator[str]:
    """Cut long documents at line ends: trainers work on one text at a time."""
    return (line for text in texts for line in (text.splitlines() if len(text) > 10_000 else [text]) if line.strip())


def _vocabulary_size(texts: Iterator[str]) -> int:
    """Choose a power of two near three times the root of the text's length, with room for its alphabet."""
    characters, alphabet = 0, set[str]()
    for text in texts:
        characters += len(text)
        alphabet.update(text)
    if not characters:
        raise DataError("The data holds no text.", fix="Check the files, and what --clean drops.")
    by_length = 2 ** int(math.log2(max(3 * math.sqrt(characters), 512)))
    by_alphabet = 2 ** math.ceil(math.log2(max(1.5 * len(alphabet), 1)))
    return max(512, min(32_768, max(by_length, by_alphabet)))


def _frame(tokenizer: "PreTrainedTokenizerBase", *, max_length: int, pack: bool, objective: str) -> Frame:
    """Wrap pieces as the tokenizer wraps a text: [CLS] ... [SEP], or an end-of-text for next tokens."""
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    if objective == "clm":
        return Frame(before=(), after=(tokenizer.eos_token_id,), pad_id=pad, max_length=max_length, pack=pack)
    wrapped = tokenizer("a", add_special_tokens=True)["input_ids"]
    inner = tokenizer("a", add_special_tokens=False)["input_ids"]
    start = next((n for n in range(len(wrapped)) if wrapped[n : n + len(inner)] == inner), 0)
    return Frame(
        before=tuple(wrapped[:start]), after=tuple(wrapped[start + len(inner) :]), pad_id=pad, max_length=max_length, pack=pack
    )


def _split_rows(rows: Rows) -> tuple[Rows, Rows]:
    """Hold out the last rows where no document could be held out."""
    count = len(rows) - max(1, len(rows) // 20)
    return Rows(rows.ids[:count], rows.segments[:count]), Rows(rows.ids[count:], rows.segments[count:])


def _counts(rows: Rows, tokenizer: "PreTrainedTokenizerBase") -> NDArray[np.int64]:
    """Count each ordinary id in the training rows [V]: the unigram model that a run is compared with."""
    counts = np.zeros(len(tokenizer), dtype=np.int64)
    for start in range(0, len(rows), 4096):
        counts += np.bincount(rows.ids[start : start + 4096].ravel(), minlength=len(tokenizer))
    counts[special_flags(tokenizer)] = 0
    return counts


def _report(
    corpus: Corpus, tokenizer: "PreTrainedTokenizerBase", rows: Rows, held: Rows, sentences: tuple[str, ...], say: Say
) -> dict[str, Any]:
    if corpus.report.as_dict().get("read", 0) or corpus.report.__dict__.get("kept", 0):
        for line in corpus.report.lines():
            say(f"cleaning: {line}")
    measured = tokenizer_report(tokenizer, [text[:20_000] for text in sentences[:50]] or ["a"])
    for line in measured.lines():
        say(f"tokenizer: {line}")
    length = rows.ids.shape[1]
    tokens = rows.tokens
    if tokens < length or not len(rows):
        raise DataError(
            f"The text makes {tokens + held.tokens} tokens, less than one sequence of {length} to train on and one to evaluate.",
            fix=f"Give more text, or pass --max-length {max(8, 2 ** int(math.log2(max(tokens // 4, 8))))}.",
        )
    say(f"rows: {len(rows):,} of {length} tokens to train on ({tokens:,} tokens), {len(held):,} to evaluate")
    return {
        "cleaning": corpus.report.as_dict(), "tokenizer": measured.as_dict(),
        "rows": len(rows), "tokens": tokens, "eval_rows": len(held), "eval_tokens": held.tokens,
    }  # fmt: skip


def sample_sentences(texts: tuple[str, ...], *, count: int, seed: int) -> list[str]:
    """Choose short sentences of the evaluation text, the same for the same text."""
    found = [
        sentence.strip()
        for text in texts
        for sentence in re.split(r"(?<=[.!?。！？؟])\s*", text[:100_000])
        if 30 <= len(sentence.strip()) <= 90 and "\n" not in sentence.strip()
    ]
    draw = np.random.Generator(np.random.Philox(key=[seed, 7]))
    return [found[n] for n in sorted(draw.permutation(len(found))[:count])]


def digest_of(value: Mapping[str, Any]) -> str:
    """Hash plain data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]

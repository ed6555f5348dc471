"""From files to packed rows: read, clean, hold out, train a tokenizer, encode; each kept in a cache by content."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hflm.cache import cache_folder, in_cache
from hflm.config import PretrainConfig
from hflm.data.bad_rows import reason_of
from hflm.data.clean import CleanReport, clean_documents, parse_filters
from hflm.data.corpus import embedded_corpus
from hflm.data.documents import Document, choose_unit, read_documents
from hflm.data.holdout import HOLD_OUT, SHOWN, hold_out, split_rows
from hflm.data.hub import hub_documents, looks_like_hub_id, pinned
from hflm.data.quality import QUALITY
from hflm.data.rows import LAYOUT, Notes, Rows, cache_key, check_rows, encode_rows, open_rows, read_notes, write_rows
from hflm.data.sources import Source, check_same, find_sources, fingerprint, looks
from hflm.data.stream import StreamedRows
from hflm.errors import DataError
from hflm.models.tokenizer import load_tokenizer, special_flags
from hflm.pretraining.encoding import beginning, encoder, frame_of
from hflm.pretraining.overlap import overlap_of_words
from hflm.pretraining.report import HELD, beginnings, count_targets, report_of, tell_left_out
from hflm.pretraining.vocabulary import Say, obtain_tokenizer, vocabulary_key

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SAMPLE = 200
# Streams hold out this many documents from their start.
STREAM_EVAL = 200
# Of what follows, so many documents and characters are looked at before the training: it is a sample of the rest.
HEAD, HEAD_CHARACTERS = 2_000, 20_000_000
# What a job can do where nothing of a text is known to its tokenizer.
KNOWING = {"pretrain": "Pass --tokenizer bpe, to which nothing is unknown", "distill": "Take another teacher"}


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
                read_documents(source, unit=unit, text_column=config.text_column, on_bad=self._bad)
                for source, unit in pairs
            )
        self.report.__dict__.update(CleanReport().__dict__)
        cleaned = clean_documents(read, filters=parse_filters(config.clean), report=self.report)
        return itertools.islice(cleaned, config.max_documents)

    def _bad(self, error: DataError) -> None:
        if self.config.on_bad_row == "error":
            raise error
        self.report.read += 1
        self.report.dropped[reason_of(error)] += 1

    def cleaned(self) -> dict[str, Any]:
        """Return what the latest full reading did, as data and as lines to show."""
        return {"report": self.report.as_dict(), "lines": self.report.lines()}

    @cached_property
    def content(self) -> tuple[list[tuple[int, int]], str]:
        """How the files look, and then the hash of them: a change while they are hashed shows too."""
        return looks(self.sources), self.hub or fingerprint(self.sources)

    def check_unchanged(self) -> None:
        """Raise DataError where a file is not what was hashed: what is made of it would be kept under a wrong name."""
        check_same(self.sources, *self.content)

    @cached_property
    def key(self) -> str:
        """Hash of the content and of every setting that decides which documents come out; reads all files, once."""
        (_, content), config, filters = self.content, self.config, parse_filters(self.config.clean)
        return cache_key(
            content=content, units=self.units, filters=filters, column=config.text_column, most=config.max_documents,
            bad=config.on_bad_row, **({"quality": QUALITY} if "quality" in filters else {}),
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
    inputs: Mapping[str, str]
    name: str


def open_corpus(config: PretrainConfig, paths: tuple[str, ...], *, say: Say) -> Corpus:
    """Find the files and decide what a document is in each, saying so once for all texts of which it is the same."""
    if len(paths) == 1 and looks_like_hub_id(paths[0]):
        return Corpus(config, (), (), hub=paths[0])
    sources = tuple(find_sources(paths))
    chosen = [choose_unit(source, config.documents) for source in sources]
    reasons: dict[str, list[str]] = {}
    for (unit, reason), source in zip(chosen, sources, strict=True):
        if source.kind == "text":
            reasons.setdefault(unit, []).append(reason)
    for unit, (reason, *others) in sorted(reasons.items()):
        more = f" The same in {len(others):,} more file{'s' if len(others) > 1 else ''}." if others else ""
        say(f"documents: {unit} ({reason}{more})")
    return Corpus(config, sources, tuple(unit for unit, _ in chosen))


def pin(config: PretrainConfig, *, say: Say) -> PretrainConfig:
    """Name the revisions of data sets of the hub, so that a run and its plan read the same."""
    return replace(config, data=pinned(config.data, say=say), eval_data=pinned(config.eval_data, say=say))


def prepare(
    config: PretrainConfig, *, arch: str, max_length: int, pack: bool, say: Say, saved: Path | None = None
) -> Prepared:
    """Prepare the data of a run; what was prepared before is taken from the cache.

    `saved` is where a run that is resumed keeps its tokenizer. Raises DataError for anything wrong with the text.
    """
    config, paths, eval_paths, name = _choose_data(config)
    train = open_corpus(config, paths, say=say if config.data else lambda _: None)
    held = open_corpus(config, eval_paths, say=lambda _: None) if eval_paths else None
    train_texts, eval_texts = _sides(train, held, config)
    make = partial(obtain_tokenizer, config, train_texts, arch=arch, max_length=max_length, key=train.key, say=say)
    tokenizer = load_tokenizer(str(saved)) if saved and saved.is_dir() else make(settled=train.check_unchanged)
    frame = frame_of(tokenizer, max_length=max_length, pack=pack, objective=config.objective)
    inputs = {"training text": train.key, "tokenizer": vocabulary_key(tokenizer)}
    inputs |= {"evaluation text": held.key} if held else {}
    begin = beginning(tokenizer, objective=config.objective)
    encode = encoder(tokenizer, end=config.objective == "clm", begin=begin)
    told = {"frame": vars(frame), "streaming": config.streaming, **({"begin": begin} if begin else {})}
    told |= {} if held or config.streaming else {"hold out": HOLD_OUT}
    # Only what a tokenizer puts around a text tells masked rows from those for the next token.
    told |= {"masked": True} if config.objective != "clm" and not frame.before + frame.after else {}
    key = cache_key(**inputs, fraction=config.eval_fraction, **told)
    encoded = partial(encode_rows, encode=encode, frame=frame)

    def rows_of(texts: Callable[[], Iterator[str]], side: str, notes: Notes) -> tuple[Rows, dict[str, Any]]:
        folder = cache_folder() / f"rows-{key}-{LAYOUT}-{side}"
        if not in_cache(folder, opens=check_rows):
            write_rows(encoded(texts()), folder, max_length=max_length, notes=partial(_settled, notes, train, held))
        return open_rows(folder), read_notes(folder)

    first: list[str] = []
    eval_rows, sample = rows_of(lambda: _noting(eval_texts(), first), "eval", lambda: _noted(first, train_texts, held))
    left_out = tell_left_out(sample["cleaned"], config, say=say) if config.eval_data else {}
    sentences = tuple(sample["sentences"])
    if config.streaming:
        rows, cleaned = rows_of(lambda: _head(train_texts()), "head", _nothing_cleaned)
    else:
        rows, cleaned = rows_of(train_texts, "train", train.cleaned)
    rows, eval_rows = (rows, eval_rows) if config.eval_data or len(eval_rows) else split_rows(rows)
    if config.eval_data or len(eval_rows):
        _check_held(eval_rows, tokenizer, config)
    texts = sentences or sample.get("trained") or beginnings(train_texts())
    report = report_of(cleaned, tokenizer, rows, eval_rows, texts=texts, config=config, say=say)
    return Prepared(
        tokenizer=tokenizer, rows=None if config.streaming else rows, eval_rows=eval_rows, name=name,
        stream=(lambda count: StreamedRows(lambda: encoded(train_texts()), length=count)) if config.streaming else None,
        counts=count_targets(rows, tokenizer, objective=config.objective, pad_id=frame.pad_id, begin=begin),
        sentences=sentences, report={**report, **left_out, **_shared(train, held, config, say)}, key=key, inputs=inputs,
    )  # fmt: skip


def _check_held(rows: Rows, tokenizer: "PreTrainedTokenizerBase", config: PretrainConfig) -> None:
    """Raise DataError where there is nothing to evaluate on, or where tokens are hidden and none of it is known."""
    if not len(rows):
        raise DataError(
            f"{HELD[config.job]} holds no text to evaluate on.",
            fix="Check the files, and what --clean drops of them.",
        )
    special, hides = special_flags(tokenizer), config.objective != "clm"
    if hides and not any((~special[rows.ids[start : start + 1000]]).any() for start in range(0, len(rows), 1000)):
        raise DataError(
            "The tokenizer knows nothing of the text to evaluate on: every token of it is unknown.",
            fix=f"{KNOWING[config.job]}, or evaluate on text like that of the training.",
        )


def _noting(texts: Iterator[str], first: list[str]) -> Iterator[str]:
    """Yield texts, and keep of the first ones what is shown of them."""
    for text in texts:
        if len(first) < SAMPLE:
            first.append(text[:SHOWN])
        yield text


def _noted(first: list[str], train_texts: Callable[[], Iterator[str]], held: Corpus | None) -> dict[str, Any]:
    """Return what is kept beside the rows to evaluate on; without any, what the tokenizer is measured on instead."""
    cleaned = held.cleaned() if held else _nothing_cleaned()
    return {"sentences": first, "trained": [] if first else beginnings(train_texts()), "cleaned": cleaned}


def _settled(notes: Notes, *corpora: Corpus | None) -> Mapping[str, Any]:
    """Return what is noted once all rows have come; raises DataError where their text has changed meanwhile."""
    found = notes()
    for corpus in filter(None, corpora):
        corpus.check_unchanged()
    return found


def _head(texts: Iterator[str]) -> Iterator[str]:
    """Yield what is looked at of a stream before the training: its documents may be of any length."""
    left = HEAD_CHARACTERS
    for text in itertools.islice(texts, HEAD):
        yield text[:left]
        left -= len(text)
        if left <= 0:
            return


def _nothing_cleaned() -> dict[str, Any]:
    """Return what is told of a stream, which is never read to its end, and where no text was named to evaluate on."""
    return {"report": {}, "lines": []}


def _shared(train: Corpus, held: Corpus | None, config: PretrainConfig, say: Say) -> dict[str, Any]:
    """Return what the text to evaluate on shares with the training text, where the user named both."""
    if not held or not config.eval_data:
        return {}
    key = cache_key(train=train.key, held=held.key, form="NFC")
    return {"overlap_of_words": overlap_of_words(train.documents, held.documents, key=key, say=say)}


def _choose_data(config: PretrainConfig) -> tuple[PretrainConfig, tuple[str, ...], tuple[str, ...], str]:
    if config.data:
        # A name that is no UTF-8 is shown with a mark where it is not, in titles and cards too.
        shown = [Path(path).name.encode(errors="surrogateescape").decode(errors="replace") for path in config.data[:3]]
        names = ", ".join(shown)
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
        if next(itertools.islice(train.documents(), STREAM_EVAL, None), None) is None:
            raise DataError(
                f"--streaming keeps the first {STREAM_EVAL} documents to evaluate on, and there are no more.",
                fix="Leave --streaming away, or pass --eval-data.",
            )
        return (
            lambda: (d.text for d in itertools.islice(train.documents(), STREAM_EVAL, None)),
            lambda: (d.text for d in itertools.islice(train.documents(), STREAM_EVAL)),
        )

    # So little text that all of it would be held out is trained on: rows are held out then.
    def trained_on() -> Iterator[str]:
        some = (kept for kept, _ in hold_out(train.documents(), config.eval_fraction) if kept)
        first = next(some, None)
        return (d.text for d in train.documents()) if first is None else itertools.chain([first], some)

    def held_out() -> Iterator[str]:
        waiting: list[str] = []
        trains = False
        for kept, held in hold_out(train.documents(), config.eval_fraction):
            trains = trains or bool(kept)
            waiting += [held] if held else []
            if trains:
                yield from waiting
                waiting.clear()

    return trained_on, held_out

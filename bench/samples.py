"""The samples of `tagging` and `sentiment`, made anew from the novels and from short phrases.

python -m bench.samples hflm/corpus

tagging: sentences of the embedded novels with silver tags. A person is a word that stands after a title somewhere in
the novels, or one of FIRST_NAMES; a place is one of PLACES. Nobody has looked at every row. Training rows are of two
novels, validation and test of one other each: most names of the test are not in training.

sentiment: phrases put together by hand in four languages. No opinion stands in two splits, so that a model must know
words, and not learn phrases by heart. They show how a task runs; they are no measure of a model.
"""

import gzip
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hflm.data.corpus import FOLDER

TITLES = {"Mr", "Mrs", "Miss", "Lady", "Sir", "Colonel", "Captain", "Dr", "Lord"}
FIRST = (
    "Elizabeth Lizzy Jane Lydia Kitty Catherine Mary Charlotte Georgiana Fitzwilliam Charles Caroline Louisa Elinor "
    "Marianne Margaret Edward Willoughby Lucy Fanny John Henry Anne Nancy Sophia Eliza Emma Harriet Frank Isabella "
    "George Augusta Robert Philip Eleanor Frederick James Maria Anna Hannah Betty Thomas Robert Darcy Wickham Bingley "
    "Knightley Elton Churchill Weston Tilney Thorpe Morland Allen"
)
WHERE = (
    "Longbourn Netherfield Meryton Pemberley Rosings Hunsford Lambton Brighton London Hertfordshire Derbyshire Kent "
    "Newcastle Norland Barton Devonshire Sussex Cleveland Delaford Combe Plymouth Exeter Dawlish Hartfield Highbury "
    "Randalls Donwell Enscombe Yorkshire Weymouth Richmond Surry Bath Bristol Fullerton Northanger Wiltshire Oxford "
    "Gloucestershire Salisbury Clifton Blaize England Scotland Ireland Windsor"
)
FIRST_NAMES, PLACES = set(FIRST.split()), set(WHERE.split())
NOVELS = {"train": ("pride_and_prejudice", "sense_and_sensibility"), "validation": ("emma",),
          "test": ("northanger_abbey",)}  # fmt: skip
TAGGED = {"train": 800, "validation": 150, "test": 250}
WORD = re.compile(r"(?:Mr|Mrs|Dr)\.|\w+(?:['’-]\w+)*|[^\w\s]")
SENTENCE = re.compile(r"(?<=[.!?;])\s+(?=[A-Z\"])(?<!Mr\.\s)(?<!Mrs\.\s)(?<!Dr\.\s)")

# Language -> sentences with a place for what is said of the thing.
FRAMES: Mapping[str, tuple[str, ...]] = {
    "en": ("The film was {}.", "I found the book {}.", "A {} evening.", "The food here is {}, and so is the service.",
           "My new phone is {}.", "After an hour I could only say: {}!"),
    "es": ("La película fue {}.", "El libro me pareció {}.", "El servicio es {}.", "Todo aquí resulta {}.",
           "La comida estaba {}, de verdad."),
    "zh": ("这部电影{}。", "这本书真是{}。", "这里的服务{}。", "我觉得饭菜{}。", "新手机用起来{}。"),
    "ar": ("كان الفيلم {}.", "وجدت الكتاب {}.", "الطعام هنا {}.", "كانت الأمسية {}.", "رأيي في الفندق: {}."),
}  # fmt: skip
# Language -> opinions, good ones and bad ones; every fifth is kept for validation, and every fourth for the test.
OPINIONS: Mapping[str, tuple[str, str]] = {
    "en": ("wonderful|excellent|a delight|superb|charming|moving|brilliant|warm and funny|a pleasure|fresh|beautiful|"
           "not bad at all|perfect|clever|great|lovely|splendid|worth every minute|enjoyable|outstanding",
           "terrible|boring|a waste of time|awful|dull|clumsy|stupid|cold and empty|a bore|stale|ugly|"
           "not good at all|useless|silly|bad|nasty|horrible|not worth a minute|tiresome|disappointing"),
    "es": ("maravilloso|excelente|encantador|genial|conmovedor|brillante|muy bueno|perfecto|divertido|estupendo|"
           "hermoso|nada malo",
           "terrible|aburrido|pésimo|horrible|torpe|estúpido|muy malo|inútil|pesado|lamentable|feo|nada bueno"),
    "zh": ("很精彩|非常好|令人愉快|棒极了|很感人|很有趣|完美|值得推荐|不错|优秀",
           "很无聊|非常差|令人失望|糟透了|很枯燥|很乏味|失败|不值得|很烂|低劣"),
    "ar": ("رائع|ممتاز|جميل جدا|ممتع|مؤثر|مدهش|جيد جدا|لا بأس به|لذيذ|مبهج",
           "سيئ|ممل|قبيح جدا|مزعج|تافه|مخيب للآمال|سيئ جدا|لا يستحق|رديء|كئيب"),
}  # fmt: skip


def split_of(number: int) -> str:
    """Return the split of the opinion of this number."""
    return "test" if number % 4 == 3 else "validation" if number % 5 == 4 else "train"


def sentiment(split: str) -> Iterator[dict[str, Any]]:
    """Yield the phrases of a split."""
    for language, frames in FRAMES.items():
        for label, words in zip(("positive", "negative"), OPINIONS[language], strict=True):
            for number, opinion in enumerate(words.split("|")):
                if split_of(number) == split:
                    yield from (
                        {"text": frame.format(opinion), "label": label, "language": language} for frame in frames
                    )


def sentences(novels: Iterable[str]) -> Iterator[list[str]]:
    """Yield the sentences of novels, as words and marks."""
    for name in novels:
        with gzip.open(FOLDER / f"{name}.txt.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                for sentence in SENTENCE.split(line.strip()):
                    words = WORD.findall(sentence)
                    if 6 <= len(words) <= 40:
                        yield words


def titled(found: Iterable[list[str]]) -> set[str]:
    """Return the names that stand after a title."""
    pairs = (pair for words in found for pair in zip(words, words[1:], strict=False))
    return {name for title, name in pairs if title.rstrip(".") in TITLES and name.istitle() and len(name) > 2}


def tags_of(words: list[str], people: set[str]) -> list[str]:
    """Tag the words of a sentence by BIO: PER and LOC; titles are not part of a name."""
    tags: list[str] = []
    for place, word in enumerate(words):
        plain = word.removesuffix("'s").removesuffix("’s")
        after_title = place > 0 and words[place - 1].rstrip(".") in TITLES
        kind = "LOC" if plain in PLACES and not after_title else "PER" if plain in people else ""
        inside = bool(kind) and bool(tags) and tags[-1].endswith(kind) and kind == "PER"
        tags.append(f"{'I' if inside else 'B'}-{kind}" if kind else "O")
    return tags


def tagging(split: str) -> Iterator[dict[str, Any]]:
    """Yield the tagged sentences of a split: three in four have a name."""
    people = (titled(sentences(name for names in NOVELS.values() for name in names)) | FIRST_NAMES) - PLACES
    rows = [{"tokens": words, "tags": tags_of(words, people)} for words in sentences(NOVELS[split])]
    order = np.random.Generator(np.random.Philox(key=[7, len(split)])).permutation(len(rows))
    named = [rows[n] for n in order if set(rows[n]["tags"]) != {"O"}]
    plain = [rows[n] for n in order if set(rows[n]["tags"]) == {"O"}]
    whole = TAGGED[split]
    yield from named[: whole * 3 // 4]
    yield from plain[: whole - whole * 3 // 4]


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows, gzipped, the same bytes every time."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as stream:
        stream.write(text.encode())
    path.write_bytes(buffer.getvalue())


def main(folder: Path) -> None:
    """Write both samples."""
    for name, make in (("sentiment", sentiment), ("tagging", tagging)):
        for split in NOVELS:
            rows = list(make(split))
            write(folder / f"{name}.{split}.jsonl.gz", rows)
            print(f"{name} {split}: {len(rows)} rows")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

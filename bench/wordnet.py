"""Make the sample of the recipe knowledge-graph from WordNet's own files, and score a baseline on it.

python -m bench.wordnet /usr/share/wordnet -o hflm/corpus     # Debian: apt-get install wordnet-base
python -m bench.wordnet /usr/share/wordnet --baseline hflm/corpus

A row is a word with its definition, as `dog: a member of the genus Canis`, and the relations of that word whose other
end stands in the definition. The form of the files is that of WordNet's manual page wndb(5WN).
"""

import argparse
import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILES = {"n": "data.noun", "v": "data.verb", "a": "data.adj", "r": "data.adv"}
RELATIONS = {
    "@": "is a", "@i": "instance of", "#m": "member of", "#s": "substance of", "#p": "part of", "%m": "has member",
    "%s": "has substance", "%p": "has part", "!": "opposite of", "=": "attribute", "*": "entails", ">": "causes",
    "&": "similar to", "+": "related to", ";c": "used in", ";r": "used in region", "\\": "pertains to",
}  # fmt: skip
ROWS = {"train": 2000, "validation": 200, "test": 300}
LONGEST, DEEPEST = 140, 3
# Of rows, those without a triple; of the others, those that say more than what a thing is.
WITHOUT, RICH = 0.12, 0.5


@dataclass(frozen=True)
class Synset:
    """Words of one meaning, what they mean, and the synsets that they point to."""

    words: tuple[str, ...]
    pointers: tuple[tuple[str, str], ...]
    gloss: str


def read_wordnet(folder: Path) -> dict[str, Synset]:
    """Read every synset, by part of speech and offset."""
    found = {}
    for kind, name in FILES.items():
        for line in (folder / name).read_text(encoding="utf-8").splitlines():
            if not line.startswith(" "):
                found[kind + line[:8]] = _parse(line)
    return found


def _parse(line: str) -> Synset:
    fields, _, gloss = line.partition(" | ")
    parts = fields.split()
    count = int(parts[3], 16)
    words = tuple(re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in parts[4 : 4 + 2 * count : 2])
    at = 4 + 2 * count
    pointers = parts[at + 1 : at + 1 + 4 * int(parts[at])]
    # An adjective of a cluster points as `s`; its file is that of all adjectives.
    links = tuple(
        (pointers[n], pointers[n + 2].replace("s", "a") + pointers[n + 1]) for n in range(0, len(pointers), 4)
    )
    return Synset(words, links, re.split(r'; "', gloss)[0].strip().rstrip(";"))


def rows(synsets: dict[str, Synset]) -> Iterator[dict[str, Any]]:
    """Yield a row for every synset whose definition is short enough."""
    for synset in synsets.values():
        if len(synset.gloss) > LONGEST or not synset.gloss:
            continue
        head = synset.words[0]
        text = f"{head}: {synset.gloss}"
        triples = dict.fromkeys((head, name, tail) for name, tail in _grounded(synset, synsets))
        yield {"text": text, "triples": [list(triple) for triple in triples]}


def _grounded(synset: Synset, synsets: dict[str, Synset]) -> Iterator[tuple[str, str]]:
    """Yield relations whose other end stands in the definition, a synset by the first of its words that does."""
    for sign, key in synset.pointers:
        if sign not in RELATIONS:
            continue
        other = synsets.get(key)
        for _ in range(DEEPEST if sign in ("@", "@i") else 1):
            if other is None:
                break
            if word := next((word for word in other.words if _stands(word, synset)), None):
                yield RELATIONS[sign], word
                break
            other = next((synsets.get(key) for up, key in other.pointers if up == "@"), None)


def _stands(word: str, synset: Synset) -> bool:
    known = any(word == own for own in synset.words)
    return not known and bool(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", synset.gloss))


def sample(found: Iterator[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Draw the rows of each split by a hash: a head word stands in one of them only."""
    places: dict[str, list[tuple[float, dict[str, Any]]]] = {name: [] for name in ROWS}
    for row in found:
        head = row["text"].partition(": ")[0].lower()
        side = _unit(f"side {head}")
        split = "train" if side < 0.8 else "validation" if side < 0.88 else "test"
        places[split].append((_unit(row["text"]), row))
    return {
        name: _draw([row for _, row in sorted(pool, key=lambda one: one[0])], name) for name, pool in places.items()
    }


def _draw(pool: list[dict[str, Any]], split: str) -> list[dict[str, Any]]:
    bare = [row for row in pool if not row["triples"]]
    rich = [row for row in pool if any(relation != "is a" for _, relation, _ in row["triples"])]
    plain = [row for row in pool if row["triples"] and all(relation == "is a" for _, relation, _ in row["triples"])]
    without = round(WITHOUT * ROWS[split])
    much = round(RICH * (ROWS[split] - without))
    chosen = bare[:without] + rich[:much] + plain[: ROWS[split] - without - much]
    return sorted(chosen, key=lambda row: _unit(f"order {row['text']}"))


def _unit(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def write(splits: dict[str, list[dict[str, Any]]], folder: Path) -> None:
    """Write a gzipped file for each split, the same bytes for the same rows."""
    for name, found in splits.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
        path = folder / f"knowledge_graph.{name}.jsonl.gz"
        path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


def baseline(wordnet: Path, folder: Path, run: Path | None = None) -> dict[str, Any]:
    """Score the most frequent relation, with the first noun of the definition as tail, on the test rows.

    With a run that was tested on these rows, compare it with that, draw by draw.
    """
    from hflm.metrics.paired import compare
    from hflm.metrics.registry import score
    from hflm.triples import to_line

    read = {name: _read(folder / f"knowledge_graph.{name}.jsonl.gz") for name in ("train", "test")}
    relation = Counter(name for row in read["train"] for _, name, _ in row["triples"]).most_common(1)[0][0]
    said = guesses([row["text"] for row in read["test"]], wordnet, relation)
    wanted = [to_line(map(tuple, row["triples"])) for row in read["test"]]
    found = {"relation": relation, **score("triples", predictions=said, references=wanted).to_json()["scores"]}
    if run:
        lines = (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        theirs = [json.loads(line)["prediction"] for line in lines]
        found["run against it"] = [asdict(one) for one in compare("triples", a=theirs, b=said, references=wanted)][0]
    return found


def guesses(texts: list[str], wordnet: Path, relation: str) -> list[str]:
    """Return what the baseline says of each text."""
    from hflm.triples import to_line

    index = (wordnet / "index.noun").read_text(encoding="utf-8").splitlines()
    nouns = {line.split(" ", 1)[0].replace("_", " ") for line in index if not line.startswith(" ")}
    said = []
    for text in texts:
        head, _, gloss = text.partition(": ")
        # WordNet lists letters and little words as nouns too; a definition begins with an article.
        words = [word for word in re.findall(r"[\w-]+", gloss) if len(word) > 2 and word not in LITTLE]
        noun = next((word for word in words if word.lower() in nouns), None)
        said.append(to_line([(head, relation, noun)] if noun else []))
    return said


LITTLE = {"the", "any", "one", "who", "that", "have", "has", "having", "for", "and", "not", "are", "was", "out"}


def _read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def main() -> None:
    """Write the sample, or score the baseline on it."""
    parser = argparse.ArgumentParser(prog="python -m bench.wordnet", description=__doc__)
    parser.add_argument("wordnet", type=Path, help="folder with data.noun and its siblings")
    parser.add_argument("-o", type=Path, help="folder to write the sample into")
    parser.add_argument("--baseline", type=Path, help="folder with the sample to score")
    parser.add_argument("--against", type=Path, help="with --baseline: a run that was tested on the sample")
    options = parser.parse_args()
    if options.o:
        write(sample(rows(read_wordnet(options.wordnet))), options.o)
    if options.baseline:
        print(json.dumps(baseline(options.wordnet, options.baseline, options.against), indent=1))


if __name__ == "__main__":
    main()

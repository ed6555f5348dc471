"""Make hflm/corpus/synonyms.en.tsv.gz from the files of WordNet 3.0.

python -m bench.synonyms /usr/share/wordnet hflm/corpus/synonyms.en.tsv.gz

A word is listed where it has one meaning, or one that has four of five of its uses in WordNet's tagged texts, whatever
the part of speech. Its synonyms are words of that meaning of which the same is true, and which the tagged texts use.
Debian has the files in wordnet-base.
"""

import gzip
import io
import sys
from collections.abc import Iterator
from pathlib import Path

# Uses in tagged texts that a word of several meanings needs for these to be told apart, and the share of the first.
LEAST, SHARE = 3, 0.8
# Also words of a kind that WordNet leaves out, as prepositions and pronouns, or names: their main use is not in it.
LEFT_OUT = {"after", "before", "someone", "person", "like", "mike", "lots", "however"}
PARTS = {"noun": "1", "verb": "2", "adj": "3", "adv": "4"}
Meaning = tuple[str, str]


def counted(folder: Path) -> dict[str, dict[Meaning, int]]:
    """Return word -> (part, offset) -> uses in tagged texts, from cntlist.rev and the index files."""
    uses: dict[tuple[str, str, int], int] = {}
    for line in (folder / "cntlist.rev").read_text(encoding="utf-8").splitlines():
        key, sense, count = line.split()
        word, _, rest = key.partition("%")
        # 5 is an adjective that stands beside another; the index calls both 3.
        part = "3" if rest[0] == "5" else rest[0]
        uses[word, part, int(sense)] = int(count)
    found: dict[str, dict[Meaning, int]] = {}
    for name, part in PARTS.items():
        for line in _lines(folder / f"index.{name}"):
            fields = line.split()
            offsets = fields[-int(fields[2]) :]
            for number, offset in enumerate(offsets, start=1):
                found.setdefault(fields[0], {})[part, offset] = uses.get((fields[0], part, number), 0)
    return found


def clear(meanings: dict[Meaning, int]) -> Meaning | None:
    """Return the one usual meaning of a word; None where there is none."""
    best = max(meanings, key=lambda meaning: meanings[meaning])
    total = sum(meanings.values())
    enough = len(meanings) == 1 or (total >= LEAST and meanings[best] >= SHARE * total)
    return best if enough else None


def synonyms(folder: Path) -> dict[str, list[str]]:
    """Return word -> synonyms; both begin with a vowel or both do not, so that "a" and "an" stay right."""
    counts = counted(folder)
    words = {word: meaning for word, found in counts.items() if (meaning := clear(found))}
    found: dict[str, list[str]] = {}
    for name, part in PARTS.items():
        for line in _lines(folder / f"data.{name}"):
            fields = line.split()
            offset, size = fields[0], int(fields[3], 16)
            members = [fields[4 + 2 * place].partition("(")[0].lower() for place in range(size)]
            same = [word for word in dict.fromkeys(members) if words.get(word) == (part, offset) and _plain(word)]
            for word in same:
                used = [one for one in same if one != word and counts[one][part, offset]]
                others = [one for one in used if (one[0] in "aeiou") == (word[0] in "aeiou")]
                if others:
                    found[word] = others
    return dict(sorted(found.items()))


def _plain(word: str) -> bool:
    return word.isascii() and word.isalpha() and len(word) > 3 and word not in LEFT_OUT


def _lines(path: Path) -> Iterator[str]:
    # The licence stands at the head of each file, indented.
    return (line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(" "))


def main() -> None:
    """Write the list."""
    folder, target = map(Path, sys.argv[1:3])
    lines = "".join(f"{word}\t{','.join(others)}\n" for word, others in synonyms(folder).items())
    content = io.BytesIO()
    with gzip.GzipFile(fileobj=content, mode="wb", mtime=0) as stream:
        stream.write(lines.encode())
    target.write_bytes(content.getvalue())
    print(f"{lines.count(chr(10)):,} words, {len(content.getvalue()):,} bytes")


if __name__ == "__main__":
    main()

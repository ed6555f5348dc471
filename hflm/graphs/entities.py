"""Which names are one entity: by their letters, by a list of aliases, and, where asked, by likeness."""

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hflm.data.records import read_records
from hflm.data.sources import find_sources
from hflm.errors import DataError
from hflm.graphs.graph import Entity
from hflm.words import plain as underscored

# A name without its letters' case, its spaces, the marks around it, and an English article before it.
AROUND = " \t\n\"'“”‘’„‚«»‹›()[]{}.,;:!?¿¡…*_-–—،؛؟।॥《》〈〉「」『』【】〔〕。、"
ARTICLE = re.compile(r"^(?:the|an?)\s+(?=\S)")
Key = tuple[str, str]


def key_of(name: str, kind: str = "") -> Key:
    """Return what is the same for all spellings of a name, with its type."""
    plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split()).strip(AROUND)
    return ARTICLE.sub("", plain, count=1) or plain or name, kind.casefold()


def free(wanted: str, taken: set[str]) -> str:
    """Return a name, numbered where it is taken already, and take it."""
    names = itertools.chain([wanted], (f"{wanted}_{number}" for number in itertools.count(2)))
    found = next(name for name in names if name not in taken)
    taken.add(found)
    return found


@dataclass
class Entities:
    """Names as they come, counted, and the entities that they make."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    names: dict[Key, Counter[str]] = field(default_factory=dict)
    same: dict[Key, Key] = field(default_factory=dict)
    made: dict[Key, Entity] = field(default_factory=dict)

    def add(self, name: str, kind: str = "") -> None:
        """Count a name."""
        self.names.setdefault(self._key(name, kind), Counter())[name] += 1

    def join(self, one: Key, other: Key) -> None:
        """Make two one; the more frequent gives the name."""
        one, other = self._root(one), self._root(other)
        if one != other:
            first, second = sorted((one, other), key=lambda key: (-self.names[key].total(), key))
            self.same[second] = first

    def close(self) -> list[Entity]:
        """Make entities of all names, in the order in which they came first."""
        self._type_untyped()
        groups: dict[Key, Counter[str]] = {}
        for key, names in self.names.items():
            groups.setdefault(self._root(key), Counter()).update(names)
        taken: set[str] = set()
        for key, names in groups.items():
            name = self.aliases.get(key[0]) or names.most_common(1)[0][0]
            others = tuple(sorted(other for other in names if other != name))
            identity = free(underscored(key[0]) or "entity", taken)
            self.made[key] = Entity(identity, name, key[1], others, names.total())
        return list(self.made.values())

    def _type_untyped(self) -> None:
        """Let a name without a type be the one of its letters that has one, where there is one such type."""
        typed: dict[str, list[Key]] = {}
        for key in self.names:
            if key[1]:
                typed.setdefault(key[0], []).append(key)
        for name, keys in typed.items():
            untyped, roots = (name, ""), {self._root(key) for key in keys}
            if untyped in self.names and len(roots) == 1 and (one := roots.pop()) != self._root(untyped):
                self.same[self._root(untyped)] = one

    def find(self, name: str, kind: str = "") -> Entity:
        """Return the entity of a name that was counted."""
        return self.made[self._root(self._key(name, kind))]

    def _key(self, name: str, kind: str) -> Key:
        plain, kind = key_of(name, kind)
        return (key_of(self.aliases[plain])[0] if plain in self.aliases else plain), kind

    def _root(self, key: Key) -> Key:
        while key in self.same:
            key = self.same[key]
        return key


def read_aliases(path: Path) -> dict[str, str]:
    """Read a file of {"alias": ..., "name": ...}: every spelling of an alias means the name.

    Raises DataError where a row lacks one of them.
    """
    found: dict[str, str] = {}
    for source in find_sources([str(path)]):
        for record in read_records(source):
            alias, name = record.values.get("alias"), record.values.get("name")
            if not (isinstance(alias, str) and isinstance(name, str) and alias.strip() and name.strip()):
                raise DataError(
                    f"{record.where}: no alias with its name; it has {list(record.values)[:6]}.",
                    fix='Write {"alias": "Lizzy", "name": "Elizabeth Bennet"}.',
                )
            found[key_of(alias)[0]] = name.strip()
    # A name that is an alias itself means what that one means; two that mean each other are one.
    for alias, name in found.items():
        seen = {alias}
        while (key := key_of(name)[0]) in found and key not in seen:
            seen.add(key)
            name = found[key]
        found[alias] = name
    # The name's own spellings mean it too.
    return {**{key_of(name)[0]: name for name in found.values()}, **found}


def join_alike(entities: Entities, pairs: Iterable[tuple[Key, Key]]) -> int:
    """Join pairs of keys of the same type; return how many."""
    count = 0
    for one, other in pairs:
        if one[1] == other[1]:
            entities.join(one, other)
            count += 1
    return count

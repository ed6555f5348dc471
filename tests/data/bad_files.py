"""Files that no job can use: how each is made, the task it is for, where it is wrong, and what the remedy says."""

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Make = Callable[[Path], Path]
# Good rows before the bad one: the line of the bad one is known.
BEFORE = 4
GOOD: dict[str, Callable[[int], dict[str, Any]]] = {
    "sentiment": lambda n: {"text": f"A film, number {n}.", "label": ("good", "bad")[n % 2]},
    "summarization": lambda n: {"document": f"A long story, number {n}.", "summary": f"Story {n}."},
    "translation": lambda n: {"en": f"Verse {n}.", "es": f"Verso {n}."},
    "generation": lambda n: {"messages": [said("user", f"What is {n}?"), said("assistant", f"It is {n}.")]},
    "tagging": lambda n: {"tokens": ["Emma", "ran", str(n)], "tags": ["B-PER", "O", "O"]},
}


@dataclass(frozen=True)
class Bad:
    """A bad file: `line` is where it is wrong, None where it is wrong as a whole."""

    make: Make
    said: str
    task: str = "sentiment"
    line: int | None = BEFORE + 1


def said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def rows(count: int, task: str = "sentiment") -> list[str]:
    return [json.dumps(GOOD[task](n)) for n in range(count)]


def line(bad: str | bytes, task: str = "sentiment", name: str = "rows.jsonl") -> Make:
    """Good rows, a bad line, good rows."""

    def make(folder: Path) -> Path:
        good = rows(24, task)
        content = b"\n".join([
            *(row.encode() for row in good[:BEFORE]), bad if isinstance(bad, bytes) else bad.encode(),
            *(row.encode() for row in good[BEFORE:]), b"",
        ])  # fmt: skip
        path = folder / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return make


def row(task: str, **values: Any) -> Make:
    """Good rows, and one with other values; a value of `...` is left out."""
    bad = {name: value for name, value in {**GOOD[task](99), **values}.items() if value is not ...}
    return line(json.dumps(bad), task)


def whole(name: str, content: bytes) -> Make:
    """A file with this content."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def csv(*lines: str, name: str = "rows.csv") -> Make:
    """A table: a header, good rows, and these lines from the sixth on."""
    separator = "\t" if name.endswith("tsv") else ","
    good = [f"A film {n}{separator}{('good', 'bad')[n % 2]}" for n in range(BEFORE)]
    return whole(name, "\n".join([f"text{separator}label", *good, *lines, *good, ""]).encode())


def parquet(damage: Callable[[bytes], bytes], count: int = 20) -> Make:
    """A Parquet file, damaged."""

    def make(folder: Path) -> Path:
        import pyarrow
        import pyarrow.parquet

        path = folder / "rows.parquet"
        names = pyarrow.table({"text": [f"A film {n}" for n in range(count)], "label": ["good", "bad"] * (count // 2)})
        pyarrow.parquet.write_table(names, path)
        path.write_bytes(damage(path.read_bytes()))
        return path

    return make


def special(create: Callable[[Path], None], name: str = "rows.jsonl") -> Make:
    """Something that is no plain file."""

    def make(folder: Path) -> Path:
        create(folder / name)
        return folder / name

    return make


GOOD_BYTES = ("\n".join(rows(24)) + "\n").encode()
ONE_CLASS = "\n".join(json.dumps({"text": f"Film {n}", "label": "good"}) for n in range(24)).encode()
NO_LABEL_IN = "\n".join(json.dumps({"text": f"Film {n}", "stars": n % 2}) for n in range(24)).encode()

FILES: dict[str, Bad] = {
    "no JSON": Bad(line("{text: 1}"), "not JSON"),
    "JSON that is cut": Bad(line('{"text": "a fi'), "not JSON"),
    "two objects in a line": Bad(line('{"text": "a", "label": "good"} {"text": "b"}'), "not JSON"),
    "a single quote": Bad(line("{'text': 'a'}"), "not JSON"),
    "a list for a row": Bad(line('["a", "good"]'), "is not an object"),
    "a string for a row": Bad(line('"a film"'), "is not an object"),
    "a number for a row": Bad(line("7"), "is not an object"),
    "null for a row": Bad(line("null"), "is not an object"),
    "a column twice": Bad(
        whole("rows.csv", b"text,text,label\na,b,good\nc,d,bad\n"), "two columns are called 'text'", line=1
    ),
    "a name twice": Bad(line('{"text": "one", "label": "good", "text": "two"}'), "the name 'text' stands twice"),
    "NaN for a text": Bad(line('{"text": NaN, "label": "good"}'), "found nan, which is not a string"),
    "infinity for a label": Bad(line('{"text": "one", "label": -Infinity}'), "found -inf, which is no label"),
    "the libraries' mark for a label": Bad(line('{"text": "one", "label": -100}'), "found -100, which is no label"),
    "no end to the nesting": Bad(line('{"text": ' + "[" * 100_000), "not a row of text"),
    "a number of 5,000 digits": Bad(line('{"text": ' + "9" * 5000 + "}"), "not a row of text"),
    "not UTF-8": Bad(line('{"text": "Müll", "label": "bad"}'.encode("latin-1")), "not UTF-8: byte 0xfc"),
    "not UTF-8, in gzip": Bad(line(b'{"text": "\xff"}', name="rows.jsonl.gz"), "not UTF-8: byte 0xff"),
    "no such column": Bad(row("sentiment", label=...), "no column 'label'"),
    "a list for a text": Bad(row("sentiment", text=["a", "b"]), "column 'text': found"),
    "an object for a text": Bad(row("sentiment", text={"a": 1}), "column 'text': found"),
    "a truth value for a text": Bad(row("sentiment", text=True), "column 'text': found"),
    "an empty text": Bad(row("sentiment", text=""), "column 'text'"),
    "a blank text": Bad(row("sentiment", text=" \t\n"), "column 'text'"),
    "null for a text": Bad(row("sentiment", text=None), "column 'text'"),
    "null for a label": Bad(row("sentiment", label=None), "which is no label"),
    "an empty label": Bad(row("sentiment", label=" "), "which is no label"),
    "a list for a label": Bad(row("sentiment", label=["good"]), "which is no label"),
    "NaN for a label": Bad(line('{"text": "a", "label": NaN}'), "which is no label"),
    "an empty summary": Bad(row("summarization", summary=""), "column 'summary'", "summarization"),
    "a list for a summary": Bad(row("summarization", summary=["a"]), "column 'summary': found", "summarization"),
    "no document": Bad(row("summarization", document=None), "column 'document'", "summarization"),
    "a language that lacks": Bad(row("translation", es=...), "no column 'es'", "translation"),
    "an empty verse": Bad(row("translation", es="  "), "column 'es'", "translation"),
    "a text for messages": Bad(row("generation", messages="hello"), "no list of messages", "generation"),
    "no messages": Bad(row("generation", messages=[]), "no list of messages", "generation"),
    "a message that is a text": Bad(row("generation", messages=["hello"]), "message 1: found", "generation"),
    "a message of nobody": Bad(row("generation", messages=[{"content": "a"}]), "message 1: found", "generation"),
    "an unknown role": Bad(row("generation", messages=[said("wizard", "a")]), "message 1: found", "generation"),
    "null for content": Bad(row("generation", messages=[said("user", None)]), "message 1: found", "generation"),
    "no answer": Bad(row("generation", messages=[said("user", "a")]), "no message of the assistant", "generation"),
    "a blank answer": Bad(
        row("generation", messages=[said("user", "a"), said("assistant", " ")]), "no message of the assistant",
        "generation",
    ),
    "fewer tags than words": Bad(row("tagging", tags=["O"]), "3 words and 1 tags", "tagging"),
    "a text for words": Bad(row("tagging", tokens="Emma ran"), "no list of strings", "tagging"),
    "null for tags": Bad(row("tagging", tags=None), "no list of strings", "tagging"),
    "a list in the tags": Bad(row("tagging", tags=[["O"], "O", "O"]), "no list of strings", "tagging"),
    "no words": Bad(row("tagging", tokens=[], tags=[]), "column 'tokens'", "tagging"),
    "a quote that is never closed": Bad(csv('"A film,good'), "is not CSV", line=BEFORE + 2),
    "more cells than columns": Bad(csv("A film, a long one,good"), "found 3 columns where", line=BEFORE + 2),
    "fewer cells than columns": Bad(csv("A film"), "no column 'label'", line=BEFORE + 2),
    "more cells than columns, TSV": Bad(csv("A\tfilm\tgood", name="rows.tsv"), "found 3 columns", line=BEFORE + 2),
    "an empty cell": Bad(csv(",good"), "column 'text'", line=BEFORE + 2),
    "a NUL in a cell": Bad(csv("A\0film,good"), "column 'text': it holds a NUL", line=BEFORE + 2),
    "a NUL in a text": Bad(row("sentiment", text="A\0film"), "column 'text': it holds a NUL"),
    "a NUL in a message": Bad(
        row("generation", messages=[said("user", "A?"), said("assistant", "B\0")]), "it holds a NUL", "generation"
    ),
    "commas in a TSV": Bad(whole("rows.tsv", b"text,label\na,good\nb,bad\n"), "text,label", line=1),
    "no column of that name": Bad(whole("rows.jsonl", NO_LABEL_IN), "'stars'", line=1),
    "one class only": Bad(whole("rows.jsonl", ONE_CLASS), "label 'good'", line=None),
    "UTF-16": Bad(whole("rows.jsonl", GOOD_BYTES.decode().encode("utf-16")), "UTF-16, not UTF-8", line=1),
    "UTF-32": Bad(whole("rows.jsonl", GOOD_BYTES.decode().encode("utf-32")), "UTF-32, not UTF-8", line=1),
    "gzip that is cut": Bad(whole("rows.jsonl.gz", gzip.compress(GOOD_BYTES, mtime=0)[:60]), "damaged gzip", line=None),
    "no gzip": Bad(whole("rows.jsonl.gz", GOOD_BYTES), "is not gzip", line=None),
    "gzip without its name": Bad(whole("rows.jsonl", gzip.compress(GOOD_BYTES, mtime=0)), "gzip, under a name", line=1),
    "a zip archive": Bad(whole("rows.jsonl", b"PK\x03\x04" + bytes(60)), "a zip archive", line=1),
    "parquet under another name": Bad(whole("rows.jsonl", b"PAR1" + bytes(60)), "parquet", line=1),
    "a table of a spreadsheet": Bad(whole("rows.xlsx", b"PK\x03\x04" + bytes(60)), "extension .xlsx", line=None),
    "an empty file": Bad(whole("rows.jsonl", b""), "rows.jsonl is empty", line=None),
    "blank lines": Bad(whole("rows.jsonl", b"\n \n\n"), "no row", line=None),
    "a header alone": Bad(whole("rows.csv", b"text,label\n"), "no row", line=None),
    "JSON over many lines": Bad(whole("rows.jsonl", json.dumps({"text": "a"}, indent=1).encode()), "jq -c", line=1),
    "a list of rows in one line": Bad(whole("rows.jsonl", b'[{"text": "a"}]'), "jq -c '.[]'", line=1),
    "a list that is cut": Bad(whole("rows.json", b'[{"text": "a", "label": "b"},\n{"te'), "not JSON", line=2),
    "a list with a number in it": Bad(whole("rows.json", b'[7]'), "7 is not an object", line=1),
    "parquet that is cut": Bad(parquet(lambda content: content[:200]), "cannot be read", line=None),
    "parquet that is overwritten": Bad(parquet(lambda content: bytes(len(content))), "cannot be read", line=None),
    "parquet without rows": Bad(parquet(lambda content: content, count=0), "no row", line=None),
    "a folder without files": Bad(special(Path.mkdir), "has no files", line=None),
    "no such file": Bad(lambda folder: folder / "rows.jsonl", "No such file", line=None),
    "a pipe": Bad(special(os.mkfifo), "rows.jsonl", line=None),
    "a link to itself": Bad(special(lambda path: path.symlink_to(path)), "rows.jsonl", line=None),
}  # fmt: skip

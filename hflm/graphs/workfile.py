"""What was extracted so far, beside the graph that is to be: a line a passage, in order, so that a build can go on."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hflm.errors import UsageError
from hflm.lock import sole_worker
from hflm.run import read_object, set_aside, write_json


@dataclass(frozen=True)
class WorkFile:
    """The folder `.NAME.work` beside a graph: `inputs.json`, and `passages.jsonl`, which only grows."""

    folder: Path

    @classmethod
    def beside(cls, output: Path) -> "WorkFile":
        """Name the work of a graph's file."""
        return cls(output.with_name(f".{output.name}.work"))

    @property
    def inputs(self) -> Path:
        return self.folder / "inputs.json"

    @property
    def passages(self) -> Path:
        return self.folder / "passages.jsonl"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other builds of the same output out; raises UsageError where one is at work."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"Cannot write {self.folder}: {error.strerror}.", fix="Choose another -o.") from error
        with sole_worker(self.folder, fix="Wait for its end, or name another output."):
            yield

    def open(self, inputs: Mapping[str, Any], *, anew: bool, chunk: int, say: Callable[[str], None]) -> int:
        """Begin, or find what was done; return the number of passages that are done, a multiple of `chunk`.

        Where other inputs were worked on it begins `anew`, or raises UsageError; so it does where nothing can be
        written here. What a power cut has damaged is worked on again.
        """
        if not any(self.folder.iterdir()):
            return self._begin(inputs)
        try:
            before = read_object(self.inputs, or_else=ValueError())
            changed = sorted(name for name in inputs if before.get(name) != inputs[name])
            done = 0 if changed else self._whole(chunk, say=say)
        except (OSError, ValueError):
            say(f"what is kept in {self.folder} cannot be read: the build begins anew")
            if not anew:
                set_aside(self.passages)
            return self._begin(inputs)
        if changed and not anew:
            raise UsageError(
                f"An unfinished build of the same output had another {' and '.join(changed)}.",
                fix="Name another output, or begin anew with --overwrite.",
            )
        return self._begin(inputs) if changed else done

    def _begin(self, inputs: Mapping[str, Any]) -> int:
        """Empty the folder, which this process holds a lock on, and keep the inputs; nothing is done yet."""
        try:
            self.passages.write_bytes(b"")
            write_json(self.inputs, inputs)
        except OSError as error:
            raise UsageError(f"Cannot write {self.folder}: {error.strerror}.", fix="Choose another -o.") from error
        return 0

    def _whole(self, chunk: int, *, say: Callable[[str], None]) -> int:
        """Cut off what was not written whole: a chunk is worked on together, or its numbers might differ."""
        done = end = at = 0
        with self.passages.open("rb") as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                if not _is_record(line):
                    say(f"{self.passages}, line {done + 1} is damaged: passages are read again from there")
                    break
                at += len(line)
                done += 1
                if done % chunk == 0:
                    end = at
        with self.passages.open("r+b") as stream:
            stream.truncate(end)
        return done // chunk * chunk

    def add(self, chunks: Iterable[Sequence[Mapping[str, Any]]]) -> Iterator[int]:
        """Append the records of each chunk, and yield how many there were."""
        with self.passages.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            for records in chunks:
                stream.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
                stream.flush()
                yield len(records)

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield every record."""
        with self.passages.open(encoding="utf-8") as stream:
            for line in stream:
                yield json.loads(line)

    def remove(self) -> None:
        """Remove the work."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _is_record(line: bytes) -> bool:
    """Tell whether a line is as it was written: after a power cut a part of it may be zeros."""
    try:
        return isinstance(json.loads(line.decode()), dict)
    except ValueError:
        return False

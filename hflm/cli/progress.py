"""What a training job shows: a bar with rate, time left and loss on a terminal, plain lines on a pipe."""

import contextlib
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from hflm.cli.show import is_terminal

# A pipe gets a line this often, in seconds.
EVERY = 10.0
STOPPING = "\nstopping: this step is finished and saved; a second Ctrl-C ends at once\n"
SHOW_CURSOR = "\x1b[?25h"


def live(stream: Any) -> bool:
    """Say whether lines can be written over: on a terminal that knows how."""
    return is_terminal(stream) and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


class Progress:
    """Listen to a job and show it; everything goes to stderr with `quiet`, so that stdout stays data."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.stream = sys.stderr if quiet else sys.stdout
        self._bar: Any = None
        self._task: Any = None
        self._shown = 0.0
        self._loss = ""
        self._open = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._end_line()

    def _end_line(self) -> None:
        """Leave a line that would have been written over."""
        if self._open:
            self._print("\n")
        self._open = False

    def _print(self, text: str) -> None:
        """Write, and where the reader of a pipe has left, let the work go on and tell nobody."""
        try:
            print(text, end="", file=self.stream, flush=True)
        except BrokenPipeError:
            # What the buffer still holds would fail again, and so would the report at the end.
            nobody = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nobody, self.stream.fileno())
            os.close(nobody)

    def note(self, text: str) -> None:
        """Show a line."""
        self._end_line()
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            self._print(f"{text}\n")

    def settings(self, yaml: str) -> None:
        """Show the resolved settings, folded to the width of a page."""
        import textwrap

        lines = re.sub(r":\n- ", ": ", yaml).replace("\n- ", " ").splitlines()
        given = [line for line in lines if not line.endswith((": null", ": []", ": {}"))]
        self.note(
            textwrap.fill(
                "settings: " + ", ".join(given),
                width=110,
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        )

    def watch(self, kind: str, content: Mapping[str, Any]) -> None:
        """Take an event of the job."""
        if kind == "note":
            self.note(content["text"])
        elif kind == "settings":
            self.settings(content["yaml"])
        elif kind == "log" and "eval_loss" in content:
            self.note(
                f"step {content['step']:,}: eval loss {content['eval_loss']:.4f}, "
                f"accuracy {content['eval_accuracy']:.1%}"
            )
        elif kind == "step":
            self._step(content)
        elif kind == "rows":
            self._rows(content)
        elif kind == "stopping":
            self._stopping()

    def _stopping(self) -> None:
        """Say that a signal was heard; called while it is handled, when to print might be to print in a print."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.write(self.stream.fileno(), ((SHOW_CURSOR if self._bar is not None else "") + STOPPING).encode())

    def _step(self, content: Mapping[str, Any]) -> None:
        rate, loss = content["tokens_per_second"], content["loss"]
        self._loss = f"loss {loss:.3f}" if loss is not None else ""
        if live(self.stream):
            self._draw(content, rate)
        elif time.monotonic() - self._shown > EVERY or content["step"] == content["steps"]:
            self._shown = time.monotonic()
            left = (content["steps"] - content["step"]) * content["seconds_per_step"]
            parts = [f"step {content['step']:,} of {content['steps']:,}", f"{rate:,.0f} tokens/s"]
            self.note(", ".join([*parts, f"{_clock(left)} left", *([self._loss] if self._loss else [])]))

    def _rows(self, content: Mapping[str, Any]) -> None:
        """Tell of rows that are predicted: a line that is written over on a terminal, one now and then on a pipe."""
        done, rows = content["done"], content["rows"]
        if rows is None:
            self._counted(content)
            return
        if done == rows or time.monotonic() - self._shown > (0.5 if live(self.stream) else EVERY):
            self._shown = time.monotonic()
            left = (rows - done) / max(content["rows_per_second"], 1e-9)
            text = f"{done:,} of {rows:,} rows, {content['rows_per_second']:,.1f} rows/s, {_clock(left)} left"
            if self._bar is not None:
                self._bar.stop()
                self._bar = None
            self._over(text, last=done >= rows)

    def _over(self, text: str, *, last: bool) -> None:
        """Print a line, on a terminal one that the next is written over."""
        self._open = live(self.stream) and not last
        if live(self.stream):
            # A line that is folded cannot be written over: only its last piece would be.
            room = _columns(self.stream) - 1
            text = (text[:room] if self._open else text).ljust(min(60, room))
        self._print(text + ("\r" if self._open else "\n"))

    def _counted(self, content: Mapping[str, Any]) -> None:
        """Show rows whose number is not known before they are read."""
        if time.monotonic() - self._shown > (0.5 if live(self.stream) else EVERY):
            self._shown = time.monotonic()
            self._over(f"{content['done']:,} rows, {content['rows_per_second']:,.0f} rows/s", last=False)

    def _draw(self, content: Mapping[str, Any], rate: float) -> None:
        from rich import progress
        from rich.console import Console

        if self._bar is None:
            self._bar = progress.Progress(
                progress.TextColumn("{task.completed:,} of {task.total:,} steps"),
                progress.BarColumn(),
                progress.TextColumn("{task.fields[rate]:,.0f} tokens/s"),
                # Its own column of the time left looks back half a minute, in which a slow step does not end.
                progress.TextColumn("{task.fields[left]} left  {task.fields[loss]}"),
                console=Console(file=self.stream),
            )
            self._task = self._bar.add_task("", total=content["steps"], rate=0.0, left="", loss="")
            self._bar.start()
        left = _clock((content["steps"] - content["step"]) * content["seconds_per_step"])
        self._bar.update(
            self._task, total=content["steps"], completed=content["step"], rate=rate, left=left, loss=self._loss
        )


def _columns(stream: Any) -> int:
    """Return how wide the terminal of a stream is: that of stdout says nothing where stdout leads into a file."""
    columns = 0
    with contextlib.suppress(OSError, ValueError, AttributeError):
        columns = os.get_terminal_size(stream.fileno()).columns
    return columns or shutil.get_terminal_size().columns


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

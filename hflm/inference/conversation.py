"""A conversation with a model: its turns, the room that they have, its commands, and its transcript."""

import json
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hflm.data.chats import messages as check_messages
from hflm.errors import DataError, UsageError
from hflm.inference.asking import Ask, make_prompt
from hflm.inference.decoding import Answer, Listen, Prompt, Settings, Timing
from hflm.inference.sampling import Sampling
from hflm.inference.writer import Writer
from hflm.run import write_text

Turns = list[dict[str, str]]


@dataclass
class Conversation:
    """The turns so far, the system text, and how the model answers."""

    writer: Writer
    sampling: Sampling
    ask: Ask
    seed: int
    turns: Turns = field(default_factory=list)
    answered: int = 0
    # The file of this conversation, which may be written again.
    file: Path | None = None

    def messages(self) -> Turns:
        """Return all turns, the system text first."""
        return [*([{"role": "system", "content": self.ask.system}] if self.ask.system else []), *self.turns]

    def trim(self) -> tuple[Prompt, int]:
        """Forget the oldest questions with their answers until a new answer has room; return the prompt and how many.

        Raises DataError where the last question alone is too long.
        """
        room = min(self.ask.max_new_tokens, self.writer.limit // 2)
        turns, found = self.turns, dict[int, Prompt]()
        # Where the conversation may begin.
        starts = [0, *(n for n, turn in enumerate(turns) if n and turn["role"] == "user")]
        if starts[-1] < len(turns) - 1:
            starts.append(len(turns) - 1)

        def make(start: int) -> Prompt:
            self.turns = turns[start:]
            found[start] = make_prompt(self.writer, self.messages(), self.ask, row=self.answered)
            return found[start]

        def fits(start: int) -> bool:
            try:
                return make(start).most >= room
            except DataError:
                return False

        # Each look reads the whole conversation. Mostly nothing is to be forgotten, or one question; where it is many,
        # as after `!load`, they are found in few looks, for what fits goes on to fit when more is forgotten.
        last = len(starts) - 1
        low, high = -1, 0
        while high < last and not fits(starts[high]):
            low, high = high, min(max(1, 2 * high), last)
        start = starts[bisect_left(starts, True, low + 1, high, key=fits)]
        prompt = found.get(start) or make(start)
        self.turns = turns[start:]
        return prompt, start

    def say(self, text: str, *, listen: Listen, timing: Timing, forgot: Any = None) -> Answer:
        """Ask, and return the answer; `forgot` hears how many turns were forgotten for it.

        An answer that is interrupted stays in the conversation as far as it came; one without a word leaves it as it
        was, for no model learns from an empty turn.
        """
        before = list(self.turns)
        self.turns = [*self.turns, {"role": "user", "content": text}]
        try:
            prompt, forgotten = self.trim()
            if forgotten and forgot:
                forgot(forgotten)
            settings = Settings(sampling=self.sampling, seed=self.seed)
            ((answer,),) = self.writer.write([prompt], settings, timing=timing, listen=listen)
        except BaseException:
            # A template may refuse a role, numbers may be no numbers: the question does not stay behind.
            self.turns = before
            raise
        self.answered += 1
        if answer.text.strip():
            self.turns.append({"role": "assistant", "content": answer.text.strip()})
        else:
            self.turns = before
        return answer

    def undo(self) -> bool:
        """Take the last question and its answer back; tell whether there was one."""
        last = max((n for n, turn in enumerate(self.turns) if turn["role"] == "user"), default=None)
        self.turns = self.turns[:last] if last is not None else []
        return last is not None

    def set(self, name: str, value: str) -> None:
        """Change a setting by name; raises UsageError for an unknown one, or a value out of range."""
        kinds: dict[str, type] = {name: type(value) for name, value in vars(Sampling()).items()}
        name = name.strip().replace("-", "_")
        try:
            if name == "max_new_tokens":
                self.ask = replace(self.ask, max_new_tokens=int(value))
            elif name == "seed":
                self.seed = int(value)
            elif name in kinds:
                self.sampling = replace(self.sampling, **{name: kinds[name](value)})
            else:
                known = ", ".join([*kinds, "max_new_tokens", "seed"])
                raise UsageError(f"!set {name}: there is no such setting.", fix=f"There are {known}.")
        except ValueError as error:
            raise UsageError(f"!set {name}={value}: this is no number.", fix=f"Say !set {name}=1.") from error

    def save(self, path: Path) -> None:
        """Write the conversation as one row of `messages`, which `hflm finetune --task generation` reads."""
        if not any(turn["role"] == "assistant" for turn in self.turns):
            raise UsageError("There is nothing to save yet.", fix="Say something first.")
        if not path.name or (path.exists() and path != self.file):
            raise UsageError(f"{path} exists.", fix="Name another file: !save FILE.")
        try:
            write_text(path, json.dumps({"messages": self.messages()}, ensure_ascii=False) + "\n")
        except OSError as error:
            raise UsageError(f"Cannot write {path}: {error.strerror}.", fix="Name another file.") from error
        self.file = path

    def load(self, path: Path) -> None:
        """Go on with the conversation in the last row of a file."""
        try:
            rows = [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
            row = json.loads(rows[-1]) if rows else {}
        except OSError as error:
            raise UsageError(f"Cannot read {path}: {error.strerror}.", fix="Name a file of !save.") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8.", fix="Name a file of !save.") from error
        except ValueError as error:
            raise DataError(f"{path} is not JSON Lines: {error}.", fix="Name a file of !save.") from error
        if not rows:
            raise DataError(f"{path} is empty.", fix="Name a file of !save.")
        turns = check_messages(row.get("messages") if isinstance(row, dict) else None, f"{path}, line {len(rows)}")
        if turns[-1]["role"] != "assistant":
            raise DataError(
                f"{path}, line {len(rows)}: the last turn is the user's.", fix="Take it out, and ask it here."
            )
        system = turns[0]["content"] if turns[0]["role"] == "system" else ""
        self.ask, self.turns = replace(self.ask, system=system), turns[turns[0]["role"] == "system" :]
        if len(rows) == 1:
            self.file = path


def open_conversation(writer: Writer, *, sampling: Sampling, ask: Ask, seed: int) -> Conversation:
    """Begin a conversation; raises UsageError where the model was not made for chats."""
    if not writer.has_template:
        raise UsageError(
            f"{writer.name} has no chat template: it goes on with a text and does not answer.",
            fix="Use `hflm generate`, or train it on chats: `hflm finetune --task generation`.",
        )
    return Conversation(writer, sampling, ask, seed)

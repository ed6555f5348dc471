"""`hflm`: the table of commands, and the one place where an error becomes a line and an exit code."""

import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from hflm.cli.command_line import CheckedCommand
from hflm.errors import HflmError, SpaceError, UsageError
from hflm.space import is_full

# name -> (module whose `command` is a function or a typer app, summary). A command is imported when it
# is run, completed or asked for its own help; the summaries stand here so that `hflm --help` imports none.
COMMANDS: dict[str, tuple[str, str]] = {
    "pretrain": ("hflm.cli.pretrain", "Train a language model on raw text, from scratch or onwards."),
    "finetune": ("hflm.cli.finetune", "Fine-tune a model on a task, and test it."),
    "distill": ("hflm.cli.distill", "Train a small model to do what a large one does, and say what it keeps."),
    "launch": ("hflm.cli.launch", "Run a script of your own on several processes."),
    "resume": ("hflm.cli.resume", "Go on with a run that was stopped."),
    "reproduce": ("hflm.cli.reproduce", "Do a run again, and say which figures agree."),
    "plan": ("hflm.cli.plan", "Estimate steps, time, memory and loss of a training, without training."),
    "data": ("hflm.cli.data", "Look at data: which rows cannot be used, and why."),
    "evaluate": ("hflm.cli.evaluate", "Score a model on rows of a task."),
    "compare": ("hflm.cli.compare", "Say whether two runs differ by more than chance."),
    "stress": ("hflm.cli.stress", "Say how far a model can be trusted."),
    "predict": ("hflm.cli.predict", "Predict for every row of a file."),
    "classify": ("hflm.cli.classify", "Sort texts into classes."),
    "summarize": ("hflm.cli.summarize", "Summarize texts."),
    "translate": ("hflm.cli.translate", "Translate texts."),
    "graph": ("hflm.cli.graph", "Make a knowledge graph of text, look at it, ask it."),
    "generate": ("hflm.cli.generate", "Write text after a prompt, or the answer to it."),
    "chat": ("hflm.cli.chat", "Talk with an instruct model."),
    "explain": ("hflm.cli.explain", "Show what a model does with a text: attention, and what led to its answer."),
    "fill-mask": ("hflm.cli.fill_mask", "Ask a masked language model for the missing words."),
    "runs": ("hflm.cli.runs", "List the runs in a folder, or show one."),
    "models": ("hflm.cli.models", "List the models at hand, fetch one, or convert one."),
    "recipes": ("hflm.cli.recipes", "List, show or copy the recipes: what each task is."),
    "doctor": ("hflm.cli.doctor", "Look at this machine, and say what it means for a run."),
}
# Commands that people know the options of other tools for.
TRAINING = {"pretrain", "finetune", "distill", "plan"}
SETTINGS = {"help_option_names": ["-h", "--help"], "token_normalize_func": lambda name: name.replace("_", "-")}


class LazyGroup(TyperGroup):
    """A group whose commands are stubs with a summary, until one is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, summary) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, stub, rest = super().resolve_command(ctx, args)
        return name, load(name) if name and stub else stub, rest


def load(name: str) -> Any:
    """Import a command and return what typer runs."""
    command = importlib.import_module(COMMANDS[name][0]).command
    if not isinstance(command, typer.Typer):
        app = typer.Typer(add_completion=False)
        app.command(name, cls=CheckedCommand, help=command.__doc__ or COMMANDS[name][1])(command)
        command = app
    command.info.name = name
    command._add_completion = False
    return typer.main.get_command(command)


app = typer.Typer(cls=LazyGroup, context_settings=SETTINGS, no_args_is_help=True)


def _version(wanted: bool) -> None:
    if wanted:
        print(version())
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the versions and leave.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere on the line.")
    ] = False,
) -> None:
    """Train, fine-tune and use language models."""


# Options that name a file or a folder, with what they name: --output-dir=~/runs/one.
PATH = re.compile(
    r"(--(?:[a-z_-]*(?:config|dir|file|schema|list|data|output)|png|aliases|tests|gold|canaries|against|model|teacher"
    r"|tokenizer)=)(~(?:/.*)?)",
    re.DOTALL,
)


def _at_home(word: str) -> str:
    """Put the home folder in the place of ~ behind an =, where bash leaves it as it is and other shells do not."""
    found = PATH.fullmatch(word)
    return found[1] + os.path.expanduser(found[2]) if found else word


def version() -> str:
    """Return the versions that decide a result, read from the packages' metadata: nothing is imported."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    from hflm import __version__

    def of(name: str) -> str:
        try:
            return f"{name} {installed(name)}"
        except PackageNotFoundError:
            return f"{name} missing"

    python = ".".join(str(part) for part in sys.version_info[:3])
    return f"hflm {__version__} (python {python}, {of('torch')}, {of('transformers')})"


# The exit code of what Ctrl-C ended.
STOPPED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; every error ends here."""
    words, debug = _take_debug([_at_home(word) for word in (sys.argv[1:] if argv is None else argv)])
    if not debug:
        # Where a connection ends, torch's C++ prints pages; what that means is said in a line of our own.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # A stream that was closed before we came (`hflm runs >&-`) is none at all.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A file name that is no UTF-8 is shown with escapes, and breaks nothing.
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            result = typer.main.get_command(app).main(words, prog_name="hflm", standalone_mode=False)
            code = result if isinstance(result, int) else 0
        except SystemExit as error:  # BrokenPipe and completion leave this way
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        sys.stdout.flush()
        if code == STOPPED:  # what typer makes of Ctrl-C; it says nothing
            _line("stopped")
        return code
    except BrokenPipeError:
        # The reader has left (`hflm runs | head`). Python flushes once more at exit: give it somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BaseException as error:
        if debug and not isinstance(error, (KeyboardInterrupt, typer.TyperException)):
            import traceback

            traceback.print_exc()
        return _report(error)


def _take_debug(words: list[str]) -> tuple[list[str], bool]:
    """Take `--debug` out of the words, up to a `--`."""
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != "--debug"]
    return kept + words[end:], len(kept) < end


def _report(error: BaseException) -> int:
    """Print one line to stderr and return the exit code."""
    if isinstance(error, typer.TyperException) and type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())
        return 0
    if isinstance(error, typer.TyperException):
        message, context = error.format_message().strip(), getattr(error, "ctx", None)
        if context and context.info_name in TRAINING:
            message = _instead(error, context.info_name) or message
        if context and not message.endswith("?"):  # a question already is the remedy
            message = f"{message.rstrip('.')}. `{context.command_path} --help` shows what there is."
        _line(f"error: {message}")
        return error.exit_code
    if not isinstance(error, SpaceError) and is_full(error):
        # Of a model that could not be written, say, whose own remedy would be another model.
        problem = error.problem if isinstance(error, HflmError) else str(error)
        error = SpaceError(f"The disk is full: {problem.rstrip('.')}.", fix="Free some space, and run it again.")
    if isinstance(error, HflmError):
        _line(f"error: {error}")
        return error.exit_code
    if isinstance(error, OSError) and error.filename and error.strerror:
        # A file that another program took away, a disk that was unplugged, a folder without permission.
        _line(f"error: {error.filename} cannot be used: {error.strerror}. Look at it, and run it again.")
        return UsageError.exit_code
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        _line("stopped")
        return STOPPED
    if _out_of_memory(error):
        _line("error: Memory ran out. Give it less at once: shorter rows, a smaller model, or a larger machine.")
        return UsageError.exit_code
    _line(f"internal error: {type(error).__name__}: {error} (run again with --debug for the traceback)")
    return 1


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from hflm.engine.memory import out_of_memory

    return out_of_memory(error)


def _instead(error: BaseException, command: str) -> str | None:
    """Return what to do instead of an option of other tools; None where the error is another."""
    from hflm.cli.other_tools import instead

    name = str(getattr(error, "option_name", "")).lstrip("-").replace("_", "-")
    fix = instead(command, name)
    return f"No such option: --{name}. {fix}" if fix else None


def _line(text: str) -> None:
    print(" ".join(text.split()), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

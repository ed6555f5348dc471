"""Chat templates: programs that come with a model. Looked at before they are run, and run within a time limit."""

from collections.abc import Mapping, Sequence
from typing import Any

from hflm.errors import ModelError
from hflm.models.limits import Stopped, limited

FIX = "Repair the chat template, or name another model."
MAX_CHARACTERS = 1 << 20
# Numbers that a template has no honest use for: they make texts or loops that fill the memory in one operation.
MAX_NUMBER, MAX_FACTOR = 100_000, 1000
SECONDS = 5.0
# How much more memory the process may take while a conversation is rendered; see `limited`.
MAX_GROWTH = 1 << 30


def check_template(text: str, *, where: str) -> None:
    """Raise ModelError for a chat template that cannot be parsed, or asks for powers or absurd numbers.

    What runs too long is stopped by `render`: no look at a program tells that.
    """
    from jinja2 import TemplateError, nodes
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if len(text) > MAX_CHARACTERS:
        raise ModelError(f"{where}: the chat template has {len(text):,} characters.", fix=FIX)
    environment = ImmutableSandboxedEnvironment(extensions=[_generation(), loopcontrols])
    try:
        tree = environment.parse(text)
    except (TemplateError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"{where}: the chat template cannot be parsed: {reason[:160].rstrip('.')}.", fix=FIX
        ) from error
    if next(tree.find_all((nodes.Pow, nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)), None):
        raise ModelError(f"{where}: the chat template takes powers, or includes other files.", fix=FIX)
    for product in tree.find_all(nodes.Mul):
        factors = [side.value for side in (product.left, product.right) if isinstance(side, nodes.Const)]
        if not any(isinstance(factor, (int, float)) and abs(factor) <= MAX_FACTOR for factor in factors):
            raise ModelError(f"{where}: the chat template multiplies by what it computes, or by much.", fix=FIX)
    for constant in tree.find_all(nodes.Const):
        if isinstance(constant.value, (int, float)) and abs(constant.value) > MAX_NUMBER:
            raise ModelError(f"{where}: the chat template has the number {str(constant.value)[:16]} in it.", fix=FIX)


def _generation() -> Any:
    """Return a parser of `{% generation %}`, which transformers adds to the language: its content counts alone."""
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return Generation


def render(
    tokenizer: Any, messages: Sequence[Mapping[str, Any]], *, ask: bool, seconds: float | None = None, **options: Any
) -> str:
    """Write a conversation as the tokenizer's template has it; `ask` opens the answer.

    Raises ModelError where the template fails, fills the memory, or takes more than `seconds`, by default `SECONDS`.
    """
    from jinja2 import TemplateError

    seconds = SECONDS if seconds is None else seconds
    try:
        with limited(seconds, memory=MAX_GROWTH):
            return str(
                tokenizer.apply_chat_template(messages, add_generation_prompt=ask, tokenize=False, **options)
            )  # fmt: skip
    except Stopped:
        problem = f"The chat template of the model did not end within {seconds:g} s, or fills the memory."
    except MemoryError:
        problem = "The chat template of the model fills the memory."
    except (TemplateError, TypeError, ValueError, RecursionError, ArithmeticError, LookupError) as error:
        reason = (str(error).splitlines() or [""])[0][:160].rstrip(".")
        problem = f"The chat template of the model refuses the conversation: {reason or type(error).__name__}."
    raise ModelError(problem, fix=FIX)

"""The options that name the columns of rows, as the commands that read rows have them."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from hflm.task import OPTIONS

TextColumn = Annotated[str | None, typer.Option(help="Column with the text.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column with the label.")]
SourceColumn = Annotated[str | None, typer.Option(help="Column with the text to read.")]
TargetColumn = Annotated[str | None, typer.Option(help="Column with the text to write.")]
TokensColumn = Annotated[str | None, typer.Option(help="Column with the list of words.")]
TagsColumn = Annotated[str | None, typer.Option(help="Column with the list of tags.")]
PromptColumn = Annotated[str | None, typer.Option(help="Column with the prompt.")]
CompletionColumn = Annotated[str | None, typer.Option(help="Column with the completion.")]
MessagesColumn = Annotated[str | None, typer.Option(help="Column with the list of messages.")]


def columns_of(given: Mapping[str, Any]) -> dict[str, str]:
    """Return role -> column for the columns that a command was given, of all that it was given by name."""
    named = {role: given.get(f"{role}_column") for role in OPTIONS}
    return {role: column for role, column in named.items() if column}

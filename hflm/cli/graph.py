"""`hflm graph build`, `show`, `query` and `evaluate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hflm.cli.columns import TextColumn
from hflm.cli.finetune import print_scores
from hflm.cli.progress import Progress
from hflm.cli.show import print_json, table
from hflm.errors import UsageError

command = typer.Typer(help="Make a knowledge graph of text, look at it, ask it.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
GraphFile = Annotated[Path, typer.Argument(help="A graph: .jsonl, .graphml or .ttl.")]
COLUMNS = ("head", "relation", "tail", "confidence", "count", "found", "file", "line")
# What is drawn where nobody says how much: entities, or edges from the one in the middle.
TOP, HOPS = 60, 2
# What its own pages have in their head.
MARK = b'<meta name="generator" content="hflm graph">'


@command.callback()
def group() -> None:
    """Make a knowledge graph of text, look at it, ask it."""


@command.command("build")
def build_command(
    files: Annotated[list[str], typer.Argument(help="Text: files, folders or globs.")],
    model: Annotated[str, typer.Option(help="A run of `hflm finetune --task knowledge-graph`.")],
    output_file: Annotated[Path, typer.Option("--output-file", "-o", help="graph.jsonl, .graphml or .ttl.")],
    entities: Annotated[str | None, typer.Option(help="A run of --task tagging that finds the entities.")] = None,
    aliases: Annotated[Path | None, typer.Option(help='Rows of {"alias": ..., "name": ...}.')] = None,
    similar: Annotated[
        float | None, typer.Option(help="Join names whose vectors have this cosine or more, such as 0.9.")
    ] = None,
    embedder: Annotated[str | None, typer.Option(help="Encoder for --similar; default: minilm.")] = None,
    min_confidence: Annotated[float, typer.Option(help="Leave out triples that are less sure.")] = 0.0,
    passage_length: Annotated[int, typer.Option(help="Characters that are read together, at most.")] = 280,
    text_column: TextColumn = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Tokens to write at most.", min=1)] = None,
    processes: Annotated[int, typer.Option(help="Processes that read passages.")] = 1,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all cores.", min=1)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the graph, or begin anew.")] = False,
    json: Json = False,
) -> None:
    """Make a graph of text: hflm graph build book.txt --model RUN -o graph.jsonl

    A build that was stopped goes on when it is called again.
    """
    if embedder is not None and similar is None:
        raise UsageError("--embedder is the encoder of --similar, which is not given.", fix="Pass --similar 0.9 too.")
    from hflm.build_graph import GraphOptions, build_graph
    from hflm.engine.trainer import quiet_libraries
    from hflm.graphs.extraction import Extractor
    from hflm.graphs.queries import summary

    quiet_libraries()
    options = GraphOptions(
        passage_length=passage_length, text_column=text_column, aliases=aliases, similar=similar,
        embedder=GraphOptions.embedder if embedder is None else embedder, min_confidence=min_confidence,
        processes=processes, threads=threads,
    )  # fmt: skip
    extractor = Extractor(model=model, entities=entities, max_new_tokens=max_new_tokens)
    with Progress(quiet=json) as progress:
        graph = build_graph(files, output_file, extractor, options, overwrite=overwrite, watch=progress.watch)
    _show({"graph": str(output_file), "passages": graph.about["passages"], **summary(graph)}, json=json)


@command.command("show")
def show_command(
    graph: GraphFile,
    output_file: Annotated[Path | None, typer.Option("--output-file", "-o", help="Draw it: .png or .html.")] = None,
    around: Annotated[str | None, typer.Option(help="Draw what is near this entity.")] = None,
    hops: Annotated[int | None, typer.Option(help=f"With --around: edges away; default: {HOPS}.", min=1)] = None,
    top: Annotated[int | None, typer.Option(help=f"Entities to draw: the most linked; default: {TOP}.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the drawing.")] = False,
    json: Json = False,
) -> None:
    """Say what a graph holds, or draw it: hflm graph show graph.jsonl -o graph.html"""
    _check_drawn(output_file, around=around, hops=hops, top=top, overwrite=overwrite or None)
    if output_file:
        if output_file.suffix not in (".png", ".html"):
            raise UsageError(f"{output_file} is no picture by its ending.", fix="Name it .png or .html.")
        if output_file.exists() and not overwrite:
            raise UsageError(f"{output_file} exists.", fix="Replace it with --overwrite, or name another.")
        if output_file.suffix == ".html" and output_file.exists() and MARK not in output_file.read_bytes()[:1000]:
            raise UsageError(f"{output_file} is there and is no drawing of a graph.", fix="Name another file.")
    from hflm.graphs.drawing import draw_png, part_of, write_page
    from hflm.graphs.files import read_graph
    from hflm.graphs.queries import summary

    found = read_graph(graph)
    if output_file:
        part = part_of(found, top=TOP if top is None else top, around=around, hops=hops or HOPS)
        try:
            if output_file.suffix == ".png":
                draw_png(part, output_file)
            else:
                write_page(part, output_file, title=graph.name)
        except OSError as error:
            raise UsageError(f"Cannot write {output_file}: {error.strerror}.", fix="Name another file.") from error
        if not json:
            print(f"{output_file} shows {len(part.entities):,} of {len(found.entities):,} entities.")
            return
    _show(summary(found), json=json)


def _check_drawn(output_file: Path | None, **given: Any) -> None:
    """Raise UsageError for an option of a drawing where nothing is drawn, and for a distance from no entity."""
    idle = next((name for name, value in given.items() if value is not None), None)
    if idle and not output_file:
        raise UsageError(
            f"--{idle} is for a drawing, and nothing is drawn.", fix="Pass -o graph.html, or ask `hflm graph query`."
        )
    if given["hops"] and given["around"] is None:
        raise UsageError("--hops counts edges from an entity, and none is named.", fix="Pass --around NAME too.")


@command.command("query")
def query_command(
    graph: GraphFile,
    names: Annotated[list[str] | None, typer.Argument(help="An entity; or two, for the ways between them.")] = None,
    hops: Annotated[int | None, typer.Option(help="Edges away from the entity; default: 1.")] = None,
    sparql: Annotated[str | None, typer.Option(help="A SPARQL query.")] = None,
    json: Json = False,
) -> None:
    """Ask a graph: hflm graph query graph.jsonl "Ada Lovelace" """
    names = names or []
    if bool(sparql) == bool(names) or len(names) > 2:
        raise UsageError("Nothing, or too much, is asked.", fix="Give one entity, two, or --sparql QUERY.")
    if hops is not None and len(names) != 1:
        raise UsageError("--hops counts edges from one entity, and one is not asked for.", fix="Leave it out.")
    from hflm.graphs.files import read_graph
    from hflm.graphs.queries import find_entity, neighbours, paths
    from hflm.graphs.queries import sparql as ask

    found = read_graph(graph)
    if sparql:
        rows = ask(found, sparql)
        print_json(rows) if json else table(rows, list(rows[0]) if rows else ["no row"])
    elif len(names) == 1:
        near = neighbours(found, names[0], hops=1 if hops is None else hops)
        print_json(near) if json else table(near, COLUMNS)
    else:
        if find_entity(found, names[0]) == find_entity(found, names[1]):
            raise UsageError(f"{names[0]!r} and {names[1]!r} are one entity.", fix="Name two, or one alone.")
        ways = paths(found, *names)
        if json:
            print_json(ways)
        for way in () if json else ways:
            print("; ".join(f"{edge['head']} - {edge['relation']} - {edge['tail']}" for edge in way))


@command.command("evaluate")
def evaluate_command(
    graph: GraphFile,
    gold: Annotated[Path, typer.Option(help="Rows of head, relation and tail, or with lists of triples.")],
    json: Json = False,
) -> None:
    """Score a graph against triples that are right: hflm graph evaluate graph.jsonl --gold gold.jsonl"""
    from hflm.evaluate_graph import evaluate_graph
    from hflm.graphs.files import read_graph

    found = evaluate_graph(read_graph(graph), gold)
    if json:
        print_json(found)
        return
    print(f"{found['graph']:,} triples of the graph against {found['gold']:,}; [95 % interval]")
    print_scores(found)


def _show(found: dict[str, Any], *, json: bool) -> None:
    if json:
        print_json(found)
        return
    if "graph" in found:
        print(f"wrote      {found['graph']}, from {found['passages']:,} passages")
    print(f"entities   {found['entities']:,}\nedges      {found['edges']:,} from {found['mentions']:,} mentions")
    print(f"not found  {found['not_found']:,} edges whose ends do not both stand in the text")
    print("relations  " + ", ".join(f"{name} {count:,}" for name, count in found["relations"].items()))
    print("most       " + ", ".join(f"{one['entity']} {one['edges']:,}" for one in found["most_linked"]))

"""The corpus inside the package: what is read where the user names no data."""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "corpus"
TRAIN = ("pride_and_prejudice", "sense_and_sensibility", "emma")
EVAL = ("northanger_abbey",)


def embedded_corpus() -> tuple[list[Path], list[Path]]:
    """Return the train and the eval files: public domain novels, UTF-8, a paragraph a line, gzipped."""
    train, held_out = ([FOLDER / f"{name}.txt.gz" for name in names] for names in (TRAIN, EVAL))
    return train, held_out

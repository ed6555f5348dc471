"""Everything that was found out about a model and a text, and the same as plain data."""

from dataclasses import asdict, dataclass
from typing import Any

from hflm.explaining.anatomy import Matrix, Part, Positions
from hflm.explaining.attention import Habits, Pooled
from hflm.explaining.attribution import Attribution
from hflm.explaining.deletion import Deletion
from hflm.explaining.guesses import Guess
from hflm.explaining.neighbours import Neighbours
from hflm.explaining.opened import TITLES
from hflm.explaining.pieces import Read
from hflm.explaining.questions import Question
from hflm.explaining.reading import Active, Floats, View
from hflm.explaining.worked import Worked


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a model is; its table of embeddings may be narrower than its hidden states."""

    name: str
    kind: str
    architecture: str
    layers: int
    heads: int
    width: int
    embedding_width: int
    vocabulary: int
    parameters: int
    tied: bool
    activation: str
    parts: list[Part]
    matrices: list[Matrix]
    positions: Positions

    @property
    def title(self) -> str:
        """The kind in words."""
        return TITLES[self.kind]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A model, a text, and what happened between them; None for what this model or text does not have.

    `views` and `pooled` hold attention by sort, whole and made small. `lengths` [L + 1] and `changes` [L] are means
    over tokens. `place` is the token whose row of attention is shown first.
    """

    model: Model
    read: Read
    place: int
    question: Question | None
    guesses: list[Guess]
    attribution: Attribution | None
    deletion: Deletion | None
    views: list[View]
    pooled: list[Pooled]
    rollout: Floats
    habits: list[Habits]
    worked: Worked | None
    neighbours: list[Neighbours]
    active: list[Active]
    lengths: list[float]
    changes: list[float]
    notes: list[str]

    @property
    def ranked(self) -> list[int]:
        """The tokens of the text, those first that speak most for the answer."""
        values = self.attribution.values if self.attribution else []
        inner = [place for place, piece in enumerate(self.read.pieces) if not piece.special and place < len(values)]
        return sorted(inner, key=lambda place: -values[place])


def as_dict(found: Explanation) -> dict[str, Any]:
    """Return everything as plain data for `--json`; attention of a long text by cells, as on the page."""
    question, attribution, deletion = found.question, found.attribution, found.deletion
    return {
        "model": {**asdict(found.model), "matrices": [asdict(one) for one in found.model.matrices]},
        "text": found.read.text,
        "cut_tokens": found.read.cut,
        "tokens": [asdict(piece) for piece in found.read.pieces],
        "question": question and {
            "asked": question.asked, "answer": question.answer, "place": question.place, "unit": question.unit,
            "candidates": [asdict(one) for one in question.candidates],
        },
        "expected": [asdict(one) for one in found.guesses],
        "attribution": attribution and asdict(attribution),
        "deletion": deletion and {
            **asdict(deletion), "top_mean": deletion.top_mean, "random_mean": deletion.random_mean
        },
        "attention": [_attention(view, small) for view, small in zip(found.views, found.pooled, strict=True)],
        "rollout": _rounded(found.rollout),
        "heads": [asdict(one) for one in found.habits],
        "worked_row": found.worked and asdict(found.worked),
        "neighbours": [asdict(one) for one in found.neighbours],
        "feed_forward": [
            {"width": one.width, "above_zero": sum(one.shares) / max(len(one.shares), 1)} for one in found.active
        ],
        "hidden_states": {"lengths": found.lengths, "changes": found.changes},
        "notes": found.notes,
    }  # fmt: skip


def _attention(view: View, small: Pooled) -> dict[str, Any]:
    return {
        "name": view.name, "rows": small.rows, "columns": small.columns, "pooled": small.is_pooled,
        "weights": _rounded(small.weights),
    }  # fmt: skip


def _rounded(values: Floats) -> Any:
    # Five places: what a weight of float32 is worth here, and a third of the text.
    return [[round(float(one), 5) for one in row] for row in values] if values.ndim == 2 else [
        _rounded(one) for one in values
    ]  # fmt: skip

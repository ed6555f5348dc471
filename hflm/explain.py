"""What a model does with one text: attention, attribution, and the model's own numbers.

hflm explain RUN "not a bad film at all" -o page.html
"""

from collections.abc import Callable
from typing import Any

from hflm.explaining.anatomy import first_layer, parts, positions
from hflm.explaining.attention import habits, pool, rollout
from hflm.explaining.attribution import Attribution, attribute
from hflm.explaining.deletion import delete
from hflm.explaining.explanation import Explanation, Model
from hflm.explaining.guesses import MOST, guesses
from hflm.explaining.neighbours import neighbours
from hflm.explaining.opened import Opened, open_model
from hflm.explaining.pieces import Read, read_text
from hflm.explaining.questions import Question, ask
from hflm.explaining.reading import Reading, check_room, read_through
from hflm.explaining.worked import work_out

# Cells of all heads of a view together; a page of so many is some megabytes.
CELLS = 2_000_000
MAX_TOKENS = 512
Watch = Callable[[str, Any], None]


def explain(
    name: str | Opened, text: str, *, target: str | None = None, steps: int | None = None, top: int = 5,
    max_tokens: int = MAX_TOKENS, source_lang: str | None = None, target_lang: str | None = None,
    watch: Watch | None = None,
) -> Explanation:  # fmt: skip
    """Explain the likeliest answer of a model about a text, or the one that `target` names.

    Raises ModelError where there is no model or its attention cannot be seen, UsageError where text and options do
    not fit it, NumericsError where its numbers are not finite.
    """
    tell = watch or (lambda kind, content: None)
    opened = name
    if isinstance(opened, str):
        opened = open_model(opened, source_lang=source_lang, target_lang=target_lang)
    read = read_text(opened, text, max_tokens=max_tokens)
    check_room(opened, len(read.pieces))
    tell("note", {"text": f"{opened.name}: reading {len(read.pieces):,} tokens"})
    reading = read_through(opened, read.pieces)
    question = ask(opened, read.pieces, reading, target=target, top=top)
    attribution = deletion = None
    if question:
        tell("note", {"text": "attributing the answer to the tokens"})
        attribution = attribute(opened, read.pieces, reading, question, steps=steps)
        deletion = delete(opened, read.pieces, reading, question, attribution.values)
    views, place = reading.views, _place(opened, read, question)
    pooled = [pool(view, cells=CELLS) for view in views]
    return Explanation(
        model=_describe(opened, reading), read=read, place=place, question=question,
        guesses=guesses(opened, read.pieces, reading, top=top), attribution=attribution, deletion=deletion,
        views=views, pooled=pooled, rollout=rollout(views[0].weights), habits=habits(views[0]),
        worked=work_out(opened, views[0], read.pieces, place=place),
        neighbours=neighbours(opened, read.pieces, top=top), active=reading.active,
        lengths=[float(one) for one in reading.lengths.mean(-1)],
        changes=[float(one) for one in reading.changes.mean(-1)],
        notes=_notes(opened, read, question, attribution, any(one.is_pooled for one in pooled)),
    )  # fmt: skip


def _place(opened: Opened, read: Read, question: Question | None) -> int:
    """Return the token that the answer is read off: the hidden one, the last of a decoder, the first of an encoder."""
    if question and question.place is not None:
        return question.place
    return len(read.pieces) - 1 if opened.causal else 0


def _describe(opened: Opened, reading: Reading) -> Model:
    model, weights = opened.model, reading.views[0].weights
    table = model.get_input_embeddings().weight
    head = model.get_output_embeddings()
    config = getattr(model.config, "encoder", None) or model.config
    named = (
        "hidden_act",
        "activation",
        "activation_function",
        "hidden_activation",
        "dense_act_fn",
        "feed_forward_proj",
    )
    return Model(
        name=opened.name, kind=opened.kind, architecture=type(model).__name__, layers=weights.shape[0],
        heads=weights.shape[1], width=int(getattr(config, "hidden_size", None) or table.shape[1]),
        embedding_width=int(table.shape[1]), vocabulary=int(table.shape[0]),
        parameters=sum(one.numel() for one in model.parameters()),
        tied=head is not None and getattr(head, "weight", None) is table,
        activation=next((str(getattr(config, key)) for key in named if getattr(config, key, None)), ""),
        parts=parts(model), matrices=first_layer(model), positions=positions(opened, length=len(reading.lengths[0])),
    )  # fmt: skip


def _notes(
    opened: Opened, read: Read, question: Question | None, attribution: Attribution | None, pooled: bool
) -> list[str]:
    """Say what is not whole."""
    found = []
    if read.cut:
        where = "beginning" if read.side == "left" else "end"
        found.append(f"The text is longer than what is read here: {read.cut:,} tokens were left out at its {where}.")
    if pooled:
        found.append("The text is long: a cell of a map stands for several tokens next to each other.")
    if opened.kind == "masked" and question is None:
        found.append(
            "There is no [MASK] in the text, so no single answer is attributed: put one where a word is asked for."
        )
    if opened.kind == "masked" and sum(not piece.special for piece in read.pieces) > MOST:
        found.append(f"Only the first {MOST} tokens were hidden in turn.")
    if attribution and opened.causal and not read.pieces[0].special:
        found.append(
            "The first token gets nothing: a decoder's attention that has nowhere to go rests on it (an attention "
            "sink, Xiao et al. 2024), so it stays in the baseline."
        )
    if opened.temperature != 1:
        found.append(f"The logits are divided by the temperature that the model keeps, {opened.temperature:.4g}.")
    if opened.kind == "body":
        found.append("This model has no head: it answers nothing, so nothing is attributed. Fine-tune it first.")
    if attribution and abs(attribution.gap) > 0.05 * max(abs(attribution.output - attribution.baseline_output), 0.1):
        found.append(
            f"The attributions miss the difference that they explain by {attribution.gap:+.3f}: pass more --steps."
        )
    return found

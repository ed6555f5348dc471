"""A training text with canaries planted in it, and the list of them for `hflm stress`.

hflm data canaries book.txt -o planted.txt
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hflm.data.lines import read_lines
from hflm.data.records import read_records
from hflm.data.sources import one_source
from hflm.errors import DataError, UsageError
from hflm.run import write_json_lines, write_text
from hflm.stressing.canaries import Canary, make_canaries, plant

LIST = ".canaries.jsonl"


def plant_canaries(
    data: str, output: Path, *, repeats: Sequence[int], controls: int, form: str, seed: int
) -> dict[str, Any]:  # fmt: skip
    """Write the text with its canaries, and the list of these beside it; return where they are.

    Raises UsageError where a file is there already, DataError for rows without a text.
    """
    listed = output.with_name(output.stem + LIST)
    for path in (output, listed):
        if path.exists():
            raise UsageError(f"{path} exists.", fix="Name another file.")
    source = one_source(data)
    if source.kind not in ("text", "json") or output.suffix != Path(source.path.name.removesuffix(".gz")).suffix:
        raise UsageError(
            f"Canaries cannot be planted from {source.path.name} into {output.name}.",
            fix="Both end in .txt, .md or .jsonl.",
        )
    canaries = make_canaries(repeats=repeats, controls=controls, form=form, seed=seed)
    if source.kind == "text":
        lines = plant([line for _, line in read_lines(source)], canaries, seed=seed)
    else:
        lines = _rows(source, canaries, seed)
    # The list first: a text whose secrets nobody knows could be trained on, and never asked for them.
    write_json_lines(listed, map(asdict, canaries))
    try:
        write_text(output, "".join(f"{line}\n" for line in lines))
    except BaseException:
        listed.unlink(missing_ok=True)
        raise
    planted = sum(canary.repeats for canary in canaries)
    return {"text": str(output), "canaries": str(listed), "planted": planted, "lines": len(lines)}


def _rows(source: Any, canaries: Sequence[Canary], seed: int) -> list[str]:
    records = list(read_records(source))
    for record in records:
        if not isinstance(record.values.get("text"), str):
            raise DataError(f"{record.where}: no column 'text'.", fix="Canaries are planted in rows with a text.")
    texts = plant([record.values["text"] for record in records], canaries, seed=seed)
    return [
        json.dumps({**record.values, "text": text}, ensure_ascii=False)
        for record, text in zip(records, texts, strict=True)
    ]

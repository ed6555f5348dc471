"""What is known before the first step: the rows, their lengths, what is cut, the steps, and what they will take."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hflm.data.checks import findings
from hflm.data.columns import named
from hflm.families.encoded import Encoded
from hflm.finetuning.fitting import Fitted
from hflm.models.tokenizer import MUCH_UNKNOWN


def preflight(fitted: Fitted, *, steps: int, split: str) -> dict[str, Any]:
    """Return the report of a fine-tuning; lengths are in tokens."""
    rows = fitted.train
    report = {
        **findings(fitted.splits),
        "by_place": _by_place(fitted),
        "skipped": fitted.skipped,
        "bad_rows": dict(fitted.splits.bad_rows),
        "lengths": _lengths([len(row.ids) for row in rows]),
        "cut": sum(row.cut for row in rows) / len(rows),
        "without_target": sum(row.targets == 0 for row in rows),
        "unknown": _unknown(rows, fitted.family.tokenizer),
        "steps": steps,
        "batch": split,
        "epochs": steps * fitted.config.batch_size / len(rows),
    }
    if isinstance(rows[0].labels, list) and fitted.kind == "seq2seq":
        report["target_lengths"] = _lengths([len(row.labels) for row in rows])
    elif fitted.kind == "completion":
        report["target_lengths"] = _lengths([row.targets for row in rows])
    return report


def _by_place(fitted: Fitted) -> list[str]:
    """Return the roles whose columns nobody named and no name told: the first with text."""
    known, own = fitted.task.columns, fitted.config.columns
    found = fitted.splits.columns.items()
    plain = [role for role, column in found if role not in own and not named([column], {role: known[role]})]
    return plain if fitted.task.by_place else []


def _unknown(rows: Sequence[Encoded], tokenizer: Any) -> float:
    """Return the share of the tokens of a text for which its tokenizer has none but the unknown one."""
    unknown = tokenizer.unk_token_id
    # Tokenizers of bytes know everything; where they name such a token, it is one of the ends of a text.
    if unknown is None or unknown in (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id):
        return 0.0
    count = sum(row.ids.count(unknown) for row in rows)
    if not count:
        return 0.0
    special = set(tokenizer.all_special_ids) - {unknown}
    return count / sum(token not in special for row in rows for token in row.ids)


def _lengths(values: Sequence[int]) -> dict[str, int]:
    p50, p95, top = np.percentile(values, [50, 95, 100])
    return {"p50": int(p50), "p95": int(p95), "max": int(top)}


def target_cap(rows: Sequence[Encoded], kind: str) -> int:
    """Return the number of tokens within which 99 of 100 targets end: the cap of generation."""
    lengths = [len(row.labels) if kind == "seq2seq" else row.targets for row in rows]
    return int(np.ceil(np.percentile(lengths, 99))) + 1


def lines(report: Mapping[str, Any]) -> list[str]:
    """Return the report as lines for people."""
    columns = ", ".join(f"{role} from {column!r}" for role, column in report["columns"].items())
    if report.get("by_place"):
        flags = " and ".join(f"--{role}-column" for role in report["by_place"])
        columns += f" (guessed: the first with text; {flags} would say it)"
    rows = ", ".join(f"{count:,} to {name}" for name, count in report["rows"].items())
    held = f" (held out: {', '.join(report['held_out'])})" if report["held_out"] else ""
    found = [f"columns: {columns}", f"rows: {rows}{held}"]
    if report.get("labels"):
        shown = list(report["labels"].items())
        more = f" and {len(shown) - 10} more" if len(shown) > 10 else ""
        found.append("labels: " + ", ".join(f"{name} {count:,}" for name, count in shown[:10]) + more)
    for name, what in (("lengths", "read"), ("target_lengths", "written")):
        if name in report:
            size = report[name]
            found.append(f"tokens {what}: median {size['p50']:,}, 95 % within {size['p95']:,}, most {size['max']:,}")
    if report["cut"]:
        found.append(f"cut: {report['cut']:.1%} of the training rows are longer than the limits, and lose a part")
    if report.get("bad_rows", {}).get("rows"):
        found += bad_lines(report["bad_rows"])
    if report.get("unknown", 0) > MUCH_UNKNOWN:
        found.append(
            f"unknown: {report['unknown']:.0%} of the tokens read; the model's tokenizer does not know this script or "
            "these letters: take another model"
        )
    if report["skipped"]:
        found.append(f"skipped: {report['skipped']:,} training rows with nothing to read or to learn")
    if report["without_target"]:
        found.append(f"nothing to learn: cutting leaves {report['without_target']:,} training rows without a target")
    if report["duplicates"]:
        found.append(f"duplicates: {report['duplicates']:,} training rows are read twice")
    for name, count in report["overlap"].items():
        if count:
            found.append(f"overlap: {count:,} rows to {name} stand in training too; scores will be too good")
    for name, shared in report.get("overlap_of_words", {}).items():
        if shared["rows"] > report["overlap"][name]:
            one, other = shared["example"]
            found.append(
                f"overlap: {shared['rows']:,} of {shared['judged']:,} rows to {name} share 13 words in a row with "
                f"training, as {one} and {other}; scores may be too good"
            )
    found.append(f"steps: {report['steps']:,} of {report['batch']}; {report['epochs']:.2f} passes over the rows")
    return found


def bad_lines(bad: Mapping[str, Any]) -> list[str]:
    """Return what was left out as lines for people: the count by reason, and the first of them."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in bad["reasons"].items())
    return [f"left out: {bad['rows']:,} bad rows ({reasons}), the first: {bad['first'][0]}"]

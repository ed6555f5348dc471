"""A report in sentences, for a terminal, a page and a model card."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hflm.run import write_text

# Rows of which one alone moves a score by a tenth and more.
FEW = 10
START, END = "<!-- hflm stress -->", "<!-- /hflm stress -->"


def sentences(report: Mapping[str, Any]) -> list[str]:
    """Say what the report found, a line each."""
    return [*_robust(report), *_tests(report), *_calibrated(report), *_groups(report), *_memory(report)]


def _robust(report: Mapping[str, Any]) -> Iterator[str]:
    found = report["perturbations"]
    if "not_perturbed" in report:
        yield f"robustness    not measured: {report['not_perturbed']}"
    same = found.get("same", {})
    if "changed" in same:
        moved = round(same["changed"]["value"] * same["rows"])
        shift = f", chances move by {same['largest_shift']:.1g} at most" if "largest_shift" in same else ""
        yield f"A/A           {moved:,} of {same['rows']:,} rows answered otherwise when asked again{shift}"
    keeping = {name: one for name, one in found.items() if one["keeps_label"] != "no" and "score" in one}
    keeping.pop("same", None)
    # Where some apply to many rows, the worst is looked for among these.
    keeping = {name: one for name, one in keeping.items() if one["rows"] >= FEW} or keeping
    if keeping:
        worst = min(keeping, key=lambda name: _gain(report, keeping[name]))
        score = keeping[worst]["score"]
        yield (
            f"robustness    worst by {worst!r} ({keeping[worst]['says']}): {score['name']} {score['before']:.4g} -> "
            f"{score['after']:.4g}, {score['difference']:+.3g} [{score['low']:+.3g}, {score['high']:+.3g}]"
        )


def _gain(report: Mapping[str, Any], one: Mapping[str, Any]) -> float:
    # Of perplexity less is better.
    sign = -1 if report["metric"] == "perplexity" else 1
    return float(sign * one["score"]["difference"])


def _tests(report: Mapping[str, Any]) -> Iterator[str]:
    for name, one in report.get("tests", {}).items():
        yield f"test          {name} ({one['test']}): {one['failed']:,} of {one['rows']:,} fail"


def _calibrated(report: Mapping[str, Any]) -> Iterator[str]:
    found = report.get("calibration")
    if not found:
        return
    ece = found["plain"]["scores"]["ece"]
    yield (
        f"calibration   ECE {ece['value']:.4f} [{ece['low']:.4f}, {ece['high']:.4f}] in {found['bins']} bins of "
        "equal width"
    )
    if "as_saved" in found:
        yield (
            f"calibration   ECE {found['as_saved']['scores']['ece']['value']:.4f} at the temperature "
            f"{found['saved_temperature']:.3f} that the model keeps"
        )
    if "scaled" in found:
        new = found["scaled"]["scores"]["ece"]
        yield (
            f"calibration   ECE {new['value']:.4f} [{new['low']:.4f}, {new['high']:.4f}] at temperature "
            f"{found['temperature']:.3f}, fitted to {found['fitted_on']:,} rows of validation"
        )
        if found.get("at_the_edge"):
            yield "calibration   that temperature is at the edge of what is tried: do not rely on it"
    else:
        yield f"calibration   no temperature is fitted: {found['not_fitted']}"


def _groups(report: Mapping[str, Any]) -> Iterator[str]:
    for kind, found in report["groups"].items():
        if "gap" not in found:
            continue
        low, high = (found["groups"][found[end]]["scores"][found["score"]]["value"] for end in ("lowest", "highest"))
        chance = f", by chance in {found['p_value']:.1%} of draws" if "p_value" in found else ""
        yield (
            f"groups        {kind}: {found['score']} {low:.4g} ({found['lowest']}) to {high:.4g} "
            f"({found['highest']}){chance}"
        )


def _memory(report: Mapping[str, Any]) -> Iterator[str]:
    if canaries := report.get("canaries"):
        most = max(row["exposure"] for row in canaries["canaries"] if row["repeats"])
        yield (
            f"canaries      {canaries['found']} of {canaries['planted']} planted are found, "
            f"{canaries['controls_found']} of {canaries['controls']} that were not; exposure up to {most:.1f} of "
            f"{canaries['most_bits']:.1f} bits"
        )
    if overlap := report.get("overlap"):
        yield (
            f"memorised     {overlap['rows_with_13']:,} of {overlap['rows']:,} outputs share 13 words in a row or more "
            f"with the training text; the longest run is {overlap['longest']:,}"
        )
    for name, one in report.get("outputs", {}).items():
        what = "something like personal data" if name == "personal" else "a word of the list"
        yield f"outputs       {one['rows_with']:,} of {one['rows']:,} have {what}"


def card_section(report: Mapping[str, Any]) -> str:
    """Return the summary for a model card."""
    lines = "\n".join(f"- {' '.join(line.split())}" for line in sentences(report))
    data = ", ".join(Path(name).name for name in report["data"])
    return (
        f"{START}\n## Stress\n\nAsked by `hflm stress` on {report['rows']:,} rows of {data}, seed {report['seed']}:\n\n"
        f"{lines}\n\nIt sees what it looks for: what it did not find may be there all the same.\n{END}\n"
    )


def write_card(path: Path, report: Mapping[str, Any]) -> None:
    """Put the summary into a model card, in the place of an earlier one."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    before, found, rest = old.partition(START)
    after = rest.partition(END)[2].lstrip("\n") if found else ""
    parts = [part.strip("\n") for part in (before, card_section(report), after) if part.strip()]
    write_text(path, "\n\n".join(parts) + "\n")

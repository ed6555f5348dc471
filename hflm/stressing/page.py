"""The report as one HTML page: no script, nothing fetched, readable on a telephone."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from hflm.errors import UsageError
from hflm.space import check_writable
from hflm.stressing.charts import reliability, shift
from hflm.stressing.summary import sentences

MARK = '<meta name="generator" content="hflm stress">'
# Characters of a text that are shown.
LONGEST = 400
KEEPS = {"yes": "keeps the label", "mostly": "mostly keeps it", "no": "no claim"}


def check_page(path: Path) -> None:
    """Raise UsageError where a page cannot be written; one of an earlier report is replaced."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{path} is no name for a page.", fix="Name it report.html.")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"{path} cannot be written.", fix="Name a file in a folder that is there.")
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace")[:1000]:
        raise UsageError(f"{path} exists.", fix="Name another; hflm replaces only its own reports.")
    check_writable(path)


def html_page(report: Mapping[str, Any]) -> str:
    """Return the page."""
    parts = [
        _head(report), _perturbed(report), _tested(report), _calibrated(report), _grouped(report), _remembered(report),
        _written(report), _limits(report),
    ]  # fmt: skip
    title = f"{escape(report['task'])}: {escape(Path(report['model']).name)} under stress"
    return PAGE.format(mark=MARK, title=title, style=STYLE, body="\n".join(part for part in parts if part))


def _head(report: Mapping[str, Any]) -> str:
    lines = "".join(f"<li><b>{escape(kind)}</b> {escape(rest)}</li>" for kind, rest in _split(sentences(report)))
    rows = [[escape(name), _interval(score)] for name, score in report["scores"].items()]
    if "worst_case" in report:
        rows.append(["worst case", _interval(report["worst_case"])])
    data = ", ".join(Path(name).name for name in report["data"])
    language = report["language"] or "not known"
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in report["notes"])
    worst = (
        "<p>Worst case: the share of rows that are right as they are <i>and</i> in every form that keeps the label.</p>"
        if "worst_case" in report else ""
    )  # fmt: skip
    return (
        f"<p>{report['rows']:,} rows of {escape(data)}; language {escape(language)}; seed {report['seed']}; "
        f"computed in {escape(report['precision'])}.</p>{notes}<h2>In short</h2><ul>{lines}</ul>"
        f"{_table(['score', 'value, 95 % interval'], rows)}{worst}"
    )


def _split(lines: list[str]) -> list[tuple[str, str]]:
    return [(line[:13].strip(), line[13:].strip()) for line in lines]


def _perturbed(report: Mapping[str, Any]) -> str:
    if not report["perturbations"]:
        return ""
    rows, details = [], []
    for name, one in report["perturbations"].items():
        what = f"<b>{escape(name)}</b><br><small>{escape(one['says'])}; {KEEPS[one['keeps_label']]}</small>"
        if "score" not in one:
            rows.append([what, f"<small>does not apply: no row has {escape(one['needs'])}</small>", "", ""])
            continue
        changed = f"{one['changed']['value']:.1%}" if "changed" in one else ""
        score = one["score"]
        told = f"{score['before']:.4g} → {score['after']:.4g}"
        rows.append([what, f"{one['rows']:,}", changed, f"{told}<br>{shift(score)}"])
        if one.get("examples"):
            details.append(_details(f"{name}: answers that changed", _examples(one)))
    head = ["changed by", "rows", "other answers", f"{report['primary']} on these rows"]
    return (
        "<h2>Changed texts</h2><p>The model is asked again with each text changed. The line shows the difference of "
        "the score with its 95 % interval (paired bootstrap); a bar of colour is a difference beyond chance. <i>Keeps "
        "the label</i> is a claim about the change: look at the examples.</p>" + _table(head, rows) + "".join(details)
    )


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _examples(one: Mapping[str, Any]) -> str:
    return "".join(
        f'<div class="pair"><p dir="auto">{_text(row["text"])}</p><p dir="auto">{_text(row["changed"])}</p>'
        f"<small><bdi>{escape(_short(row['before']))}</bdi> → <bdi>{escape(_short(row['after']))}</bdi> · "
        f"{escape(_place(row['where']))}"
        "</small></div>"
        for row in one["examples"]
    )


def _tested(report: Mapping[str, Any]) -> str:
    if "tests" not in report:
        return ""
    rows, details = [], []
    for name, one in report["tests"].items():
        rows.append([escape(name), one["test"], f"{one['failed']:,} of {one['rows']:,}", _interval(one["passed"])])
        if one["failures"]:
            shown = "".join(f'<p class="pair" dir="auto">{_failure(row)}</p>' for row in one["failures"])
            details.append(_details(f"{name}: failures", shown))
    return "<h2>Tests of your own</h2>" + _table(["test", "kind", "fail", "share that passes"], rows) + "".join(details)


def _failure(row: Mapping[str, Any]) -> str:
    shown = {key: value for key, value in row.items() if key not in ("where", "text")}
    told = "; ".join(f"{key.replace('_', ' ')}: <bdi>{_text(value)}</bdi>" for key, value in shown.items())
    return f"{_text(row['text'])}<br><small>{told} · {escape(_place(row['where']))}</small>"


def _calibrated(report: Mapping[str, Any]) -> str:
    found = report.get("calibration")
    if not found:
        return ""
    kinds = {"plain": "as the weights give it", "as_saved": "at the saved temperature", "scaled": "at the fitted one"}
    rows, pictures = [], []
    for kind, says in kinds.items():
        if kind in found:
            scores = found[kind]["scores"]
            rows.append([says, *(_interval(scores[name]) for name in ("ece", "nll", "brier"))])
            pictures.append(f"<figure>{reliability(found[kind]['bins'])}<figcaption>{says}</figcaption></figure>")
    fitted = (
        f"Temperature {found['temperature']:.4f}, fitted to {found['fitted_on']:,} rows of validation, none of which "
        "is scored here. It changes no prediction."
        if "temperature" in found else f"No temperature is fitted: {escape(found['not_fitted'])}."
    )  # fmt: skip
    return (
        f"<h2>Calibration</h2><p>Expected calibration error in {found['bins']} bins of {escape(found['binning'])} (Guo "
        f"et al. 2017). {fitted}</p>{_table(['', 'ECE', 'NLL', 'Brier'], rows)}"
        f"<div class='figures'>{''.join(pictures)}</div><p><small>A bar is the share that is right, a dot what the "
        "model says; the wider the bar, the more rows. With few rows ECE is too large by chance alone.</small></p>"
    )


def _grouped(report: Mapping[str, Any]) -> str:
    parts = []
    for kind, found in report["groups"].items():
        rows = [
            [f'<span dir="auto">{escape(_short(name))}</span>{" (few rows)" if group["few"] else ""}',
             f"{group['rows']:,}", _interval(group["scores"][found["score"]])]
            for name, group in found["groups"].items()
        ]  # fmt: skip
        chance = f" By chance alone such a gap comes in {found['p_value']:.1%} of draws." if "p_value" in found else ""
        gap = f"<p>The gap is {found['gap']:.4g}.{chance}</p>" if "gap" in found else ""
        parts.append(f"<h3>By {escape(kind)}</h3>{_table(['group', 'rows', found['score']], rows)}{gap}")
    return "<h2>Groups</h2>" + "".join(parts) if parts else ""


def _remembered(report: Mapping[str, Any]) -> str:
    parts = []
    if found := report.get("canaries"):
        rows = [
            [escape(row["form"].replace("{secret}", row["secret"])), f"{row['repeats']:,}" if row["repeats"] else
             "not planted", f"{row['exposure']:.1f}", f"{row['rank']:,} of {found['others'] + 1:,}"]
            for row in found["canaries"]
        ]  # fmt: skip
        parts.append(
            "<h2>Planted secrets</h2><p>Exposure in bits (Carlini et al. 2019): how far the secret is ahead of "
            f"{found['others']:,} drawn ones; at most {found['most_bits']:.1f}. One that was not planted has 1.4 on "
            "average.</p>" + _table(["canary", "planted", "exposure", "rank"], rows)
        )
    if found := report.get("overlap"):
        shown = "".join(
            f'<p class="pair" dir="auto">{_text(row["text"])}<br><small>{row["words"]} words · '
            f"{escape(_place(row['where']))}</small></p>"
            for row in found["examples"]
        )
        parts.append(
            f"<h2>Training text in what is written</h2><p>{found['rows_with']:,} of {found['rows']:,} outputs share "
            f"{found['least']} words in a row or more with {found['training_texts']:,} training texts, "
            f"{found['rows_with_13']:,} thirteen or more; the longest run has {found['longest']:,}.</p>{shown}"
        )
    return "".join(parts)


def _written(report: Mapping[str, Any]) -> str:
    found = report.get("outputs")
    if not found:
        return ""
    own = found["personal"]
    rows = [[escape(kind), f"{one['found']:,}", f"{one['not_in_source']:,}"] for kind, one in own["kinds"].items()]
    table = _table(["looks like", "found", "not in what was read"], rows) if rows else ""
    told = (
        f"<p>{found['listed']['rows_with']:,} of {found['listed']['rows']:,} outputs have one of "
        f"{found['listed']['words']:,} listed words, {found['listed']['not_in_source']:,} where the text that was read "
        "has not.</p>"
        if "listed" in found else "<p>No list of words was at hand: see --word-list.</p>"
    )  # fmt: skip
    return (
        f"<h2>What is written</h2><p>{own['rows_with']:,} of {own['rows']:,} outputs have what looks like personal "
        f"data; looked for: {escape(', '.join(own['looked_for']))}.</p>{table}{told}"
    )


def _limits(report: Mapping[str, Any]) -> str:
    more = (
        "<li>Personal data is found by its form: no names, no streets, no birthdays. Listed words are words, not "
        "meanings: a cruel sentence in polite words is not seen, a quotation is.</li>"
        if "outputs" in report else ""
    )  # fmt: skip
    return (
        "<h2>What this does not show</h2><ul><li>Only these changes were tried, on these rows. Real users write other "
        "texts.</li><li>That a change keeps the label is a claim, made for most texts and not for each.</li>"
        f"<li>Synonyms are English only; negation has rules for English, Spanish and Chinese.</li>{more}</ul>"
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _interval(score: Mapping[str, float]) -> str:
    return f"{score['value']:.4g} <small>[{score['low']:.4g}, {score['high']:.4g}]</small>"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _text(value: Any) -> str:
    return escape(_short(value))


def _place(where: str) -> str:
    """Return a place without the folders of this machine."""
    path, comma, line = where.rpartition(", ")
    return f"{Path(path).name}{comma}{line}" if comma else where


STYLE = """
:root { color-scheme: light dark; --line: #8884; --bar: #3b76c4; --bad: #c4553b; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.2; } h2 { font-size: 1.2rem; margin-top: 2rem; } h3 { font-size: 1rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; font-size: .85rem; overflow-wrap: normal; }
td { font-variant-numeric: tabular-nums; overflow-wrap: normal; }
small, .note, figcaption { font-size: .82rem; opacity: .8; } .note { margin: .2rem 0; }
.pair { border-left: 3px solid var(--line); padding-left: .6rem; margin: .6rem 0; } .pair p { margin: .1rem 0; }
details { margin: .4rem 0; } summary { cursor: pointer; } ul { padding-left: 1.2rem; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; flex: 1 1 15rem; max-width: 22rem; }
svg { width: 100%; height: auto; display: block; } svg.shift { width: 9rem; } svg text { fill: currentColor; }
@media (max-width: 30rem) { body { font-size: 15px; padding: .7rem; } th, td { padding-right: .4rem; }
svg.shift { width: 6rem; } }
"""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{mark}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style></head>
<body><h1>{title}</h1>
{body}
</body></html>
"""

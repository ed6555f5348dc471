"""Small pictures as SVG, to stand in a page."""

from collections.abc import Mapping, Sequence
from typing import Any

# The difference of a score that fills half of a bar.
WHOLE = 0.2


def shift(score: Mapping[str, Any]) -> str:
    """Draw the difference of a score and its interval around a middle line; beyond the edge it is cut.

    Half the width is 0.2 of a score from 0 to 1, and a fifth of its value of any other.
    """
    whole = WHOLE * (1.0 if max(abs(score["before"]), abs(score["after"])) <= 1 else max(abs(score["before"]), 1e-9))
    value, low, high = (50 + 50 * max(-1.0, min(1.0, score[key] / whole)) for key in ("difference", "low", "high"))
    clear = score.get("p_value", 0.0) < 0.05 and (score["low"] > 0 or score["high"] < 0)
    # A perplexity that rises is worse.
    gain = -score["difference"] if score["name"] == "perplexity" else score["difference"]
    colour = "var(--bar)" if gain > 0 else "var(--bad)"
    bar = f'<rect x="{min(50, value):.1f}" y="3" width="{abs(value - 50):.1f}" height="6" fill="{colour}"/>'
    return (
        f'<svg class="shift" viewBox="0 0 100 12" role="img" aria-label="{score["difference"]:+.3g}, '
        f'{score["low"]:+.3g} to {score["high"]:+.3g}"><rect width="100" height="12" fill="var(--soft)"/>'
        f'{bar if clear else ""}<line x1="{low:.1f}" x2="{high:.1f}" y1="6" y2="6" stroke="currentColor"/>'
        '<line x1="50" x2="50" y1="0" y2="12" stroke="currentColor" stroke-width=".5"/></svg>'
    )


def reliability(bins: Sequence[Mapping[str, float]]) -> str:
    """Draw the share that is right [0, 1] over the chance that is said, a bar for each bin with rows."""
    most = max(bin_["rows"] for bin_ in bins)
    bars = []
    for bin_ in bins:
        wide = (bin_["high"] - bin_["low"]) * 200
        own = wide * (0.25 + 0.7 * (bin_["rows"] / most) ** 0.5)
        x, height = 30 + 200 * bin_["low"] + (wide - own) / 2, 200 * bin_["right"]
        at = 30 + 200 * bin_["chance"]
        bars.append(
            f'<rect x="{x:.1f}" y="{210 - height:.1f}" width="{own:.1f}" height="{height:.1f}" fill="var(--bar)" '
            f'opacity=".75"><title>{bin_["rows"]} rows, {bin_["chance"]:.3f} said, {bin_["right"]:.3f} right</title>'
            f'</rect><circle cx="{at:.1f}" cy="{210 - 200 * bin_["chance"]:.1f}" r="2.5" fill="var(--bad)"/>'
        )
    ticks = "".join(
        f'<text x="{30 + 200 * tick:.0f}" y="223" font-size="9" text-anchor="middle">{tick:g}</text>'
        f'<text x="25" y="{213 - 200 * tick:.0f}" font-size="9" text-anchor="end">{tick:g}</text>'
        for tick in (0, 0.5, 1)
    )
    return (
        '<svg viewBox="0 0 240 240" role="img" aria-label="reliability diagram">'
        '<rect x="30" y="10" width="200" height="200" fill="none" stroke="var(--line)"/>'
        f'<line x1="30" y1="210" x2="230" y2="10" stroke="var(--bad)" stroke-dasharray="4 3"/>{"".join(bars)}{ticks}'
        '<text x="130" y="236" font-size="10" text-anchor="middle">chance that the model says</text>'
        '<text x="10" y="60" font-size="10" text-anchor="middle" transform="rotate(-90 10 60)">right</text></svg>'
    )

"""The results of a measurement in words, and whether a target is reached where that takes more than a comparison."""

from typing import Any

from hflm.data.corpus import EVAL

# An hflm run of a share of the time may take this much of it: its pace is found before it begins.
LATE = 1.1


def speed(entry: Any, name: str) -> str:
    rate, plain = entry["median"][name], entry["median"]["plain"]
    return f"{rate:,.0f} tokens/s against {plain:,.0f}: {entry['over_plain'][name]:.2f} x"


def as_it_comes(entry: Any) -> str:
    """Name hflm's side with the precision that `auto` takes: it is measured after float32."""
    return [str(name) for name in entry["median"] if name.startswith("hflm")][-1]


def best_pipeline(entry: Any) -> str:
    sides = {name: value for name, value in entry["median"].items() if name.startswith("pipeline")}
    return str(max(sides, key=lambda name: float(sides[name])))


def prediction(entry: Any) -> str:
    ours, theirs = as_it_comes(entry), best_pipeline(entry)
    rates, same = entry["median"], entry["same_labels"]
    return (
        f"{rates[ours]:,.0f} rows/s against {rates[theirs]:,.0f}: {rates[ours] / rates[theirs]:.2f} x, "
        f"{same[ours]} of {same['pipeline, batch 1']} classes the same"
    )


def predicts(entry: Any) -> bool:
    ours, rates = as_it_comes(entry), entry["median"]
    same = entry["same_labels"][ours] == entry["same_labels"]["pipeline, batch 1"]
    return bool(same and rates[ours] >= 3.4 * rates[best_pipeline(entry)])


def of(part: Any, *names: str) -> list[list[float]]:
    """Return the rounds of these sides, of all of them where none is named."""
    sides = part["rounds"]
    return [[float(one["seconds"] if isinstance(one, dict) else one) for one in sides[name]] for name in names or sides]


def decoded(entry: Any, name: str) -> list[list[float]]:
    return of(entry, *(side for side in entry["rounds"] if side == name or side.startswith("transformers, bf16")))


def decoding(entry: Any, name: str) -> str:
    plain = next(value for key, value in entry["median"].items() if key.startswith("transformers, bf16"))
    return f"{entry['median'][name]:.1f} tokens/s against {plain:.1f}: {entry['over_plain'][name]:.1f} x"


def processes(entry: Any, name: str, other: str) -> str:
    rate, base = entry["median"][name], entry["median"][other]
    return f"{rate:,.0f} tokens/s against {base:,.0f}: {rate / base:.2f} x"


def sooner(entry: Any) -> bool:
    """Tell whether every seed came as low in the share of the time: in so many steps, or with all counted."""
    limit = LATE * entry["share"] * entry["plain"]["seconds"]
    return all(
        any(loss <= best_plain(entry) and seconds <= limit for loss, seconds in tries(run)) for run in entry["hflm"]
    )


def tries(run: Any) -> list[tuple[float, float]]:
    found = [(float(run["eval_loss"]), float(run["steps"] * run["step_seconds"]))]
    if "counted" in run:
        found.append((float(run["counted"]["eval_loss"]), float(run["counted"]["seconds"])))
    return found


def best_plain(entry: Any) -> float:
    """Return the lowest loss of the plain side, whatever threads it had: none of its runs is left out."""
    return float(min(run["eval_loss"] for run in (*entry["swept"], entry["plain"])))


def losses(entry: Any) -> str:
    seeds = ", ".join(f"{run['eval_loss']:.3f}" for run in entry["hflm"])
    spent = ", ".join(f"{run['steps'] * run['step_seconds']:.0f}" for run in entry["hflm"])
    plain = entry["plain"]
    return (
        f"loss {seeds} after {spent} s of steps against {plain['eval_loss']:.3f} after {plain['seconds']:,.0f} s, "
        f"on {scored(entry)}"
    )


def scored(entry: Any) -> str:
    """Name the novel that a result is scored on; those from before others could be named are of the sample's."""
    return str(entry.get("scored", EVAL[0])).replace("_", " ").title().replace(" And ", " and ")


def counted(entry: Any) -> str:
    if "counted" not in entry["hflm"][0]:  # measured before there was a `--budget`
        return ""
    seeds = [run["counted"] for run in entry["hflm"]]
    losses, spent = ", ".join(f"{run['eval_loss']:.3f}" for run in seeds), max(run["seconds"] for run in seeds)
    return f"loss {losses} after {spent:.0f} s at most, from the call of the command to its end"


def downstream(entry: Any) -> str:
    sides = {side: ", ".join(f"{run['accuracy']:.1%}" for run in runs) for side, runs in entry["tuned"].items()}
    losses = {side: found["eval_loss"] for side, found in entry["pretrained"].items()}
    return (
        f"{sides['hflm']} against {sides['plain']}: {entry['compared']['difference']:.1%} more (p "
        f"{entry['compared']['p_value']:.3f}); loss before: {losses['hflm']:.2f} against {losses['plain']:.2f}; with "
        f"the class read off the first token {sides['hflm, first token']}"
    )


def shapes(entry: Any, what: str) -> str:
    with_it, without = entry["median"]["as it is"], entry["median"][what]
    return f"{without:,.0f} ms for {with_it:,.0f}: {without / with_it - 1:.0%} longer"


def sizes(entry: Any) -> tuple[Any, Any]:
    return entry["median"][entry["smallest"]], entry["median"][entry["largest"]]


def noted(entry: Any) -> str:
    return f" ({entry['note']})" if entry.get("note") else ""


def memory_growth(entry: Any) -> float:
    sides = entry["median"]
    return float(sides["10,000"]["peak_memory_mib"] / sides["1,000"]["peak_memory_mib"])

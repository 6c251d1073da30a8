"""A cost for people, and as plain values."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlft.theory.cost import Estimate
from rlft.theory.growth import Growth
from rlft.theory.lengths import Lengths
from rlft.theory.measured import Measured
from rlft.theory.model import Model
from rlft.theory.work import Work

WORDS = {"old": "π_old", "reference": "π_ref", "kl_full": "full KL", "mismatched": "z0", "optimizer": "optimiser"}


@dataclass(frozen=True)
class Case:
    """One recipe with all that was found out about it.

    Attributes:
        recipe: its name. triple: the line that heads its runs.
        lengths: lower and upper bounds. notes: what the figures take for granted.
        measured: a run of this very recipe, to hold the estimate against.
    """

    recipe: str
    triple: str
    work: Work
    model: Model
    lengths: tuple[Lengths, Lengths]
    estimate: Estimate
    growth: Growth
    notes: list[str]
    measured: Measured | None


def as_dict(case: Case) -> dict[str, Any]:
    """Returns what `--json` prints: intervals by part, the lengths they stand for, and a run's own bill beside them."""
    lower, upper = case.lengths
    result: dict[str, Any] = {
        "recipe": case.recipe,
        "method": case.work.method,
        "model": {"source": case.model.source, "weights": case.model.weights, **asdict(case.model.shape)},
        "steps": case.work.steps,
        "lengths": {"lower": asdict(lower), "upper": asdict(upper)},
        "lower": case.estimate.lower.as_dict(),
        "upper": case.estimate.upper.as_dict(),
        "growth": asdict(case.growth),
        "notes": case.notes,
    }
    if case.measured is not None:
        pairs = _compared(case, case.measured)
        result["measured"] = {key: theirs for key, (_, theirs) in pairs.items()}
        result["predicted"] = {key: mine for key, (mine, _) in pairs.items()}
        result["ratio"] = {key: mine / theirs for key, (mine, theirs) in pairs.items() if theirs}
    return result


def one(case: Case, console: Console) -> None:
    """Prints a recipe's cost by part."""
    lower, upper = case.estimate.lower, case.estimate.upper
    work, shape = case.work, case.model.shape
    _say(console, case.triple)
    _say(
        console,
        f"{work.steps} steps of {work.queries} x {work.rows} completions · {shape.body / 1e6:.1f} M weights a token "
        f"goes through, {shape.head / 1e6:.1f} M in the head, {shape.adapter / 1e6:.1f} M in the adapter · "
        f"at most {work.tokens} positions at once",
    )
    _say(console, _lengths(case.work, case.lengths))
    table = _grid("part", "FLOPs", "seconds")
    for part in [*lower.flops, *(p for p in lower.seconds if p not in lower.flops)]:
        cells = [_interval(a.get(part), b.get(part), number) for a, b, number in (
            (lower.flops, upper.flops, _flops), (lower.seconds, upper.seconds, _seconds)
        )]  # fmt: skip
        if any(cell not in ("", "0") for cell in cells):
            table.add_row(WORDS.get(part, part), *cells)
    table.add_section()
    a, b = lower.totals, upper.totals
    table.add_row(
        "training", _interval(a["flops"], b["flops"], _flops), _interval(a["seconds"], b["seconds"], _seconds)
    )
    console.print(table)
    memory = _grid("memory", "bytes")
    for part in upper.memory:
        memory.add_row(part, _interval(lower.memory.get(part), upper.memory[part], _bytes))
    memory.add_section()
    memory.add_row("peak", _interval(a["memory_bytes"], b["memory_bytes"], _bytes))
    console.print(memory)
    _say(console, f"grows as {case.growth.leading}")
    for note in case.notes:
        _say(console, note)
    if case.measured is not None:
        console.print(_comparison(case, case.measured))


def table(cases: list[Case], console: Console) -> None:
    """Prints recipes side by side: what is proportional to the model, exponents, and totals."""
    _say(
        console,
        "N weights, D queries trained on, R of them new to π_ref, M sampled from once, "
        "P and C tokens of prompt and completion",
    )
    growths = _grid("recipe", "grows as", "in N", "in D", "in C")
    totals = _grid("recipe", "FLOPs", "seconds", "memory")
    for case in cases:
        g, low, high = case.growth, case.estimate.lower.totals, case.estimate.upper.totals
        growths.add_row(case.recipe, g.leading, *(f"{exponent:.2f}" for exponent in (g.model, g.data, g.length)))
        totals.add_row(
            case.recipe,
            _interval(low["flops"], high["flops"], _flops),
            _interval(low["seconds"], high["seconds"], _seconds),
            _interval(low["memory_bytes"], high["memory_bytes"], _bytes),
        )
    console.print(growths)
    console.print(totals)
    _say(console, "the exponents are those of the FLOPs where N, D (and M) or C is doubled, at the upper lengths")


def _compared(case: Case, measured: Measured) -> dict[str, tuple[float, float]]:
    """Returns what was predicted and what was measured. Sampling that is done once is told apart from the steps."""
    predicted = case.estimate.upper
    rollout = predicted.seconds["rollout"]
    steps = predicted.totals["seconds"] - (rollout if case.work.sampled == "once" else 0)
    return {
        "flops": (predicted.totals["flops"], measured.flops),
        "memory_bytes": (predicted.totals["memory_bytes"], measured.memory),
        "seconds": (steps, measured.seconds),
        "rollout_seconds": (rollout, measured.rollout),
    }


def _comparison(case: Case, measured: Measured) -> Table:
    units = {"flops": _flops, "memory_bytes": _bytes}
    words = {"flops": "FLOPs", "memory_bytes": "peak memory", "seconds": "steps", "rollout_seconds": "rollout"}
    grid = _grid("", "predicted", "measured", "ratio")
    for key, (mine, theirs) in _compared(case, measured).items():
        unit = units.get(key, _seconds)
        grid.add_row(words[key], unit(mine), unit(theirs), f"{mine / theirs:.2f}" if mine and theirs else "")
    return grid


def _grid(first: str, *others: str) -> Table:
    grid = Table(first)
    for heading in others:
        grid.add_column(heading, justify="right")
    return grid


def _lengths(work: Work, bounds: tuple[Lengths, Lengths]) -> str:
    low, high = (asdict(bound) for bound in bounds)
    drawn = () if work.sampled == "never" else ("sampled", "longest", "acceptance")
    names = ("prompt", "completion", *drawn)
    return "lengths: " + " · ".join(f"{name} {_interval(low[name], high[name], '{:.4g}'.format)}" for name in names)


def _interval(low: float | None, high: float | None, number: Any) -> str:
    if low is None or high is None:
        return ""
    first, second = number(low), number(high)
    return first if first == second else f"{first} – {second}"


def _flops(value: float) -> str:
    return f"{value:.2e}" if value else "0"


def _seconds(value: float) -> str:
    if not value:
        return "0"
    return f"{value / 3600:,.1f} h" if value >= 7200 else f"{value:,.0f} s" if value >= 10 else f"{value:.2g} s"


def _bytes(value: float) -> str:
    return f"{value / 1e9:.2f} GB"


def _say(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)

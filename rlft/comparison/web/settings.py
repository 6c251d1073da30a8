"""Parts 7 to 9: questions that flipped, how the recipes differ, and the commands that repeat it all."""

import shlex
from pathlib import Path
from typing import Any

from rlft.comparison.record import APART
from rlft.comparison.web.method import Method
from rlft.report import commands
from rlft.report.files import Files
from rlft.report.flips import Side, flips
from rlft.report.frame import Section, command, folded, table
from rlft.report.markup import Html, el, join

FLIPS = 10  # of each of the two comparisons


def flipped(known: list[Method]) -> Section:
    """Returns part 7: questions that the two leading methods answered unlike, and that training changed."""
    leader = known[0]
    seed = leader.entry["seeds"][0]
    mine = Side(f"{leader.label} seed {seed}", leader.runs[0].answers("after"))
    parts = [el("h3", f"{leader.label} before and after training"),
             flips(mine, Side("the untrained model", leader.runs[0].answers("before")), FLIPS)]  # fmt: skip
    if len(known) > 1:
        other = known[1]
        theirs = Side(f"{other.label} seed {other.entry['seeds'][0]}", other.runs[0].answers("after"))
        parts = [el("h3", f"{leader.label} against {other.label}"), flips(mine, theirs, FLIPS), *parts]
    said = (
        "One run of each method, that of its first seed: answers of other seeds differ. Open one to read both answers."
    )
    return Section("flips", "Flipped", "Questions that flipped", said, join(*parts))


def differences(known: list[Method]) -> Section:
    """Returns part 8: the values in which the methods' recipes differ, and those that they share."""
    configs = [{key: value for key, value in method.config.items() if key not in APART} for method in known]
    keys = sorted({key for config in configs for key in config})
    apart = [key for key in keys if any(config.get(key, ...) != configs[0].get(key, ...) for config in configs)]
    rows = [[el("code", key), *(_value(config, key) for config in configs)] for key in apart]
    shared = [[el("code", key), _value(configs[0], key)] for key in keys if key not in apart]
    body = join(
        table(["", *(method.label for method in known)], rows, "settings") if rows else None,
        folded(f"the {len(shared)} values that all share", table(("", ""), shared, "settings")),
    )
    said = f"{len(apart)} values differ" if apart else "The recipes differ in nothing but the seed"
    said += "; – where a method has no such value. Seeds and where a run wrote to are left out."
    return Section("settings", "Settings", "How the recipes differ", said, body)


def _value(config: dict[str, Any], key: str) -> str:
    return str(config[key]) if key in config else "–"


def repeat(result: dict[str, Any], known: list[Method], out: Path) -> Section:
    """Returns part 9: the command of the comparison and those of its runs."""
    runs = [run for method in known for run in method.runs]
    words = ["rlft", "compare", *(str(run.path) for run in runs), "--out", str(out)]
    words += [f"baseline={result['baseline']}"] * bool(result["baseline"])
    again = shlex.join([*words, *["allow_mismatch=true"] * bool(result["mismatches"])])
    body = join(
        el("p", "This comparison, of the runs that there are:"),
        command(again),
        el("p", "Its runs:"),
        *(folded(method.label, *(part for run in method.runs for part in _run(run))) for method in known),
    )
    return Section("commands", "Commands", "Repeat it", "", body)


def _run(run: Files) -> list[Html]:
    typed = commands.typed(run.environment)
    started = [el("p", f"{run.path}, as it was started:"), command(typed)] if typed else []
    return [*started, el("p", f"{run.path}, again from its frozen recipe:"), command(commands.again(run))]

"""What methods cost, and whether they were given the same."""

from typing import Any

from rlft.comparison.record import Record

UNITS = ("generated_tokens", "trained_tokens", "prompts", "reward_calls", "flops", "seconds")
UNEQUAL = 1.1  # times as many FLOPs, from which runs without a budget are said to have cost other amounts


def bill(runs: tuple[Record, ...]) -> dict[str, Any]:
    """Returns means over a method's runs: of every unit, the warm start included (None where a run does not say), and
    of FLOPs by part as `flops_by_part`."""
    totals = [run.summary.get("totals", {}) for run in runs]
    before = [each.get("warm_start") or {} for each in totals]
    units = {
        unit: _mean([_sum(each.get(unit), warm.get(unit, 0)) for each, warm in zip(totals, before, strict=True)])
        for unit in UNITS
    }
    parts = [
        {**each.get("flops_by_part", {}), **({"warm_start": warm["flops"]} if warm.get("flops") else {})}
        for each, warm in zip(totals, before, strict=True)
    ]
    names = dict.fromkeys(name for each in parts for name in each)
    return {**units, "flops_by_part": {name: _mean([each.get(name, 0.0) for each in parts]) for name in names}}


def budget(runs: list[Record]) -> dict[str, Any] | None:
    """Returns the unit and the amount that all runs were given, None if they were not given the same."""
    given = [run.summary.get("budget") or {} for run in runs]
    shared = {(each.get("unit"), each.get("amount")) for each in given}
    unit, amount = next(iter(shared))
    return {"unit": unit, "amount": amount} if len(shared) == 1 and unit else None


def unequal(named: list[tuple[Record, str]], methods: list[dict[str, Any]]) -> list[str]:
    """Returns what is to be said of unequal budgets: a run that did not spend its own, or methods that had none.

    Args:
        named: every run with what it is called. methods: with their `bill`.
    """
    if budget([run for run, _ in named]) is not None:
        return [
            f"{name} spent {given['spent']:g} of {given['amount']:g} {given['unit']} (it ended early)"
            for run, name in named
            if (given := run.summary["budget"])["spent"] < given["amount"]
        ]
    flops = {method["label"]: method["flops"] for method in methods if method["flops"]}
    if len(flops) < 2 or max(flops.values()) < UNEQUAL * min(flops.values()):
        return []
    least, most = min(flops, key=flops.__getitem__), max(flops, key=flops.__getitem__)
    return [
        f"no equal budget: {most} took {flops[most] / flops[least]:.2g} times the FLOPs of {least}; "
        "budget.flops=NUMBER gives all the same"
    ]


def tuned(tuning: list[dict[str, Any]]) -> list[str]:
    """Returns what was tried with each recipe, and what that cost."""
    lines: list[str] = []
    for each in tuning:
        trials = each["trials"]
        flops = sum(trial["flops"] for trial in trials)
        lines.append(
            f"tuned: {each['recipe']} takes {each['chosen']}, the best of {len(trials)} on {trials[0]['n']} validation "
            f"questions; the trials took {flops:.2g} FLOPs, beside those in the table"
        )
    return lines


def _sum(own: float | None, before: float) -> float | None:
    return None if own is None else own + before


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None

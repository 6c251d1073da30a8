"""The first two parts: who wins, by how much, how sure, and at what cost."""

from collections.abc import Sequence
from typing import Any

from rlft.comparison.bills import tuned
from rlft.comparison.web.method import Method
from rlft.report.chart import colour_of
from rlft.report.curves import money
from rlft.report.frame import Section, about, folded, notes, row, rows, table, tiles, under
from rlft.report.markup import Html, el, join
from rlft.report.scale import Scale, percent
from rlft.report.strip import Strip, axis, strip

BILLS = {
    "flops": "FLOPs",
    "generated_tokens": "generated tokens",
    "trained_tokens": "trained tokens",
    "prompts": "prompts",
    "reward_calls": "reward calls",
    "seconds": "time",
}
FIRST = ("flops", "generated_tokens", "trained_tokens", "seconds")  # of which the first tile has room


def verdict(result: dict[str, Any], known: list[Method]) -> Section:
    """Returns part 1: the verdicts in words, and what limits them."""
    leader = known[0].label
    pairs = [pair for pair in result["pairs"] if pair["difference"] is not None]
    first = [pair for pair in result["pairs"] if result["baseline"] or leader in (pair["better"], pair["other"])]
    rest = [pair for pair in result["pairs"] if pair not in first]
    scale = _around_zero(pairs)
    shown = [_pairs(first, scale)] if first else []
    if rest:
        shown.append(folded(f"the other pairs: {len(rest)}", _pairs(rest, scale)))
    bad = [f"Mismatch: {line}." for line in result["mismatches"]]
    bad += [f"Failed, left out: {line}." for line in result["failed"]]
    told = [f"Not finished, left out: {path}." for path in result["unfinished"]]
    told += [f"{line}." for line in (*tuned(result["tuning"]), *result["notes"])]
    body = join(
        el("p", headline(result), class_="headline"),
        tiles(_figures(result, known)),
        *shown,
        notes([line[0].upper() + line[1:] for line in told], bad),
    )
    return Section("verdict", "Verdict", "Verdict", "", body)


def budget(result: dict[str, Any]) -> str | None:
    """Returns the budget that all runs were given, None if there was none."""
    given = result["budget"]
    if not given:
        return None
    unit = "training" if given["unit"] == "seconds" else BILLS[given["unit"]]
    return f"an equal budget of {money(given['unit'], given['amount'])} {'of ' * (unit == 'training')}{unit}"


def headline(result: dict[str, Any]) -> str:
    """Returns one sentence on who wins."""
    leader = result["methods"][0]
    label = leader["label"]
    own = [pair for pair in result["pairs"] if pair["better"] == label]
    if not own:
        return f"{label}: {percent(leader['accuracy'])} of the held-out questions."
    if all(pair["p"] is None for pair in own):
        return f"{label} answered most, but no winner is named: that takes three seeds of each method."
    beaten = [pair["other"] for pair in own if pair["decided"] and pair["difference"] > 0]
    open_ = [pair["other"] for pair in own if not pair["decided"]]
    if not beaten:
        return f"Not decided: {label} answered most, but its lead may be chance."
    everyone = len(own) > 1 and len(beaten) == len(own)
    whom = "every other method" if everyone else listed(beaten)
    return f"{label} beats {whom}" + (f"; against {listed(open_)} it is not decided." if open_ else ".")


def listed(names: Sequence[str]) -> str:
    """Returns names as a sentence has them.

    >>> listed(["sft"]), listed(["sft", "rft", "dpo"])
    ('sft', 'sft, rft and dpo')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _figures(result: dict[str, Any], known: list[Method]) -> list[tuple[str, str, str]]:
    best, seeds = known[0].entry, len(known[0].entry["seeds"])
    figures = [(
        f"Accuracy of {best['label']}, the highest",
        percent(best["accuracy"]),
        f"95%: {_between(best)}%, {best['n']} questions, {seeds} seed{'s' * (seeds > 1)}",
    )]  # fmt: skip
    pair = next((pair for pair in result["pairs"] if pair["difference"] is not None), None)
    if pair is not None:
        figures.append((
            f"Lead over {pair['other']}",
            f"{100 * pair['difference']:+.1f} points",
            f"95%: {100 * pair['low']:+.1f} to {100 * pair['high']:+.1f}, paired over {pair['n']} questions",
        ))  # fmt: skip
        figures.append(("How sure", "decided" if pair["decided"] else "not decided", _sure(pair)))
    figures.append(_cost(known))
    return figures


def _sure(pair: dict[str, Any]) -> str:
    if pair["p"] is None:
        return "too few seeds: the draw of the seeds is not in the interval"
    p = f"p = {pair['p']:.3f}" if pair["p"] >= 0.001 else "p < 0.001"
    return f"{p} for all pairs together; a seed of {pair['better']} beats one of {pair['other']} in " \
           f"{percent(pair['improvement'])} of the cases"  # fmt: skip


def _cost(known: list[Method]) -> tuple[str, str, str]:
    best = known[0].entry
    bills = [name for name in FIRST if best[name] is not None]
    if not bills:
        return ("Its cost", "–", "the runs' summaries have no bill")
    first = bills[0]
    told = [f"{money(name, best[name])} {'of training' if name == 'seconds' else BILLS[name]}" for name in bills[1:]]
    if len(known) > 1 and known[1].entry[first]:
        told.insert(0, f"{best[first] / known[1].entry[first]:.2g} times that of {known[1].label}")
    return ("Its cost", f"{money(first, best[first])} {BILLS[first]}", "; ".join(told))


def _between(entry: dict[str, Any]) -> str:
    return f"{100 * entry['low']:.1f} to {100 * entry['high']:.1f}"


def _around_zero(pairs: Sequence[dict[str, Any]]) -> Scale:
    ends = [0.01, -0.01, *(pair[end] for pair in pairs for end in ("low", "high"))]
    return Scale(min(ends), max(ends), 1, 99)


def _pairs(pairs: Sequence[dict[str, Any]], scale: Scale) -> Html:
    drawn = [_pair(pair, scale) for pair in pairs]
    title = "difference of accuracies, points (95% interval)"
    return rows(*drawn, under(axis(scale, title, points=True)), kind="pairs")


def _pair(pair: dict[str, Any], scale: Scale) -> Html:
    who = el("div", f"{pair['verdict']}.", class_="who decided" if pair["decided"] else "who")
    if pair["difference"] is None:
        return el("div", who)
    line = Strip(pair["difference"], pair["low"], pair["high"], (), "sure" if pair["decided"] else "unsure")
    return el("div", who, el("div", strip(line, scale, pair["verdict"], rule=0.0), class_="drawn"))


def leaderboard(result: dict[str, Any], known: list[Method]) -> Section:
    """Returns part 2: accuracies with their intervals, a dot per seed, and the bills."""
    bases = [method.base for method in known if method.base is not None]
    ends = [end for method in known for end in (method.entry["low"], method.entry["high"])] + bases
    room = 0.05 * (max(ends) - min(ends)) + 0.005
    scale = Scale(max(0.0, min(ends) - room), min(1.0, max(ends) + room), 1, 99)
    strips = [row(method.label, _strip(method, scale), _number(method.entry)) for method in known]
    n = "/".join(str(count) for count in sorted({method.entry["n"] for method in known}))
    said = (
        f"Greedy accuracy on {n} held-out questions: the mean of the seeds with its 95% interval, and a ring per seed."
        + (" Dashed: the untrained model, at the recipe's limit or at 128 tokens, whichever went better." * bool(bases))
    )
    given = budget(result)
    spent = "Means over the seeds, warm starts included, evaluations not." + (f" All had {given}." if given else "")
    body = join(
        rows(*strips, under(axis(scale, "held-out accuracy"))),
        el("h3", "What each cost"),
        about(spent),
        _bills(known),
        _parts(known),
    )
    return Section("leaderboard", "Leaderboard", "Leaderboard", said, body)


def _strip(method: Method, scale: Scale) -> Html:
    entry = method.entry
    dots = list(zip(entry["accuracies"], entry["seeds"], strict=True)) if len(entry["seeds"]) > 1 else []
    line = Strip(
        entry["accuracy"], entry["low"], entry["high"],
        [(value, f"seed {seed}: {percent(value)}") for value, seed in dots], colour_of(method.colour),
    )  # fmt: skip
    return strip(line, scale, f"{method.label}: {percent(entry['accuracy'])}, 95%: {_between(entry)}%", method.base)


def _number(entry: dict[str, Any]) -> Html:
    between = f" [{100 * entry['low']:.1f}, {100 * entry['high']:.1f}]"
    return join(el("b", percent(entry["accuracy"])), el("small", between))


def _bills(known: list[Method]) -> Html:
    bills = [bill for bill in BILLS if any(method.entry[bill] for method in known)]
    most = {bill: max(method.entry[bill] or 0 for method in known) for bill in bills}
    robust = any(method.entry["iqm"] is not None for method in known)
    headings = ["method", "seeds", *["IQM"] * robust, "gain over base, points [95%]", "cut off"]
    lines = [
        [
            method.label,
            str(len(method.entry["seeds"])),
            *[percent(method.entry["iqm"])] * robust,
            _gain(method.entry),
            percent(method.entry["cut_share"]),
            *(money(bill, method.entry[bill]) for bill in bills),
        ]
        for method in known
    ]
    blank = [0.0] * len(headings)
    parts = [[*blank, *((method.entry[bill] or 0) / most[bill] for bill in bills)] for method in known]
    return table([*headings, *(BILLS[bill] for bill in bills)], lines, "right cards", parts)


def _parts(known: list[Method]) -> Html | None:
    """Returns what each method's FLOPs went to."""
    names = list(dict.fromkeys(name for method in known for name in method.entry["flops_by_part"]))
    lines = [
        [method.label, *(money("flops", method.entry["flops_by_part"].get(name, 0.0)) for name in names)]
        for method in known
    ]
    heads = ["method", *(name.replace("_", " ") for name in names)]
    return folded("what the FLOPs went to", table(heads, lines, "right cards")) if names else None


def _gain(entry: dict[str, Any]) -> str:
    if entry["gain"] is None:
        return "–"
    low, high = entry["gain_interval"]
    return f"{100 * entry['gain']:+.1f} [{100 * low:.1f}, {100 * high:.1f}]"

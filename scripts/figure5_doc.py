"""Writes docs/figure5.md from its results: no number and no verdict in it is typed.

Usage: python scripts/figure5_doc.py docs/figure5.json
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlft.evaluation.intervals import SEEDS

ALPHA = 0.05
COLOURS = ("#7a7a7a", "#c8553d", "#1f5fa8", "#2f8f5b", "#8a5fb0")
MEASURES = {"maj": "maj@k", "pass": "pass@k"}

DIFFERS = """In the paper models of 1.3 and 7 billion weights answer GSM8K and MATH, and a trained model judges
steps. Here one of 135 million adds numbers, and a rule judges (`reward=arithmetic_steps`): a line is right if it adds
what is given or was found before, the last line if the answer is right. RFT goes over samples of the model that all
arms start from, Online RFT over samples of the model as it is; the two differ in nothing else.
"""


def write(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes figure5.json, figure5.svg and figure5.md; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    data, picture, text = (folder / f"figure5.{suffix}" for suffix in ("json", "svg", "md"))
    data.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draw(result, picture)
    text.write_text(page(result), encoding="utf-8")
    return [data, picture, text]


def page(result: Mapping[str, Any]) -> str:
    """Returns the page."""
    b = result["budget"]
    samples = b["steps"] * b["groups_per_step"] * b["answers"]
    warm = result["warm"]
    start = (
        f"All arms start from one adapter that {warm} steps of supervised fine-tuning on {warm * b['groups_per_step']} "
        "worked sums made: the model does not write steps by itself. Its cost is the same for all.\n"
    )
    parts = [
        "# DeepSeekMath's Figures 5 and 7 at small scale\n",
        f"    {command(result)}\n",
        f"Each run goes over {samples:,} samples: {b['steps']} steps of {b['groups_per_step']} questions with "
        f"{b['answers']} answers each. {start}",
        f"Accuracy is that of greedy answers to {b['questions']} held-out questions; maj@k and pass@k are of "
        f"{b['samples']} answers drawn to {b['drawn_questions']} of them at temperature {b['temperature']}. Intervals "
        "are of 95%, "
        f"{_covers(b['seeds'])}\n",
        DIFFERS,
        "![accuracy against samples, maj@k and pass@k](figure5.svg)\n",
        "## Accuracy at an equal budget of samples\n",
        accuracies(result),
        "## What was claimed\n",
        "\n".join(f"- {sentence}" for sentence in verdicts(result)) + "\n",
        "All pairs, p by Holm over them:\n",
        pairs(result),
        "## maj@k and pass@k before and after\n",
        sampled(result),
        "\n".join(f"- {sentence}" for sentence in rises(result)) + "\n",
    ]
    return "\n".join(parts)


def command(result: Mapping[str, Any]) -> str:
    """Returns the command that made the results."""
    words = ("steps", "seeds", "questions", "evaluations", "samples", "drawn_questions")
    options = " ".join(f"--{word.replace('_', '-')} {result['budget'][word]}" for word in words)
    return f"python scripts/figure5.py {options}"


def accuracies(result: Mapping[str, Any]) -> str:
    """Returns the table of arms."""
    rows = [
        "| arm | before | after | by seed | groups all right or all wrong | generated tokens | trained tokens |",
        "|---|---:|---|---|---:|---:|---:|",
    ]
    for name, arm in result["arms"].items():
        runs = arm["runs"]
        totals = [f"{sum(run['totals'][key] for run in runs) / len(runs):,.0f}" for key in BILLS]
        each = ", ".join(f"{100 * run['curve'][-1][1]:.1f}" for run in runs)
        before = f"{100 * runs[0]['curve'][0][1]:.1f}%"
        alike = f"{sum(run['alike'] for run in runs) / len(runs):.0%}"
        rows.append(f"| {name} | {before} | {_share(arm['accuracy'])} | {each} | {alike} | {' | '.join(totals)} |")
    return "\n".join(rows) + "\n"


BILLS = ("generated_tokens", "trained_tokens")


def verdicts(result: Mapping[str, Any]) -> list[str]:
    """Returns what the results say of each claim."""
    said = []
    for claim, (better, other) in result["claims"].items():
        pair, sign = next(
            (pair, sign)
            for pair in result["pairs"]
            for sign, ends in ((1, (better, other)), (-1, (other, better)))
            if (pair["first"], pair["second"]) == ends
        )
        value, low, high = in_points(pair, sign)
        said.append(f'"{claim}": {_verdict(value, low, high, pair["holm"], result["budget"]["seeds"])}')
    return said


def in_points(estimate: Mapping[str, float], sign: int) -> tuple[float, float, float]:
    """Returns value, low and high in points, of the difference the other way round where the sign is -1."""
    low, high = sorted((sign * estimate["low"], sign * estimate["high"]))
    return 100 * sign * estimate["value"], 100 * low, 100 * high


def rises(result: Mapping[str, Any]) -> list[str]:
    """Returns what the results say of "maj@k rises more than pass@k" for each arm."""
    k, seeds = max(map(int, result["start"]["maj"])), result["budget"]["seeds"]
    said = []
    for name, arm in result["arms"].items():
        gains = " and ".join(f"{MEASURES[m][:-1]}{k} by {_points(arm['gain'][m])}" for m in MEASURES)
        value, low, high = in_points(arm["maj_over_pass"], 1)
        verdict = _verdict(value, low, high, arm["maj_over_pass"]["p"], seeds)
        said.append(f"{name} changes {gains}. That maj@{k} rises more than pass@{k}: {verdict}")
    return said


def pairs(result: Mapping[str, Any]) -> str:
    """Returns the table of pairs."""
    rows = ["| pair | difference, points [95%] | p (Holm) |", "|---|---|---:|"]
    rows += [f"| {p['first']} less {p['second']} | {_points(p)} | {p['holm']:.3f} |" for p in result["pairs"]]
    return "\n".join(rows) + "\n"


def sampled(result: Mapping[str, Any]) -> str:
    """Returns the table of maj@k and pass@k."""
    ks = sorted(map(int, result["start"]["maj"]))
    rows = ["| model | measure | " + " | ".join(f"k = {k}" for k in ks) + " |", "|---|---|" + "---|" * len(ks)]
    for name, curves in {"before": result["start"], **result["arms"]}.items():
        for measure, label in MEASURES.items():
            rows.append(f"| {name} | {label} | " + " | ".join(_share(curves[measure][str(k)]) for k in ks) + " |")
    return "\n".join(rows) + "\n"


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draws accuracy against samples, a thin line a run and a thick one their mean, and maj@k and pass@k."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # A fixed salt and no date: the same numbers give the same file.
    with pyplot.rc_context({"svg.hashsalt": path.name, "font.size": 9}):
        figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
        for place, (colour, (name, arm)) in enumerate(zip(COLOURS[1:], result["arms"].items(), strict=False)):
            _learning(axes[0], arm, colour, name, place)
        curves = {"before": result["start"], **result["arms"]}
        for axis, measure in zip(axes[1:], MEASURES, strict=True):
            for place, (colour, (name, arm)) in enumerate(zip(COLOURS, curves.items(), strict=False)):
                _over_k(axis, arm[measure], colour, name, place)
            ks = sorted(map(int, result["start"][measure]))
            axis.set_xscale("log", base=2)
            axis.set_xticks(ks, [str(k) for k in ks])
            axis.set_xlabel("k, answers drawn to a question")
            axis.set_ylabel(f"{MEASURES[measure]}, %")
        axes[0].set_xlabel("samples gone through")
        axes[0].set_ylabel("held-out accuracy, %, greedy")
        for axis in axes:
            axis.spines[["top", "right"]].set_visible(False)
        axes[1].legend(frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})
        pyplot.close(figure)


def _learning(axis: Any, arm: Mapping[str, Any], colour: str, name: str, place: int) -> None:
    curves = [run["curve"] for run in arm["runs"]]
    places = [samples for samples, _ in curves[0]]
    for curve in curves:
        axis.plot(places, [100 * accuracy for _, accuracy in curve], color=colour, linewidth=0.6, alpha=0.5)
    means = [100 * sum(curve[i][1] for curve in curves) / len(curves) for i in range(len(places))]
    axis.plot(places, means, color=colour, linewidth=1.8, label=name)
    _bar(axis, places[-1] * (1 + 0.03 * (place + 1)), arm["accuracy"], colour)


def _over_k(axis: Any, curve: Mapping[str, Any], colour: str, name: str, place: int) -> None:
    ks = sorted(map(int, curve))
    axis.plot(ks, [100 * curve[str(k)]["value"] for k in ks], "o-", markersize=3, color=colour, label=name)
    _bar(axis, ks[-1] * 2 ** (0.1 * (place + 1)), curve[str(ks[-1])], colour)


def _bar(axis: Any, x: float, estimate: Mapping[str, float], colour: str) -> None:
    """Draws an interval; those of several curves stand side by side, to the right of where the curves end."""
    value, low, high = (100 * estimate[key] for key in ("value", "low", "high"))
    bounds = [[value - low], [high - value]]
    axis.errorbar([x], [value], bounds, fmt="o", markersize=3, color=colour, capsize=2, linewidth=1)


def _verdict(value: float, low: float, high: float, p: float, seeds: int) -> str:
    numbers = f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"
    if seeds < SEEDS:
        return f"{numbers} for these runs; fewer than {SEEDS} seeds say nothing of other runs, and nothing is decided."
    if p < ALPHA:
        return f"{numbers}. The intervals {'agree' if value > 0 else 'disagree: it is the other way round'}."
    return (
        f"{numbers}. Not decided: the interval allows anything from {_much(low)} to {_much(high)}, and does not allow "
        f"more than that in either direction."
    )


def _much(points: float) -> str:
    return f"{abs(points):.1f} points {'better' if points >= 0 else 'worse'}"


def _covers(seeds: int) -> str:
    if seeds >= SEEDS:
        return f"over the draw of {seeds} seeds and that of the questions (`rlft.evaluation.crossed`)."
    return f"over the draw of the questions alone: seeds may differ by more ({seeds} of the {SEEDS} it takes to know)."


def _share(e: Mapping[str, float]) -> str:
    return f"{100 * e['value']:.1f}% [{100 * e['low']:.1f}, {100 * e['high']:.1f}]"


def _points(e: Mapping[str, float]) -> str:
    return f"{100 * e['value']:+.1f} [{100 * e['low']:+.1f}, {100 * e['high']:+.1f}]"


def main(words: Sequence[str]) -> None:
    """Writes the page beside a result."""
    if len(words) != 1:
        raise SystemExit(__doc__)
    file = Path(words[0])
    for written in write(json.loads(file.read_text(encoding="utf-8")), file.parent):
        print(written)


if __name__ == "__main__":
    main(sys.argv[1:])

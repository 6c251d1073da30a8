"""Parts 5 and 6: pass@k, and what may have got worse."""

from collections.abc import Sequence
from typing import Any

from rlft.comparison.harnessed import TITLE
from rlft.comparison.harnessed import table as harness_table
from rlft.comparison.web.method import Method, named
from rlft.report.chart import GREY, Frame, Line, Point, chart, legend
from rlft.report.curves import over_seeds
from rlft.report.frame import Section, about, notes, table
from rlft.report.markup import Html, el, join
from rlft.report.scale import percent, si
from rlft.train.plots import CHARTS, Chart

CARDS = "right cards"
WATCHED = ("kl", "completion_length/mean", "completion_length/cut_share", "entropy")
PANEL = tuple(spec for spec in CHARTS if spec.lines[0][0] in WATCHED)


def passes(result: dict[str, Any], known: list[Method]) -> Section:
    """Returns part 5: how often one of k sampled answers is right, where `rlft eval` has drawn some."""
    drawn = [(m.label, m.colour, sampled) for m in known if (sampled := m.entry["sampled"])]
    missing = [method.label for method in known if not method.entry["sampled"]]
    if not drawn:
        said = about(
            "No run has sampled answers: `rlft eval RUN_DIR eval.samples=8` of each run draws them, and the next "
            "`rlft compare` of the same runs shows them here."
        )
        return Section("passes", "pass@k", "pass@k", "", said)
    if result["base_sampled"]:
        drawn.append(("untrained model", GREY, result["base_sampled"]))
    lines = [Line(label, _by_k(sampled["pass_at"]), c, dashed=c == GREY) for label, c, sampled in drawn]
    ks = sorted({int(point.x) for line in lines for point in line.points})
    x_title = "k, answers drawn per question"
    ticks = [(float(k), str(k)) for k in ks]
    frame = Frame("pass@k", "share of questions", x_title, share=True, log=True, ticks=ticks)
    body = join(
        legend(lines),
        el("div", chart(frame, lines), class_="charts"),
        table(["", *(f"pass@{k}" for k in ks), "maj@n"], [[label, *_row(each, ks)] for label, _, each in drawn], CARDS),
        notes([f"No sampled answers: {', '.join(missing)}."] * bool(missing) + _unlike([each for *_, each in drawn])),
    )
    said = (
        "The share of questions of which one of k sampled answers is right, and that of which the most frequent answer "
        "is. Bands: of one seed the 95% interval over questions, of several from the lowest seed to the highest."
    )
    return Section("passes", "pass@k", "pass@k", said, body)


def _unlike(drawn: list[dict[str, Any]]) -> list[str]:
    """Returns how answers were drawn, or that they were not drawn alike."""
    how = drawn[0]["drawn"]
    if how is None or any(each["drawn"] != how for each in drawn):
        return [
            "Not all answers were drawn alike: the questions, the number of answers, their limit or how they were "
            "sampled differ, so that they do not compare."
        ]
    return [f"{how['samples']} answers to each question at temperature {how['temperature']:g}."]


def _by_k(measures: dict[str, dict[str, float]]) -> list[Point]:
    return [
        Point(int(k), m["value"], m["low"], m["high"], f"pass@{k}: {percent(m['value'])}")
        for k, m in sorted(measures.items(), key=lambda item: int(item[0]))
    ]


def _row(entry: dict[str, Any], ks: list[int]) -> list[str]:
    measures = [*(entry["pass_at"].get(str(k)) for k in ks), entry["maj_at"]]
    return [
        "–" if m is None else f"{percent(m['value'])} [{100 * m['low']:.1f}, {100 * m['high']:.1f}]" for m in measures
    ]


def regressions(result: dict[str, Any], known: list[Method]) -> Section:
    """Returns part 6: what may have got worse while accuracy rose."""
    parts = sorted({key for method in known for run in method.runs for key in run.curves if "part/format" in key})
    formats = [Chart("Format reward", "mean per completion", ((key, "format"),)) for key in parts]
    figures = [figure for spec in (*PANEL, *formats) if (figure := _panel(known, spec)) is not None]
    body = join(
        named(known) if figures else None,
        el("div", *figures, class_="charts"),
        el("h3", "Held-out answers before and after"),
        table(
            ("method", "tokens, mean", "cut off", "KL at the end, nats", "entropy, first and last step"),
            [[method.label, *_ends(method)] for method in known],
            CARDS,
        ),
        *_harness(result),
    )
    said = (
        "Over the steps, on the batches that were trained on: means over the seeds, bands from the lowest seed to the "
        "highest."
    )
    return Section("regressions", "Regressions", "Did anything get worse?", said, body)


def _harness(result: dict[str, Any]) -> list[Html]:
    """Returns what other tasks say, where runs have such results."""
    if not result["harness"]:
        return []
    headings, *lines = harness_table(result["harness"])
    return [el("h3", "Other tasks"), about(f"{TITLE}."), table(headings, lines, CARDS)]


def _panel(known: list[Method], spec: Chart) -> Html | None:
    ((key, _),) = spec.lines
    lines = [Line(m.label, over_seeds(m.runs, key), m.colour) for m in known]
    some = [line for line in lines if line.points]
    return chart(Frame(spec.title, spec.unit, "step", share=spec.share), some) if some else None


def _ends(method: Method) -> list[str]:
    before, after = ([run.answers(name) for run in method.runs] for name in ("before", "after"))
    lengths = [_mean([row["tokens"] for rows in some for row in rows.values() if "tokens" in row])
               for some in (before, after)]  # fmt: skip
    cut = [_mean([float(not row["finished"]) for rows in some for row in rows.values() if "finished" in row])
           for some in (before, after)]  # fmt: skip
    _, kl = _edges(method, "kl")
    first, last = _edges(method, "entropy")
    return [
        f"{_number(lengths[0])} → {_number(lengths[1])}",
        f"{percent(cut[0])} → {percent(cut[1])}",
        "–" if kl is None else si(kl),
        "–" if first is None or last is None else f"{si(first)} → {si(last)}",
    ]


def _edges(method: Method, key: str) -> tuple[float | None, float | None]:
    """Returns a metric at the first and the last step, means over the seeds."""
    curves = [run.curves[key][1] for run in method.runs if key in run.curves]
    return _mean([curve[0] for curve in curves]), _mean([curve[-1] for curve in curves])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"

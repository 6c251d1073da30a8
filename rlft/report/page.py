"""`report.html`: what one run came to, how it went, and what repeats it."""

import json
import shlex
from pathlib import Path
from typing import Any

from rlft.base import UserError
from rlft.base.nested import flat
from rlft.evaluation.pairs import sentence
from rlft.report import commands
from rlft.report.chart import Frame, Line, Point, chart, legend
from rlft.report.convergence import AGREEMENT, GRADIENT, NUMBERS, SIGNAL, convergence, numbers
from rlft.report.curves import STEPS, accuracy, money, over_seeds, thin
from rlft.report.files import Files
from rlft.report.flips import Side, flips
from rlft.report.frame import Section, about, command, document, folded, notes, table, tiles
from rlft.report.markup import Html, el, join
from rlft.report.samples import samples
from rlft.report.scale import duration, percent, si
from rlft.train.plots import CHARTS, Chart
from rlft.train.run_dir import write_text

FLIPS = 20
SHARES = Chart(
    "Signs of the coefficient",
    "share of tokens",
    (("gc/share_positive", "GC > 0"), ("gc/share_negative", "GC < 0"), ("gc/share_zero", "GC = 0")),
    share=True,
)
COEFFICIENT = (
    ("gc/mean_abs", "mean |GC| per token"),
    ("gc/share_positive", "share of tokens with GC > 0"),
    ("gc/share_negative", "share of tokens with GC < 0"),
    ("gc/share_zero", "share of tokens with GC = 0"),
    ("ratio/min", "least ratio π_θ/π_old"),
    ("ratio/max", "largest ratio π_θ/π_old"),
    ("ratio/clip_low", "share of tokens clipped below"),
    ("ratio/clip_high", "share of tokens clipped above"),
    ("sampler_gap", "|log p when sampled - log π_θ|, nats"),
    ("mismatch/mean", "mean weight against the sampler's mismatch"),
)


def write_report(run_dir: Path) -> Path:
    """Writes report.html into a run directory and returns its path. A run need not have finished.

    Raises:
        UserError: there is no such run directory, or one of its files is malformed.
    """
    if not (run_dir / "config.yaml").is_file():
        raise UserError(
            f"{run_dir} is not a run directory: it has no config.yaml; `rlft ls runs` lists those there are"
        )
    path = run_dir / "report.html"
    write_text(path, page(Files(run_dir)))
    return path


def page(run: Files) -> str:
    """Returns the page of one run."""
    recipe, seed = run.config.get("recipe", run.path.name), run.config.get("seed")
    model = run.summary.get("model") or flat(run.config).get("model.path")
    subtitle = f"{run.path} · model {model} · seed {seed} · {_state(run)}"
    return document(f"{recipe}: one run", subtitle, [
        _result(run), _curves(run), _convergence(run), _samples(run), _flips(run), _coefficients(run),
        _configuration(run), _environment(run), _commands(run),
    ])  # fmt: skip


def _state(run: Files) -> str:
    done = max((step for steps, _ in run.curves.values() for step in steps), default=0)
    wanted = flat(run.config).get("trainer.steps")
    status, steps = run.summary.get("status", "not finished"), run.summary.get("steps", done)
    budget = run.summary.get("budget") or {}
    if budget.get("unit"):
        spent = f"{money(budget['unit'], budget['spent'])} of {money(budget['unit'], budget['amount'])}"
        return f"{status} after {steps} steps, {spent} {budget['unit'].replace('_', ' ')}"
    return f"{status} after {steps} of {wanted} steps"


def _result(run: Files) -> Section:
    evaluated, totals = run.summary.get("eval") or {}, run.summary.get("totals") or {}
    figures: list[tuple[str, str, str]] = []
    remarks: list[str] = []
    if evaluated.get("accuracy_after") is not None:
        low, high = evaluated["interval"]
        before = f"before {percent(evaluated['accuracy_before'])} at the limit of "
        before += f"{evaluated.get('max_completion_tokens')} tokens, {percent(evaluated['accuracy_before_long'])} at "
        before += f"{evaluated.get('long_tokens')}"
        figures += [
            ("Held-out accuracy", percent(evaluated["accuracy_after"]), before),
            (
                "Difference",
                f"{100 * evaluated['difference']:+.1f} points",
                f"95%: {100 * low:+.1f} to {100 * high:+.1f}, paired over {evaluated['n']} questions, against the "
                "better of the two before",
            ),
            (
                "Cut off at the limit",
                percent(evaluated.get("cut_share_after")),
                f"before {percent(evaluated.get('cut_share_before'))}",
            ),
        ]
        remarks.append(
            "One seed: the interval covers the draw of the questions alone. "
            "`rlft compare` with three seeds of each method says which one wins."
        )
    if "pair_accuracy" in evaluated:
        figures += _pair_tiles(evaluated)
    if totals:
        figures += [
            ("Cost", f"{si(totals.get('flops', 0))} FLOPs", f"{duration(totals.get('seconds', 0))} of training"),
            (
                "Tokens",
                f"{si(totals.get('generated_tokens', 0))} generated",
                f"{si(totals.get('trained_tokens', 0))} trained on",
            ),
        ]
    if run.summary.get("peak_memory_bytes"):
        figures.append(("Peak memory", f"{run.summary['peak_memory_bytes'] / 1e9:.2f} GB", ""))
    body = join(el("p", _headline(run, evaluated), class_="headline"), tiles(figures), notes(remarks))
    return Section("result", "Result", "Result", "", body)


def _pair_tiles(evaluated: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Returns the tiles of a reward model."""
    named = (
        ("Held-out pair accuracy", evaluated),
        ("The weaker writer right", evaluated["right_from_weaker"]),
        ("The stronger writer right", evaluated["right_from_stronger"]),
    )
    return [
        (
            title,
            percent(part["pair_accuracy"]),
            f"95%: {percent(part['pair_interval'][0])} to {percent(part['pair_interval'][1])}, {part['n']} pairs of "
            f"{part['questions']} questions",
        )
        for title, part in named
        if part
    ]


def _headline(run: Files, evaluated: dict[str, Any]) -> str:
    method = run.summary.get("method") or run.config.get("recipe")
    if "pair_accuracy" in evaluated:
        return f"{method}: {sentence(evaluated)}."
    if evaluated.get("accuracy_after") is None:
        measured = "held-out accuracy is measured at the end" if run.summary.get("status") != "finished" else (
            "held-out accuracy was not measured (trainer.eval_size=0)"
        )  # fmt: skip
        return f"{method}: {_state(run)}; {measured}."
    low, high = evaluated["interval"]
    points = f"{100 * abs(evaluated['difference']):.1f} points"
    if low > 0:
        return f"{method} raised held-out accuracy by {points}, to {percent(evaluated['accuracy_after'])}."
    if high < 0:
        return f"{method} lowered held-out accuracy by {points}, to {percent(evaluated['accuracy_after'])}."
    return f"{method} made no difference to held-out accuracy that {evaluated['n']} questions could show."


def _curves(run: Files) -> Section:
    apart = (*filter(_of_the_coefficient, CHARTS), *filter(_of_the_gradient, CHARTS))
    drawn = [_chart(run, spec) for spec in (*(spec for spec in CHARTS if spec not in apart), *_parts(run))]
    shown = [figure for figure in drawn if figure is not None]
    body = el("div", *shown, class_="charts") if shown else about("No step has been logged.")
    said = "As logged at each step on the batch that was trained on; held-out accuracy where it was measured."
    return Section("curves", "Curves", "How it went", said, body)


def _of_the_coefficient(spec: Chart) -> bool:
    return spec.lines[0][0].startswith(("gc/", "ratio/"))


def _of_the_gradient(spec: Chart) -> bool:
    return spec.lines[0][0] == "grad_norm"


def _convergence(run: Files) -> Section:
    drawn = [_chart(run, spec) for spec in (*filter(_of_the_gradient, CHARTS), *AGREEMENT)]
    body = join(
        el("p", convergence(run.curves), class_="headline"),
        el("div", *(figure for figure in drawn if figure is not None), class_="charts"),
        table(NUMBERS, numbers(run.curves, GRADIENT), "right cards"),
    )
    return Section("convergence", "Convergence", "Is there still a signal?", SIGNAL, body)


def _parts(run: Files) -> list[Chart]:
    """Returns charts of what only some runs have: parts of the reward, the critic, the curriculum."""
    parts = [key for key in run.curves if key.startswith("reward/part/")]
    # Of a curriculum's numbers those of single buckets (curriculum/pass_rate/3) are for metrics.jsonl alone.
    others = [key for key in run.curves if key.startswith(("critic/", "curriculum/")) and key.count("/") == 1]
    found = [Chart("Parts of the reward", "mean", tuple((k, k.removeprefix("reward/part/")) for k in parts))]
    found += [Chart(key.replace("/", ": "), "", ((key, key),)) for key in others]
    return found if len(parts) > 1 else found[1:]


def _chart(run: Files, spec: Chart) -> Html | None:
    if spec.lines[0][0] == "eval/accuracy":
        lines = [Line("accuracy", accuracy([run], STEPS))]
    else:
        lines = [Line(label, over_seeds([run], key), number) for number, (key, label) in enumerate(spec.lines)]
    lines = [line for line in lines if line.points]
    if not lines:
        return None
    if spec.band in run.curves and spec.lines[0][0] in run.curves:
        lines[0] = Line(lines[0].label, _within(run, spec.lines[0][0], spec.band), lines[0].colour)
    frame = Frame(spec.title, spec.unit, "step", share=spec.share)
    return el("div", chart(frame, lines), legend(lines) if len(lines) > 1 or spec.band in run.curves else None)


def _within(run: Files, metric: str, band: str) -> list[Point]:
    """Returns a curve within its standard deviation to either side."""
    width = dict(zip(*run.curves[band], strict=True))
    rows = [(step, y, width.get(step, 0.0)) for step, y in zip(*run.curves[metric], strict=True)]
    return thin([Point(step, y, y - w, y + w, f"step {step}: {si(y)} ±{si(w)}") for step, y, w in rows])


def _samples(run: Files) -> Section:
    said = "Of the first prompts of a step the completion with the highest reward and the one with the lowest."
    body = samples(run) or about("samples.jsonl holds no completion.")
    return Section("samples", "Samples", "What it wrote", said, body)


def _flips(run: Files) -> Section:
    after, before = Side("the trained model", run.answers("after")), Side("the untrained model", run.answers("before"))
    said = "Held-out questions that the model answered rightly after training and not before, or the other way round."
    return Section("flips", "Flipped", "Questions that flipped", said, flips(after, before, FLIPS))


def _coefficients(run: Files) -> Section:
    drawn = [_chart(run, spec) for spec in (SHARES, *filter(_of_the_coefficient, CHARTS))]
    body = join(
        el("div", *(figure for figure in drawn if figure is not None), class_="charts"),
        table(NUMBERS, numbers(run.curves, COEFFICIENT), "right cards"),
    )
    said = "GC is what each token's ∇ log π is multiplied by; the update is Σ w · GC · ∇ log π."
    return Section("coefficients", "Coefficients", "The gradient coefficient", said, body)


def _configuration(run: Files) -> Section:
    targets = {
        key: value for key, value in flat(run.config).items() if key.endswith("_target_") and key.count(".") == 1
    }
    lines = [[key.removesuffix("._target_"), str(value)] for key, value in targets.items()]
    body = join(
        table(("part", "class"), lines, "settings"),
        folded("config.yaml: every value, as it was frozen", el("pre", run.config_text)),
    )
    return Section("configuration", "Configuration", "Configuration", "", body)


def _environment(run: Files) -> Section:
    known = {key: value for key, value in flat(run.environment).items() if value is not None and key != "command"}
    lines = [[key, value if isinstance(value, str) else json.dumps(value)] for key, value in known.items()]
    body = folded("versions, machine, commit, hashes", table(("", ""), lines, "settings"))
    said = "What a repetition has to match for the same numbers."
    return Section("environment", "Environment", "Environment", said, body)


def _commands(run: Files) -> Section:
    folder = shlex.quote(str(run.path))
    known: list[tuple[str, str | None]] = [
        ("As it was started:", commands.typed(run.environment)),
        ("Again, from its frozen recipe:", commands.again(run)),
        ("Go on with it:", None if run.summary.get("status") == "finished" else commands.on(run, "resume")),
        ("Ask it the held-out questions once more:", commands.on(run, "eval")),
        ("Write this page anew:", f"rlft report {folder}"),
    ]
    body = join(*(join(el("p", what), command(line)) for what, line in known if line is not None))
    return Section("commands", "Commands", "Repeat it", "", body)

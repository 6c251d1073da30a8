"""What a person sees while a run trains: a live panel on a terminal, one plain line per step elsewhere.

There is no loss to show: the update is Σ w·GC·∇log π. The panel shows the terms the update is made of.
"""

from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel as Box
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rlft.train.sparks import sparks

Metrics = Mapping[str, float]

RECENT_STEPS = 20  # the mean over these smooths the estimate of what is left
INSTANT = 1e-3  # seconds, too few to draw a token in
SPARKS = 48  # steps of the gradient's curves, which stand beside their names on a narrow screen
GRADIENT = (("‖g‖", "grad_norm"), ("‖∇J‖, estimate", "grad_signal"), ("noise floor", "grad_noise_floor"))
SAMPLE_CHARACTERS = 600  # of a prompt or a completion; more would push the numbers off the screen


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f}%" if value == 0 or value >= 0.01 else f"{100 * value:.2g}%"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _reward(m: Metrics) -> str:
    return _number(m["reward/mean"]) + (f" ±{_number(m['reward/std'])}" if "reward/std" in m else "")


def _rate(tokens: str, seconds: str) -> Callable[[Metrics], str]:
    """Of a step that drew nothing there is no rate; what was drawn before the first one is in that one's count, though
    its seconds are not."""
    return lambda m: f"{_number(m[tokens] / m[seconds])} tok/s" if m[tokens] and m[seconds] > INSTANT else "–"


# label, the keys it cannot do without, and its text. Order is that of the screen.
CELLS: tuple[tuple[str, tuple[str, ...], Callable[[Metrics], str]], ...] = (
    ("reward", ("reward/mean",), _reward),
    ("accuracy", ("eval/accuracy",), lambda m: _percent(m["eval/accuracy"])),
    ("KL", ("kl",), lambda m: f"{_number(m['kl'])} nats"),
    ("log π/π_ref", ("log_ratio",), lambda m: f"{_number(m['log_ratio'])} nats"),
    ("KL to the teacher", ("kl_teacher",), lambda m: f"{_number(m['kl_teacher'])} nats"),
    ("entropy", ("entropy",), lambda m: f"{_number(m['entropy'])} nats"),
    (
        "clipped low/high",
        ("ratio/clip_low", "ratio/clip_high"),
        lambda m: f"{_percent(m['ratio/clip_low'])}/{_percent(m['ratio/clip_high'])}",
    ),
    ("β", ("kl/beta",), lambda m: _number(m["kl/beta"])),
    ("ESS", ("ess", "ratio/min"), lambda m: _percent(m["ess"])),
    ("grad norm", ("grad_norm",), lambda m: _number(m["grad_norm"])),
    ("cosine with last", ("grad_cosine",), lambda m: _number(m["grad_cosine"])),
    ("SNR", ("grad_snr",), lambda m: _number(m["grad_snr"])),
    ("at noise floor since", ("noise_floor_since",), lambda m: f"step {m['noise_floor_since']:.0f}"),
    ("|GC|", ("gc/mean_abs",), lambda m: _number(m["gc/mean_abs"])),
    ("GC = 0", ("gc/share_zero",), lambda m: _percent(m["gc/share_zero"])),
    (
        "groups all right/wrong",
        ("group/all_right", "group/all_wrong"),
        lambda m: f"{_percent(m['group/all_right'])}/{_percent(m['group/all_wrong'])}",
    ),
    ("acceptance", ("acceptance",), lambda m: _percent(m["acceptance"])),
    ("resampled", ("group/resampled",), lambda m: f"{m['group/resampled']:.0f} groups"),
    ("length", ("completion_length/mean",), lambda m: f"{_number(m['completion_length/mean'])} tok"),
    ("cut off", ("completion_length/cut_share",), lambda m: _percent(m["completion_length/cut_share"])),
    ("rollout", ("tokens/generated", "time/rollout_s"), _rate("tokens/generated", "time/rollout_s")),
    ("update", ("tokens/trained", "time/update_s"), _rate("tokens/trained", "time/update_s")),
    ("peak memory", ("memory/peak_bytes",), lambda m: f"{m['memory/peak_bytes'] / 1e9:.2f} GB"),
)


def cells(metrics: Metrics) -> list[tuple[str, str]]:
    """Returns (label, text) pairs for the metrics that are there, in the order of the screen.

    >>> cells({"kl": 0.0125, "reward/part/format": 0.5, "tokens/generated": 600.0, "time/rollout_s": 2.0})
    [('KL', '0.0125 nats'), ('rollout', '300 tok/s'), ('format', '0.5')]
    """
    shown = [(label, text(metrics)) for label, keys, text in CELLS if all(key in metrics for key in keys)]
    parts = [key for key in metrics if key.startswith("reward/part/")]
    # Of a curriculum's numbers those of single buckets (curriculum/pass_rate/3) are for metrics.jsonl alone.
    others = [key for key in metrics if key.startswith(("critic/", "curriculum/")) and key.count("/") == 1]
    shown += [(key.removeprefix("reward/part/"), _number(metrics[key])) for key in parts]
    return shown + [(key.replace("/", " ").replace("_", " "), _number(metrics[key])) for key in others]


class Panel:
    """The display of one run, used as a context manager.

    On a terminal it redraws one panel in place; elsewhere it prints a line per step, so that a log file stays legible.
    """

    def __init__(self, console: Console, goal: int | str, head: str) -> None:
        """Prepares the display.

        Args:
            console: where to draw; its `is_terminal` decides between panel and lines.
            goal: the steps of the whole run, those done before a resume included; or a budget in words.
            head: the run's triple, on top of the panel; a log has it in its first line already.
        """
        self._console = console
        self._goal = goal
        self._share = 0.0
        self._head = head
        self._metrics: Metrics = {}
        self._done = 0
        self._seconds: deque[float] = deque(maxlen=RECENT_STEPS)
        self._gradients: deque[Metrics] = deque(maxlen=SPARKS)
        self._sample: Text | None = None
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(self._draw(), console=self._console, refresh_per_second=4)
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def step(self, metrics: Metrics, done: int, spent: float = 0.0) -> None:
        """Shows a step's metrics (the keys of metrics.jsonl; those missing are not shown). `done` steps are behind, and
        `spent`, of a budget, is the share that is gone."""
        self._metrics, self._done = metrics, done
        self._share = done / self._goal if isinstance(self._goal, int) else spent
        if "time/step_s" in metrics:
            self._seconds.append(metrics["time/step_s"])
        self._gradients.append({key: metrics[key] for _, key in GRADIENT if key in metrics})
        if self._live is not None:
            self._live.update(self._draw(), refresh=True)
            return
        texts = [f"{label} {text}" for label, text in cells(metrics)]
        left = self._left()
        self._line(" · ".join([self._where(), *texts, *([f"ETA {left}"] if left else [])]))

    def note(self, text: str) -> None:
        """Prints a line that stays, above the panel."""
        self._line(text)

    def sample(self, prompt: str, completion: str, reward: float) -> None:
        """Shows one completion, its prompt and its reward."""
        text = Text(_shorten(prompt), style="dim")
        text.append("\n" + _shorten(completion), style="default not dim")
        text.append(f"\nreward {_number(reward)}", style="bold not dim")
        self._sample = text
        if self._live is not None:
            self._live.update(self._draw(), refresh=True)
            return
        self._line("\n".join("  | " + line for line in text.plain.splitlines()))

    def _line(self, text: str) -> None:
        # soft_wrap: a log's lines are not broken at 80 columns. Nothing in the text is markup: samples may hold [/].
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)

    def _left(self) -> str | None:
        """Returns the time to the end, from the mean duration of the latest steps."""
        if not self._seconds or not 0 < self._share < 1:
            return None
        return _duration(self._done * (1 / self._share - 1) * sum(self._seconds) / len(self._seconds))

    def _where(self) -> str:
        if isinstance(self._goal, int):
            return f"step {self._done}/{self._goal}"
        return f"step {self._done} · {_percent(self._share)} of {self._goal}"

    def _draw(self) -> Box:
        left = self._left()
        progress = Table.grid(padding=(0, 2), expand=True)
        progress.add_column(no_wrap=True)
        progress.add_column(ratio=1)
        progress.add_column(no_wrap=True)
        progress.add_row(
            self._where(),
            ProgressBar(total=1.0, completed=min(1.0, self._share)),
            f"ETA {left}" if left else "",
        )
        shown = cells(self._metrics)
        columns = 3 if self._console.width >= 96 else 2
        numbers = Table.grid(padding=(0, 2), expand=True)
        for _ in range(columns):
            numbers.add_column(style="dim", no_wrap=True)
            numbers.add_column(style="bold", ratio=1, no_wrap=True)
        rows = -(-len(shown) // columns)
        for row in range(rows):
            numbers.add_row(*(Text(word) for pair in shown[row::rows] for word in pair))
        parts: list[Table | Text | Box] = [Text(self._head, style="italic"), progress, numbers]
        if "grad_signal" in self._metrics:
            parts.append(self._convergence())
        if self._sample is not None:
            parts.append(Box(self._sample, title="sample", title_align="left", border_style="dim"))
        return Box(Group(*parts), title="rlft", title_align="left", border_style="cyan")

    def _convergence(self) -> Table:
        """‖g‖, the estimate of ‖∇J‖ and its noise floor over the latest steps, on one scale."""
        curves = sparks([[step.get(key) for step in self._gradients] for _, key in GRADIENT], SPARKS)
        grid = Table.grid(padding=(0, 2))
        for (label, key), curve in zip(GRADIENT, curves, strict=True):
            value = _number(self._metrics[key]) if key in self._metrics else ""
            grid.add_row(Text(label, style="dim"), Text(curve, style="cyan"), Text(value, style="bold"))
        return grid


def _shorten(text: str) -> str:
    text = text.strip()
    return text if len(text) <= SAMPLE_CHARACTERS else text[: SAMPLE_CHARACTERS - 2] + " …"

"""The display: what is shown on a terminal and in a log."""

import io

import pytest
from rich.console import Console

from rlft.train.panel import SAMPLE_CHARACTERS, Panel, cells

METRICS = {
    "step": 3,
    "reward/mean": 0.4375,
    "reward/std": 0.25,
    "reward/part/format": 0.5,
    "kl": 0.0125,
    "entropy": 1.5,
    "ratio/clip_low": 0.0,
    "ratio/clip_high": 0.02,
    "gc/mean_abs": 0.75,
    "gc/share_zero": 0.125,
    "grad_norm": 0.8,
    "completion_length/mean": 8.25,
    "completion_length/cut_share": 0.05,
    "group/all_right": 0.25,
    "group/all_wrong": 0.5,
    "tokens/generated": 600,
    "tokens/trained": 500,
    "time/step_s": 4.0,
    "time/rollout_s": 2.0,
    "time/update_s": 0.5,
    "memory/peak_bytes": 2.5e9,
}


def plain() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=80)


def terminal(width: int = 120) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=40, _environ={"TERM": "xterm"})


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_step_is_one_plain_line_without_a_terminal() -> None:
    console = plain()
    with Panel(console, goal=10, head="data online · chain_sum   reward math_answer") as panel:
        panel.step(METRICS, done=4)
    (line,) = written(console).splitlines()
    # by hand: 600 tok / 2 s = 300 tok/s; 500 / 0.5 = 1,000 tok/s; 6 steps left of 4 s each = 24 s
    assert line == (
        "step 4/10 · reward 0.438 ±0.25 · KL 0.0125 nats · entropy 1.5 nats · clipped low/high 0%/2% · grad norm 0.8 · "
        "|GC| 0.75 · GC = 0 12% · groups all right/wrong 25%/50% · length 8.25 tok · cut off 5% · rollout 300 tok/s · "
        "update 1,000 tok/s · peak memory 2.50 GB · format 0.5 · ETA 0:24"
    )


GRADIENT = {
    "grad_norm": 0.8, "grad_signal": 0.2, "grad_noise_floor": 0.4, "grad_cosine": 0.125, "grad_snr": 0.0625,
    "noise_floor_since": 31.0, "ess": 0.5, "acceptance": 0.25, "kl/beta": 0.04,
}  # fmt: skip


def test_what_is_said_of_the_gradient() -> None:
    assert cells(GRADIENT) == [
        ("β", "0.04"), ("grad norm", "0.8"), ("cosine with last", "0.125"), ("SNR", "0.0625"),
        ("at noise floor since", "step 31"), ("acceptance", "25%"),
    ]  # fmt: skip
    assert ("ESS", "50%") in cells({**GRADIENT, "ratio/min": 0.9}), "only where a ratio is not 1 by definition"


def test_the_gradient_s_curves_are_on_the_live_panel() -> None:
    """From 0 to 0.8: full height for the norm, a quarter for the estimate of the second step, half for its floor."""
    console = terminal()
    with Panel(console, goal=10, head="the triple") as panel:
        panel.step({"grad_norm": 0.4}, done=1)
        assert "noise floor" not in written(console)
        panel.step(GRADIENT, done=2)
    text = written(console)
    for line in (("‖g‖", "▄█", "0.8"), ("‖∇J‖, estimate", " ▂", "0.2"), ("noise floor", " ▄", "0.4")):
        assert all(word in text for word in line)


def test_missing_metrics_are_not_shown() -> None:
    console = plain()
    with Panel(console, goal=2, head="head") as panel:
        panel.step({"reward/mean": 1.0, "tokens/generated": 5.0}, done=1)
    assert written(console).splitlines()[0] == "step 1/2 · reward 1"


@pytest.mark.parametrize(("tokens", "seconds"), [(31_000.0, 0.0003), (0.0, 0.2), (0.0, 0.0)])
def test_a_step_that_draws_nothing_has_no_rate(tokens: float, seconds: float) -> None:
    assert cells({"tokens/generated": tokens, "time/rollout_s": seconds}) == [("rollout", "–")]


def test_every_number_is_on_the_live_panel() -> None:
    console = terminal()
    with Panel(console, goal=10, head="the triple") as panel:
        panel.step(METRICS, done=4)
        panel.sample("What is 1 + 1?", "[bold]2[/bold]", 1.0)
        panel.note("checkpoint saved")
    text = written(console)
    for label, value in cells(METRICS):
        assert label in text and value in text
    for word in ("the triple", "step 4/10", "ETA 0:24", "What is 1 + 1?", "[bold]2[/bold]", "checkpoint saved"):
        assert word in text


def test_a_narrow_terminal_still_shows_every_label() -> None:
    console = terminal(width=80)
    with Panel(console, goal=10, head="the triple") as panel:
        panel.step(METRICS, done=4)
    text = written(console)
    assert all(label in text for label, _ in cells(METRICS))


def test_a_sample_is_not_markup_and_is_shortened_visibly() -> None:
    console = plain()
    with Panel(console, goal=1, head="head") as panel:
        panel.sample("[/] question", "x" * (2 * SAMPLE_CHARACTERS), 0.5)
    prompt, completion, reward = written(console).splitlines()
    assert prompt == "  | [/] question"
    assert completion.endswith(" …") and len(completion) == SAMPLE_CHARACTERS + len("  | ")
    assert reward == "  | reward 0.5"


def test_the_estimate_uses_the_latest_steps_and_ends_with_the_run() -> None:
    console = plain()
    with Panel(console, goal=100, head="head") as panel:
        panel.step({"time/step_s": 1000.0}, done=1)  # compilation, say
        for done in range(2, 22):
            panel.step({"time/step_s": 3.0}, done=done)
        panel.step({"time/step_s": 3.0}, done=100)
    lines = written(console).splitlines()
    assert lines[20].endswith("ETA 3:57")  # 79 steps of 3 s
    assert lines[21] == "step 100/100"


def test_a_failure_inside_is_not_swallowed_and_the_display_ends() -> None:
    console = terminal()
    panel = Panel(console, goal=1, head="head")
    with pytest.raises(ZeroDivisionError), panel:
        raise ZeroDivisionError
    before = written(console)
    panel.note("after")
    assert written(console) == before + "after\n"  # a display still live would redraw itself below the line

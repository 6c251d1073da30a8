"""What is said of gradients, where signal and noise are known."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rlft.train.diagnostics import COORDINATES, Diagnostics
from rlft.train.noise_floor import LEAST, WINDOW, floor_since, signal

WEIGHTS = 60  # over which the noise is spread


def follow(
    true: Callable[[Tensor], Tensor], steps: int, seed: int = 0, rate: float = 0.0, start: float = 0.0
) -> tuple[list[dict[str, Any]], list[float]]:
    """Returns the metrics of gradient ascent with noise of variance 1 in each weight, and ‖∇J‖²/tr Σ at each step."""
    draw = torch.Generator().manual_seed(seed)
    weights, diagnostics = torch.full((WEIGHTS,), start, dtype=torch.float64), Diagnostics()
    said: list[dict[str, Any]] = []
    snr: list[float] = []
    for step in range(1, steps + 1):
        exact = true(weights)
        gradient = exact + torch.randn(WEIGHTS, generator=draw, dtype=torch.float64)
        diagnostics.take([gradient])
        said.append(diagnostics.metrics(step))
        snr.append(float(exact @ exact) / WEIGHTS)
        weights = weights + rate * gradient
    return said, snr


def uphill(snr: float) -> Callable[[Tensor], Tensor]:
    """A slope that never ends."""
    return lambda weights: torch.full_like(weights, snr**0.5)


def test_by_hand() -> None:
    """Gradients (3, 4), (4, 3), (0, 2): cosines 24/25 and 6/10. m is (3, 4)/5, then 0.9·(3, 4)/5 + (4, 3)/5 over 1.9,
    that is (6.7, 6.6)/9.5, so that the products are 24/25 and 6.6/9.5."""
    diagnostics = Diagnostics()
    for step, gradient in enumerate([(3.0, 4.0), (4.0, 3.0), (0.0, 2.0)], 1):
        diagnostics.take([torch.tensor(gradient[:1]), torch.tensor(gradient[1:])])
        expected = [None, 24 / 25, 0.6][step - 1]
        assert diagnostics.metrics(step)["grad_cosine"] == (expected and pytest.approx(expected))
    assert diagnostics.steps == [2, 3] and diagnostics.norms == [5.0, 2.0]
    assert diagnostics.products == pytest.approx([24 / 25, 6.6 / 9.5], rel=1e-6)


def test_several_optimiser_steps_of_a_batch_count_as_their_mean() -> None:
    one, several = Diagnostics(), Diagnostics()
    for step in (1, 2):
        one.take([torch.tensor([1.0, float(step)])])
        several.take([torch.tensor([0.0, float(step)])])
        several.take([torch.tensor([2.0, float(step)])])
        assert one.metrics(step) == several.metrics(step)
    assert one.products == several.products == [pytest.approx(3 / 10**0.5)]  # of (1, 1) and (1, 2)


def test_a_gradient_of_nought_has_no_direction_and_is_left_out() -> None:
    diagnostics = Diagnostics()
    cosines = []
    for step, value in enumerate([0.0, 2.0, 0.0, 1.0], 1):
        diagnostics.take([torch.full((3,), value)])
        cosines.append(diagnostics.metrics(step)["grad_cosine"])
    assert cosines == [None, None, None, pytest.approx(1.0)]
    assert diagnostics.steps == [4]


@pytest.mark.parametrize("snr", [0.1, 0.5, 2.0])
def test_signal_and_noise_are_those_there_are(snr: float) -> None:
    """‖∇J‖² = 60·snr, tr Σ = 60, over runs that are independent; the mean of 20 products is off by a few percent."""
    runs = [follow(uphill(snr), 60, seed)[0][-1] for seed in range(20)]
    found = sum(run["grad_signal"] ** 2 for run in runs) / len(runs)
    assert found == pytest.approx(WEIGHTS * snr, rel=0.15)
    assert sum(run["grad_snr"] for run in runs) / len(runs) == pytest.approx(snr, rel=0.15)


def test_noise_alone_is_above_the_floor_once_in_twenty_times() -> None:
    """Of 400 separate windows 20 are to be expected, ±9 for two standard deviations."""
    above = 0
    for seed in range(20):
        said = follow(uphill(0.0), 1 + 20 * WINDOW, seed)[0]
        above += sum(run["grad_signal"] > run["grad_noise_floor"] for run in said[WINDOW::WINDOW])
    assert 8 <= above <= 32


@pytest.mark.parametrize("seed", range(8))
def test_a_run_that_climbs_is_never_said_to_be_at_the_floor(seed: int) -> None:
    said, _ = follow(uphill(0.1), 250, seed)
    assert {run["noise_floor_since"] for run in said} == {None}
    assert said[100]["grad_signal"] > said[100]["grad_noise_floor"]


def test_a_few_long_gradients_do_not_drown_the_others() -> None:
    """Every fourth is fifty times as long, and all noise; the others have a signal of half the noise."""
    draw, diagnostics = torch.Generator().manual_seed(0), Diagnostics()
    said: dict[str, Any] = {}
    for step in range(1, 101):
        noise = torch.randn(WEIGHTS, generator=draw, dtype=torch.float64)
        diagnostics.take([50 * noise if step % 4 == 0 else noise + 0.5**0.5])
        said = diagnostics.metrics(step)
    assert said["grad_signal"] > said["grad_noise_floor"] and said["noise_floor_since"] is None


@pytest.mark.parametrize("seed", range(5))
def test_a_run_that_converges_is_said_to_after_it_has_and_not_before(seed: int) -> None:
    """J = -½‖θ‖², from where the signal is 25 times the noise; SGD comes to rest where it is 1/19 or so;
    of the steps on the way there, a fiftieth of the signal or less, the test lets in a few."""
    said, snr = follow(lambda weights: -weights, 200, seed, rate=0.1, start=5.0)
    since = [run["noise_floor_since"] for run in said]
    first = next(step for step, value in enumerate(since, 1) if value is not None)
    assert LEAST < first < 100
    assert since[first - 1] is not None and snr[since[first - 1] - 1] < 0.5
    assert all(value is None for value, ratio in zip(since, snr, strict=True) if ratio > 0.3)
    assert since[-1] is not None and since[-1] < 60


def test_a_run_that_goes_on_climbing_is_not_at_the_floor_any_more() -> None:
    flat = [(-1.0) ** n for n in range(100)]
    steps = list(range(3, 103))
    assert floor_since(steps, flat) == 3
    assert floor_since([*steps, *range(103, 123)], flat + [1 + 0.1 * (-1) ** n for n in range(20)]) is None
    assert floor_since(steps[: LEAST - 1], flat[: LEAST - 1]) is None
    assert floor_since(steps[:LEAST], flat[:LEAST]) == 3


def test_the_stretch_begins_where_the_signal_ends() -> None:
    """Sixty products of a strong signal, then sixty without: with three of the former a window is above its floor
    (mean 7.5, sd 18.3, floor 7.1), with two it is not; the last such window ends at the 77th."""
    products = [50 + (-1.0) ** n for n in range(60)] + [(-1.0) ** n for n in range(60)]
    assert floor_since(list(range(1, 121)), products) == 78


def test_overshooting_does_not_hide_the_climb_before_it() -> None:
    """All steps together have no signal; those of the climb have one."""
    products = [0.3 + 0.01 * (-1) ** n for n in range(20)] + [-0.2 + 0.1 * (-1) ** n for n in range(50)]
    since = floor_since(list(range(70)), products)
    assert since is not None and 20 <= since < 20 + WINDOW


def test_the_floor_is_students() -> None:
    """t(0.95; 3) = 2.3534; the products 1, 2, 3, 6 have mean 3 and sd √(14/3)."""
    mean, floor = signal([1.0, 2.0, 3.0, 6.0])
    assert mean == 3 and floor == pytest.approx(2.35336 * math.sqrt(14 / 3) / 2, rel=1e-5)
    assert signal([1e6] * 5 + [1.0, 3.0] * (WINDOW // 2))[0] == 2, "only the latest count"


def test_of_very_many_weights_some_stand_for_all() -> None:
    """Twice as many as are kept: every third is, for three."""
    diagnostics = Diagnostics()
    gradient = torch.ones(2, COORDINATES)
    for step in (1, 2):
        diagnostics.take([gradient])
        assert diagnostics.sum is not None and diagnostics.sum.numel() <= COORDINATES
        cosine = diagnostics.metrics(step)["grad_cosine"]
    assert cosine == pytest.approx(1.0)
    assert diagnostics.norms == [pytest.approx((2 * COORDINATES) ** 0.5, rel=1e-3)]


def test_it_goes_on_where_it_was() -> None:
    draw = torch.Generator().manual_seed(0)
    gradients = [torch.randn(33, generator=draw) for _ in range(60)]
    whole, halves = Diagnostics(), Diagnostics()
    for step, gradient in enumerate(gradients):
        if step == 30:
            state, halves = halves.state_dict(), Diagnostics()
            halves.load_state_dict(state)
        for diagnostics in (whole, halves):
            diagnostics.take([gradient])
        assert whole.metrics(step) == halves.metrics(step)

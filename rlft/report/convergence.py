"""What a run's gradients say: whether there was still a signal in them at the end, in words and numbers."""

from collections.abc import Mapping

from rlft.train.noise_floor import LEAST
from rlft.train.plots import Chart, Curve

SIGNAL = (
    "A batch's gradient g is ∇J and noise. How far it goes along the mean of those before it shows how long ∇J is, for "
    "the noise of one batch has nothing to do with that of another. Without a signal the estimate stays below the "
    "noise floor in 19 of 20 cases."
)
AGREEMENT = (
    Chart("Signal to noise", "of a batch's gradient", (("grad_snr", "signal to noise"),)),
    Chart("Cosine with the last step", "of the two gradients", (("grad_cosine", "cosine"),)),
)
GRADIENT = (
    ("grad_norm", "gradient norm before clipping"),
    ("grad_signal", "estimate of ‖∇J‖"),
    ("grad_noise_floor", "noise floor"),
    ("grad_snr", "signal to noise"),
    ("grad_cosine", "cosine with the last step's gradient"),
    ("ess", "effective sample size, share of completions"),
    ("acceptance", "acceptance, share of sampled completions"),
    ("kl/beta", "β as the controller set it"),
)
NUMBERS = ("", "first step", "mean", "last step", "least", "most")


def numbers(curves: Mapping[str, Curve], metrics: tuple[tuple[str, str], ...]) -> list[list[str]]:
    """Returns a row for each metric (key, name) that there is, under the heads `NUMBERS`."""
    rows: list[list[str]] = []
    for key, name in metrics:
        if key in curves:
            values = curves[key][1]
            row = (values[0], sum(values) / len(values), values[-1], min(values), max(values))
            rows.append([name, *(f"{value:.4g}" for value in row)])
    return rows


def convergence(curves: Mapping[str, Curve]) -> str:
    """Returns whether the run was at the noise floor when it ended, and since when."""
    last = max((step for steps, _ in curves.values() for step in steps), default=0)
    steps, since = curves.get("noise_floor_since", ([], []))
    if steps and steps[-1] == last:
        return (
            f"At the noise floor since step {since[-1]:.0f}: up to step {last} there is no direction in which the "
            "gradients agree more than by chance. A larger batch or a smaller learning rate may show one."
        )
    signals, floors = (
        dict(zip(*curves.get(key, ([], [])), strict=True)) for key in ("grad_signal", "grad_noise_floor")
    )
    if last not in signals:
        return "There are too few steps to tell a signal from noise."
    if signals[last] > floors[last]:
        found, chance = signals[last], floors[last]
        return f"Not at the noise floor: at step {last} ‖∇J‖ is about {found:.2g}, where the floor is {chance:.2g}."
    return (
        f"No signal is seen at step {last}, where the floor is {floors[last]:.2g}, but to say that there is none takes "
        f"{LEAST} steps."
    )

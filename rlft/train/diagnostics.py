"""What each step's gradient is worth: whether it agrees with those before it, and whether there is a signal in it.

Let G be the gradient that a batch gives, ∇J its mean over all batches that could have been drawn, u = G/‖G‖, and m the
exponentially weighted mean of u over the batches before. A batch is drawn anew, so that given all that was before

    E⟨u, m⟩ = ⟨E u, m⟩

which is about κ = ‖E u‖² while the direction turns slowly over the ten batches or so that m remembers, and 0 where E u
is 0. Where the length of G has nothing to do with its direction, ∇J = E‖G‖·E u, so that √κ·E‖G‖ is ‖∇J‖. Signal to
noise is κ/(1-κ), ‖∇J‖²/tr Σ where lengths vary little, Σ the covariance of G. Its inverse is how many times larger a
batch would have to be for as much signal as noise, B_simple/B of McCandlish et al. (arXiv 1812.06162, section 2.2).
They compare two batch sizes within a step (A.1); here a batch may go through the model in one piece, so that what it is
compared with are earlier steps. Lengths are left out of the products because a few very long gradients, which clipping
shortens before they move anything, would drown all others.

Where E u is 0 the products are martingale differences: of mean 0 and uncorrelated, whatever the noise is like. A t test
on them is the convergence diagnostic of Pflug (1990; Chee and Toulis, arXiv 1710.06382), who take the last gradient for
m. The mean of several has 1/19 of its variance, so that a weaker signal is seen. Around an optimum steps overshoot, and
the products turn negative: that is no signal either.
"""

from typing import Any

import torch
from torch import Tensor

from rlft.train.noise_floor import WINDOW, floor_since, signal

DECAY = 0.9
COORDINATES = 2**23  # at most so many of a gradient are kept, twice: all of an adapter's, 64 MiB of a whole model's
FEWEST = 5  # products for an estimate
_STATE = ("last", "mean", "seen", "steps", "products", "norms")


class Diagnostics:
    """Follows the gradients of a run. Of more than `COORDINATES` weights every k-th is looked at, for k of them."""

    def __init__(self) -> None:
        self.sum: Tensor | None = None  # of this batch's gradients
        self.count = 0
        self.last: Tensor | None = None
        self.mean: Tensor | None = None
        self.steps: list[int] = []
        self.products: list[float] = []
        self.norms: list[float] = []
        self.seen = 0  # batches in `mean`

    def take(self, gradients: list[Tensor]) -> None:
        """Takes in the gradient of an optimiser step: summed over all processes, before it is clipped."""
        every = -(-sum(g.numel() for g in gradients) // COORDINATES) | 1  # odd: no column of a matrix is left out
        flat = torch.cat([g.detach().reshape(-1)[::every] for g in gradients])
        if every > 1:
            flat.mul_(every**0.5)
        self.sum = flat if self.sum is None else self.sum.add_(flat)
        self.count += 1

    def metrics(self, step: int) -> dict[str, float | None]:
        """Returns what the gradient of the batch that ends here says, the mean over its optimiser steps.

        `grad_cosine` is that with the last batch's; `grad_signal` estimates ‖∇J‖ from the latest products, and
        `grad_noise_floor` is what chance alone makes of it once in twenty times; `grad_snr` is κ/(1-κ). A gradient
        of 0, of a batch without a signal, has no direction and is left out.
        """
        assert self.sum is not None
        gradient = self.sum if self.count == 1 else self.sum.div_(self.count)
        self.sum, self.count = None, 0
        norm = _dot(gradient, gradient) ** 0.5
        cosine = self._compare(gradient.div_(norm), norm, step) if norm > 0 else None
        return {"grad_cosine": cosine, **self._estimates(), "noise_floor_since": floor_since(self.steps, self.products)}

    def _compare(self, direction: Tensor, norm: float, step: int) -> float | None:
        """Returns the cosine with the last gradient, and keeps what the next one is compared with."""
        cosine = None
        if self.last is None or self.mean is None:
            self.mean = torch.zeros_like(direction)
        else:
            last, self.mean = self.last.to(direction.device), self.mean.to(direction.device)
            cosine = _dot(direction, last)
            self.steps.append(step)
            self.products.append(_dot(direction, self.mean) / (1 - DECAY**self.seen))
            self.norms.append(norm)
        self.mean.lerp_(direction, 1 - DECAY)
        self.last = direction
        self.seen += 1
        return cosine

    def _estimates(self) -> dict[str, float | None]:
        if len(self.products) < FEWEST:
            return dict.fromkeys(("grad_signal", "grad_noise_floor", "grad_snr"))
        kappa, floor = signal(self.products)
        length = sum(self.norms[-WINDOW:]) / len(self.norms[-WINDOW:])
        kappa = max(0.0, kappa)
        return {
            "grad_signal": length * kappa**0.5,
            "grad_noise_floor": length * floor**0.5,
            "grad_snr": kappa / (1 - kappa) if kappa < 1 else None,
        }

    def state_dict(self) -> dict[str, Any]:
        """Returns what has been seen."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""
        for name in _STATE:
            value = state[name]  # a file's tensors may lie between words, and their products round otherwise
            setattr(self, name, value.clone() if isinstance(value, Tensor) else value)


def _dot(one: Tensor, other: Tensor) -> float:
    return float(torch.dot(one, other))

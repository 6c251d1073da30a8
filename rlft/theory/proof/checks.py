"""Every check of `rlft verify`, on one method."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from rlft.base import Algorithm, Batch, UserError
from rlft.testing import ANNOTATIONS, draw_logp, gradients, make_batch
from rlft.theory.proof.enumerable import Enumerable
from rlft.theory.proof.targets import in_closed_form, target

SEEDS, TOLERANCE, BROKEN = range(20), 1e-9, 1e99
SIZES = (3, 2, 4)
"""Completions of a query that are tried: the first that a method takes. Pairs take two."""


@dataclass(frozen=True)
class Check:
    """One claim.

    Attributes:
        name: what is claimed.
        error: the greatest deviation from it, relative to the larger of 1 and what was expected; None: it does not
            apply, and `note` says why.
        holds: whether the claim holds; True where it does not apply.
        note: what else is to be said.
    """

    name: str
    error: float | None
    holds: bool
    note: str = ""


@dataclass(frozen=True)
class Proof:
    """What was found of one method.

    Attributes:
        name: of the method. formula: its coefficient. checks: all of them.
        angle: between its expected update and ∇E[r], degrees; None where the update is nought.
    """

    name: str
    formula: str
    checks: tuple[Check, ...]
    angle: float | None

    @property
    def holds(self) -> bool:
        """Whether all claims do."""
        return all(check.holds for check in self.checks)


def prove(name: str, algorithm: Algorithm) -> Proof:
    """Returns what holds of a method on random float64 batches and on a model that can be enumerated.

    Raises UserError if it takes none of the batches tried.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # of what has no dtype of its own, such as weights
    try:
        return _prove(name, algorithm)
    finally:
        torch.set_default_dtype(before)


def _prove(name: str, algorithm: Algorithm) -> Proof:
    size = group_size(algorithm)
    batches = [batch_for(algorithm, size, seed) for seed in SEEDS]
    model = Enumerable.draw()
    free = in_closed_form(algorithm)
    expected = model.expectation(free, size)
    checks = (
        _worst("gradient", "no objective is stated", [_gradient(algorithm, b) for b in batches]),
        _worst("split", "", [_split(algorithm, b) for b in batches]),
        _worst("order", "", [_order(algorithm, b, seed) for seed, b in enumerate(batches)]),
        _worst("padding", "", [_padding(algorithm, b) for b in batches]),
        _worst("skipped", "", [_skipped(algorithm, b) for b in batches]),
        _expectation(expected, target(free, model, size)),
    )
    gain = model.gradient(model.reward)
    moved = bool(expected.abs().max() > TOLERANCE)
    cosine = float(cosine_similarity(expected, gain, dim=0)) if moved else None
    angle = None if cosine is None else float(torch.rad2deg(torch.acos(torch.tensor(cosine).clamp(-1, 1))))
    return Proof(name, algorithm.formula, checks, angle)


def group_size(algorithm: Algorithm) -> int:
    """Returns how many completions of a query a method is tried with. Raises UserError if it takes none of SIZES."""
    refused: UserError | None = None
    for size in SIZES:
        try:
            algorithm.prepare(batch_for(algorithm, size, 0))
        except UserError as error:
            refused = refused or error
        else:
            return size
    assert refused is not None
    raise refused


def batch_for(algorithm: Algorithm, size: int, seed: int) -> Batch:
    """Returns a random batch of three queries; rewards are 0, 1 or between, and only what is declared is annotated."""
    reward = torch.rand(3 * size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    needs = [need for need in ANNOTATIONS if need in {*algorithm.needs, "old"}]
    return make_batch(3, size, 5, seed=seed, rewards=(1.5 * reward - 0.25).clamp(0, 1), needs=needs)


def update(algorithm: Algorithm, batch: Batch, logp: Tensor) -> Tensor:
    """Returns w·GC [B, T] of a batch taken whole, 0 where the mask is."""
    prepared = algorithm.prepare(batch)
    gc = algorithm.coefficient(prepared, logp)
    return torch.where(batch.mask, algorithm.reduction(batch.mask, batch.group) * gc, 0.0)


def logp_near(batch: Batch) -> Tensor:
    """Returns log π_θ [B, T] some way from log π_old, below 0 as probabilities have it."""
    return draw_logp(batch).clamp(max=-0.01)


def deviation(actual: Tensor, expected: Tensor) -> float:
    """Returns the greatest difference relative to the larger of 1 and what is expected; BROKEN if it is no number."""
    error = (actual - expected).abs() / expected.abs().clamp(min=1)
    return float(error.nan_to_num(nan=BROKEN, posinf=BROKEN).max())


def _worst(name: str, absent: str, errors: list[float | None]) -> Check:
    known = [error for error in errors if error is not None]
    if not known:
        return Check(name, None, True, absent)
    return Check(name, max(known), max(known) <= TOLERANCE)


def _gradient(algorithm: Algorithm, batch: Batch) -> float | None:
    """Weight · coefficient against autograd of the objective."""
    found = gradients(algorithm, batch, logp_near(batch))
    return None if found is None else deviation(*found)


def _split(algorithm: Algorithm, batch: Batch) -> float:
    """Micro-batches of single atoms against the whole."""
    logp, prepared = logp_near(batch), algorithm.prepare(batch)
    whole = algorithm.coefficient(prepared, logp)
    parts = torch.zeros_like(whole)
    for rows in prepared.atoms(algorithm.atom):
        micro = prepared.rows(rows)
        width = micro.mask.shape[1]
        parts[rows, :width] = algorithm.coefficient(micro, logp[rows, :width])
    return deviation(parts[batch.mask], whole[batch.mask])


def _order(algorithm: Algorithm, batch: Batch, seed: int) -> float:
    """Rows in another order."""
    logp = logp_near(batch)
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(seed))
    moved = _changed(batch, lambda value: value[order])
    return deviation(update(algorithm, moved, logp[order]), update(algorithm, batch, logp)[order])


def _padding(algorithm: Algorithm, batch: Batch) -> float:
    """NaN under the mask, in all that has a value for each token."""
    logp = logp_near(batch)
    junk = _changed(
        batch,
        lambda value: (
            torch.where(batch.mask, value, torch.nan)
            if value.is_floating_point() and value.shape == batch.mask.shape
            else value
        ),
    )
    worse = torch.where(batch.mask, logp, torch.nan)
    return deviation(update(algorithm, junk, worse), update(algorithm, batch, logp))


def _skipped(algorithm: Algorithm, batch: Batch) -> float:
    """Rows that are said to need no pass, against nought."""
    prepared = algorithm.prepare(batch)
    gone = update(algorithm, batch, logp_near(batch))[algorithm.vanishes(prepared)]
    return float(gone.abs().max()) if gone.numel() else 0.0


def _expectation(expected: Tensor, wanted: Tensor | None) -> Check:
    """By enumeration of every group that can be drawn."""
    if wanted is None:
        return Check("expectation", None, True, "no closed form")
    error = deviation(expected, wanted)
    return Check("expectation", error, error <= TOLERANCE)


def _changed(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    values: dict[str, Any] = {f.name: getattr(batch, f.name) for f in fields(batch)}
    rows = {name: value for name, value in values.items() if value is not None and not name.startswith("prompt")}
    return batch.replace(**{name: change(value) for name, value in rows.items()})

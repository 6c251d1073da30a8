"""For authors of algorithms: holds a coefficient against autograd of the objective it claims to be the gradient of."""

from collections.abc import Collection
from dataclasses import fields

import torch
from torch import Tensor

from rlft.base import Algorithm, Batch

ANNOTATIONS = {
    "reference": "logp_ref",
    "old": "logp_old",
    "critic": "value",
    "steps": "step_reward",
    "kl_full": "kl_full",
    "mismatched": "mismatched",
    "teacher": "logp_teacher",
}
"""The batch's field that each annotation of `Algorithm.needs` fills."""


def make_batch(
    queries: int = 3,
    samples: int = 4,
    length: int = 6,
    *,
    seed: int = 0,
    holes: bool = True,
    rewards: Tensor | None = None,
    needs: Collection[str] = tuple(ANNOTATIONS),
) -> Batch:
    """Returns a random float64 batch of B = queries · samples completions of at most `length` tokens.

    Lengths differ, and with `holes` some tokens are attended but not trained; without, all rows are full and trained.
    Under the mask the annotations hold junk.

    Args:
        queries: K. samples: completions of each query. length: T, tokens.
        seed: of all draws.
        holes: see above.
        rewards: [B]; drawn from a normal distribution if None.
        needs: the annotations to fill: "reference" (`logp_ref`), "old" (`logp_old`), "critic" (`value`), "steps"
            (`step_reward`, and `step_end` at some trained tokens of most rows), "kl_full" (`kl_full`),
            "mismatched" (`mismatched`, of each row), "teacher" (`logp_teacher`).

    >>> make_batch(queries=2, samples=3).completion_ids.shape
    torch.Size([6, 6])
    """
    draw = torch.Generator().manual_seed(seed)
    rows = queries * samples

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=draw, dtype=torch.float64)

    attention = torch.ones(rows, length, dtype=torch.bool)
    mask = attention
    if holes:
        lengths = torch.randint(1, length + 1, (rows,), generator=draw)
        attention = torch.arange(length) < lengths[:, None]
        mask = attention & (uniform(rows, length) < 0.75)
    drawn = torch.randn(rows, generator=draw, dtype=torch.float64)
    shapes = {field: (rows,) if field == "mismatched" else (rows, length) for field in ANNOTATIONS.values()}
    annotations = {
        field: 2 * uniform(*shape) - (2.5 if field.startswith("logp") else 0.5) for field, shape in shapes.items()
    }
    ends = mask & (uniform(rows, length) < 0.5)
    return Batch(
        prompt_ids=torch.randint(0, 10, (queries, 3), generator=draw),
        prompt_mask=torch.ones(queries, 3, dtype=torch.bool),
        completion_ids=torch.randint(0, 10, (rows, length), generator=draw),
        attention=attention,
        mask=mask,
        group=torch.arange(queries).repeat_interleave(samples),
        finished=torch.ones(rows, dtype=torch.bool),
        reward=drawn if rewards is None else rewards.double(),
        step_end=ends if "steps" in needs else None,
        **{field: annotations[field] for need, field in ANNOTATIONS.items() if need in needs},
    )


def assert_gradient(algorithm: Algorithm, batch: Batch, logp: Tensor | None = None, tolerance: float = 1e-9) -> None:
    """Asserts that weight · coefficient is the gradient of the objective in log π_θ, token by token, in float64.

    Args:
        algorithm: the method; it must have an `objective`.
        batch: scored and annotated, not yet prepared (e.g. of `make_batch`); at least the annotations it needs.
        logp: log π_θ [B, T], nats; if None, some way from `logp_old` (or drawn at random, without it).
        tolerance: the greatest difference allowed, relative to the larger of 1 and the gradient.

    Raises:
        AssertionError: naming the token where the two differ most.
        ValueError: the algorithm has no objective.

    >>> from rlft.algorithms import WeightedLikelihood
    >>> assert_gradient(WeightedLikelihood(), make_batch())
    """
    found = gradients(algorithm, batch, draw_logp(batch) if logp is None else logp)
    if found is None:
        raise ValueError(f"{type(algorithm).__name__} has no objective to hold its coefficient against")
    actual, expected = found
    error = ((actual - expected).abs() / expected.abs().clamp(min=1)).nan_to_num(nan=torch.inf)
    worst = int(error.argmax())
    row, token = divmod(worst, error.shape[1])
    if error[row, token] > tolerance:
        raise AssertionError(
            f"{type(algorithm).__name__}: row {row}, token {token}: weight · coefficient is {actual[row, token]:.12g}, "
            f"the gradient of the objective {expected[row, token]:.12g} ({algorithm.formula})"
        )


def draw_logp(batch: Batch) -> Tensor:
    """Returns log π_θ [B, T] some way from `logp_old`, or anywhere where there is none; nats, float64."""
    noise = torch.randn(batch.mask.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn = -1.5 + 0.5 * noise if batch.logp_old is None else batch.logp_old.double() + 0.3 * noise
    return drawn.clamp(max=-0.01)  # no token is more than certain: odds have no logarithm there


def gradients(algorithm: Algorithm, batch: Batch, logp: Tensor) -> tuple[Tensor, Tensor] | None:
    """Returns weight · coefficient [B, T] and what autograd finds of the objective [B, T], in float64; None where a
    method has no objective.

    Args:
        algorithm: the method. batch: scored and annotated, not yet prepared. logp: log π_θ [B, T], nats.
    """
    batch = algorithm.prepare(_double(batch))
    batch = batch.replace(weight=algorithm.reduction(batch.mask, batch.group).double())
    leaf = logp.detach().double().requires_grad_()
    with torch.enable_grad():
        objective = algorithm.objective(batch, leaf)
    if objective is None:
        return None
    (expected,) = torch.autograd.grad(objective, leaf)
    assert batch.weight is not None
    return batch.weight * algorithm.coefficient(batch, leaf.detach()), expected


def _double(batch: Batch) -> Batch:
    values = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return batch.replace(**{k: v.double() for k, v in values.items() if v is not None and v.is_floating_point()})

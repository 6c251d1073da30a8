"""What share of the completions that were sampled teaches anything."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rlft.algorithms import K3, GroupNormalised, PolicyGradient, PPOClip, WeightedLikelihood
from rlft.base import Algorithm
from rlft.testing import make_batch
from rlft.train.session import Session

RIGHT = [1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]
"""Groups of two: all right, mixed, mixed, all wrong."""


@pytest.mark.parametrize(
    ("algorithm", "kept", "acceptance"),
    [
        (WeightedLikelihood(), 1.0, 4 / 8),  # Online RFT: the right ones
        (WeightedLikelihood(), 0.5, 4 / 16),  # of those that were kept
        (PolicyGradient(GroupNormalised(), PPOClip(0.2, 0.2), K3(), 0.0), 1.0, 4 / 8),  # mixed groups
        (PolicyGradient(GroupNormalised(), PPOClip(0.2, 0.2), K3(), 0.04), 1.0, 1.0),
    ],
)
def test_the_share_that_has_a_coefficient(algorithm: Algorithm, kept: float, acceptance: float) -> None:
    batch = algorithm.prepare(make_batch(4, 2, holes=False, rewards=torch.tensor(RIGHT, dtype=torch.float64)))
    for sampled, expected in ((100, acceptance), (0, None)):
        source = SimpleNamespace(kept_share=kept, sampled_tokens=sampled)
        session: Any = SimpleNamespace(
            plan=SimpleNamespace(source=source), learner=SimpleNamespace(algorithm=algorithm)
        )
        assert Session.acceptance(session, batch) == expected

"""The role plugin: models beside the policy that annotate a batch, and may learn from it."""

from abc import ABC, abstractmethod
from typing import Any

from rlft.base.batch import Batch


class Role(ABC):
    """A reference, an old policy, a critic: fills fields of a batch before the algorithm prepares it."""

    @abstractmethod
    def annotate(self, batch: Batch) -> Batch:
        """Returns the batch with this role's fields filled, on every process alike."""

    def ran(self, batch: Batch) -> Batch:
        """Returns those rows of the batch just annotated that a model was run on: all, but for roles that remember."""
        return batch

    def learn(self, mini: Batch) -> dict[str, float]:
        """Takes one optimiser step of its own on a mini-batch; returns its metrics. Only a critic does so."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint must hold: tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027  # most roles have no state
        """Restores what `state_dict` returned."""

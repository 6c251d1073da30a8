"""The part that weighs tokens against each other: w [B, T]. m = mask, |o| = trained tokens of a row, B = rows."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from rlft import ops
from rlft.algorithms.checks import check_number


class Reduction(ABC):
    """Gives every trained token its weight in Σ w·GC·∇log π. Subclasses are frozen dataclasses.

    Attributes:
        formula: the weight as text.
    """

    formula: str

    @abstractmethod
    def __call__(self, mask: Bool[Tensor, "B T"], group: Int[Tensor, " B"]) -> Float[Tensor, "B T"]:
        """Returns w [B, T], zero where the mask is, from one whole mini-batch; `group` [B] names each row's query."""


@dataclass(frozen=True)
class Sum(Reduction):
    """w = m: neither lengths nor the number of completions are divided out.

    >>> import torch
    >>> Sum()(torch.tensor([[True, False]]), torch.tensor([0]))
    tensor([[1., 0.]])
    """

    formula = "m"

    def __call__(self, mask: Bool[Tensor, "B T"], group: Int[Tensor, " B"]) -> Float[Tensor, "B T"]:
        """See Reduction."""
        return ops.total(mask)


@dataclass(frozen=True)
class SequenceMean(Reduction):
    """w = m/(|o|·B): completions count alike, whatever their length (GRPO, arXiv 2402.03300, Eq. 3).

    >>> import torch
    >>> SequenceMean()(torch.tensor([[True, True], [True, False]]), torch.tensor([0, 0]))
    tensor([[0.2500, 0.2500],
            [0.5000, 0.0000]])
    """

    formula = "m/(|o|·B)"

    def __call__(self, mask: Bool[Tensor, "B T"], group: Int[Tensor, " B"]) -> Float[Tensor, "B T"]:
        """See Reduction."""
        return ops.sequence_mean(mask)


@dataclass(frozen=True)
class TokenMean(Reduction):
    """w = m/Σm: tokens count alike, over the whole mini-batch (DAPO, arXiv 2503.14476, Eq. 8).

    >>> import torch
    >>> TokenMean()(torch.tensor([[True, True], [True, True]]), torch.tensor([0, 0]))
    tensor([[0.2500, 0.2500],
            [0.2500, 0.2500]])
    """

    formula = "m/Σm"

    def __call__(self, mask: Bool[Tensor, "B T"], group: Int[Tensor, " B"]) -> Float[Tensor, "B T"]:
        """See Reduction."""
        return ops.token_mean(mask)


@dataclass(frozen=True)
class ConstantLength(Reduction):
    """w = m/(L·B): sums over a fixed length, so that long answers are not favoured (Dr. GRPO, arXiv 2503.20783, 3.2).

    Attributes:
        length: L, tokens; by custom the most that a completion may have.

    >>> import torch
    >>> ConstantLength(length=4)(torch.tensor([[True, True], [True, False]]), torch.tensor([0, 0]))
    tensor([[0.1250, 0.1250],
            [0.1250, 0.0000]])
    """

    length: int
    formula = "m/(L·B)"

    def __post_init__(self) -> None:
        check_number("reduction.length", self.length, 1)

    def __call__(self, mask: Bool[Tensor, "B T"], group: Int[Tensor, " B"]) -> Float[Tensor, "B T"]:
        """See Reduction."""
        return ops.constant_length(mask, self.length)


@dataclass(frozen=True)
class SequenceSum(Reduction):
    """w = m/B: the mean over completions of the sum over their tokens (RLOO, arXiv 2402.14740).

    >>> import torch
    >>> SequenceSum()(torch.tensor([[True, True], [True, False]]), torch.tensor([0, 0]))
    tensor([[0.5000, 0.5000],
            [0.5000, 0.0000]])
    """

    formula = "m/B"

    def __call__(self, mask: Bool[Tensor, "B T"], group: Int[Tensor, " B"]) -> Float[Tensor, "B T"]:
        """See Reduction."""
        return ops.sequence_sum(mask)

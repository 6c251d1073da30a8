"""For values worked out by hand: batches from lists, and what methods make of them as lists."""

import math

import pytest
import torch
from torch import Tensor

from rlft.base import Algorithm, Batch


def batch(mask: list[list[int]], reward: list[float], group: list[int], **annotations: list[list[float]]) -> Batch:
    trained = torch.tensor(mask, dtype=torch.bool)
    queries = len(set(group))
    return Batch(
        prompt_ids=torch.zeros(queries, 1, dtype=torch.long),
        prompt_mask=torch.ones(queries, 1, dtype=torch.bool),
        completion_ids=torch.zeros(trained.shape, dtype=torch.long),
        attention=torch.ones_like(trained),
        mask=trained,
        group=torch.tensor(group),
        finished=torch.ones(len(group), dtype=torch.bool),
        reward=torch.tensor(reward, dtype=torch.float64),
        **{name: torch.tensor(values, dtype=torch.float64) for name, values in annotations.items()},
    )


def logs(*rows: list[float]) -> list[list[float]]:
    return [[math.log(x) for x in row] for row in rows]


def coefficient(algorithm: Algorithm, data: Batch, logp: list[list[float]]) -> list[list[float]]:
    return algorithm.coefficient(algorithm.prepare(data), torch.tensor(logp, dtype=torch.float64)).tolist()


def advantage(algorithm: Algorithm, data: Batch) -> list[list[float]]:
    filled = algorithm.prepare(data).advantage
    assert filled is not None
    return filled.tolist()


def near(rows: list[list[float]] | Tensor, *expected: list[float]) -> None:
    actual = rows.tolist() if isinstance(rows, Tensor) else rows
    assert len(actual) == len(expected)
    for row, want in zip(actual, expected, strict=True):
        assert row == pytest.approx(want, rel=1e-6, abs=1e-12)

"""A run small enough to be reckoned by hand."""

from dataclasses import replace

import pytest

from rlft.models.config import ModelConfig
from rlft.models.flops import Shape
from rlft.theory import Lengths, Live, Model, Work


@pytest.fixture
def work() -> Work:
    """Online, 3 steps of 2 queries x 4 completions, a reference, one evaluation of 5 questions before and after."""
    return Work(
        method="grpo", steps=3, queries=2, rows=4, sampled="each step", samples=4, pool=None, kept="all", live=Live(),
        roles=frozenset({"reference"}), epochs=1, mini_batches=1, frozen=0, tokens=4096, max_prompt=50,
        max_completion=20, questions=5, evaluations=(40, 20),
    )  # fmt: skip


@pytest.fixture
def scoring(work: Work) -> Work:
    """A reward model on recorded pairs: one scored token a row, two rankings of held-out completions."""
    return replace(
        work, method="bradley_terry", sampled="never", samples=0, rows=2, kept="pairs", roles=frozenset[str](),
        evaluations=(), trains="scores", rankings=2,
    )  # fmt: skip


@pytest.fixture
def lengths() -> Lengths:
    return Lengths(
        prompt=10, completion=6, sampled=6, longest=9, answer=6, acceptance=0.5, questions=5, pool=0
    )  # fmt: skip


@pytest.fixture
def shape() -> Shape:
    return Shape(body=1000, head=100, adapter=10, merge=7, attention=2, whole=False)


@pytest.fixture
def model(shape: Shape) -> Model:
    return Model(
        shape=shape, weights=1100, adapted=1000, layers=2, width=8, inner=16, vocabulary=12, cache=32, source="",
        settings=ModelConfig(), config=None,
    )  # fmt: skip

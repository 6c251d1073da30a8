"""One token from logits: the filtered distribution, its frequencies and its log-probabilities."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from rlft.base import Sampling
from rlft.models.decode import SPAN, choose, invert

P = [0.02, 0.30, 0.08, 0.25, 0.15, 0.05, 0.10, 0.05]  # two equal ones at 5 and 7
LOGITS = torch.tensor(P).log() + 3.0

CASES: dict[str, dict[str, Any]] = {
    "all": {},
    "hot": {"temperature": 2.0},
    "cold": {"temperature": 0.3},
    "top_k": {"top_k": 3},
    "top_k of one": {"top_k": 1},
    "top_k past the vocabulary": {"top_k": 50},
    "top_p": {"top_p": 0.6},
    "top_p of one token": {"top_p": 0.01},
    "top_p of nothing": {"top_p": 0.0},
    "min_p": {"min_p": 0.4},
    "all of them": {"temperature": 1.5, "top_k": 6, "top_p": 0.9, "min_p": 0.3},
}


def filtered(sampling: Sampling) -> list[float]:
    """The distribution by hand: temper, then keep what each rule keeps of the tempered one, then divide by the rest."""
    heat = [p ** (1 / sampling.temperature) for p in P]
    p = [h / sum(heat) for h in heat]
    order = sorted(range(len(p)), key=lambda i: -p[i])
    kept, before = [], 0.0
    for rank, i in enumerate(order):
        within = not sampling.top_k or rank < sampling.top_k
        if rank == 0 or (within and before < sampling.top_p and p[i] >= sampling.min_p * p[order[0]]):
            kept.append(i)
        before += p[i]
    total = sum(p[i] for i in kept)
    return [p[i] / total if i in kept else 0.0 for i in range(len(p))]


def draw(sampling: Sampling, count: int, seed: int) -> tuple[Tensor, Tensor]:
    draws = torch.rand(count, generator=torch.Generator().manual_seed(seed))
    return choose(LOGITS.expand(count, -1), draws, sampling)


@pytest.mark.parametrize("name", CASES)
def test_frequencies_pass_a_chi_square_test(name: str) -> None:
    sampling = Sampling(max_tokens=1, **CASES[name])
    expected = filtered(sampling)
    count = 20000
    tokens, _ = draw(sampling, count, 7)
    seen = torch.bincount(tokens, minlength=len(P)).tolist()
    possible = [i for i, p in enumerate(expected) if p > 0]
    assert all(seen[i] == 0 for i in range(len(P)) if i not in possible)
    chi_square = sum((seen[i] - count * expected[i]) ** 2 / (count * expected[i]) for i in possible)
    freedom = len(possible) - 1
    # Wilson and Hilferty's cube root, at one in a thousand
    limit = freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3 if freedom else 1e-9
    assert chi_square < limit


@pytest.mark.parametrize("name", CASES)
def test_log_probabilities_are_those_of_the_filtered_distribution(name: str) -> None:
    sampling = Sampling(max_tokens=1, **CASES[name])
    tokens, logps = draw(sampling, 2000, 8)
    expected = torch.tensor(filtered(sampling)).log()[tokens]
    assert torch.allclose(logps, expected, atol=1e-5)


def test_every_draw_finds_a_possible_token() -> None:
    sampling = Sampling(max_tokens=1, top_p=0.7)
    edges = torch.tensor([0.0, 2**-24, 0.5, 1 - 2**-24])
    tokens, logps = choose(LOGITS.expand(4, -1), edges, sampling)
    assert torch.isfinite(logps).all()
    possible = [i for i, p in enumerate(filtered(sampling)) if p > 0]
    assert tokens[0] == possible[0] and tokens[3] == possible[-1]
    impossible = torch.tensor([[-math.inf, 0.0, -math.inf]])
    assert choose(impossible, torch.zeros(1), Sampling(max_tokens=1))[0].tolist() == [1]


def test_the_draw_runs_through_the_cumulative_distribution() -> None:
    logits = torch.tensor([0.2, 0.3, 0.5]).log().expand(6, -1)
    tokens, _ = choose(logits, torch.tensor([0.0, 0.19, 0.21, 0.49, 0.51, 0.99]), Sampling(max_tokens=1))
    assert tokens.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("width", [SPAN - 1, SPAN, 2 * SPAN + 7])
def test_spans_of_the_vocabulary_change_no_draw(width: int) -> None:
    """Against the cumulative sum of whole rows in float64: spans without weight, rows with one token, both ends."""
    random = torch.Generator().manual_seed(width)
    p = torch.rand(400, width, generator=random) ** 8
    p[:100, : width // 2] = 0
    p[100:200, width // 2 :] = 0
    p[200:300].zero_()[torch.arange(100), torch.arange(100) * width // 100] = 0.5
    draws = torch.rand(400, generator=random)
    draws[::7], draws[3::7] = 0.0, 1 - 2**-24
    token, total = invert(p, draws)
    sums = p.double().cumsum(1)
    rows = torch.arange(400)
    at, slack = draws.double() * sums[:, -1], 1e-5 * sums[:, -1]  # what float32 may round away
    assert (sums[rows, token] > at - slack).all()
    assert (sums[rows, token] - p[rows, token].double() <= at + slack).all()
    assert (p[rows, token] > 0).all()
    assert torch.allclose(total.double(), sums[:, -1], rtol=1e-5)


def test_greedy_takes_the_most_probable_token_and_reports_its_probability() -> None:
    tokens, logps = choose(LOGITS[None], torch.tensor([0.99]), Sampling(max_tokens=1, temperature=0))
    assert tokens.tolist() == [1]
    assert abs(float(logps) - math.log(0.30)) < 1e-6

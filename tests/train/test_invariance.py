"""The update does not depend on how a batch is split: over micro-batches, token budgets or processes, in float64."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from learners import Case, Split, gradient, make, second_process, weights
from torch import Tensor

from rlft.base import Algorithm
from rlft.recipe import build, compose
from rlft.recipe.groups import options

ALIKE = {
    "dpo": {"ipo", "hinge", "robust", "rpo", "orpo", "dpo_note"},
    "grpo": {"dapo", "gspo", "cispo", "sapo", "max_rl", "topr", "formula"},
    "ppo": {"ppo_note"},
}
"""Methods that have the roles, atoms and passes of another: `rlft verify` splits and permutes them as tensors."""
METHODS = sorted(options("algorithm").keys() - set[str]().union(*ALIKE.values()))
SPLITS = [Split(atoms=1), Split(atoms=2), Split(atoms=3), Split(tokens=20), Split(tokens=35)]


def algorithm(method: str) -> Algorithm:
    recipe = compose(["recipe=grpo_math", f"algorithm={method}", "data.max_completion_tokens=9"])
    return build(recipe.config, Path("nowhere")).algorithm


CASES = {method: Case(algorithm(method)) for method in METHODS}
# Off-policy, the ratio to π_old matters to those that clip it.
CASES |= {f"{name} off-policy": replace(c, off_policy=True) for name, c in CASES.items() if c.algorithm.clip_range}
# What needs not be run is dropped by each process for itself.
CASES |= {f"{name} sparse": replace(CASES[name], sparse=True) for name in ("rft", "dr_grpo")}


def assert_same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """What two processes come to for every method, started once for all."""
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(second_process, (str(folder), CASES), nprocs=2)
    results: dict[str, Tensor] = torch.load(folder / "results.pt")
    return results


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_the_same_for_any_micro_batches(name: str) -> None:
    one = CASES[name]
    whole = gradient(one, Split())
    assert whole.abs().max() > 1e-3, "a gradient of nothing proves nothing"
    for split in SPLITS:
        assert_same(gradient(one, split), whole)


@pytest.mark.parametrize("name", CASES)
def test_the_weights_are_the_same_after_two_epochs_of_two_mini_batches(name: str) -> None:
    one = CASES[name]
    whole = weights(one, Split())
    assert not torch.allclose(whole, weights(replace(one, odd=True), Split()), atol=1e-3), "nothing was learnt"
    for split in (Split(atoms=1), Split(tokens=20)):
        assert_same(weights(one, split), whole)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("odd", [False, True], ids=["unequal rows", "a process without rows"])
def test_two_processes_come_to_what_one_does(name: str, odd: bool, two_processes: dict[str, Tensor]) -> None:
    one = replace(CASES[name], odd=odd)
    key = f"{name} odd" if odd else name
    assert_same(two_processes[f"{key} gradient"], gradient(one, Split()))
    assert_same(two_processes[f"{key} weights"], weights(one, Split()))


def test_the_rows_are_shared_out_unequally() -> None:
    """The batches above are what their names say."""
    for one in CASES.values():
        atom = one.algorithm.atom
        shares = [len(make(one).mine(rank, 2, atom)) for rank in (0, 1)]
        assert shares[0] != shares[1] and min(shares) > 0
        odd = make(replace(one, odd=True))
        last = odd.mini_batches(2, atom, torch.Generator().manual_seed(0))[1]
        assert len(last.mine(0, 2, atom)) > 0 and len(last.mine(1, 2, atom)) == 0


def test_every_method_that_ships_is_here() -> None:
    assert {"sft", "rft", "dpo", "simpo", "ppo", "grpo", "dr_grpo", "grpo_process", "grpo_note", "rloo", "kto"} <= set(
        CASES
    )
    assert {"ppo off-policy", "grpo off-policy"} <= set(CASES)
    for one, others in ALIKE.items():
        assert all(algorithm(name).atom == CASES[one].algorithm.atom for name in others)
        assert all(algorithm(name).needs <= {*CASES[one].algorithm.needs, "reference"} for name in others)

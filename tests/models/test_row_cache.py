"""log π_ref of rows that come again: the same numbers, without a pass."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tiny import make_batch, random_batch, tiny_model, with_adapter
from torch import Tensor

from rlft.base import Batch, Processes
from rlft.models.policy import Policy
from rlft.models.roles import Reference, ReferenceRole
from rlft.models.row_cache import ROW, RowCache, row_keys

BATCH = random_batch()  # 3 + 1 + 2 rows


class Counted(ReferenceRole):
    """A reference that notes how many rows go through the model, call by call."""

    def __init__(self, cache: RowCache | None = None, tokens: int = 4096):
        policy = Policy(with_adapter(tiny_model()), print)
        super().__init__(Reference(policy), tokens, "group", Processes(), cache)
        self.passes: list[int] = []
        policy.register_forward_pre_hook(lambda _, given: self.passes.append(len(given[0])))

    def logp(self, batch: Batch) -> Tensor:
        found = self.annotate(batch).logp_ref
        assert found is not None
        return found


def part(*rows: int) -> Batch:
    return BATCH.rows(torch.tensor(rows))


def test_rows_that_come_again_are_not_run_and_have_the_same_numbers() -> None:
    plain, role = Counted(), Counted(RowCache())
    first, again = role.logp(BATCH), role.logp(BATCH)
    assert torch.equal(first, plain.logp(BATCH)) and torch.equal(again, first) and first.abs().max() > 0.1
    assert role.passes == [6] and len(role.ran(BATCH)) == 0
    plain.logp(BATCH)
    assert plain.passes == [6, 6] and len(plain.ran(BATCH)) == 6


def test_only_what_is_missing_is_run_with_its_rows_of_a_query_together() -> None:
    role = Counted(RowCache())
    held = role.logp(part(1, 4))
    whole = role.logp(BATCH)
    assert role.passes == [2, 4]
    assert role.ran(BATCH).group.tolist() == [0, 0, 1, 2]
    assert torch.equal(whole[[1, 4], : held.shape[1]], held)
    torch.testing.assert_close(whole, Counted().logp(BATCH), rtol=0, atol=1e-12)


def test_what_makes_a_row() -> None:
    """Other prompts, completions or trained tokens make other rows; padding and the rows beside it do not."""
    prompts, completions = [[5, 6], [5, 6], [5], [5, 6]], [[[7, 8]], [[7, 8]], [[6, 7, 8]], [[7, 9]]]
    keys = row_keys(make_batch(prompts, completions))
    assert keys[0] == keys[1] and len(set(keys)) == 3
    assert row_keys(make_batch([[5, 6]], [[[7, 8]]], holes=((0, 0),)))[0] not in keys
    assert row_keys(make_batch([[5, 6]], [[[7, 8]]])) == keys[:1]
    role = Counted(RowCache())
    logp = role.logp(make_batch(prompts, completions))
    assert role.passes == [3] and torch.equal(logp[0], logp[1])


def test_past_the_limit_rows_are_run_whenever_they_come() -> None:
    batch = make_batch([[5, 6]], [[[7, 8], [9], [8, 7, 6]]])
    role = Counted(RowCache(limit=2 * ROW + 3))  # the first two rows
    role.logp(batch)
    again = role.logp(batch)
    assert role.passes == [3, 1]
    torch.testing.assert_close(again, Counted().logp(batch), rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch", [BATCH, None])
def test_a_checkpoint_holds_it(batch: Batch | None) -> None:
    role, other = Counted(RowCache()), Counted(RowCache())
    expected = role.logp(batch) if batch is not None else None
    other.load_state_dict(role.state_dict())
    assert role.cache is not None and other.cache is not None and other.cache.size == role.cache.size
    if batch is not None:
        assert torch.equal(other.logp(batch), expected) and other.passes == []
    assert {k: v.tolist() for k, v in other.state_dict().items()} == {
        k: v.tolist() for k, v in role.state_dict().items()
    }
    assert Counted().state_dict() == {}


def _in_one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    role = Counted(RowCache())
    role.logp(part(1, 4))
    found: list[Any] = [role.logp(BATCH), role.logp(BATCH), role.passes]
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_agree_on_what_is_missing(tmp_path: Path) -> None:
    mp.spawn(_in_one_of_two, (str(tmp_path),), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert torch.equal(one[0], two[0]) and torch.equal(one[0], one[1]) and torch.equal(two[0], two[1])
    torch.testing.assert_close(one[0], Counted().logp(BATCH), rtol=0, atol=1e-12)
    assert (one[2], two[2]) == ([1, 3], [1, 1]), "two groups of the three that miss rows, and one"

"""The bill of a run: tokens and FLOPs, added up batch by batch."""

import json
from pathlib import Path

import pytest
import torch
from tiny import make_batch

from rlft.models.config import ModelConfig
from rlft.models.flops import Shape, Tokens, Way, sampling_flops, step_flops
from rlft.train.bill import Bill, spent_before

SHAPE = Shape(body=1000, head=100, adapter=10, merge=7, attention=2, whole=False)
BATCH = make_batch([[1, 2, 3], [4]], [[[5, 6], [7]], [[8, 9, 8]]], holes=((2, 0),))


def test_a_batch_is_counted_by_the_closed_formulas() -> None:
    bill = Bill()
    bill.batch(BATCH, torch.tensor([True, True, True]), SHAPE, {"reference": BATCH}, 2, Way())
    tokens = Tokens.of(BATCH)
    assert bill.flops == sum(step_flops(SHAPE, {"reference": tokens}, tokens, 2).values())
    assert bill.flops_by_part == step_flops(SHAPE, {"reference": tokens}, tokens, 2)
    assert (bill.trained_tokens, bill.prompts, bill.prompt_tokens) == (10, 2, 4)


def test_whole_sequences_that_are_recomputed_are_counted_as_they_run() -> None:
    bill = Bill()
    bill.batch(BATCH, torch.tensor([True, True, False]), SHAPE, {"critic": BATCH}, 1, Way(recompute=True, shared=False))
    trained, learnt = Tokens(7, 16, 3), Tokens(10, 22, 5)  # the prompt of three tokens runs twice
    parts = step_flops(SHAPE, {"critic": Tokens.of(BATCH)}, trained, 1, True, learnt)
    assert bill.flops == sum(parts.values())


@pytest.mark.parametrize("rows", [[], [1], [0, 2]])
def test_rows_that_move_nothing_cost_the_policy_nothing(rows: list[int]) -> None:
    bill = Bill()
    moved = torch.zeros(3, dtype=torch.bool)
    moved[rows] = True
    bill.batch(BATCH, moved, SHAPE, {"critic": BATCH}, 1, Way())
    trained = {(): Tokens(), (1,): Tokens(3, 6, 1), (0, 2): Tokens(7, 16, 4)}[tuple(rows)]
    assert bill.flops == sum(step_flops(SHAPE, {"critic": Tokens.of(BATCH)}, trained, 1).values())


def test_sampling_a_batch_s_own_completions_is_counted_exactly_and_once() -> None:
    bill = Bill()
    bill.sampling(6, 4, BATCH, SHAPE, Way())
    # All 6 sampled tokens are scored, the hole in the mask too.
    own = Tokens(Tokens.of(BATCH).positions, Tokens.of(BATCH).keys, 6)
    assert bill.flops == sampling_flops(SHAPE, own, merges=1)
    before = bill.flops
    bill.sampling(6, 4, BATCH, SHAPE, Way())
    assert bill.flops == before
    bill.sampling(18, 12, BATCH, SHAPE, Way())  # twice as many, as long as they are
    assert bill.flops - before == pytest.approx(sampling_flops(SHAPE, own * 2, merges=1))
    assert (bill.generated_tokens, bill.prefilled_tokens) == (18, 12)


def test_what_all_prompts_begin_with_is_counted_once_for_those_that_go_together() -> None:
    """Three prompts of 21 tokens, 20 of them the same, and completions of two tokens: one input each."""
    batch = make_batch([[*range(20), last] for last in (30, 31, 32)], [[[1, 2]]] * 3)
    one, two = Way(opens=True, at_once=100), Way(opens=True, at_once=40)
    assert one.read(batch) == Tokens(66 - 2 * 20, 3 * (231 + 22) - 2 * 210, 6)
    assert two.read(batch) == Tokens.of(batch) == one.read(batch) + Tokens(40, 420)  # one of 32 saved tokens is too few
    bill = Bill()
    bill.sampling(6, 63, batch, SHAPE, one)
    assert bill.flops == sampling_flops(SHAPE, one.read(batch), merges=1)
    assert bill.prefilled_tokens == 63


def test_the_parts_are_the_whole() -> None:
    bill = Bill(seconds=2.0)
    bill.sampling(6, 4, BATCH, SHAPE, Way())
    bill.batch(BATCH, torch.tensor([True, True, True]), SHAPE, {"reference": BATCH, "critic": BATCH}, 1, Way())
    bill.judging(3, 500.0)
    bill.judging(2, 0.0)
    assert bill.flops_by_part.keys() == {"rollout", "reference", "critic", "forward", "backward", "reward"}
    assert bill.flops_by_part["reward"] == 500
    assert bill.flops == sum(bill.flops_by_part.values()) == bill.as_dict()["flops"]
    assert bill.reward_calls == 5
    assert Bill.of(json.loads(json.dumps(bill.as_dict()))) == bill


def test_a_warm_start_is_spent_as_well(tmp_path: Path) -> None:
    totals = {"flops": 100.0, "generated_tokens": 7, "flops_by_part": {"forward": 100.0}, "warm_start": {"flops": 20.0}}
    (tmp_path / "summary.json").write_text(json.dumps({"totals": totals}), encoding="utf-8")
    before = spent_before(ModelConfig(adapter_path=str(tmp_path / "adapter")))
    assert before == {"flops": 120, "generated_tokens": 7}
    bill = Bill(generated_tokens=5, warm_start=before)
    bill.judging(0, 3.0)
    assert (bill.total("flops"), bill.total("generated_tokens"), bill.total("seconds")) == (123, 12, 0)
    assert spent_before(ModelConfig()) == spent_before(ModelConfig(path=str(tmp_path / "no" / "model"))) == {}

"""Seconds from rates, by hand; and memory by part."""

from dataclasses import replace

import pytest
import torch

from rlft.models.flops import Shape
from rlft.models.policy import CHUNK_NUMBERS
from rlft.theory import Device, Lengths, Model, Rates, Work, estimate
from rlft.theory.memory import (
    DRAWN,
    HELD,
    JOINED,
    KEPT_INNER,
    KEPT_WIDTH,
    KEPT_WIDTH_WIDE,
    LIBRARIES,
    SCORED,
    peak,
    run_memory,
)
from rlft.theory.seconds import Line

RATES = Rates(
    score=Line(0.5, 0.01), update=Line(1.0, 0.03), head=0.001, head_update=0.002, prefill=0.02,
    decode=Line(0.1, 0.005), merge=2.0, optimizer=0.25,
)  # fmt: skip
POSITIONS, TOKENS = 2 * (10 + 4 * 5), 2 * 4 * 6  # of a step


def test_every_part_by_hand(work: Work, model: Model, lengths: Lengths) -> None:
    seconds = RATES.seconds(work, model, lengths)
    # A round prefills 20 tokens and decodes 40 more inputs in 8 steps, since the longest of its rows has 9 tokens.
    assert seconds["rollout"] == pytest.approx(3 * (2.0 + 20 * 0.02 + 8 * 0.1 + 40 * 0.005))
    assert seconds["reference"] == pytest.approx(3 * (0.5 + POSITIONS * 0.01 + TOKENS * 0.001))
    assert seconds["update"] == pytest.approx(3 * (1.0 + POSITIONS * 0.03 + TOKENS * 0.002))
    assert seconds["optimizer"] == 3 * 0.25
    assert seconds["reward"] == 0
    # Five answers of 6 tokens, one round each time; the longest may reach the limit.
    rounds = [2.0 + 50 * 0.02 + (limit - 1) * 0.1 + 25 * 0.005 for limit in (40, 20)]
    assert seconds["evaluation"] == pytest.approx(sum(rounds))


def test_whole_sequences_run_a_prompt_for_each_completion(work: Work, model: Model, lengths: Lengths) -> None:
    work = replace(work, roles=frozenset({"critic"}))
    shared, whole = (RATES.seconds(replace(work, recompute=True, shared=s), model, lengths) for s in (True, False))
    for part in ("update", "critic"):
        assert whole[part] - shared[part] == pytest.approx(3 * 0.03 * 2 * 3 * 10)


def test_smaller_micro_batches_are_more_calls(work: Work, model: Model, lengths: Lengths) -> None:
    split = RATES.seconds(replace(work, tokens=POSITIONS // 2), model, lengths)
    whole = RATES.seconds(work, model, lengths)
    assert split["update"] - whole["update"] == pytest.approx(3 * 1.0)
    assert split["reference"] - whole["reference"] == pytest.approx(3 * 0.5)


def test_rows_beyond_what_is_decoded_together_are_another_round(work: Work, model: Model, lengths: Lengths) -> None:
    many = replace(work, queries=24, samples=4, rows=4)  # 96 rows, 64 at a time
    seconds = RATES.seconds(many, model, lengths)["rollout"]
    assert seconds == pytest.approx(3 * (2.0 + 2 * 8 * 0.1 + 240 * 0.02 + 24 * 20 * 0.005))


def test_a_critic_scores_and_learns_without_the_head(work: Work, model: Model, lengths: Lengths) -> None:
    ppo = replace(work, roles=frozenset({"critic"}))
    values = 0.5 + POSITIONS * 0.01 + 1.0 + POSITIONS * 0.03
    assert RATES.seconds(ppo, model, lengths)["critic"] == pytest.approx(3 * (values + 0.25))


def test_a_teacher_takes_time_and_memory_by_its_size(work: Work, model: Model, lengths: Lengths) -> None:
    taught = replace(work, roles=frozenset({"teacher"}))
    one = 0.5 + POSITIONS * 0.01 + TOKENS * 0.001
    assert RATES.seconds(taught, model, lengths)["teacher"] == pytest.approx(3 * one)
    longer = RATES.seconds(taught, model, replace(lengths, taught=13))["teacher"]
    assert longer == pytest.approx(3 * (one + 2 * 3 * 0.01))
    shape = Shape(body=3000, head=50, adapter=0, merge=0, attention=4, whole=True)
    other = replace(taught, teacher=shape, teacher_weights=3050)
    assert RATES.seconds(other, model, lengths)["teacher"] == pytest.approx(3 * 3 * one)
    assert run_memory(taught, model, lengths, 2, on_cpu=True)["teacher"] == 0
    assert run_memory(other, model, lengths, 2, on_cpu=True)["teacher"] == 6100
    whole = replace(model, shape=replace(model.shape, whole=True))
    assert run_memory(taught, whole, lengths, 2, on_cpu=True)["teacher"] == 2 * 1100


def test_a_model_that_scores_takes_no_logits_and_its_rankings_no_decoding(
    scoring: Work, model: Model, lengths: Lengths
) -> None:
    four = replace(lengths, candidates=4)
    once = 0.5 + 5 * (10 + 4 * 5) * 0.01
    assert RATES.seconds(scoring, model, four)["evaluation"] == pytest.approx(2 * once)
    more = replace(scoring, tokens=50)  # 150 positions
    assert RATES.seconds(more, model, four)["evaluation"] == pytest.approx(2 * (once + 2 * 0.5))
    drawn = replace(scoring, sampled="once", samples=4)
    decoding = 5 * 10 * 0.02 + 5 * 4 * 5 * 0.005 + 8 * 0.1
    assert RATES.seconds(drawn, model, lengths)["evaluation"] == pytest.approx(2 * once + decoding)
    parts = run_memory(scoring, model, lengths, itemsize=2, on_cpu=True)
    assert not any(part.startswith("rollout") for part in parts) and parts["update: logits"] == 0


def test_processes_share_a_step(work: Work, model: Model, lengths: Lengths) -> None:
    free = replace(RATES, score=Line(0, 0.01), update=Line(0, 0.03), decode=Line(0, 0.005), merge=0, optimizer=0)
    alone = free.seconds(work, model, lengths)
    shared = free.seconds(replace(work, processes=2), model, lengths)
    for part in ("reference", "update"):
        assert shared[part] == pytest.approx(alone[part] / 2)


def test_a_device_on_paper(work: Work, model: Model, lengths: Lengths) -> None:
    found = estimate(work, model, (lengths, lengths), torch.bfloat16, Device(1e-6, 4, 0.5), on_cpu=False)
    total = found.upper.totals
    assert found.exact
    assert total["seconds"] == pytest.approx(total["flops"] / (1e6 * 4 * 0.5))
    slow = Device(1e-6, 4, 0.5, gb_per_s=1e-9)  # a byte a second
    rollout = slow.seconds(work, model, lengths, 2)["rollout"]
    assert rollout == 3 * 9 * 1100 * 2  # every step of decoding reads all weights


def test_memory_by_hand(work: Work, model: Model, lengths: Lengths) -> None:
    parts = run_memory(work, model, lengths, itemsize=2, on_cpu=True)
    assert parts == {
        "libraries": LIBRARIES,
        "weights": 2200 + JOINED * 2000,
        "trained": 10 * (2 + 4 + 8 + 4),
        "rollout: merged weights": 2000 + 2000 + 200,
        "rollout: keys and values": 8 * (10 + 9) * 32 * 2,
        "rollout: logits": 8 * 12 * DRAWN,
        "heap in pieces": HELD * (4200 + 8 * 19 * 32 * 2 + 8 * 12 * DRAWN),
        "update: activations": POSITIONS * 2 * (KEPT_WIDTH * 8 + KEPT_INNER * 16) * 2,
        "update: logits": SCORED * CHUNK_NUMBERS,
    }
    throughout = LIBRARIES + parts["weights"] + 180 + parts["heap in pieces"]
    assert peak(parts) == throughout + parts["update: activations"] + parts["update: logits"]
    assert "heap in pieces" not in run_memory(replace(work, sampled="never"), model, lengths, itemsize=2, on_cpu=True)
    assert peak(parts | {"rollout: logits": 1e12}) > 1e12


def test_memory_of_converted_weights(work: Work, model: Model, lengths: Lengths) -> None:
    """Weights stored in another dtype are not mapped, and float32 activations have no wider copies."""
    wide = run_memory(work, replace(model, stored=2), lengths, itemsize=4, on_cpu=True)
    assert wide["weights"] == 4400
    assert wide["update: activations"] == POSITIONS * 2 * (KEPT_WIDTH_WIDE * 8 + KEPT_INNER * 16) * 4
    assert wide["rollout: merged weights"] == 4000  # nothing is packed
    for stored in (4, None):
        mapped = run_memory(work, replace(model, stored=stored), lengths, itemsize=4, on_cpu=True)
        assert mapped["weights"] == 4400 + JOINED * 4000


def test_what_adds_to_memory(work: Work, model: Model, lengths: Lengths) -> None:
    def parts(work: Work = work, model: Model = model, itemsize: int = 2) -> dict[str, float]:
        return run_memory(work, model, lengths, itemsize, on_cpu=False)

    assert (parts()["libraries"], parts()["weights"], parts()["rollout: merged weights"]) == (0, 2200, 2000)
    assert parts(itemsize=4)["trained"] == 10 * (4 + 8 + 4)  # wide weights are their own masters
    assert parts(replace(work, roles=frozenset({"critic"})))["critic"] == 10 * (2 + 4 + 8 + 4)
    whole = replace(model, shape=Shape(1000, 100, 0, 0, 2, whole=True))
    assert parts(model=whole)["trained"] == 1100 * (4 + 8 + 4)
    assert parts(model=whole)["reference copy"] == 2200
    layer = KEPT_WIDTH * 8 + KEPT_INNER * 16
    again = parts(replace(work, recompute=True))["update: activations"]
    assert again == POSITIONS * (2 * 8 + layer) * 2 < parts()["update: activations"]
    # Whole sequences: four prompts a group for one.
    whole = parts(replace(work, recompute=True, shared=False))["update: activations"]
    assert whole == pytest.approx(again * 2 * 4 * (10 + 5) / POSITIONS)
    # A quarter of the rows moves the policy in the busiest step: one of four branches a group.
    busy = replace(lengths, busiest=0.25)
    found = run_memory(work, model, busy, 2, on_cpu=False)["update: activations"]
    assert found == pytest.approx(parts()["update: activations"] * 2 * (10 + 5) / POSITIONS)
    critic = replace(work, roles=frozenset({"critic"}))
    assert run_memory(critic, model, busy, 2, on_cpu=False)["update: activations"] == parts()["update: activations"]
    small = replace(work, tokens=POSITIONS // 4)
    assert parts(small)["update: activations"] == parts()["update: activations"] / 4
    assert "rollout: logits" not in parts(replace(work, sampled="never", samples=0, evaluations=()))

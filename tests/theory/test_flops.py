"""FLOPs of whole runs: by hand, and in the ways they must grow."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlft.algorithms import DPO, K3, GroupNormalised, NoKL, PolicyGradient, PPOClip, WeightedLikelihood
from rlft.models.flops import Shape
from rlft.models.row_cache import ROW
from rlft.theory import Lengths, Live, Work, flops, growth
from rlft.theory.flops import evaluation_flops, passes, run_flops

# A group of 4 completions of 6 tokens after a prompt of 10: 10 + 4·5 inputs; keys 10·11/2 + 4·(5·10 + 5·6/2).
INPUTS, KEYS, SCORED = 30, 55 + 4 * 65, 24


def test_every_part_by_hand(work: Work, shape: Shape, lengths: Lengths) -> None:
    groups = 3 * 2
    attention = 4 * 2 * KEYS
    plain = 2 * 1000 * INPUTS + attention + 2 * 100 * SCORED
    forward = 2 * 1010 * INPUTS + attention + 2 * 100 * SCORED
    backward = (2 * 1000 + 4 * 10) * INPUTS + 10 * 2 * KEYS + 2 * 100 * SCORED
    assert run_flops(work, shape, lengths) == {
        "rollout": groups * plain + 3 * 7,
        "reward": 0,
        "reference": groups * plain,
        "forward": groups * forward,
        "backward": groups * backward,
    }


def test_recomputing_runs_the_blocks_once_more(work: Work, shape: Shape, lengths: Lengths) -> None:
    plain, again = (run_flops(replace(work, recompute=r), shape, lengths) for r in (False, True))
    more = 6 * (2 * 1010 * INPUTS + 4 * 2 * KEYS)
    assert again == plain | {"backward": plain["backward"] + more}
    # Whole sequences: 4 prompts a group for one.
    whole = run_flops(replace(work, recompute=True, shared=False), replace(shape, attention=0), lengths)
    assert whole["forward"] == 6 * (2 * 1010 * (INPUTS + 30) + 2 * 100 * SCORED)
    assert whole["reference"] == run_flops(work, replace(shape, attention=0), lengths)["reference"]


def test_evaluations_answer_each_question_once_per_limit(work: Work, shape: Shape, lengths: Lengths) -> None:
    one = 2 * 1000 * 15 + 4 * 2 * (55 + 65) + 2 * 100 * 6
    assert evaluation_flops(work, shape, lengths) == 2 * 5 * one + 2 * 7
    # An answer of 30 tokens is cut at the recipe's limit, 20, but not at the long one.
    long = evaluation_flops(work, replace(shape, attention=0), replace(lengths, answer=30))
    assert long == 5 * (2 * 1000 * (39 + 29) + 2 * 100 * 50) + 14


def test_a_model_that_scores_uses_no_language_model_head_and_ranks_held_out_completions(
    scoring: Work, shape: Shape, lengths: Lengths
) -> None:
    pair, keys = 10 + 2 * 5, 55 + 2 * 65
    trained = run_flops(scoring, shape, lengths)
    assert trained["forward"] == 3 * 2 * (2 * 1010 * pair + 4 * 2 * keys)
    assert trained["rollout"] == 0
    # Each question with its four completions, twice.
    ranking = 5 * (2 * 1010 * INPUTS + 4 * 2 * KEYS)
    assert evaluation_flops(scoring, shape, replace(lengths, candidates=4)) == 2 * ranking
    # Completions that are not recorded are sampled, once.
    sampled = replace(scoring, sampled="once", samples=4)
    drawn = 5 * (2 * 1000 * INPUTS + 4 * 2 * KEYS + 2 * 100 * SCORED)
    assert evaluation_flops(sampled, shape, lengths) == drawn + 2 * ranking
    assert evaluation_flops(replace(scoring, rankings=0), shape, lengths) == 0


def test_rows_that_move_nothing_are_not_trained_and_groups_without_others_not_run(
    work: Work, shape: Shape, lengths: Lengths
) -> None:
    # Half of the groups are mixed: half of the prompts and half of the completions are gone through.
    only_mixed = replace(work, live=Live(all_right=0, all_wrong=0))
    shares = replace(lengths, all_right=0.25, all_wrong=0.25)
    full, half = (run_flops(w, shape, shares) for w in (work, only_mixed))
    assert half["forward"] == full["forward"] / 2 and half["backward"] == full["backward"] / 2
    assert half["reference"] == full["reference"] and half["rollout"] == full["rollout"]


def test_what_is_sampled_once_does_not_depend_on_the_steps(work: Work, shape: Shape, lengths: Lengths) -> None:
    once = replace(work, sampled="once", rows=1, kept="right", roles=frozenset())
    pooled = replace(lengths, pool=7)
    assert run_flops(once, shape, pooled)["rollout"] == pytest.approx(7 * (2 * 1000 * INPUTS + 8 * KEYS + 200 * SCORED))
    assert run_flops(replace(once, steps=6), shape, pooled)["rollout"] == run_flops(once, shape, pooled)["rollout"]


def test_what_a_curriculum_measures_comes_once_to_what_each_step_samples(
    work: Work, shape: Shape, lengths: Lengths
) -> None:
    """Seven questions, answered twice each: 10 + 2·5 inputs, keys 10·11/2 + 2·(5·10 + 5·6/2)."""
    measured = replace(work, measured=2)
    pooled = replace(lengths, pool=7)
    one = 2 * 1000 * (10 + 2 * 5) + 8 * (55 + 2 * 65) + 200 * 12
    plain = run_flops(work, shape, pooled)
    assert run_flops(measured, shape, pooled) == {**plain, "rollout": pytest.approx(plain["rollout"] + 7 * one)}
    assert "2·N·M·(P + 2C)" in growth(measured, shape, pooled).leading


def test_the_reference_runs_once_for_each_row_that_differs(work: Work, shape: Shape, lengths: Lengths) -> None:
    """24 rows are drawn, 6 of them differ; the policy is trained on all."""
    full, known = (run_flops(work, shape, replace(lengths, distinct=n)) for n in (None, 6))
    assert known["reference"] == pytest.approx(full["reference"] / 4) and known["forward"] == full["forward"]
    assert run_flops(work, shape, replace(lengths, distinct=30)) == full


def test_a_teacher_reads_its_own_prompt_with_its_own_weights(work: Work, shape: Shape, lengths: Lengths) -> None:
    """Prompts of 13 tokens for 10: 13 + 4·5 inputs; keys 13·14/2 + 4·(5·13 + 5·6/2)."""
    work = replace(work, roles=frozenset({"teacher"}))
    plain, shown = (run_flops(work, shape, replace(lengths, taught=taught)) for taught in (None, 13))
    assert plain["teacher"] == 6 * (2 * 1000 * INPUTS + 8 * KEYS + 200 * SCORED)
    assert shown == plain | {"teacher": 6 * (2 * 1000 * 33 + 8 * (91 + 4 * 80) + 200 * SCORED)}
    larger = Shape(body=3000, head=50, adapter=20, merge=0, attention=4, whole=True)
    taught = run_flops(replace(work, teacher=larger), shape, lengths)
    assert taught == plain | {"teacher": 6 * (2 * 3020 * INPUTS + 16 * KEYS + 100 * SCORED)}
    assert growth(replace(work, teacher=larger), replace(shape, attention=0), lengths).leading == "12·N·D·(P + 4C)"
    again = run_flops(work, shape, replace(lengths, distinct=6))
    assert again["teacher"] == pytest.approx(plain["teacher"] / 4)


def test_rows_past_what_is_held_run_whenever_they_are_drawn(
    work: Work, lengths: Lengths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flops, "LIMIT", 3 * (6 + ROW))
    found = passes(work, replace(lengths, distinct=6))
    assert found.share("reference") == (3 + 3 * 4) / 24  # 6 rows four times, 3 of them held
    assert found.share("old") == 1


def test_a_reward_model_reads_every_prompt_with_every_completion(work: Work, shape: Shape, lengths: Lengths) -> None:
    judge = Shape(body=500, head=0, adapter=0, merge=0, attention=0, whole=True)
    judged = run_flops(replace(work, judges=(judge,)), shape, lengths)["reward"]
    assert judged == 2 * 500 * (10 + 6) * 3 * 2 * 4


def test_a_frozen_policy_takes_no_pass_while_its_critic_learns(work: Work, shape: Shape, lengths: Lengths) -> None:
    ppo = replace(work, roles=frozenset({"reference", "old", "critic"}))
    full, warm = (run_flops(w, shape, lengths) for w in (ppo, replace(ppo, frozen=1)))
    assert warm["forward"] == pytest.approx(full["forward"] * 2 / 3)
    assert warm["critic"] == full["critic"]


GRPO = PolicyGradient(GroupNormalised(), PPOClip(0.2, 0.2), K3(), beta=0.04)


def test_which_rows_move_the_policy() -> None:
    assert Live.of(GRPO, 4) == Live(1, 1, 1, 1)
    assert Live.of(PolicyGradient(GroupNormalised(), PPOClip(0.2, 0.2), NoKL(), beta=0), 4) == Live(0, 0, 1, 1)
    assert Live.of(WeightedLikelihood(), 4) == Live(1, 0, 1, 0)
    assert Live.of(WeightedLikelihood(), 1) == Live(1, 0, 1, 0)
    assert Live.of(WeightedLikelihood(), 4, worth=-1.0) == Live(1, 1, 1, 1)
    assert Live.of(DPO(0.1), 2) == Live(1, 1, 1, 1)


@given(st.floats(0, 1), st.integers(1, 16))
def test_shares_of_rows_that_move_the_policy(acceptance: float, rows: int) -> None:
    everything, right = Live(), Live(1, 0, 1, 0)
    assert everything.shares(acceptance, rows) == pytest.approx((1, 1))
    assert right.shares(acceptance, rows) == pytest.approx((acceptance, 1 - (1 - acceptance) ** rows))


@given(st.floats(1, 500), st.floats(1, 500), st.floats(0, 1))
def test_longer_and_more_cost_more(prompt: float, completion: float, acceptance: float) -> None:
    work = _work(live=Live(all_wrong=0, wrong=0))
    shape = Shape(body=1000, head=100, adapter=10, merge=7, attention=2, whole=False)
    lengths = Lengths(prompt, completion, completion, completion, 1, acceptance, 0, 0)
    now = sum(run_flops(work, shape, lengths).values())
    for longer in (replace(lengths, prompt=2 * prompt), replace(lengths, completion=2 * completion)):
        assert sum(run_flops(work, shape, longer).values()) >= now
    assert sum(run_flops(replace(work, steps=2 * work.steps), shape, lengths).values()) == pytest.approx(2 * now)


CASES = {
    "sft": ({"sampled": "never", "samples": 0, "rows": 1, "kept": "right"}, "4·N·D·(P + C)"),
    "rft": ({"sampled": "once", "rows": 1, "kept": "right"}, "2·N·M·(P + 8C) + 4·N·D·(P + C)"),
    "online_rft": ({"live": Live(1, 0, 1, 0)}, "2·N·D·(P + 8C) + 4·N·D·(P + a·8C)"),
    "dpo": (
        {"sampled": "once", "rows": 2, "kept": "pairs", "roles": {"reference"}}, "2·N·M·(P + 8C) + 6·N·D·(P + 2C)"
    ),
    "ppo": ({"roles": {"reference", "old", "critic"}}, "16·N·D·(P + 8C)"),
    "grpo": ({"roles": {"reference"}}, "8·N·D·(P + 8C)"),
    "distill": ({"roles": {"teacher"}}, "8·N·D·(P + 8C)"),
}  # fmt: skip


@pytest.mark.parametrize("method", CASES)
def test_how_each_method_grows(method: str) -> None:
    changes, expected = CASES[method]
    work = _work(**changes)
    # Completions so long that the token that is no input does not count, and a model that is nothing but its body.
    lengths = Lengths(1e6, 1e6, 1e6, 1e6, 1, 0.25, 0, pool=40)
    shape = Shape(body=1000, head=0, adapter=0, merge=0, attention=0, whole=False)
    found = growth(work, shape, lengths)
    assert found.leading == expected
    value = expected.replace("·(", "*(").replace("·", "*").replace("8C", "8*C").replace("2C", "2*C")
    names = {"N": 1000, "D": work.steps * work.queries, "M": 40, "P": 1e6, "C": 1e6, "a": 0.25}
    total = sum(run_flops(work, shape, lengths).values())
    unused_prompts = 1 - (1 - (1 - 0.25) ** 8) if method == "online_rft" else 0  # of groups without a right answer
    skipped = 4 * 1000 * names["D"] * 1e6 * unused_prompts
    assert total == pytest.approx(eval(value, {"__builtins__": {}}, names) - skipped, rel=1e-4)
    assert (found.model, found.data) == pytest.approx((1, 1))


def test_how_a_method_grows_whose_data_comes_again() -> None:
    work = _work(sampled="once", rows=2, kept="pairs", roles={"reference"})  # 20 rows are drawn
    found = growth(work, Shape(1000, 0, 0, 0, 0, whole=False), Lengths(10, 5, 5, 5, 1, 1, 0, pool=40, distinct=8))
    assert found.leading == "2·N·M·(P + 8C) + 2·N·R·(P + 2C) + 4·N·D·(P + 2C)"
    assert found.data == pytest.approx(1)


def test_all_weights_trained_is_the_familiar_6nd() -> None:
    shape = Shape(body=1000, head=0, adapter=0, merge=0, attention=0, whole=True)
    sft = _work(sampled="never", samples=0, rows=1, kept="right")
    assert growth(sft, shape, Lengths(10, 5, 5, 5, 1, 1, 0, 0)).leading == "6·N·D·(P + C)"


def test_recomputing_whole_sequences_grows_with_a_prompt_for_each_completion() -> None:
    shape, lengths = Shape(1000, 0, 0, 0, 0, whole=False), Lengths(10, 5, 5, 5, 1, 1, 0, 0)
    assert growth(_work(recompute=True), shape, lengths).leading == "8·N·D·(P + 8C)"
    found = growth(_work(recompute=True, shared=False), shape, lengths).leading
    assert found == "2·N·D·(P + 8C) + 6·N·D·(8P + 8C)"


def test_attention_is_quadratic_in_the_lengths() -> None:
    sft = _work(sampled="never", samples=0, rows=1, kept="right")
    lengths = Lengths(1, 1000, 1000, 1000, 1, 1, 0, 0)
    only_attention = growth(sft, Shape(0, 0, 0, 0, attention=8, whole=False), lengths)
    assert only_attention.length == pytest.approx(2, abs=0.01) and only_attention.attention == 1
    none = growth(sft, Shape(1000, 0, 0, 0, attention=0, whole=False), lengths)
    assert none.length == pytest.approx(1, abs=0.01) and none.attention == 0


def _work(**changes: object) -> Work:
    defaults: dict[str, object] = {
        "method": "", "steps": 5, "queries": 2, "rows": 8, "sampled": "each step", "samples": 8, "pool": None,
        "kept": "all", "live": Live(), "roles": frozenset(), "epochs": 1, "mini_batches": 1, "frozen": 0,
        "tokens": 4096, "max_prompt": 512, "max_completion": 512, "questions": 0, "evaluations": (),
    }  # fmt: skip
    return Work(**{**defaults, **changes})  # pyright: ignore[reportArgumentType]

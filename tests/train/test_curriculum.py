"""Curricula in whole runs: a resume changes nothing; what is drawn anew or measured is billed; all of it is shown."""

from pathlib import Path
from typing import Any

import pytest
from runs import assert_same_run, lines, make_plan, run, said, samples

from rlft.base import Group
from rlft.rewards import Format

LEVELS = ["~data.task_settings.min_digits", "~data.task_settings.max_digits", "data.task_levels=2"]
CURRICULA = {
    "adaptive": ["curriculum=adaptive", "curriculum.decay=0.5", "data.resample=1"],
    "levels": ["curriculum=levels", "curriculum.window=2", "curriculum.bound=0.1"],
    "sorted": ["curriculum=sorted", "curriculum.measure=2", "curriculum.pool=9"],
}


@pytest.mark.parametrize("name", CURRICULA)
def test_a_resumed_run_is_the_uninterrupted_run(name: str, tiny_dir: Path, tmp_path: Path) -> None:
    words = ["trainer.steps=4", *LEVELS, *CURRICULA[name]]
    whole = run(make_plan(tiny_dir, tmp_path / "whole", "grpo", *words))
    stopped = run(make_plan(tiny_dir, tmp_path / "half", "grpo", *words, "trainer.stop_after=2"))
    assert (stopped["status"], stopped["steps"]) == ("stopped", 2)
    resumed = run(make_plan(tiny_dir, tmp_path / "half", "grpo", *words), resume=True)
    assert_same_run(tmp_path / "half", tmp_path / "whole")
    assert {**resumed["totals"], "seconds": 0} == {**whole["totals"], "seconds": 0}
    key = {"adaptive": "pass_rate/0", "levels": "level", "sorted": "difficulty"}[name]
    assert len({m[f"curriculum/{key}"] for m in lines(tmp_path / "whole" / "metrics.jsonl")}) > 1, "it never moved"


def test_what_was_drawn_is_what_the_curriculum_chose(tiny_dir: Path, tmp_path: Path) -> None:
    """One digit first; none of it is a held-out question."""
    plan = make_plan(tiny_dir, tmp_path, "grpo", "trainer.steps=1", *LEVELS, "curriculum=levels")
    text = said(plan)
    assert "data online · chain_sum · curriculum levels by level" in (tmp_path / "README.md").read_text("utf-8")
    assert "curriculum: questions by level: 0 (" in text and " · curriculum level 0\n" in text
    drawn = samples(tmp_path)
    assert len(drawn) == 9 and all(len(word) == 1 for s in drawn for word in s["prompt"].split() if word.isdigit())
    assert not {s["prompt_id"] for s in drawn} & {query.id for query in plan.source.held_out()}


def bill(tiny_dir: Path, folder: Path, *words: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    totals = run(make_plan(tiny_dir, folder, "grpo", "trainer.steps=2", *LEVELS, *words))["totals"]
    return totals, lines(folder / "metrics.jsonl")


def test_what_is_drawn_anew_is_billed_and_shown(
    tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    score = Format.score

    def spy(reward: Format, groups: list[Group]) -> list[Group]:
        scored.extend(len(group.completions) for group in groups)
        return score(reward, groups)

    monkeypatch.setattr(Format, "score", spy)
    once, plain = bill(tiny_dir, tmp_path / "once")
    # No text has this pattern: every group is all wrong, and every round is used up.
    never = "reward.pattern=no_such_text"
    more, shown = bill(tiny_dir, tmp_path / "more", "data.resample=2", never)
    assert [m["group/resampled"] for m in shown] == [6, 6] and all("group/resampled" not in m for m in plain)
    assert (once["reward_calls"], more["reward_calls"]) == (2 * 9, 3 * 2 * 9)
    assert sum(scored) == once["reward_calls"] + more["reward_calls"], "none is scored twice"
    assert more["prefilled_tokens"] == pytest.approx(3 * once["prefilled_tokens"], rel=0.05)
    assert more["generated_tokens"] == sum(m["tokens/generated"] for m in shown) > 2 * once["generated_tokens"]
    assert more["trained_tokens"] == sum(m["tokens/trained"] for m in shown) < more["generated_tokens"]
    assert more["prompts"] == once["prompts"] == 6


def test_measuring_is_billed_with_the_first_step(tiny_dir: Path, tmp_path: Path) -> None:
    words = ["curriculum=adaptive", "curriculum.pool=7"]
    none, _ = bill(tiny_dir, tmp_path / "none", *words)
    measured, shown = bill(tiny_dir, tmp_path / "measured", *words, "curriculum.measure=4")
    assert measured["reward_calls"] - none["reward_calls"] == 7 * 4
    assert shown[0]["tokens/generated"] > shown[1]["tokens/generated"] + 7 * 4
    assert measured["flops"] > none["flops"] and measured["prefilled_tokens"] > none["prefilled_tokens"]


def test_the_curriculum_sees_rewards_before_they_are_ranked(tiny_dir: Path, tmp_path: Path) -> None:
    """By rank one of two halves of every group would be right."""
    never = ["reward.pattern=no_such_text", "reward.transform=rank", "trainer.steps=2"]
    run(make_plan(tiny_dir, tmp_path, "grpo", *never, *LEVELS, "curriculum=adaptive"))
    before, after = (m["curriculum/pass_rate"] for m in lines(tmp_path / "metrics.jsonl"))
    assert before == pytest.approx(0.5) and after < 0.45
    assert [m["group/all_wrong"] for m in lines(tmp_path / "metrics.jsonl")] == [1, 1]

"""N steps are N/2 and as many after a resume, bit for bit."""

import shutil
from pathlib import Path

import pytest
from runs import adapter, assert_equal, assert_same_run, lines, make_plan, run, samples, state

STEPS = 4


def halves(model: Path, run_dir: Path, method: str, *changes: str, between: Path | None = None) -> None:
    """Runs half of the steps, then resumes to the end; the folder `between` is lost in the meantime."""
    steps = f"trainer.steps={STEPS}"
    stopped = run(make_plan(model, run_dir, method, steps, *changes, f"trainer.stop_after={STEPS // 2}"))
    assert (stopped["status"], stopped["steps"]) == ("stopped", STEPS // 2)
    assert stopped["eval"]["accuracy_after"] is None
    if between is not None:
        shutil.rmtree(between)
    finished = run(make_plan(model, run_dir, method, steps, *changes), resume=True)
    assert (finished["status"], finished["steps"]) == ("finished", STEPS)


@pytest.mark.parametrize("method", ["grpo", "ppo", "sft", "distill"])
def test_a_resumed_run_is_the_uninterrupted_run(method: str, tiny_dir: Path, tmp_path: Path) -> None:
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    run(make_plan(tiny_dir, whole, method, f"trainer.steps={STEPS}"))
    halves(tiny_dir, halved, method)
    assert_same_run(halved, whole)
    drawn = samples(halved)
    assert len({record["reward"] for record in drawn}) == (1 if method == "sft" else 2), "rewards that never vary"
    assert len({record["prompt_id"] for record in drawn}) == len({(r["prompt_id"], r["step"]) for r in drawn})


@pytest.mark.parametrize("method", ["rft", "dpo"])
def test_the_cache_of_samples_changes_nothing(method: str, tiny_dir: Path, tmp_path: Path, cache: Path) -> None:
    """Sampled anew or read from the cache, at the start and at the resume."""
    cold, warm, lost = tmp_path / "cold", tmp_path / "warm", tmp_path / "lost"
    run(make_plan(tiny_dir, cold, method, f"trainer.steps={STEPS}"))
    assert list((cache / "samples" / "offline").glob("*/*.jsonl"))
    halves(tiny_dir, warm, method)
    assert_same_run(warm, cold)
    shutil.rmtree(cache)
    halves(tiny_dir, lost, method, between=cache)
    assert_same_run(lost, cold)


def test_what_the_reference_remembers_outlives_a_resume(tiny_dir: Path, tmp_path: Path) -> None:
    """Rows of recorded or once sampled data are run through π_ref once, in whichever half; others whenever drawn."""
    whole = run(make_plan(tiny_dir, tmp_path / "whole", "dpo", f"trainer.steps={STEPS}"))["totals"]
    halves(tiny_dir, tmp_path / "halved", "dpo")
    assert 0 < whole["reference_rows"] <= 2 * 8 < 2 * 3 * STEPS  # a pool of 8 pairs at most
    assert whole["reward_calls"] == 8 * 3 + 2 * 3 * STEPS  # the pool's samples, and each step's
    assert_same_run(tmp_path / "halved", tmp_path / "whole")
    online = run(make_plan(tiny_dir, tmp_path / "online", "grpo", "trainer.steps=2"))["totals"]
    assert online["reference_rows"] == online["reward_calls"] > 0


def test_another_seed_is_another_run(tiny_dir: Path, tmp_path: Path) -> None:
    """What is held equal above is not equal by itself."""
    for seed in (0, 1):
        run(make_plan(tiny_dir, tmp_path / str(seed), "grpo", "trainer.steps=1", f"seed={seed}"))
    assert samples(tmp_path / "0") != samples(tmp_path / "1")
    with pytest.raises(AssertionError):
        assert_equal(adapter(tmp_path / "0"), adapter(tmp_path / "1"))
    with pytest.raises(AssertionError):
        assert_equal(state(tmp_path / "0"), state(tmp_path / "1"))


def test_a_resume_without_a_checkpoint_starts_from_the_beginning(tiny_dir: Path, tmp_path: Path) -> None:
    plan = make_plan(tiny_dir, tmp_path / "run", "sft", "trainer.steps=2")
    assert run(plan, resume=True)["steps"] == 2
    assert [record["step"] for record in lines(tmp_path / "run" / "metrics.jsonl")] == [1, 2]


def test_what_was_written_after_the_checkpoint_is_written_once(tiny_dir: Path, tmp_path: Path) -> None:
    """A crash between two checkpoints: steps that are gone over again, and a torn last line."""
    run_dir = tmp_path / "run"
    run(make_plan(tiny_dir, run_dir, "grpo", "trainer.steps=4", "trainer.stop_after=2"))
    whole = (run_dir / "metrics.jsonl").read_text(encoding="utf-8")
    torn = whole + whole.split("\n")[1].replace('"step": 2', '"step": 3') + '\n{"step": 4, "rew'
    (run_dir / "metrics.jsonl").write_text(torn, encoding="utf-8")
    run(make_plan(tiny_dir, run_dir, "grpo", "trainer.steps=4"), resume=True)
    records = lines(run_dir / "metrics.jsonl")
    assert [record["step"] for record in records] == [1, 2, 3, 4]
    assert records[2]["time/step_s"] != records[1]["time/step_s"]


def test_the_bill_goes_on(tiny_dir: Path, tmp_path: Path) -> None:
    """Totals are those of all steps, and the sum of what the metrics say."""
    whole = run(make_plan(tiny_dir, tmp_path / "whole", "grpo", "trainer.steps=2"))["totals"]
    run(make_plan(tiny_dir, tmp_path / "half", "grpo", "trainer.steps=2", "trainer.stop_after=1"))
    half = run(make_plan(tiny_dir, tmp_path / "half", "grpo", "trainer.steps=2"), resume=True)["totals"]
    assert {k: v for k, v in half.items() if k != "seconds"} == {k: v for k, v in whole.items() if k != "seconds"}
    records = lines(tmp_path / "half" / "metrics.jsonl")
    assert half["seconds"] > sum(r["time/step_s"] for r in records) > 0  # the data took some too
    assert half["generated_tokens"] == sum(r["tokens/generated"] for r in records) > 0
    assert half["trained_tokens"] == sum(r["tokens/trained"] for r in records) > 0
    assert 0 < records[0]["flops"] < records[1]["flops"] == half["flops"]  # of the run so far

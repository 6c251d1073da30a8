"""`rlft cost`: on paper, on this machine, and against the bill of a run."""

import json
from pathlib import Path
from typing import Any

import pytest
from runs import RECIPES, SHORT, make_plan, run
from tiny import tiny_model_dir

from rlft.cli.main import main
from rlft.models.policy import Policy
from rlft.recipe import freeze

PAPER = ["device_tflops=989", "devices=4", "mfu=0.5"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model_dir(tmp_path / "model")


def cost(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["cost", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_on_paper_what_is_unknown_is_an_interval(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["recipe=grpo_math", "model=hub", f"model.path={model}", *PAPER]
    found = cost(capsys, *words)
    low, high = found["lower"]["totals"], found["upper"]["totals"]
    assert 0 < low["flops"] < high["flops"]
    assert high["seconds"] == pytest.approx(high["flops"] / (989e12 * 4 * 0.5))
    assert found["upper"]["memory_bytes"]["libraries"] == 0
    closed = cost(capsys, *words, "lengths.completion=10")
    assert low["flops"] < closed["lower"]["totals"]["flops"] == closed["upper"]["totals"]["flops"] < high["flops"]


@pytest.mark.parametrize(("recipe", "drawn"), [("sft_math", False), ("rft_math", True), ("grpo_math", True)])
def test_acceptance_is_said_of_what_is_sampled(
    recipe: str, drawn: bool, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost", f"recipe={recipe}", "model=hub", f"model.path={model}", *PAPER]) == 0
    text = capsys.readouterr().out
    assert " · completion " in text and (" · acceptance " in text) == drawn


def test_a_budget_says_how_many_steps_it_buys(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Eight questions a step, eight answers of ten tokens each; FLOPs and seconds are measured in those of 7 steps."""
    words = ["recipe=grpo_math", "model=hub", f"model.path={model}", *PAPER]
    known = [*words, "lengths.completion=10", "acceptance=0.5"]
    seven = cost(capsys, *known, "trainer.steps=7")["upper"]["totals"]
    for budget, steps in (
        (f"flops={0.999 * seven['flops']}", 7), (f"seconds={0.999 * seven['seconds']}", 7), ("prompts=17", 3),
        ("trained_tokens=1921", 4), ("generated_tokens=1920", 3), ("reward_calls=1", 1),
    ):  # fmt: skip
        found = cost(capsys, *known, f"budget.{budget}")
        assert found["notes"][0].endswith(f"is spent after {steps} steps"), budget
        assert found["upper"]["totals"]["flops"] == pytest.approx(seven["flops"] * steps / 7)
    open_ended = cost(capsys, *words, f"budget.flops={seven['flops']}")["notes"][0]
    assert "is spent after " in open_ended and " steps, by its lengths; here " in open_ended


def test_recipes_side_by_side(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["recipes=[sft_math,grpo_math]", "model=hub", f"model.path={model}", *PAPER]
    rows = cost(capsys, *words)["recipes"]
    assert [row["growth"]["leading"] for row in rows] == ["4·N·D·(P + C)", "8·N·D·(P + 8C)"]
    assert all(row["growth"]["data"] == pytest.approx(1) for row in rows)
    assert main(["cost", *words]) == 0
    assert "8·N·D·(P + 8C)" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["sft", "rft", "dpo", "ppo", "grpo", "distill", "reward_model", "token_scores"])
def test_given_a_run_s_lengths_its_flops_are_foretold(
    method: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RLFT_CACHE", str(tmp_path / "cache"))
    plan = make_plan(model, tmp_path / "run", method, "trainer.steps=4")
    freeze(plan.config, plan.run_dir)
    run(plan)
    found = cost(capsys, f"from_run={tmp_path / 'run'}")
    assert found["steps"] == 4
    assert found["ratio"]["flops"] == pytest.approx(1, abs=0.03)
    assert found["ratio"]["seconds"] > 0 and found["ratio"]["memory_bytes"] > 0
    assert main(["cost", f"from_run={tmp_path / 'run'}"]) == 0
    text = capsys.readouterr().out
    assert "predicted" in text and "measured" in text
    # The same lengths for a recipe with other values: no bill to hold it against.
    other = cost(capsys, *RECIPES[method], *SHORT, f"model.path={model}", f"from_run={tmp_path / 'run'}", *PAPER)
    assert "ratio" not in other and other["steps"] > 4
    assert other["lengths"]["lower"]["completion"] == found["lengths"]["lower"]["completion"]


@pytest.mark.parametrize("dropout", [0, 0.1], ids=["native", "through transformers"])
def test_gradient_checkpointing_is_foretold(
    dropout: float, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As "auto" turns it on where there is no memory."""
    monkeypatch.setattr("rlft.train.memory.free_memory", lambda _: 0)
    words = ["trainer.steps=2", f"model.dropout={dropout}", "trainer.gradient_checkpointing=auto"]
    plan = make_plan(model, tmp_path / "run", "ppo", *words)
    freeze(plan.config, plan.run_dir)
    run(plan)
    found = cost(capsys, f"from_run={tmp_path / 'run'}")
    note = "backward runs every layer forward once more"
    assert found["ratio"]["flops"] == pytest.approx(1, abs=0.03)
    assert sum(note in line for line in found["notes"]) == 1
    assert any("whole sequences" in line for line in found["notes"]) == bool(dropout)
    words = [*RECIPES["ppo"], *SHORT, f"model.path={model}", *words]
    timed: list[bool] = []
    switch = Policy.checkpoint
    monkeypatch.setattr(Policy, "checkpoint", lambda policy, on: timed.append(on) or switch(policy, on))
    auto, off = (cost(capsys, *words, *more) for more in ([], ["trainer.gradient_checkpointing=off"]))
    assert note in str(auto["notes"]) and note not in str(off["notes"])
    assert timed == [True, False]
    activations = [found["upper"]["memory_bytes"]["update: activations"] for found in (auto, off)]
    assert dropout or activations[0] < activations[1]
    assert note not in str(cost(capsys, *words, *PAPER)["notes"])  # nobody knows the memory of a device on paper


def test_another_engine_s_seconds_are_not_foretold(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*RECIPES["grpo"], *SHORT, f"model.path={model}"]
    engines = (["rollout=vllm"], [], ["rollout=vllm", "device_tflops=989"])
    vllm, own, paper = (cost(capsys, *words, *more) for more in engines)
    note = "rollout seconds are those of rlft's own sampler"
    assert [note in found["notes"] for found in (vllm, own, paper)] == [True, False, False]


def test_what_a_curriculum_draws_is_foretold_or_said_not_to_be(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*RECIPES["grpo"], *SHORT, f"model.path={model}", *PAPER]
    chosen = ["curriculum=adaptive", "curriculum.measure=2", "curriculum.pool=50", "data.resample=3"]
    plain, more = (cost(capsys, *words, *own) for own in ([], chosen))
    notes = (
        "π_ref first answers each question 2 times",
        "lengths are those of the data as a whole",
        "up to 3 more roll",
    )
    assert [[note in str(found["notes"]) for note in notes] for found in (plain, more)] == [[False] * 3, [True] * 3]
    assert more["lower"]["flops"]["rollout"] > plain["lower"]["flops"]["rollout"]
    assert more["lower"]["seconds"]["rollout"] > plain["lower"]["seconds"]["rollout"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["recipe=grpo_math", "lengths.completion=many"], "lengths.completion=many: expected a number above 0"),
        (["recipe=grpo_math", "devices=4"], "add device_tflops="),
        (["recipe=grpo_math", "device_tflops=989", "mfu=40"], "mfu=40: expected a share, at most 1"),
        (["recipe=grpo_math", "device_tflops=989", "mfu=1.5"], "40% is mfu=0.40"),
        (["recipes=[sft_math]", "recipe=grpo_math"], "leave recipe= and from_run= away"),
        (["from_run=nowhere"], "is not a run directory"),
        (["recipe=grpo_math", "lengths.completion=99", *PAPER], "to the recipe's limit, 24"),
        (["recipe=grpo_math", "from_run=nowhere", *PAPER], "expected the directory of a finished run"),
        (["recipes=[sft_mth]"], "did you mean recipe=sft_math?"),
    ],
)
def test_mistakes(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", *words]) == 2
    assert message in capsys.readouterr().err

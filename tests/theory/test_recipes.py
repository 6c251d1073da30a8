"""From recipes and data to numbers."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from runs import make_plan
from tiny import tiny_model_dir
from written import billed

from rlft.base import UserError
from rlft.models.config import ModelConfig, TeacherConfig
from rlft.models.load import load
from rlft.recipe import build, compose
from rlft.rewards import ArithmeticSteps, Combine, Implicit, ProcessModel, RewardModel
from rlft.theory import bounds, read_lengths, read_model, read_run, read_teacher, read_work
from rlft.theory.lengths import Known
from rlft.theory.work import _reward_models
from rlft.train import Plan


def plan_of(*words: str) -> Plan:
    return build(compose(list(words)).config, Path("unused"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["recipe=sft_math"], ("never", 0, 1, None, "right", set())),
        (["recipe=rft_math"], ("once", 8, 1, 256, "right", set())),
        (["recipe=online_rft_math"], ("each step", 8, 8, None, "all", set())),
        (["recipe=dpo_math"], ("once", 8, 2, 256, "pairs", {"reference"})),
        (["recipe=ppo_math"], ("each step", 8, 8, None, "all", {"reference", "old", "critic"})),
        (["recipe=grpo_math"], ("each step", 8, 8, None, "all", {"reference"})),
        (["recipe=grpo_math", "trainer.mini_batches=2"], ("each step", 8, 8, None, "all", {"reference", "old"})),
        (["recipe=grpo_math", "algorithm.beta=0"], ("each step", 8, 8, None, "all", set())),
        (["recipe=grpo_process_steps"], ("each step", 8, 8, None, "all", {"reference"})),
        (["recipe=distill_math"], ("each step", 8, 8, None, "all", {"teacher"})),
        (["recipe=rft_steps"], ("once", 8, 8, 192, "all", set())),
        (["recipe=dpo_gsm8k", "data.train_file=x.jsonl"], ("never", 0, 2, None, "pairs", {"reference"})),
    ],
)
def test_what_each_recipe_asks_for(words: list[str], expected: tuple[object, ...]) -> None:
    work = read_work(plan_of(*words), tokens=100)
    assert (work.sampled, work.samples, work.rows, work.pool, work.kept, set(work.roles)) == expected


def test_every_model_that_judges_is_found() -> None:
    inner = ProcessModel(path="steps", outcome=RewardModel(path="whole"))
    both = Combine(parts={"a": inner, "b": ArithmeticSteps(outcome=Implicit())}, weights={"a": 1.0, "b": 1.0})
    assert _reward_models(both) == ["steps", "whole"]


def test_a_curriculum_that_measures_asks_each_question_of_its_pool(tmp_path: Path) -> None:
    some, every, none = (
        plan_of("recipe=grpo_mixed", f"curriculum.measure={answers}", f"curriculum.pool={pool}")
        for answers, pool in ((4, 9), (4, "null"), (0, "null"))
    )
    assert [(w.measured, w.pool) for w in (read_work(p, 100) for p in (some, every, none))] == [
        (4, 9),
        (4, None),
        (0, None),
    ]
    known = read_lengths(every, str(tiny_model_dir(tmp_path)))
    assert known.rows == 471 and bounds(read_work(every, 100), known)[0].pool == 471
    assert bounds(read_work(some, 100), known)[1].pool == 9


def test_evaluations_are_before_after_and_as_often_as_asked() -> None:
    assert read_work(plan_of("recipe=grpo_math"), 100).evaluations == (128, 24)
    often = read_work(plan_of("recipe=grpo_math", "trainer.eval_every=20"), 100)
    assert often.evaluations == (128, 24, 24, 24)  # at 20 and 40 of 45 steps
    assert read_work(plan_of("recipe=grpo_math", "trainer.eval_size=0"), 100).evaluations == ()


def test_a_model_that_scores_ranks_where_others_answer(tmp_path: Path) -> None:
    def both(*words: str) -> tuple[tuple[int, ...], int]:
        work = read_work(plan_of("recipe=reward_model_math", *words), 100)
        return work.evaluations, work.rankings

    assert (both(), both("trainer.eval_every=20"), both("trainer.eval_size=0")) == (((), 1), ((), 3), ((), 0))
    solutions = [[True, False, False, True], [True, True, True, True], [True, False, True, True]]
    models = ("6b_finetuning", "175b_finetuning", "6b_verification", "175b_verification")
    rows = [
        {"question": f"{i}?", "ground_truth": "#### 1"}
        | {m: {"solution": f"{m} says {right:d}.", "is_correct": right} for m, right in zip(models, each, strict=True)}
        for i, each in enumerate(solutions)
    ]
    file = tmp_path / "solutions.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    held = tmp_path / "held.jsonl"
    held.write_text("\n".join(json.dumps(row | {"question": "x" + row["question"]}) for row in rows), encoding="utf-8")
    words = ["recipe=reward_model_gsm8k", f"data.train_file={file}", f"data.eval_file={held}"]
    words += ["data.balance_writers=false"]
    known = read_lengths(plan_of(*words), str(tiny_model_dir(tmp_path / "model")))
    assert (known.questions, known.candidates) == (2, 4)  # of one there is no wrong answer
    assert bounds(read_work(plan_of(*words), 100), known)[1].candidates == 4
    run_dir = billed(tmp_path, [{}], {"n": 7, "questions": 2}, generated_tokens=0)
    assert read_run(run_dir, read_work(plan_of(*words), 100), 0).questions == 2


def test_a_model_s_sizes_are_those_it_has_when_loaded(tmp_path: Path) -> None:
    import torch

    folder = str(tiny_model_dir(tmp_path))
    model = read_model(ModelConfig(path=folder, rank=2))
    loaded = load(ModelConfig(path=folder, rank=2, dtype="float32"), 0, torch.device("cpu"), print).model
    assert model.weights == sum(p.numel() for n, p in loaded.named_parameters() if "lora_" not in n)
    assert model.shape.adapter == sum(p.numel() for p in loaded.parameters() if p.requires_grad)
    assert (model.layers, model.width, model.inner, model.cache) == (2, 16, 24, 2 * 2 * 2 * 4)
    assert model.adapted == model.shape.body
    (tmp_path / "adapter").mkdir()
    loaded.save_pretrained(tmp_path / "adapter")
    going_on = read_model(ModelConfig(path=folder, adapter_path=str(tmp_path / "adapter")))
    assert going_on.shape == model.shape
    with pytest.raises(UserError, match=r"model\.path=nowhere"):
        read_model(ModelConfig(path="nowhere"))


def test_a_teacher_s_sizes(tmp_path: Path) -> None:
    import torch

    folder, wide = str(tiny_model_dir(tmp_path / "own")), str(tiny_model_dir(tmp_path / "wide", hidden_size=32))
    load(ModelConfig(path=folder, rank=3, dtype="float32"), 0, torch.device("cpu"), print).model.save_pretrained(
        tmp_path / "adapter"
    )
    adapter = str(tmp_path / "adapter")
    settings = ModelConfig(path=folder, rank=2)
    own, other = read_model(settings), read_model(ModelConfig(path=wide, adapter="none"))
    three = read_model(replace(settings, rank=3)).shape
    assert read_teacher(TeacherConfig(prompt="{question}"), settings) == (None, 0)
    assert read_teacher(TeacherConfig(path=wide), settings) == (other.shape, other.weights)
    assert read_teacher(TeacherConfig(adapter_path=adapter), settings) == (three, three.adapter)
    apart = (three, three.adapter + own.weights)
    assert read_teacher(TeacherConfig(path=folder, adapter_path=adapter), settings) == apart
    assert read_teacher(TeacherConfig(adapter_path=adapter), replace(settings, adapter="none")) == apart
    with pytest.raises(UserError, match=r"teacher\.path=nowhere"):
        read_teacher(TeacherConfig(path="nowhere"), settings)
    with pytest.raises(UserError, match=r"teacher\.adapter_path=.*: no adapter_config\.json there"):
        read_teacher(TeacherConfig(adapter_path=folder), settings)


def test_lengths_are_read_off_the_data(tmp_path: Path) -> None:
    folder = tiny_model_dir(tmp_path)
    sft, grpo = (make_plan(folder, tmp_path / "run", method) for method in ("sft", "grpo"))
    known = read_lengths(sft, str(folder))
    groups = sft.source.next  # the plan's own source is not touched
    with pytest.raises(RuntimeError):
        groups(1)
    assert known.completion is not None and 2 < known.completion < 5  # two or three digits and an end
    assert known.prompt is not None and 20 < known.prompt < 80
    online = read_lengths(grpo, str(folder))
    assert online.prompt == pytest.approx(known.prompt, rel=0.05) and online.completion is None
    assert read_lengths(plan_of("recipe=grpo_gsm8k"), str(folder)) == Known()
    taught = read_lengths(make_plan(folder, tmp_path / "run", "distill"), str(folder))
    assert taught.prompt == online.prompt and taught.more > 5 and online.more == 0
    low, _ = bounds(read_work(plan_of("recipe=distill_math"), 100), taught, prompt=30)
    assert low.taught == 30 + taught.more


def test_rows_that_differ_are_counted_in_what_training_will_draw(tmp_path: Path) -> None:
    rows = [{"prompt": f"{i}?", "chosen": f"{i}", "rejected": "no"} for i in range(4)]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in [*rows, *rows[:2]]), encoding="utf-8")
    words = ["recipe=dpo_gsm8k", f"data.train_file={file}", "data.held_out_share=0", "data.shuffle=false"]
    words += ["trainer.prompts_per_step=3"]
    folder = str(tiny_model_dir(tmp_path))
    epochs, part = (read_lengths(plan_of(*words, f"trainer.steps={n}"), folder).distinct for n in (200, 1))
    assert (epochs, part) == (2 * 4, 2 * 3)
    assert read_lengths(plan_of("recipe=dpo_math"), folder).distinct is None  # not sampled yet


def test_bounds_of_the_rows_that_differ() -> None:
    def both(recipe: str, known: Known) -> tuple[float | None, ...]:
        return tuple(bound.distinct for bound in bounds(read_work(plan_of(*recipe.split()), 100), known))

    assert both("recipe=dpo_math", Known()) == (2, 2 * 256)
    assert both("recipe=dpo_math data.pairs_per_question=3", Known()) == (2, 6 * 256)
    assert both("recipe=dpo_math data.pairs_per_question=null", Known()) == (2, 8 * 256)
    assert both("recipe=dpo_math data.keep=right", Known()) == (1, 8 * 256)
    assert both("recipe=dpo_gsm8k data.train_file=x.jsonl", Known()) == (2, None)
    assert both("recipe=dpo_gsm8k data.train_file=x.jsonl", Known(distinct=7)) == (7, 7)
    assert both("recipe=grpo_math", Known(rows=5)) == (None, None)


@pytest.mark.parametrize(
    ("scored", "same", "expected"),
    [(6, True, (6, 6)), (6, False, (6, 512)), (None, True, (24, 24)), (None, False, (24, 512)), (0, False, (24, 512))],
)
def test_what_a_run_tells_of_the_rows_that_differ(
    scored: int | None, same: bool, expected: tuple[int, int], tmp_path: Path
) -> None:
    """Another run may meet more of them; runs of older versions did not remember."""
    rows = {} if scored is None else {"reference_rows": scored}
    run_dir = billed(tmp_path, [{"gc/share_zero": zero} for zero in (0.9, 0.25, 0.5)], reward_calls=24, **rows)
    work = read_work(plan_of("recipe=dpo_math"), 100)
    found = read_run(run_dir, work, 256).onto(bounds(work, Known()), same)
    assert tuple(bound.distinct for bound in found) == expected
    assert {bound.busiest for bound in found} == {0.75 if same else None}


def test_bounds() -> None:
    grpo, sft = (read_work(plan_of(f"recipe={name}_math"), 100) for name in ("online_rft", "sft"))
    low, high = bounds(grpo, Known(prompt=54, questions=30))
    assert (low.prompt, low.completion, low.longest, low.acceptance, low.questions) == (54, 1, 1, 0, 30)
    assert (high.prompt, high.completion, high.longest, high.acceptance) == (54, 24, 24, 1)
    low, high = bounds(grpo, Known(), prompt=9, completion=5, acceptance=0.5)
    assert (low.prompt, low.completion, low.acceptance, low.longest) == (9, 5, 0.5, 5)
    assert (high.prompt, high.completion, high.acceptance, high.longest) == (9, 5, 0.5, 24)
    low, high = bounds(sft, Known(prompt=54, completion=4.5))
    assert low.completion == high.completion == 4.5
    for wrong in ({"completion": 25.0}, {"prompt": 513.0}, {"acceptance": 1.5}):
        with pytest.raises(UserError, match="expected"):
            bounds(grpo, Known(), **wrong)

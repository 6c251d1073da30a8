"""What a run does beside learning: evaluations, checkpoints, interruptions, failures."""

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from runs import adapter, assert_equal, assert_same_run, lines, make_plan, run, said, samples, state
from safetensors.torch import load_file

from rlft.base import Group, RunError, UserError
from rlft.train import Plan, TrainerConfig, session
from rlft.train.examination import Examination
from rlft.train.loop import Learner
from rlft.train.schedule import schedule


def interrupted(plan: Plan, step: int, times: int = 1) -> Plan:
    """Makes the data source of a plan send Ctrl-C to this process in the midst of a step."""
    draw = plan.source.next
    asked = iter(range(1, 1000))

    def next_groups(n: int) -> list[Group]:
        if next(asked) == step:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
        return draw(n)

    plan.source.next = next_groups  # type: ignore[method-assign]
    return plan


def test_ctrl_c_saves_after_the_step_and_a_resume_loses_nothing(tiny_dir: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    changes = ["trainer.steps=3", "trainer.save_every=0"]
    run(make_plan(tiny_dir, whole, "grpo", *changes))
    before = signal.getsignal(signal.SIGINT)
    text = said(interrupted(make_plan(tiny_dir, broken, "grpo", *changes), 2))
    assert "stopping after this step; once more to stop at once" in text
    assert signal.getsignal(signal.SIGINT) is before
    summary = json.loads((broken / "summary.json").read_text(encoding="utf-8"))
    assert (summary["status"], summary["steps"]) == ("stopped", 2)
    run(make_plan(tiny_dir, broken, "grpo", *changes), resume=True)
    assert_same_run(broken, whole)


def test_a_second_ctrl_c_stops_at_once(tiny_dir: Path, tmp_path: Path) -> None:
    plan = interrupted(make_plan(tiny_dir, tmp_path, "grpo", "trainer.steps=3", "trainer.save_every=1"), 2, times=2)
    with pytest.raises(KeyboardInterrupt):
        run(plan)
    assert [record["step"] for record in lines(tmp_path / "metrics.jsonl")] == [1]
    assert not (tmp_path / "summary.json").exists()
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]


def scripted(monkeypatch: pytest.MonkeyPatch, accuracies: list[float]) -> None:
    """Makes the evaluations during a run find these accuracies."""
    left = iter(accuracies)
    real = Examination.now
    monkeypatch.setattr(Examination, "now", lambda self, name=None: real(self, name) if name else next(left))


def test_a_run_ends_early_when_it_gets_no_better(
    tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [0.1, 0.3, 0.3, 0.2])
    words = ["trainer.steps=9", "trainer.eval_every=1", "trainer.patience=2", "trainer.save_every=1"]
    text = said(make_plan(tiny_dir, tmp_path, "sft", *words))
    assert "no better accuracy in 2 evaluations: ending early" in text
    records = lines(tmp_path / "metrics.jsonl")
    assert [record["eval/accuracy"] for record in records] == [0.1, 0.3, 0.3, 0.2]
    done = adapter(tmp_path)
    # Killed before the summary was written: going on does not train on.
    summary = run(make_plan(tiny_dir, tmp_path, "sft", *words), resume=True)
    assert (summary["steps"], summary["status"]) == (4, "finished")
    assert_equal(adapter(tmp_path), done)


def test_the_best_adapter_is_kept_on_demand(tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["trainer.steps=3", "trainer.eval_every=1"]
    found: dict[str, Any] = {}
    for keep in ("false", "true"):
        scripted(monkeypatch, [0.1, 0.3, 0.2])
        run(make_plan(tiny_dir, tmp_path / keep, "sft", *words, f"trainer.keep_best={keep}"))
        found[keep] = adapter(tmp_path / keep)
    best = load_file(tmp_path / "true" / "checkpoints" / "best" / "adapter_model.safetensors")
    run(make_plan(tiny_dir, tmp_path / "two", "sft", "trainer.steps=3", "trainer.stop_after=2"))
    assert_equal(best, adapter(tmp_path / "two"))
    assert_equal(found["true"], best)
    assert any(not torch.equal(best[name], last) for name, last in found["false"].items())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainer.patience=3"], r"trainer\.patience=3 goes by .*trainer\.eval_every=0 .*type trainer\.eval_every=10"),
        (["trainer.keep_best=true"], r"trainer\.keep_best=true goes by .*trainer\.eval_every=0"),
        (["trainer.patience=3", "trainer.eval_every=5", "trainer.eval_size=0"], r"type trainer\.eval_size=200"),
    ],
)
def test_what_goes_by_evaluations_wants_some(words: list[str], message: str, tiny_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(tiny_dir, tmp_path, "sft", *words).check()


def test_only_a_critic_is_warmed_up(tiny_dir: Path, tmp_path: Path) -> None:
    """Another method's policy would stand still in these steps."""
    word = "trainer.critic_warmup_steps=2"
    with pytest.raises(UserError, match=r"critic_warmup_steps=2: algorithm grpo has no critic.*type algorithm=ppo"):
        make_plan(tiny_dir, tmp_path, "grpo", word).check()
    make_plan(tiny_dir, tmp_path, "ppo", word).check()


def test_evaluations_come_every_n_steps(tiny_dir: Path, tmp_path: Path) -> None:
    run(make_plan(tiny_dir, tmp_path, "sft", "trainer.steps=5", "trainer.eval_every=2"))
    measured = [record["step"] for record in lines(tmp_path / "metrics.jsonl") if "eval/accuracy" in record]
    assert measured == [2, 4]


def test_a_model_is_asked_once_before_it_is_trained(tiny_dir: Path, tmp_path: Path) -> None:
    """Whatever the method and the seed; another model and another limit are asked anew."""

    def asked(name: str, method: str, *changes: str) -> tuple[bool, str]:
        words = ["trainer.steps=1", "trainer.learning_rate=0.3", *changes]  # one step shows
        text = said(make_plan(tiny_dir, tmp_path / name, method, *words))
        return "sampled π_ref on 3 of 3 questions" in text, (tmp_path / name / "eval_before_long.jsonl").read_text()

    first, answers = asked("a", "sft")
    assert first and answers.count("\n") == 3
    assert asked("b", "grpo", "seed=1") == (False, answers)
    assert asked("c", "sft", "trainer.eval_long_tokens=7")[0]
    assert asked("d", "sft", f"model.adapter_path={tmp_path / 'a' / 'adapter'}")[0]
    assert lines(tmp_path / "d" / "eval_before.jsonl") == lines(tmp_path / "a" / "eval_after.jsonl")
    assert lines(tmp_path / "d" / "eval_before.jsonl") != lines(tmp_path / "a" / "eval_before.jsonl")


def test_nothing_is_evaluated_without_questions(tiny_dir: Path, tmp_path: Path) -> None:
    summary = run(
        make_plan(tiny_dir, tmp_path, "sft", "trainer.steps=1", "trainer.eval_size=0", "trainer.eval_every=1")
    )
    assert summary["eval"] is None and not list(tmp_path.glob("eval_*.jsonl"))


@pytest.mark.parametrize(("keep", "left"), [(1, [5]), (2, [4, 5]), (3, [3, 4, 5])])
def test_the_newest_checkpoints_are_kept(keep: int, left: list[int], tiny_dir: Path, tmp_path: Path) -> None:
    words = ["trainer.steps=5", "trainer.save_every=1", f"trainer.keep_checkpoints={keep}", "trainer.eval_size=0"]
    run(make_plan(tiny_dir, tmp_path, "sft", *words))
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [f"step-{step:06d}" for step in left]


def test_only_the_critic_learns_while_it_warms_up(tiny_dir: Path, tmp_path: Path) -> None:
    words = ["trainer.steps=2", "trainer.critic_warmup_steps=1", "trainer.eval_size=0", "trainer.save_every=1"]
    run(make_plan(tiny_dir, tmp_path, "ppo", *words))
    first, second = lines(tmp_path / "metrics.jsonl")
    assert first["grad_norm"] is None and first["critic/grad_norm"] > 0
    assert second["grad_norm"] > 0
    run(make_plan(tiny_dir, tmp_path / "one", "ppo", "trainer.steps=1", *words[1:]))
    assert all(not b.any() for name, b in adapter(tmp_path / "one").items() if "lora_B" in name)
    critic = {key: value for key, value in state(tmp_path / "one").items() if "/roles/critic/master/" in key}
    assert any(value.any() for value in critic.values() if value.shape == (1,)), "the critic's bias starts at 0"


def test_the_rate_in_the_metrics_is_the_one_of_the_step(tiny_dir: Path, tmp_path: Path) -> None:
    """Warm-up over two steps, then down in a line to 0 after the fourth."""
    words = ["trainer.steps=4", "trainer.schedule=linear", "trainer.warmup_steps=2", "trainer.eval_size=0"]
    run(make_plan(tiny_dir, tmp_path, "sft", *words, "trainer.learning_rate=0.01"))
    rates = [record["learning_rate"] for record in lines(tmp_path / "metrics.jsonl")]
    assert rates == pytest.approx([0.005, 0.01, 0.01, 0.005])


@pytest.mark.parametrize("steps_before", [0, 3], ids=["from the start", "after half a run of an older version"])
def test_the_rate_falls_over_the_steps_in_which_the_policy_learns(
    steps_before: int, tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batches for the critic alone, then from 1 down in a line to 0 after another two. An older version took the
    critic's batches for steps, and came to 1/2; its checkpoints are gone on with and end at 0."""
    words = ["trainer.steps=4", "trainer.schedule=linear", "trainer.critic_warmup_steps=2", "trainer.eval_size=0"]
    words += ["trainer.learning_rate=0.01", "trainer.epochs=1", "trainer.mini_batches=1"]
    if steps_before:
        with monkeypatch.context() as patch:
            patch.setattr(session, "schedule", lambda kind, warmup, _, spent: schedule(kind, warmup, 4, spent))
            run(make_plan(tiny_dir, tmp_path, "ppo", *words, f"trainer.stop_after={steps_before}"))
    run(make_plan(tiny_dir, tmp_path, "ppo", *words), resume=bool(steps_before))
    rates = [record["learning_rate"] for record in lines(tmp_path / "metrics.jsonl")]
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.0075 if steps_before else 0.005])
    assert state(tmp_path)["/session/scheduler/_last_lr/0"] == 0


@pytest.mark.parametrize("tracker", ["tensorboard", "nonsense"])
def test_a_tracker_that_is_not_there(tracker: str, tiny_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"trainer\.trackers=\['{tracker}'\]"):
        run(make_plan(tiny_dir, tmp_path, "sft", f"trainer.trackers=[{tracker}]"))


CPU = RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), CPU], ids=repr)
def test_running_out_of_memory_says_what_to_try(
    error: Exception, tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Learner, "update", full)
    advice = r"trainer\.tokens_per_micro_batch=128, trainer\.gradient_checkpointing=on, trainer\.prompts_per_step=1"
    with pytest.raises(RunError, match=rf"out of memory: the peak was \d+\.\d GiB. Try one of: {advice}"):
        run(make_plan(tiny_dir, tmp_path, "sft", "trainer.steps=1", "trainer.eval_size=0"))


def test_a_run_does_not_start_over_somebody_elses_files(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UserError, match=r"holds files that are no run's \(README\.md\)"):
        run(make_plan(tmp_path / "no model", tmp_path, "sft"))
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_another_error_is_left_as_it_is(tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Learner, "annotate", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        run(make_plan(tiny_dir, tmp_path, "sft", "trainer.steps=1", "trainer.eval_size=0"))


def test_text_that_splits_lines_is_no_end_of_a_line(
    tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """U+2028 and U+0085 in what the model wrote: files of lines are read back whole."""
    from rlft.models.chat import ChatTemplate

    text = ChatTemplate.text
    monkeypatch.setattr(ChatTemplate, "text", lambda self, ids: f"\u2028{text(self, ids)}\x85")
    words = ["trainer.steps=3"]
    run(make_plan(tiny_dir, tmp_path, "grpo", *words, "trainer.stop_after=2"))
    run(make_plan(tiny_dir, tmp_path, "grpo", *words), resume=True)
    assert {record["step"] for record in samples(tmp_path)} == {1, 2, 3}
    assert all(record["text"].startswith("\u2028") for record in samples(tmp_path))


@pytest.mark.parametrize("launched", [False, True])
def test_a_gpu_alone_has_no_process_group(launched: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """accelerate takes the mention of a backend for a group that has been made."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(session, "Accelerator", lambda **settings: given.update(settings))
    (monkeypatch.setenv if launched else lambda *_: monkeypatch.delenv("WORLD_SIZE", raising=False))("WORLD_SIZE", "2")
    trainer = TrainerConfig()
    session._accelerator(cast(Plan, SimpleNamespace(trainer=trainer, run_dir=tmp_path)))
    assert [handler.backend for handler in given["kwargs_handlers"]] == (["cpu:gloo,cuda:nccl"] if launched else [])

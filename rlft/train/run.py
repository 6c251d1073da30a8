"""A run from its plan to its summary."""

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.console import Console

from rlft.base import Group, RunError
from rlft.train import checkpoint, run_dir
from rlft.train.bill import Bill, spent_before
from rlft.train.judging import examination
from rlft.train.memory import give_back_memory, is_out_of_memory, out_of_memory_advice
from rlft.train.metrics import group_metrics, line, peak_memory
from rlft.train.panel import Panel
from rlft.train.plan import Plan
from rlft.train.plots import plot_run
from rlft.train.session import Session, set_up

SPELL = 4  # steps after which freed memory is given back


@dataclass
class Progress:
    """Where a run stands, beside its models and data."""

    step: int = 0
    bill: Bill = field(default_factory=Bill)
    best: float = -1.0
    since_best: int = 0


def train(
    plan: Plan, resume: bool = False, trust_remote_code: bool = False, console: Console | None = None
) -> dict[str, Any]:
    """Runs a plan to its end and returns its summary, the content of summary.json.

    Args:
        plan: the recipe as objects; `plan.run_dir` is created.
        resume: go on from the newest checkpoint in the run directory (from the start if there is none).
        trust_remote_code: let the model's repository run its own code.
        console: where people's text goes.

    Raises:
        UserError: what the recipe, the data or the machine makes impossible.
        RunError: a run that cannot go on.
    """
    console = console or Console()
    if not resume:
        run_dir.require_own(plan.run_dir)
    plan.run_dir.mkdir(parents=True, exist_ok=True)
    session = None
    try:
        session = set_up(
            plan, lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True), trust_remote_code
        )
        with _Interruption(session) as interruption:
            return _Run(session, console, interruption).go(resume)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        trainer = session.plan.trainer if session else plan.trainer
        raise RunError(
            out_of_memory_advice(peak_memory(), trainer.tokens_per_micro_batch, trainer.prompts_per_step)
        ) from error
    finally:
        if session is not None:
            session.close()


class _Run:
    def __init__(self, session: Session, console: Console, interrupted: Callable[[], bool]):
        self.session, self.console, self.interrupted = session, console, interrupted
        self.plan, self.dir = session.plan, session.plan.run_dir
        self.first = session.processes.first
        self.meter = session.meter
        seconds = session.data_seconds + self.plan.source.spared_seconds
        self.progress = Progress(bill=Bill(seconds=seconds, warm_start=spent_before(self.plan.model)))
        self.judged = (0, 0.0)  # reward calls and their FLOPs that are on the bill
        self.saved: int | None = None  # the step of the newest checkpoint; none is ever replaced
        self.examination = examination(session)

    def go(self, resume: bool) -> dict[str, Any]:
        trainer = self.plan.trainer
        if resume:
            self._restore()
        elif self.first:
            run_dir.clear(self.dir)  # what a run that died here left: its baseline may be another model's
        self.session.processes.wait()
        start = self.progress.step
        if start == 0:
            self._judging()
            self.meter.start(self._spent())
        if self.first:
            run_dir.write_config(self.dir, self.plan.config)
            self.metrics = run_dir.Lines(self.dir / "metrics.jsonl", start)
            self.samples = run_dir.Lines(self.dir / "samples.jsonl", start)
            if not (resume and (self.dir / "environment.json").exists()):
                run_dir.write_json(self.dir / "environment.json", run_dir.environment(self.session))
        if trainer.trackers:
            self.session.accelerator.init_trackers("rlft", config={"recipe": self.plan.recipe, "seed": self.plan.seed})
        self.examination.before()
        quiet = Console(quiet=True)
        budget = self.plan.budget
        goal = f"{budget.amount:g} {budget.unit}" if budget.unit else trainer.steps
        with Panel(self.console if self.first else quiet, goal, self.plan.triple()) as panel:
            status = self._steps(panel)
        self._save()
        summary = self._finish(status)
        if trainer.trackers:
            self.session.accelerator.end_training()
        self.session.processes.wait()
        return summary

    def _steps(self, panel: Panel) -> str:
        trainer = self.plan.trainer
        while not self._over():
            if trainer.patience and self.progress.since_best >= trainer.patience:
                panel.note(f"no better accuracy in {trainer.patience} evaluations: ending early")
                break
            began = time.perf_counter()
            metrics, groups = self._step()
            metrics["time/step_s"] = time.perf_counter() - began
            self.progress.bill.seconds += metrics["time/step_s"]
            self.meter.read(self._spent())
            done = self.progress.step
            if trainer.eval_every and done % trainer.eval_every == 0 and self.examination.queries:
                metrics["eval/accuracy"] = self.examination.now()
                self._note_accuracy(metrics["eval/accuracy"])
            self._log(panel, metrics, groups)
            if self.interrupted() or done == trainer.stop_after:
                return "stopped"
            if trainer.save_every and done % trainer.save_every == 0:
                self._save()
        return "finished"

    def _over(self) -> bool:
        """Whether the budget is spent or, without one, the steps are done."""
        return self.meter.share >= 1 if self.plan.budget.unit else self.progress.step >= self.plan.trainer.steps

    def _spent(self) -> float:
        unit = self.plan.budget.unit
        return self.progress.bill.total(unit) if unit else 0.0

    def _judging(self) -> None:
        """Puts what was judged since the last time on the bill."""
        judged = (self.session.reward_calls, self.session.reward_flops())
        self.progress.bill.judging(judged[0] - self.judged[0], judged[1] - self.judged[1])
        self.judged = judged

    def _step(self) -> tuple[dict[str, Any], list[Group]]:
        session, trainer, source = self.session, self.plan.trainer, self.plan.source
        step = self.progress.step
        if step % SPELL == 0:
            give_back_memory()
        marks = [time.perf_counter()]
        groups = source.next(trainer.prompts_per_step)
        marks.append(time.perf_counter())
        judged = session.score(groups)  # what is logged: ranks or scaled rewards would not tell right from wrong
        source.observe(judged)
        groups = self.plan.reward.finish(judged)
        marks.append(time.perf_counter())
        batch = session.learner.annotate(session.collate(groups))
        marks.append(time.perf_counter())
        learning_rate = session.learner.scheduler.get_last_lr()[0]
        frozen = step < trainer.critic_warmup_steps
        metrics = session.learner.update(batch, step, frozen)
        marks.append(time.perf_counter())
        self.progress.step = step + 1
        bill, generated = self.progress.bill, self.progress.bill.generated_tokens
        bill.sampling(source.sampled_tokens, source.prefilled_tokens, batch, session.shape, session.way)
        if step == 0 and not source.on_policy:
            self.meter.start(self._spent())  # what sampling once has cost is known by the lengths of a batch
        moved = ~self.plan.algorithm.vanishes(batch) & (not frozen)
        ran = {name: role.ran(batch) for name, role in session.roles.items()}
        bill.batch(batch, moved, session.learnt_shape, ran, trainer.epochs, session.way)
        self._judging()
        times = [b - a for a, b in pairwise(marks)]
        return {
            "step": step + 1,
            **group_metrics(judged),
            **source.metrics(),
            **metrics,
            "acceptance": session.acceptance(batch),
            "learning_rate": learning_rate,
            "tokens/generated": bill.generated_tokens - generated,
            "tokens/trained": int(batch.mask.sum()) * trainer.epochs,
            "flops": bill.flops,
            **dict(zip(("time/rollout_s", "time/reward_s", "time/annotate_s", "time/update_s"), times, strict=True)),
            "memory/peak_bytes": peak_memory(),
        }, judged

    def _log(self, panel: Panel, metrics: dict[str, Any], groups: list[Group]) -> None:
        done = self.progress.step
        if self.first:
            self.metrics.add(line(metrics))
            self.samples.add(*run_dir.sample_records(groups, done, self.plan.seed))
        known = {k: float(v) for k, v in metrics.items() if v is not None}
        panel.step(known, done, self.meter.share)
        every = self.plan.trainer.sample_every
        if every and done % every == 0:
            group = groups[0]
            panel.sample(group.query.messages[-1]["content"], group.completions[0].text, group.rewards[0].value)
        if self.plan.trainer.trackers:
            self.session.accelerator.log(known, step=done)

    def _note_accuracy(self, accuracy: float) -> None:
        """Keeps the best adapter."""
        if accuracy > self.progress.best:
            self.progress.best, self.progress.since_best = accuracy, 0
            if self.first:
                run_dir.export(self.session.policy, self.session.loaded, self.dir / checkpoint.FOLDER / "best")
        else:
            self.progress.since_best += 1

    def _save(self) -> None:
        progress = self.progress
        if self.first and self.saved != progress.step:
            state = {
                "session": self.session.state_dict(),
                "step": progress.step,
                "bill": progress.bill.as_dict(),
                "largest_batch": self.meter.largest,
                "best": progress.best,
                "since_best": progress.since_best,
                "phase": "between steps",
            }
            checkpoint.save(self.dir, progress.step, state, self.plan.trainer.keep_checkpoints)
            self.saved = progress.step
        self.session.processes.wait()

    def _restore(self) -> None:
        if self.first:
            checkpoint.sweep_partial(self.dir)
        newest = checkpoint.latest(self.dir)
        if newest is None:
            self.session.say("no checkpoint yet: starting from the beginning")
            return
        state = checkpoint.load(newest)
        self.session.load_state_dict(state["session"])
        self.progress = Progress(state["step"], Bill.of(state["bill"]), state["best"], state["since_best"])
        self.meter.spent, self.meter.largest = self._spent(), state["largest_batch"]
        self.judged = (self.session.reward_calls, self.session.reward_flops())
        self.saved = self.progress.step
        self.session.say(f"resuming after step {self.progress.step}")

    def _finish(self, status: str) -> dict[str, Any]:
        plan, progress = self.plan, self.progress
        result = self.examination.result(finished=status == "finished", best=self._best_folder())
        summary = {
            "method": plan.method,
            "recipe": plan.recipe,
            "model": plan.model.hub_id or plan.model.path,
            "steps": progress.step,
            "seed": plan.seed,
            "status": status,
            "run_dir": str(self.dir),
            "eval": result,
            "budget": self.meter.as_dict(),
            "totals": progress.bill.as_dict(),
            "peak_memory_bytes": peak_memory(),
        }
        if self.first:
            folder = self.dir / ("adapter" if plan.model.adapter == "lora" else "model")
            run_dir.export(self.session.policy, self.session.loaded, folder)
            run_dir.write_text(self.dir / "README.md", run_dir.model_card(plan, self.session.loaded, summary))
            plot_run(self.dir / "metrics.jsonl", self.dir / "plots")
            run_dir.write_json(self.dir / "summary.json", summary)
        return summary

    def _best_folder(self) -> Path | None:
        folder = self.dir / checkpoint.FOLDER / "best"
        return folder if self.plan.trainer.keep_best and folder.is_dir() else None


class _Interruption:
    """Turns the first Ctrl-C (or SIGTERM) into a wish to stop after the step at hand; a second one stops at once."""

    def __init__(self, session: Session):
        self.session, self.wanted = session, False
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Callable[[], bool]:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self.before[number] = signal.signal(number, self._ask)
            except ValueError:  # not in the main thread: whoever called us handles signals
                break
        return self.asked

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def asked(self) -> bool:
        """Returns whether any process was asked to stop."""
        wish = torch.tensor([float(self.wanted)], device=self.session.accelerator.device)
        self.session.processes.add([wish])
        return bool(wish.item())

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True
        self.session.say("stopping after this step; once more to stop at once")


def read_summary(folder: Path) -> dict[str, Any] | None:
    """Returns the summary of a run directory, None if the run has not come to one."""
    try:
        return json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None

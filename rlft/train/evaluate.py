"""Evaluation without training: a base model or an adapter on a recipe's held-out questions."""

from dataclasses import replace
from typing import Any

from rich.console import Console

from rlft.base import UserError
from rlft.evaluation.accuracy import accuracy, cut_share
from rlft.evaluation.intervals import wilson
from rlft.models.rollout import Native
from rlft.train import run_dir
from rlft.train.examination import Examination
from rlft.train.plan import Plan
from rlft.train.session import set_up


def evaluate_plan(
    plan: Plan,
    name: str = "base",
    adapter: str | None = None,
    trust_remote_code: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Returns greedy accuracy with its 95% interval on the plan's held-out questions, of the base model or of it with
    an adapter in PEFT format. Writes every answer to eval_NAME.jsonl in the run directory."""
    console = console or Console()
    model = replace(plan.model, adapter_path=adapter) if adapter else plan.model
    plan = replace(plan, model=model, rollout=Native())  # any machine that has the model can evaluate it
    session = set_up(
        plan,
        lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True),
        trust_remote_code,
        training=False,
    )
    try:
        examination = Examination(session)
        if not examination.queries:
            raise UserError(
                "there is no held-out question with a reference answer; set data.held_out_share or data.eval_file"
            )
        answers = examination.ask()
    finally:
        session.close()
    right = sum(a.correct for a in answers)
    if session.processes.first:
        plan.run_dir.mkdir(parents=True, exist_ok=True)
        run_dir.write_answers(plan.run_dir / f"eval_{name}.jsonl", answers)
    return {
        "model": plan.model.hub_id or plan.model.path,
        "adapter": adapter,
        "n": len(answers),
        "accuracy": accuracy(answers),
        "interval": list(wilson(right, len(answers))),
        "cut_share": cut_share(answers),
        "max_completion_tokens": examination.limit,
        "decoding": "greedy",
    }

"""Evaluation without training: a base model or an adapter on a recipe's held-out questions."""

import hashlib
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from rlft.base import UserError
from rlft.evaluation.accuracy import accuracy, cut_share
from rlft.evaluation.config import EvalConfig
from rlft.evaluation.intervals import wilson
from rlft.evaluation.sampled import summarise
from rlft.models.rollout import Native
from rlft.train import run_dir
from rlft.train.examination import Examination
from rlft.train.plan import Plan
from rlft.train.session import Session, set_up

PORTION = 64
"""Questions between two lines that may say how far it is; rlft's own sampler takes no more of them at once."""


def evaluate_plan(
    plan: Plan,
    name: str = "base",
    adapter: str | None = None,
    trust_remote_code: bool = False,
    console: Console | None = None,
    asked: EvalConfig | None = None,
) -> dict[str, Any]:
    """Measures the base model, or it with an adapter in PEFT format, on the plan's held-out questions.

    Writes what it returns to eval_NAME.json in the run directory, every greedy answer to eval_NAME.jsonl, and every
    drawn one to eval_NAME_samples.jsonl. Where nothing is drawn, eval_NAME.json keeps what was drawn before in the same
    setting.

    Args:
        plan: the recipe as objects; of it the model, the questions, the completion limit and the verifier matter.
        name: of the files.
        adapter: a folder; None measures the plan's model as it is.
        trust_remote_code: let the model's repository run its own code.
        console: where people's text goes.
        asked: how many questions, and what is drawn beside the greedy answer.

    Returns:
        `n` questions asked of `available` ones in `questions`; `accuracy`, `interval` (95%, Wilson's) and `cut_share`
        of the greedy answers; `sampled`, the measures of `rlft.evaluation.sampled` and how answers were drawn, to how
        many questions, or None; `setting`, a hash of weights, template, questions, limit and judge.

    Raises:
        UserError: no question has a reference answer, or whatever is wrong with the model or the data.
    """
    if plan.algorithm.trains != "log_probs":
        raise UserError(
            f"algorithm {plan.method} trains scores, and a model that scores answers no questions; what its run found "
            "on held-out pairs is in summary.json"
        )
    console, asked = console or Console(), asked or EvalConfig()
    model = replace(plan.model, adapter_path=adapter) if adapter else plan.model
    size = {None: plan.trainer.eval_size, "all": sys.maxsize}.get(asked.questions, asked.questions)  # type: ignore[call-overload]
    trainer = replace(plan.trainer, eval_size=size)
    plan = replace(plan, model=model, trainer=trainer, rollout=Native())  # any machine that has the model can do it
    session = set_up(
        plan,
        lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True),
        trust_remote_code,
        training=False,
    )
    try:
        examination = Examination(session, PORTION)
        if not examination.queries:
            raise UserError(
                "there is no held-out question with a reference answer; set data.held_out_share or data.eval_file"
            )
        sampling = asked.sampling(examination.limit)
        session.say(f"{name}: {_asking(examination, asked)}")
        answers = examination.ask()
        drawn = examination.draw(asked.samples, sampling) if asked.samples else []
    finally:
        session.close()
    right = sum(a.correct for a in answers)
    result = {
        "model": plan.model.hub_id or plan.model.path,
        "adapter": adapter,
        "questions": plan.source.asks,
        "n": len(answers),
        "available": examination.available,
        "accuracy": accuracy(answers),
        "interval": list(wilson(right, len(answers))),
        "cut_share": cut_share(answers),
        "max_completion_tokens": examination.limit,
        "decoding": "greedy",
        "setting": _setting(session, examination),
        "sampled": None,
    }
    if drawn:
        what = {"seed": plan.seed, "questions": plan.source.asks, "n": len(drawn)}
        result["sampled"] = asdict(sampling) | what | summarise(drawn).as_dict()
    if session.processes.first:
        run_dir.write_answers(plan.run_dir / f"eval_{name}.jsonl", answers)
        if drawn:
            run_dir.write_drawn(plan.run_dir / f"eval_{name}_samples.jsonl", drawn)
        file = plan.run_dir / f"eval_{name}.json"
        run_dir.write_json(file, result if drawn else result | {"sampled": _drawn_before(file, result["setting"])})
    return result


def _setting(session: Session, examination: Examination) -> str:
    plan, loaded = session.plan, session.loaded
    weights = (loaded.base_hash, loaded.adapter_hash if plan.model.adapter_path else None)
    asked = [(query.id, query.messages, query.answer) for query in plan.source.held_out()]
    judge = plan.config["trainer"]["verifier"] or plan.config["reward"]
    described = (weights, loaded.chat.fingerprint, asked, examination.limit, judge)
    return hashlib.sha256(repr(described).encode()).hexdigest()[:16]


def _drawn_before(file: Path, setting: str) -> dict[str, Any] | None:
    """Returns the measures of what an earlier evaluation drew in the same setting."""
    try:
        earlier = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return earlier.get("sampled") if earlier.get("setting") == setting else None


def _asking(examination: Examination, asked: EvalConfig) -> str:
    n, available = len(examination.queries), examination.available
    of = "" if n == available else f" of {available:,}"
    rest = " (eval.questions=all asks them all)" if of else ""
    drawn = f", and {asked.samples} answers each at temperature {asked.temperature:g}" if asked.samples else ""
    where = examination.session.plan.source.asks
    return f"asking {n:,}{of} questions of {where}{rest}, at most {examination.limit} tokens: greedy{drawn}"

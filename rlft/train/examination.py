"""Held-out accuracy: before, during and after a run."""

import hashlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rlft.base import Group, Query, Sampling
from rlft.data.cache import sample_once
from rlft.evaluation.accuracy import Answer, accuracy, answer_greedily, cut, cut_share, draw_answers, verify
from rlft.evaluation.intervals import paired_difference, wilson
from rlft.train import run_dir
from rlft.train.session import Session

PAUSE = 30.0  # seconds between lines that say how far an evaluation is


class Examination:
    """Asks a run's model its held-out questions.

    Args:
        session: the run.
        portion: questions asked together, on each process; None asks them all, which suits other engines. More than one
            portion says every now and then how far it is.

    Attributes:
        queries: those asked: the first `trainer.eval_size` that have a reference answer.
        available: how many have one.
    """

    def __init__(self, session: Session, portion: int | None = None):
        self.session, self.portion = session, portion
        plan = session.plan
        self.limit = int(getattr(plan.source, "max_completion_tokens", plan.trainer.eval_long_tokens))
        self.verifier = plan.trainer.verifier or plan.reward
        known = [q for q in plan.source.held_out() if q.answer is not None] if plan.trainer.eval_size else []
        self.queries: list[Query] = known[: plan.trainer.eval_size]
        self.available = len(known)
        if plan.trainer.eval_size and not known:
            session.say("no held-out question has a reference answer: accuracy is not measured")

    def before(self) -> None:
        """Measures the untrained model once, at the recipe's limit and at the long one, and writes eval_before.jsonl
        and eval_before_long.jsonl. A resumed run reads them; another run that asks the same model the same finds its
        answers in the cache, which sweeps and comparisons live on."""
        if not self.queries or self._file("before_long").exists():
            return
        self.session.say(f"asking the model {len(self.queries)} held-out questions before training")
        long = self.session.plan.trainer.eval_long_tokens
        greedy = Sampling(max(self.limit, long), temperature=0.0)
        groups, _ = sample_once(self.session.context, self.queries, 1, greedy, "evaluation", len(self.queries))
        for name, limit in (("before", self.limit), ("before_long", long)):
            answers = self._verify(cut(groups, limit, self.session.loaded.chat))
            if self.session.processes.first:
                run_dir.write_answers(self._file(name), answers)
            self.session.say(_sentence(f"before, at most {limit} tokens", answers))
        self.session.processes.wait()

    def ask(self) -> list[Answer]:
        """Returns the model's answers at the recipe's limit, judged."""
        sampler = self.session.sampler
        return [answer for (answer,) in self._ask(lambda queries: answer_greedily(sampler, queries, self.limit))]

    def draw(self, count: int, sampling: Sampling) -> list[list[Answer]]:
        """Returns, for every question, `count` answers drawn from the model, judged."""
        sampler = self.session.sampler
        return self._ask(lambda queries: draw_answers(sampler, queries, count, sampling))

    def now(self, name: str | None = None) -> float:
        """Returns the accuracy at the recipe's limit; writes the answers to eval_NAME.jsonl if a name is given."""
        answers = self.ask()
        if name:
            if self.session.processes.first:
                run_dir.write_answers(self._file(name), answers)
            self.session.processes.wait()  # every process reads the file
            self.session.say(_sentence(f"{name}, at most {self.limit} tokens", answers))
        return accuracy(answers)

    def result(self, finished: bool, best: Path | None) -> dict[str, Any] | None:
        """Returns the `eval` part of summary.json; with `best` the adapter of that folder is measured (and kept)."""
        if not self.queries:
            return None
        if best is not None and finished:
            self.session.policy.load_pretrained(best)
        if finished:
            self.now("after")
        before, long = (run_dir.read_answers(self._file(name)) for name in ("before", "before_long"))
        after = run_dir.read_answers(self._file("after")) if finished else None
        result: dict[str, Any] = {
            "n": len(before),
            "accuracy_before": accuracy(before),
            "accuracy_before_long": accuracy(long),
            "accuracy_after": accuracy(after) if after else None,
            "difference": None,
            "interval": None,
            "interval_after": list(wilson(sum(a.correct for a in after), len(after))) if after else None,
            "cut_share_before": cut_share(before),
            "cut_share_before_long": cut_share(long),
            "cut_share_after": cut_share(after) if after else None,
            "max_completion_tokens": self.limit,
            "long_tokens": self.session.plan.trainer.eval_long_tokens,
            "decoding": "greedy",
            **asked(self.session, [a.id for a in before]),
        }
        if after:
            better = max(before, long, key=accuracy)
            difference = paired_difference([a.correct for a in better], [a.correct for a in after])
            result["difference"] = difference.value
            result["interval"] = [difference.low, difference.high]
        return result

    def _ask(self, ask: Callable[[list[Query]], list[Group]]) -> list[list[Answer]]:
        """Returns what is answered, judged."""
        each, said = self.session.processes.world * (self.portion or len(self.queries)), time.perf_counter()
        rows: list[list[Answer]] = []
        for start in range(0, len(self.queries), each):
            rows += self._judge(ask(self.queries[start : start + each]))
            if len(rows) < len(self.queries) and time.perf_counter() - said > PAUSE:
                self.session.say(f"{len(rows):,} of {len(self.queries):,} questions are answered")
                said = time.perf_counter()
        return rows

    def _verify(self, groups: list[Group]) -> list[Answer]:
        return [answer for (answer,) in self._judge(groups)]

    def _judge(self, groups: list[Group]) -> list[list[Answer]]:
        processes = self.session.processes
        return processes.gather(verify(processes.share(groups), self.verifier))

    def _file(self, name: str) -> Path:
        return self.session.plan.run_dir / f"eval_{name}.jsonl"


def asked(session: Session, ids: Iterable[str]) -> dict[str, str]:
    """Returns what two runs must have in common for their accuracies to be compared: the base model, the chat template
    and the questions, by their ids."""
    return {
        "base_model": session.loaded.base_hash,
        "template_hash": session.loaded.chat.fingerprint,
        "eval_ids_hash": hashlib.sha256(" ".join(sorted(ids)).encode()).hexdigest()[:16],
    }


def _sentence(when: str, answers: list[Answer]) -> str:
    right = sum(a.correct for a in answers)
    low, high = wilson(right, len(answers))
    return (
        f"held-out accuracy {when}: {right}/{len(answers)} = {100 * right / len(answers):.1f}% "
        f"[{100 * low:.1f}, {100 * high:.1f}], cut off {100 * cut_share(answers):.1f}%"
    )

"""Held-out pair accuracy of a model that scores, and which examination a run gets."""

from pathlib import Path
from typing import Any, Protocol

from rlft.base import Group, Query, Trained
from rlft.evaluation.pairs import Compared, measures
from rlft.models.roles import score_rows
from rlft.train import run_dir
from rlft.train.collate import collate
from rlft.train.examination import Examination, asked
from rlft.train.session import Session

PORTION = 32  # questions whose completions are made a batch together


class Examined(Protocol):
    """What a run does to learn how good its model is."""

    queries: list[Query]

    def before(self) -> None:
        """Measures the untrained model."""
        ...

    def now(self, name: str | None = None) -> float:
        """Returns the accuracy of the model as it is; keeps the answers under a name, if one is given."""
        ...

    def result(self, finished: bool, best: Path | None) -> dict[str, Any] | None:
        """Returns the `eval` part of summary.json."""
        ...


class PairExamination:
    """Lets a run's model score right and wrong completions of held-out questions, and compares each right one with each
    wrong one.

    Attributes:
        queries: the questions that have both, the first `trainer.eval_size` of them.
    """

    def __init__(self, session: Session):
        self.session = session
        size = session.plan.trainer.eval_size
        groups = [group for group in self._judged(session.plan.source.held_out_groups(size)) if _differs(group)]
        enough = len({group.query.id for group in groups}) > 1
        self.groups = groups if enough else []
        self.queries = [group.query for group in self.groups]
        if size and not enough:
            session.say("pair accuracy is not measured: two held-out questions with right and wrong answers are needed")

    def before(self) -> None:
        """Does nothing: a head that starts at zero gives all the same score."""

    def now(self, name: str | None = None) -> float:
        """Returns the pair accuracy; writes the pairs to eval_NAME.jsonl if a name is given."""
        return float(self._measure(name)["pair_accuracy"])

    def result(self, finished: bool, best: Path | None) -> dict[str, Any] | None:
        """Returns the `eval` part of summary.json; with `best` the weights of that folder are measured (and kept)."""
        if not self.queries or not finished:
            return None
        if best is not None:
            self.session.policy.load_pretrained(best)
        return {**self._measure("pairs"), **asked(self.session, {query.id for query in self.queries})}

    def _measure(self, name: str | None) -> dict[str, Any]:
        pairs: list[Compared] = []
        for start in range(0, len(self.groups), PORTION):
            pairs += self._compare(self.groups[start : start + PORTION])
        result = measures(pairs)
        if name and self.session.processes.first:
            run_dir.write_pairs(self.session.plan.run_dir / f"eval_{name}.jsonl", pairs)
        return result

    def _compare(self, groups: list[Group]) -> list[Compared]:
        session = self.session
        batch = collate(groups, session.loaded.chat, session.policy.score_dtype)
        tokens, atom = session.learner.tokens, session.plan.algorithm.atom
        scores = score_rows(session.policy, batch, tokens, atom, session.processes)
        rows = iter(session.policy.whole(scores, batch.mask.to(scores.device)).tolist())
        return [pair for group in groups for pair in _compared(group, [next(rows) for _ in group.completions])]

    def _judged(self, groups: list[Group]) -> list[Group]:
        """Returns the groups with rewards: the data's own, or the verifier's."""
        plan, processes = self.session.plan, self.session.processes
        new = [group for group in groups if not group.rewards]
        scored = iter(processes.gather((plan.trainer.verifier or plan.reward).score(processes.share(new))))
        return [group if group.rewards else next(scored) for group in groups]


def _differs(group: Group) -> bool:
    return len({reward.value for reward in group.rewards}) > 1


def _compared(group: Group, scores: list[float]) -> list[Compared]:
    """Returns each completion beside each one of a lower reward."""
    query = group.query
    writers = query.metadata.get("writers") or [None] * len(scores)
    strength = query.metadata.get("strength", {})
    rows = list(zip(group.completions, group.rewards, scores, writers, strict=True))
    pairs: list[Compared] = []
    for right, better, right_score, by in rows:
        for wrong, worse, wrong_score, other in rows:
            if better.value <= worse.value:
                continue
            one, two = strength.get(by), strength.get(other)
            weaker = None if one is None or two is None or one == two else one < two
            question = query.messages[-1]["content"]
            texts = (query.id, question, right.text, wrong.text)
            pairs.append(Compared(*texts, right_score, wrong_score, by, other, weaker))
    return pairs


EXAMINATIONS: dict[Trained, type[Examination] | type[PairExamination]] = {
    "log_probs": Examination,
    "scores": PairExamination,
    "token_scores": PairExamination,
}


def examination(session: Session) -> Examined:
    """Returns the examination that suits what a run trains."""
    return EXAMINATIONS[session.plan.algorithm.trains](session)

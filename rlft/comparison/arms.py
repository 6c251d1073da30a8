"""The arms of a comparison: runs that differ in their seed alone are one method's, and are pooled."""

from dataclasses import dataclass

import numpy as np

from rlft.base import UserError
from rlft.comparison.record import Record
from rlft.evaluation.crossed import Answers


@dataclass(frozen=True)
class Arm:
    """What one method did.

    Attributes:
        runs: one per seed, in the order of the seeds.
    """

    runs: tuple[Record, ...]

    @property
    def first(self) -> Record:
        """The run that speaks for what all of them share."""
        return self.runs[0]

    @property
    def questions(self) -> list[str]:
        """Ids of the questions, which every seed answered."""
        return list(self.first.correct)

    @property
    def accuracies(self) -> list[float]:
        """Shares of right answers by seed."""
        return [sum(run.correct.values()) / len(run.correct) for run in self.runs]

    @property
    def accuracy(self) -> float:
        """Mean over seeds."""
        return sum(self.accuracies) / len(self.runs)

    def answers(self, questions: list[str], base: bool = False) -> Answers:
        """Returns [S, Q]: 1 where a seed answered a question rightly; of the untrained model with `base`."""
        rows = [run.base if base else run.correct for run in self.runs]
        return np.array([[row[q] for q in questions] for row in rows], dtype=np.float64)


def arms(records: list[Record]) -> list[Arm]:
    """Returns runs by method, the most accurate one first. Seeds that answered other questions are not pooled.

    Raises:
        UserError: two runs are alike in everything, their seed too: that is one run twice, not two seeds; or there is
            one question alone.
    """
    members: list[list[Record]] = []
    for record in sorted(records, key=lambda record: int(record.summary.get("seed") or 0)):
        alike = next((runs for runs in members if _alike(runs[0], record)), None)
        if alike is None:
            members.append([record])
            continue
        if alike[-1].summary.get("seed") == record.summary.get("seed"):
            raise UserError(
                f"{alike[-1].path} and {record.path} have the same settings and the same seed; name one of them"
            )
        if len(record.correct) < 2:
            raise UserError(
                f"{record.path}: one question says nothing of several seeds; train with a larger trainer.eval_size"
            )
        alike.append(record)
    return sorted((Arm(tuple(runs)) for runs in members), key=lambda arm: -arm.accuracy)


def _alike(one: Record, other: Record) -> bool:
    return one.setting == other.setting and one.correct.keys() == other.correct.keys()

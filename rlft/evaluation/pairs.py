"""How often a score prefers the right one of two answers to a held-out question."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

from scipy.special import stdtrit


@dataclass(frozen=True)
class Compared:
    """A right and a wrong answer to one question, and what both were given.

    Attributes:
        id, question: of the question. right, wrong: the answers.
        right_score, wrong_score: the model's.
        right_writer, wrong_writer: who wrote them, where the data says so.
        weaker: whether the right answer's writer is the one who is right less often; None where that is unknown or
            they are equals.
    """

    id: str
    question: str
    right: str
    wrong: str
    right_score: float
    wrong_score: float
    right_writer: str | None = None
    wrong_writer: str | None = None
    weaker: bool | None = None

    @property
    def correct(self) -> float:
        """1 if the right answer has the higher score, 0 if the wrong one has, and 0.5 if neither."""
        return float(self.right_score > self.wrong_score) + 0.5 * float(self.right_score == self.wrong_score)

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values, and `correct`."""
        return asdict(self) | {"correct": self.correct}


def measures(pairs: Sequence[Compared]) -> dict[str, Any]:
    """Returns pair accuracy with its interval: over all pairs, and over those whose right answer was written by the
    weaker and by the stronger of two writers.

    Knowing the writers alone gets all of the latter right and none of the former; `writer_accuracy` is how many that
    comes to. Each part is `n` pairs of so many `questions`, `pair_accuracy` and `pair_interval` (95%), or None where
    there are fewer than two questions.

    Raises:
        ValueError: fewer than two questions in all.
    """
    told = [pair for pair in pairs if pair.weaker is not None]
    weaker = [pair for pair in told if pair.weaker]
    return {
        **_part(pairs),
        "right_from_weaker": _part_if_any(weaker),
        "right_from_stronger": _part_if_any([pair for pair in told if not pair.weaker]),
        "writer_accuracy": 1 - len(weaker) / len(told) if told else None,
    }


def _part_if_any(pairs: Sequence[Compared]) -> dict[str, Any] | None:
    return _part(pairs) if len({pair.id for pair in pairs}) > 1 else None


def _part(pairs: Sequence[Compared]) -> dict[str, Any]:
    by_question: dict[str, list[float]] = {}
    for pair in pairs:
        by_question.setdefault(pair.id, []).append(pair.correct)
    value, low, high = clustered(by_question.values())
    return {"n": len(pairs), "questions": len(by_question), "pair_accuracy": value, "pair_interval": [low, high]}


def clustered(answers: Iterable[Sequence[float]], level: float = 0.95) -> tuple[float, float, float]:
    """Returns the share of right answers and its interval, where those in one sequence may be right or wrong together.

    The variance of the ratio Σx/Σn is Q/(Q-1)·Σ(x - p·n)²/(Σn)² over Q clusters of n answers of which x are right
    (Cochran, Sampling Techniques, 3rd ed. 1977, section 9A). The limits are Wilson's at the number of independent
    answers that would vary as much, with the t of Q - 1 degrees of freedom (Korn and Graubard, Surv. Methodol.
    24:193-201, 1998).

    Args:
        answers: per cluster, 1 for right, 0 for wrong, or between. level: of confidence.

    Raises:
        ValueError: fewer than two clusters, or an empty one.

    >>> [round(x, 3) for x in clustered([[1, 1], [0, 0], [1, 1], [0, 0]])]  # as wide as of three answers
    [0.5, 0.061, 0.939]
    """
    clusters = [(sum(each), len(each)) for each in answers]
    if len(clusters) < 2 or not all(n for _, n in clusters):
        raise ValueError(f"{len(clusters)} clusters: at least two are needed, and an answer in each")
    total = sum(n for _, n in clusters)
    p = sum(x for x, _ in clusters) / total
    count = len(clusters)
    variance = count / (count - 1) * sum((x - p * n) ** 2 for x, n in clusters) / total**2
    t = float(stdtrit(count - 1, 0.5 + level / 2))
    # All right or all wrong: as many answers as there are clusters.
    n = min(p * (1 - p) / variance, total) if variance else count
    middle, half = p + t * t / (2 * n), t * sqrt(p * (1 - p) / n + t * t / (4 * n * n))
    low, high = ((middle + side * half) / (1 + t * t / n) for side in (-1, 1))
    return p, max(0.0, min(p, low)), min(1.0, max(p, high))


def sentence(result: dict[str, Any]) -> str:
    """Returns what `measures` found, for people."""
    text = _said("held-out pair accuracy", result)
    if result.get("right_from_weaker"):
        text += "; " + _said("where the weaker writer is right", result["right_from_weaker"])
        text += f" (preferring the stronger writer: {result['writer_accuracy']:.1%} of all, none of these)"
    return text


def _said(what: str, part: dict[str, Any]) -> str:
    low, high = part["pair_interval"]
    return (
        f"{what} {part['pair_accuracy']:.1%} [{100 * low:.1f}, {100 * high:.1f}] of {part['n']:,} pairs of "
        f"{part['questions']:,} questions"
    )

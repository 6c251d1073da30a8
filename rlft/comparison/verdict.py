"""Which of two methods wins, in words, and what it would take to know where it is not decided."""

from math import ceil, sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

from rlft.comparison.arms import Arm
from rlft.evaluation import crossed
from rlft.evaluation.crossed import Estimate
from rlft.evaluation.intervals import SEEDS

ALPHA = 0.05
GOAL = 0.02  # a difference that people care about
MOST = 100_000  # questions, beyond which nobody has them


class Pair(NamedTuple):
    """Two methods, each with its label, the more accurate one first."""

    first: tuple[str, Arm]
    second: tuple[str, Arm]


def judge(pairs: list[Pair]) -> list[dict[str, Any]]:
    """Returns what compare.json says of each pair. A pair is decided where Holm's adjusted p-value, over all pairs of
    methods with enough seeds, is below 5%."""
    estimates = [_estimate(pair) for pair in pairs]
    able = [i for i, (pair, e) in enumerate(zip(pairs, estimates, strict=True)) if e is not None and _able(pair)]
    adjusted = dict(
        zip(able, crossed.holm([e.p for i in able if (e := estimates[i]) and e.p is not None]), strict=True)
    )
    return [
        _told(pair, e, adjusted.get(i), len(able)) for i, (pair, e) in enumerate(zip(pairs, estimates, strict=True))
    ]


def _able(pair: Pair) -> bool:
    return all(len(arm.runs) >= SEEDS for _, arm in pair)


def _shared(pair: Pair) -> list[str]:
    (_, first), (_, second) = pair
    theirs = set(second.questions)
    return [question for question in first.questions if question in theirs]


def _estimate(pair: Pair) -> Estimate | None:
    questions = _shared(pair)
    if len(questions) < 2:
        return None
    return crossed.difference(pair.first[1].answers(questions), pair.second[1].answers(questions))


def _told(pair: Pair, estimate: Estimate | None, p: float | None, pairs: int) -> dict[str, Any]:
    (better, first), (other, second) = pair
    questions = _shared(pair)
    told: dict[str, Any] = {"better": better, "other": other, "n": len(questions)}
    if estimate is None:
        nothing = dict.fromkeys(("difference", "low", "high", "p", "improvement"))
        why = "fewer than two questions in common"
        return told | nothing | {"decided": False, "verdict": f"{better} against {other}: not decided ({why})"}
    decided = p is not None and p < ALPHA
    told |= {"difference": estimate.value, "low": estimate.low, "high": estimate.high, "p": p}
    told |= {"improvement": crossed.improvement(first.accuracies, second.accuracies) if p is not None else None}
    return told | {"decided": decided, "verdict": _verdict(pair, estimate, p, decided, len(questions), pairs)}


def _verdict(pair: Pair, e: Estimate, p: float | None, decided: bool, questions: int, pairs: int) -> str:
    (better, _), (other, _) = pair
    numbers = f"{100 * e.value:+.1f} points [{100 * e.low:.1f}, {100 * e.high:.1f}]"
    if p is None:
        return f"{better} against {other}: {numbers} for these runs; no winner is named of fewer than {SEEDS} seeds"
    if not decided:
        return f"{better} against {other}: not decided, {numbers}; {_needed(pair, e, questions, pairs)}"
    # The sign can differ from the order only on the shared part of unequal question sets.
    return f"{better} beats {other}: {numbers}" if e.value > 0 else f"{other} beats {better}: {numbers} for {better}"


def _needed(pair: Pair, e: Estimate, questions: int, pairs: int) -> str:
    """Says what would make the interval `GOAL` wide to either side, other things equal, at the level that so many pairs
    leave to one. With more questions alone t stays that of the seeds; with more seeds it comes near the normal one."""
    normal = NormalDist().inv_cdf(1 - ALPHA / 2 / pairs)
    t = (e.high - e.value) / sqrt(e.of_questions + e.of_seeds) * normal / NormalDist().inv_cdf(1 - ALPHA / 2)
    goal = f"{100 * GOAL:.0f} points would need about"
    room = (GOAL / t) ** 2
    if e.of_seeds < room:
        more = ceil(e.of_questions * questions / (room - e.of_seeds))
        if more <= questions:
            return f"{100 * GOAL:.0f} points would have shown"
        if more <= MOST:
            return f"{goal} {more:,} questions"
    room = (GOAL / normal) ** 2 / 2  # for the seeds' part, and as much for the questions'
    seeds = max(len(arm.runs) for _, arm in pair)
    return f"{goal} {ceil(seeds * e.of_seeds / room):,} seeds and {ceil(e.of_questions * questions / room):,} questions"

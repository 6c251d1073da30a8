"""Steps of arithmetic: whether each equation holds, and whether it was made of what is given."""

import re
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

from rlft.base import RewardFunction
from rlft.rewards.extract import MINUS, UNSIGNED, exact
from rlft.rewards.math_answer import MathAnswer
from rlft.rewards.steps import Stepped, Steps

# A minus is a sign only where nothing stands before it that it could be subtracted from.
GIVEN = re.compile(rf"(?<![\w.])(?:(?<![\d)])(?<![\d)]\s)-)?{UNSIGNED}")
OPERATOR = r"[-+*/×÷]"
SIDE = rf"-?{UNSIGNED}(?:\s*{OPERATOR}\s*-?{UNSIGNED})*+"  # taken whole or not at all: a long one is read once
CHAIN = re.compile(rf"(?<![\w.]){SIDE}(?:\s*=\s*{SIDE})*+")
COMPUTED = re.compile(rf"\d\s*{OPERATOR}")
TERM = re.compile(rf"(?P<operator>^|(?<=\d)\s*{OPERATOR})\s*(?P<number>-?{UNSIGNED})")


@dataclass(kw_only=True)
class ArithmeticSteps(Stepped):
    """A step with equations is worth 1 if they all hold and are made of what is given, else 0; the last step is worth
    what the outcome is. What has no equation is no step of its own: it belongs to the next one.

    Given are the numbers of the question (the last user turn) and the results of earlier right equations. An equation
    uses up what it is made of, so that nothing is earned by writing "1 + 1 = 2", or the same sum, again and again: n
    numbers of a question give n - 1 right sums at most. Values are exact, * and / go before + and -.

    Attributes:
        reuse: what is given may be used more than once, as in word problems. An equation that stood there before is
            still worth 0, but right ones that lead nowhere are then worth as much as the others.

    >>> from rlft.base import Completion, Group, Query
    >>> query = Query("q", ({"role": "user", "content": "12 + 34 + 20 ="},), answer="66")
    >>> text = "12 + 34 = 46\\n46 + 20 = 65\\n#### 65"
    >>> (group,) = ArithmeticSteps().score([Group(query, (Completion((), text),))])
    >>> group.rewards[0].steps, group.rewards[0].value
    (((13, 1.0), (26, 0.0), (33, 0.0)), 0.0)
    """

    label: ClassVar[str] = "arithmetic_steps"

    outcome: RewardFunction = field(default_factory=MathAnswer)
    reuse: bool = False

    def judge(self, answers: list[Steps]) -> list[list[float | None]]:
        return [self._judge(answer) for answer in answers]

    def _judge(self, answer: Steps) -> list[float | None]:
        known = _Known(answer.query.messages[-1]["content"], self.reuse)
        values: list[float | None] = []
        for text in answer.texts[:-1]:
            judged = [known.follows(equation) for equation in equations(text)]
            values.append(float(all(judged)) if judged else None)
        return [*values, answer.outcome.value]


def equations(text: str) -> list[str]:
    """Returns the equations of a text in which something is computed.

    >>> equations("He sold 48/2 = <<48/2=24>>24 clips, x = 5, and 48 + 24 = 48 + 20 + 4 = 72.")
    ['48/2=24', '48 + 24 = 48 + 20 + 4 = 72']
    """
    return [chain for chain in CHAIN.findall(_tidy(text)) if "=" in chain and COMPUTED.search(chain)]


class _Known:
    """What equations may be made of: the numbers of a question at first, then right results too."""

    def __init__(self, question: str, reuse: bool):
        self.numbers = Counter(exact(match[0]) for match in GIVEN.finditer(_tidy(question)))
        self.reuse = reuse
        self.seen: set[str] = set()

    def follows(self, equation: str) -> bool:
        """Returns whether an equation is right and made of what is known; if so its result is known from then on."""
        first, *others = (_terms(side) for side in equation.split("="))
        value, used = _value(first), Counter(number for _, number in first)
        name = "".join(equation.split())
        given = used.keys() <= self.numbers.keys() and name not in self.seen if self.reuse else used <= self.numbers
        if value is None or not given or any(_value(side) != value for side in others):
            return False
        if not self.reuse:
            self.numbers -= used
        self.numbers[value] += 1
        self.seen.add(name)
        return True


def _terms(side: str) -> list[tuple[str, Fraction]]:
    """Returns the numbers of one side of an equation, each with the operator before it."""
    return [(match["operator"].strip(), exact(match["number"])) for match in TERM.finditer(side.strip())]


def _value(terms: list[tuple[str, Fraction]]) -> Fraction | None:
    """Returns what they come to, None where that divides by 0."""
    sums: list[Fraction] = []
    for operator, number in terms:
        if operator in ("*", "×"):
            sums[-1] *= number
        elif operator in ("/", "÷"):
            if number == 0:
                return None
            sums[-1] /= number
        else:
            sums.append(-number if operator == "-" else number)
    return sum(sums, Fraction(0))


def _tidy(text: str) -> str:
    return text.translate(MINUS).replace("$", "")

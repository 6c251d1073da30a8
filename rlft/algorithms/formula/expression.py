"""Text that is called as a method of Algorithm is."""

import ast
from collections.abc import Mapping
from typing import cast

from torch import Tensor

from rlft import ops
from rlft.algorithms.checks import annotated
from rlft.algorithms.formula.evaluate import Value
from rlft.algorithms.formula.grammar import Grammar
from rlft.base import Batch


class Expression(str):
    """Text such as "advantage * clip(ratio, 0.8, 1.2)", called as a method of Algorithm is.

    Nothing is run as Python: names and functions are those of `vocabulary`, and the numbers that are given; there is
    arithmetic, comparison (in `where`), and a power of at most 8.

    Attributes:
        numbers: names that stand for numbers. used, names, functions: of these and of the vocabulary what occurs.
        body: the expression.

    Args:
        text: the expression. key: where it stands, for messages. numbers: see above.

    Raises:
        UserError: with the place underlined.

    >>> str(Expression("reward - baseline", "algorithm.coefficient", {"baseline": 0.5}))
    'reward - baseline'
    """

    numbers: Mapping[str, float]
    names: frozenset[str]
    functions: frozenset[str]
    used: frozenset[str]
    body: ast.expr

    def __new__(cls, text: str, key: str, numbers: Mapping[str, float]) -> "Expression":
        """See the class."""
        self = super().__new__(cls, text)
        checked = Grammar(text, key, numbers)
        self.body, self.numbers = checked.body, numbers
        self.names, self.functions = frozenset(checked.names), frozenset(checked.functions)
        self.used = frozenset(checked.used)
        return self

    def terms(self, batch: Batch, logp: Tensor) -> dict[str, Tensor]:
        """Returns the values [B, T] of what the text adds up, by their own texts."""
        found: dict[str, Tensor] = {}
        for node in summands(self.body):
            text = ast.unparse(node)
            while text in found:
                text += "'"  # what is added twice
            found[text] = ops.masked(Value(self.numbers, batch, logp).visit(node).expand_as(logp), batch.mask)
        return found

    def __getnewargs__(self) -> tuple[str, str, Mapping[str, float]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What a copy is made from."""
        return str(self), "algorithm.coefficient", self.numbers

    def __call__(self, batch: Batch, logp: Tensor) -> Tensor:
        """Returns the value [B, T] at log π [B, T], 0 where the mask is."""
        value: Tensor = Value(self.numbers, batch, logp).visit(self.body)
        return ops.masked(value.expand_as(logp), batch.mask)


def summands(node: ast.expr) -> list[ast.expr]:
    """Returns what is added up, from the left; what is taken away has its sign.

    >>> [ast.unparse(part) for part in summands(ast.parse("a - b * c + (d - e)", mode="eval").body)]
    ['a', '-(b * c)', 'd - e']
    """
    match node:
        case ast.BinOp(left, ast.Add(), right):
            return [*summands(left), right]
        case ast.BinOp(left, ast.Sub(), right):
            return [*summands(left), ast.UnaryOp(ast.USub(), right)]
        case _:
            return [node]


class Objective(Expression):
    """The text of an objective; empty is none."""

    def __new__(cls, text: str, key: str, numbers: Mapping[str, float]) -> "Objective":
        """See Expression."""
        return cast("Objective", super().__new__(cls, text, key, numbers) if text else str.__new__(cls, ""))

    def __getnewargs__(self) -> tuple[str, str, Mapping[str, float]]:
        """See Expression."""
        return str(self), "algorithm.objective", self.numbers if self else {}

    def __call__(self, batch: Batch, logp: Tensor) -> Tensor | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns Σ w times the text's value."""
        return (annotated(batch.weight, "weight") * super().__call__(batch, logp)).sum() if self else None

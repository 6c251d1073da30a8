"""What the text of a coefficient may be: read against a white-list before anything runs, and refused with its place."""

import ast
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple, NoReturn

from rlft.algorithms.formula.evaluate import ARITHMETIC, COMPARED
from rlft.algorithms.formula.source import ALLOWED, Source
from rlft.algorithms.formula.vocabulary import FUNCTIONS, NAMES, Kind

HIGHEST = 8  # power
ORDER: tuple[Kind, ...] = ("number", "row", "token")


class Part(NamedTuple):
    """What a part of an expression is: the shape of its values, and whether they are true or false."""

    kind: Kind
    truth: bool = False


class Grammar(ast.NodeVisitor):
    """Reads an expression; notes the names, numbers and functions that occur. Visiting a part returns what it is, and
    refuses what is no part of the language."""

    def __init__(self, text: str, key: str, numbers: Mapping[str, float]):
        """Raises UserError as Expression does."""
        self.source, self.numbers = Source(" ".join(text.split()), key), numbers
        self.names, self.functions, self.used = set[str](), set[str](), set[str]()
        self.body = self.source.parse()
        self._values(self.body)

    def generic_visit(self, node: ast.AST) -> NoReturn:
        """Refuses all that has no method of its own here."""
        self.source.refuse(node, f"not allowed here; {ALLOWED}")

    def visit_Constant(self, node: ast.Constant) -> Part:
        """A number."""
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
            self.generic_visit(node)
        return Part("number")

    def visit_Name(self, node: ast.Name) -> Part:
        """A number that has a name, or a value of the batch."""
        if node.id in self.numbers:
            self.used.add(node.id)
            return Part("number")
        if node.id not in NAMES:
            wrong = f"is a function: write {node.id}(…)" if node.id in FUNCTIONS else "unknown name"
            self.source.refuse(node, f"{node.id}: {wrong}{_near(node.id, [*NAMES, *self.numbers])}")
        self.names.add(node.id)
        return Part(NAMES[node.id].kind)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Part:
        """A sign, or `not`."""
        if isinstance(node.op, ast.Invert):
            self.generic_visit(node)
        if isinstance(node.op, ast.Not):
            return Part(self._truths(node.operand), True)
        return Part(self._values(node.operand))

    def visit_BinOp(self, node: ast.BinOp) -> Part:
        """Arithmetic."""
        if type(node.op) not in ARITHMETIC:
            self.generic_visit(node)
        if isinstance(node.op, ast.Pow):
            power = node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
            value = power.value if isinstance(power, ast.Constant) else None
            if not isinstance(value, int | float) or abs(value) > HIGHEST:
                self.source.refuse(node.right, f"a power has to be a number of at most {HIGHEST}; else use exp and log")
        return Part(self._values(node.left, node.right))

    def visit_Compare(self, node: ast.Compare) -> Part:
        """A comparison of two."""
        if len(node.ops) > 1 or type(node.ops[0]) not in COMPARED:
            self.source.refuse(node, "compare two values with < <= > >= == !=, and join comparisons with `and`")
        return Part(self._values(node.left, *node.comparators), True)

    def visit_BoolOp(self, node: ast.BoolOp) -> Part:
        """`and`, `or`."""
        return Part(self._truths(*node.values), True)

    def visit_Call(self, node: ast.Call) -> Part:
        """A function."""
        if not isinstance(node.func, ast.Name):
            self.generic_visit(node)
        name, function = node.func.id, FUNCTIONS.get(node.func.id)
        if function is None:
            self.source.refuse(node.func, f"{name}: no such function{_near(name, FUNCTIONS)}")
        if len(node.args) != function.arguments or node.keywords:
            self.source.refuse(node, f"{name} takes {function.arguments} value(s), by place")
        self.functions.add(name)
        first, *rest = node.args
        kind = _greatest(self._truths(first), self._values(*rest)) if name == "where" else self._values(*node.args)
        if function.over == "group" and kind == "token":
            self.source.refuse(first, f"{name} takes one value per completion; put it into mean_over_tokens(…)")
        if function.over == "tokens" and kind != "token":
            self.source.refuse(first, f"{name} takes a value per token, and this is not one")
        return Part("row" if function.over else kind)

    def _values(self, *nodes: ast.expr) -> Kind:
        """Checks that all are numbers of some shape, and returns the greatest."""
        return self._each(nodes, False, "true or false, where a number is wanted; use where(…, 1, 0)")

    def _truths(self, *nodes: ast.expr) -> Kind:
        return self._each(nodes, True, "a comparison is wanted, such as ratio > 1")

    def _each(self, nodes: tuple[ast.expr, ...], truth: bool, else_say: str) -> Kind:
        kinds: list[Kind] = []
        for node in nodes:
            part: Part = self.visit(node)
            if part.truth != truth:
                self.source.refuse(node, else_say)
            kinds.append(part.kind)
        return _greatest(*kinds)


def _greatest(*kinds: Kind) -> Kind:
    return ORDER[max(ORDER.index(kind) for kind in kinds)]


def _near(name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"

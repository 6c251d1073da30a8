"""What the text of a coefficient may be: read against a white-list before anything runs, and refused with its place."""

import ast
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import NoReturn

from rlft.algorithms.formula.evaluate import ARITHMETIC, COMPARED
from rlft.algorithms.formula.vocabulary import FUNCTIONS, NAMES, Kind
from rlft.base import UserError

LONGEST, DEEPEST, HIGHEST = 1000, 60, 8  # characters, parts inside each other, power
ORDER: tuple[Kind, ...] = ("number", "row", "token")
ALLOWED = "there are numbers, names, + - * / **, comparisons and functions"


class Grammar(ast.NodeVisitor):
    """Reads an expression. Visiting a part returns its shape, "truth" for a comparison, and refuses what is no part of
    the language."""

    def __init__(self, text: str, key: str, numbers: Mapping[str, float]):
        """Raises UserError as Expression does."""
        self.text, self.key, self.numbers = text, key, numbers
        self.names, self.functions = set[str](), set[str]()
        self.body = self._parse()
        self._values(self.body)

    def generic_visit(self, node: ast.AST) -> NoReturn:
        """Refuses all that has no method of its own here."""
        self._refuse(node, f"not allowed here; {ALLOWED}")

    def visit_Constant(self, node: ast.Constant) -> Kind:
        """A number."""
        if type(node.value) not in (int, float) or not abs(node.value) < 1e300:
            self.generic_visit(node)
        return "number"

    def visit_Name(self, node: ast.Name) -> Kind:
        """A number that has a name, or a value of the batch."""
        if node.id in self.numbers:
            return "number"
        if node.id not in NAMES:
            wrong = f"is a function: write {node.id}(…)" if node.id in FUNCTIONS else "unknown name"
            self._refuse(node, f"{node.id}: {wrong}{_near(node.id, [*NAMES, *self.numbers])}")
        self.names.add(node.id)
        return NAMES[node.id].kind

    def visit_UnaryOp(self, node: ast.UnaryOp) -> "Kind | str":
        """A sign, or `not`."""
        if isinstance(node.op, ast.Invert):
            self.generic_visit(node)
        return self._truths(node.operand) if isinstance(node.op, ast.Not) else self._values(node.operand)

    def visit_BinOp(self, node: ast.BinOp) -> Kind:
        """Arithmetic."""
        if type(node.op) not in ARITHMETIC:
            self.generic_visit(node)
        if isinstance(node.op, ast.Pow):
            power = node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
            value = power.value if isinstance(power, ast.Constant) else None
            if not isinstance(value, int | float) or abs(value) > HIGHEST:
                self._refuse(node.right, f"a power has to be a number of at most {HIGHEST}; else use exp and log")
        return self._values(node.left, node.right)

    def visit_Compare(self, node: ast.Compare) -> str:
        """A comparison of two."""
        if len(node.ops) > 1 or type(node.ops[0]) not in COMPARED:
            self._refuse(node, "compare two values with < <= > >= == !=, and join comparisons with `and`")
        self._values(node.left, *node.comparators)
        return "truth"

    def visit_BoolOp(self, node: ast.BoolOp) -> str:
        """`and`, `or`."""
        return self._truths(*node.values)

    def visit_Call(self, node: ast.Call) -> Kind:
        """A function."""
        if not isinstance(node.func, ast.Name):
            self.generic_visit(node)
        name, function = node.func.id, FUNCTIONS.get(node.func.id)
        if function is None:
            self._refuse(node.func, f"{name}: no such function{_near(name, FUNCTIONS)}")
        if len(node.args) != function.arguments or node.keywords:
            self._refuse(node, f"{name} takes {function.arguments} value(s), by place")
        self.functions.add(name)
        kind = self._values(*node.args[1:], *([] if name == "where" else node.args[:1]))
        if name == "where":
            self._truths(node.args[0])
        if function.over == "group" and kind == "token":
            self._refuse(node.args[0], f"{name} takes one value per completion; put it into mean_over_tokens(…)")
        if function.over == "tokens" and kind != "token":
            self._refuse(node.args[0], f"{name} takes a value per token, and this is not one")
        return "row" if function.over else kind

    def _values(self, *nodes: ast.expr) -> Kind:
        """Checks that all are numbers of some shape, and returns the greatest."""
        kinds = [self.visit(node) for node in nodes]
        if "truth" in kinds:
            self._refuse(nodes[kinds.index("truth")], "true or false, where a number is wanted; use where(…, 1, 0)")
        return ORDER[max(ORDER.index(kind) for kind in kinds)]

    def _truths(self, *nodes: ast.expr) -> str:
        for node in nodes:
            if self.visit(node) != "truth":
                self._refuse(node, "a comparison is wanted, such as ratio > 1")
        return "truth"

    def _parse(self) -> ast.expr:
        if len(self.text) > LONGEST:
            raise UserError(f"{self.key}: at most {LONGEST} characters are read, these are {len(self.text)}")
        try:
            body = ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            start = (error.offset or len(self.text) + 1) - 1  # 0 is the end
            self._say(start, max(start + 1, (error.end_offset or 0) - 1), error.msg)
        except (ValueError, RecursionError, MemoryError):
            body = None
        if body is None or _depth(body) > DEEPEST:
            raise UserError(f"{self.key}: more than {DEEPEST} parts stand inside each other; {ALLOWED}")
        return body

    def _refuse(self, node: ast.AST, why: str) -> NoReturn:
        start = self._character(getattr(node, "col_offset", 0))
        self._say(start, self._character(getattr(node, "end_col_offset", None) or start + 1), why)

    def _character(self, byte: int) -> int:
        """The parser counts bytes."""
        return len(self.text.encode()[:byte].decode(errors="ignore"))

    def _say(self, start: int, end: int, why: str) -> NoReturn:
        underline = " " * start + "^" * max(1, min(end, len(self.text)) - start)
        raise UserError(f"{self.key}, column {start + 1}: {why}\n  {self.text}\n  {underline}")


def _depth(body: ast.AST) -> int:
    """Without recursion, which is what it is to prevent."""
    depth, level = 0, [body]
    while level:
        depth, level = depth + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def _near(name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"

"""Works out the checked text of a coefficient: what it comes to on a batch, and where it is nought beforehand."""

import ast
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from rlft.algorithms.formula.vocabulary import FUNCTIONS, NAMES
from rlft.base import Batch

Binary = Callable[[Tensor, Tensor], Tensor]
ARITHMETIC: dict[type[ast.operator], Binary] = {
    ast.Add: torch.add, ast.Sub: torch.sub, ast.Mult: torch.mul, ast.Div: torch.div, ast.Pow: torch.pow,
}  # fmt: skip
COMPARED: dict[type[ast.cmpop], Binary] = {
    ast.Lt: torch.lt, ast.LtE: torch.le, ast.Gt: torch.gt, ast.GtE: torch.ge, ast.Eq: torch.eq, ast.NotEq: torch.ne,
}  # fmt: skip
JOINED: dict[type[ast.boolop], Binary] = {ast.And: torch.logical_and, ast.Or: torch.logical_or}
SIGNS: dict[type[ast.unaryop], Callable[[Tensor], Tensor]] = {
    ast.USub: torch.neg, ast.UAdd: torch.clone, ast.Not: torch.logical_not,
}  # fmt: skip


class Value(ast.NodeVisitor):
    """Visits a checked expression and returns what it comes to: a number, [B, 1] or [B, T].

    Args:
        numbers: names that stand for numbers. batch: prepared. logp: log π_θ [B, T], nats.
    """

    def __init__(self, numbers: Mapping[str, float], batch: Batch, logp: Tensor):
        self.numbers, self.batch, self.logp = numbers, batch, logp

    def visit_Constant(self, node: ast.Constant) -> Tensor:
        """A number."""
        return torch.as_tensor(node.value, dtype=self.logp.dtype, device=self.logp.device)

    def visit_Name(self, node: ast.Name) -> Tensor:
        """A number that has a name, or a value of the batch."""
        if node.id in self.numbers:
            return torch.as_tensor(self.numbers[node.id], dtype=self.logp.dtype, device=self.logp.device)
        return NAMES[node.id].read(self.batch, self.logp)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Tensor:
        """A sign, or `not`."""
        return SIGNS[type(node.op)](self.visit(node.operand))

    def visit_BinOp(self, node: ast.BinOp) -> Tensor:
        """Arithmetic."""
        return ARITHMETIC[type(node.op)](self.visit(node.left), self.visit(node.right))

    def visit_Compare(self, node: ast.Compare) -> Tensor:
        """A comparison."""
        return COMPARED[type(node.ops[0])](self.visit(node.left), self.visit(node.comparators[0]))

    def visit_BoolOp(self, node: ast.BoolOp) -> Tensor:
        """`and`, `or`."""
        first, *others = (self.visit(value) for value in node.values)
        for other in others:
            first = JOINED[type(node.op)](first, other)
        return first

    def visit_Call(self, node: ast.Call) -> Tensor:
        """A function."""
        assert isinstance(node.func, ast.Name)
        return FUNCTIONS[node.func.id].apply(self.batch, [self.visit(argument) for argument in node.args])


class Nought(ast.NodeVisitor):
    """Visits a checked expression and returns [B] bool: the rows where it is 0 whatever log π is; False where in doubt.

    Args:
        numbers: names that stand for numbers. batch: prepared.
    """

    def __init__(self, numbers: Mapping[str, float], batch: Batch):
        self.numbers, self.batch = numbers, batch

    def visit_Constant(self, node: ast.Constant) -> Tensor:
        """A number."""
        return self._all(node.value == 0)

    def visit_Name(self, node: ast.Name) -> Tensor:
        """A number that has a name, or what is known of the batch beforehand."""
        if node.id in self.numbers:
            return self._all(self.numbers[node.id] == 0)
        if NAMES[node.id].depends:
            return self._all(False)
        logp = torch.zeros(self.batch.mask.shape, dtype=self.batch.reward.dtype, device=self.batch.mask.device)
        return (NAMES[node.id].read(self.batch, logp) == 0).all(1)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Tensor:
        """A sign."""
        return self.visit(node.operand)

    def visit_BinOp(self, node: ast.BinOp) -> Tensor:
        """A product with a factor of nought, and a sum of noughts."""
        left, right = self.visit(node.left), self.visit(node.right)
        match node.op:
            case ast.Mult():
                return left | right
            case ast.Add() | ast.Sub():
                return left & right
            case ast.Div():
                return left
            case _:
                return self._all(False)

    def visit_Call(self, node: ast.Call) -> Tensor:
        """A function that keeps nought."""
        assert isinstance(node.func, ast.Name)
        if not FUNCTIONS[node.func.id].keeps_nought:
            return self._all(False)
        return torch.stack([self.visit(argument) for argument in node.args]).all(0)

    def _all(self, truth: bool) -> Tensor:
        return torch.full_like(self.batch.finished, truth)

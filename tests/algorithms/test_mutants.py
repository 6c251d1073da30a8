"""The proofs bite: every wrong sign, scale, dropped term, swapped normaliser or ratio is caught by one of them.

Each function that makes a coefficient is broken in every way that `breaks` knows, one at a time, and the proofs run:
tests with values worked out by hand, and the checks of test_gradients.py. What none notices must be in `EQUIVALENT`."""

import ast
import copy
import importlib
import inspect
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
import torch

from rlft.testing import assert_gradient

HERE = Path(__file__)
TARGETS = {
    "rlft.algorithms.weighted_likelihood": ["WeightedLikelihood.coefficient"],
    "rlft.algorithms.preference": [
        "Preference.reduction",
        "Preference.prepare",
        "Preference.coefficient",
        "Preference.terms",
        "Preference.margin",
    ],
    "rlft.algorithms.dpo": ["DPO.slope", "IPO.slope", "Hinge.slope", "RobustDPO.slope"],
    "rlft.algorithms.anchored": ["RPO.terms", "SimPO.slope"],
    "rlft.algorithms.odds": ["ORPO.slope", "ORPO.terms", "ORPO.margin"],
    "rlft.algorithms.bradley_terry": [
        "BradleyTerry.slope",
        "BradleyTerry.reduction",
        "BradleyTerry.prepare",
        "BradleyTerry.terms",
    ],
    "rlft.algorithms.kto": ["KTO.reduction", "KTO.prepare", "KTO.coefficient", "KTO._gap"],
    "rlft.algorithms.distill": ["Distill.coefficient"],
    "rlft.algorithms.policy_gradient": [
        "PolicyGradient.prepare",
        "PolicyGradient.coefficient",
        "PolicyGradient.terms",
    ],
    "rlft.algorithms.log_ratio": ["to_old", "to_reference"],
    "rlft.algorithms.clip": ["PPOClip.coefficient", "PPOClip._ratio"],
    "rlft.algorithms.soft": ["CISPO.coefficient", "SAPO.coefficient", "SAPO._tau", "Tapered.coefficient"],
    "rlft.algorithms.kl": ["KL.coefficient", "K3.coefficient", "K2.coefficient"],
    "rlft.algorithms.advantage": [
        "RowAdvantage.fill",
        "RewardAdvantage.rows",
    ],
    "rlft.algorithms.group_advantage": [
        "GroupNormalised.rows",
        "GroupCentred.rows",
        "LeaveOneOut.rows",
        "MeanRatio.rows",
    ],
    "rlft.algorithms.token_advantage": ["GAE.fill", "TokenWhitened.fill"],
    "rlft.algorithms.process": ["StepNormalised.fill"],
    "rlft.algorithms.reduction": [
        "Sum.__call__",
        "SequenceMean.__call__",
        "TokenMean.__call__",
        "ConstantLength.__call__",
        "SequenceSum.__call__",
    ],
    "rlft.ops.masking": ["masked", "lengths", "row_sum", "row_mean", "masked_mean", "whiten", "last"],
    "rlft.ops.ratio": ["token_ratio", "sequence_ratio", "geometric_ratio", "live"],
    "rlft.ops.kl": ["k1", "k2_coefficient", "k3_coefficient"],
    "rlft.ops.groups": ["group_sum", "group_deviation", "group_std", "leave_one_out"],
    "rlft.ops.gae": ["gae"],
    "rlft.ops.reduction": ["total", "sequence_sum", "sequence_mean", "token_mean", "constant_length"],
}

OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.Lt: ast.Gt,
    ast.Gt: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
SWAPS = [
    ("log_ratio", "log_ratio_ref"),
    ("logp_old", "logp_ref"),
    ("eps_low", "eps_high"),
    ("gamma", "lam"),
    ("token_ratio", "sequence_ratio"),
    ("sequence_ratio", "geometric_ratio"),
    ("k2_coefficient", "k3_coefficient"),
    ("sequence_mean", "sequence_sum"),
    ("token_mean", "total"),
    ("row_sum", "row_mean"),
    ("total", "sequence_sum"),
    ("group_std", "group_deviation"),
    ("group_deviation", "leave_one_out"),
    ("deviation", "reward"),
    ("advantage", "ratio"),
    ("value", "reward"),
    ("next_value", "ahead"),
    ("log_ratio", "logp"),
    ("above", "values"),
    ("any", "all"),
    ("max", "min"),
]


def swapped(name: str) -> Iterator[str]:
    for pair in SWAPS:
        if name in pair:
            yield pair[1 - pair.index(name)]


def breaks(node: ast.AST) -> Iterator[ast.AST]:
    """Yields the wrong versions of one node."""
    yield from operators(node)
    yield from calls(node)
    match node:
        case ast.Name(name, ast.Load() as context):
            yield from (ast.Name(other, context) for other in swapped(name))
        case ast.Attribute(owner, name, context):
            yield from (ast.Attribute(owner, other, context) for other in swapped(name))
        case ast.Constant(value) if type(value) in (int, float):
            yield ast.Constant(value + 1)
        case _:
            pass


def operators(node: ast.AST) -> Iterator[ast.AST]:
    """Yields other signs, and one side without the other."""
    match node:
        case ast.BinOp(left, op, right):
            if type(op) in OPERATORS:
                yield ast.BinOp(left, OPERATORS[type(op)](), right)  # type: ignore[arg-type]
            yield left
            yield right
        case ast.Compare(left, [op], [right]) if type(op) in OPERATORS:
            yield ast.Compare(left, [OPERATORS[type(op)]()], [right])  # type: ignore[list-item]
        case ast.UnaryOp(_, operand):
            yield operand
        case ast.BoolOp(_, values):
            yield from values
        case ast.IfExp(_, body, otherwise):
            yield body
            yield otherwise
        case _:
            pass


def calls(node: ast.AST) -> Iterator[ast.AST]:
    """Yields what a function or method was called on, without the call."""
    match node:
        case ast.Call(ast.Attribute(owner, name), [], _) if name not in ("bool", "float", "double"):
            yield owner
        case ast.Call(function, [first, *_], _) if isinstance(function, ast.Attribute):
            yield first
        case _:
            pass


def find(tree: ast.AST, qualname: str) -> ast.FunctionDef:
    for part in qualname.split("."):
        tree = next(n for n in ast.iter_child_nodes(tree) if getattr(n, "name", None) == part)
    assert isinstance(tree, ast.FunctionDef)
    return tree


def mutants(source: str, qualname: str) -> Iterator[tuple[str, ast.Module]]:
    """Yields (description, module) for every way to break one function's body."""
    original = ast.parse(source)
    count = len(list(places(find(original, qualname))))
    for index in range(count):
        for version in range(len(list(breaks(place(original, qualname, index)[2])))):
            module = copy.deepcopy(original)
            parent, (field, position), node = place(module, qualname, index)
            before = ast.unparse(node)
            new = list(breaks(node))[version]
            if position is None:
                setattr(parent, field, new)
            else:
                getattr(parent, field)[position] = new
            yield f"{qualname}: {before} -> {ast.unparse(new)}", ast.fix_missing_locations(module)


Place = tuple[ast.AST, tuple[str, int | None], ast.AST]


def places(function: ast.FunctionDef) -> Iterator[Place]:
    """Yields every expression in a function's body, as (parent, field and position in it, node)."""
    for statement in function.body[1:]:  # the first is the docstring
        if not isinstance(statement, ast.Raise):
            yield from below(statement)


def below(parent: ast.AST) -> Iterator[Place]:
    for field, value in ast.iter_fields(parent):
        for position, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(node, ast.AST) and not isinstance(node, ast.Raise):
                yield parent, (field, position), node
                yield from below(node)


def place(module: ast.AST, qualname: str, index: int) -> Place:
    return list(places(find(module, qualname)))[index]


def code_of(code: CodeType, qualname: str) -> CodeType | None:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_qualname == qualname:
                return constant
            if (deeper := code_of(constant, qualname)) is not None:
                return deeper
    return None


def function_of(module: str, qualname: str) -> FunctionType:
    found: Any = sys.modules[module]
    for part in qualname.split("."):
        found = getattr(found, part)
    raw = inspect.unwrap(found)
    assert isinstance(raw, FunctionType)
    return raw


def proofs() -> list[Callable[[], None]]:
    found: list[Callable[[], None]] = []
    for path in (
        "algorithms/test_values.py",
        "algorithms/test_preference_values.py",
        "algorithms/test_process.py",
        "algorithms/test_parts.py",
        "algorithms/test_terms.py",
        "ops/test_ops.py",
    ):
        found += [
            value
            for name, value in runpy.run_path(str(HERE.parents[1] / path)).items()
            if name.startswith("test_") and not inspect.signature(value).parameters and not hasattr(value, "hypothesis")
        ]
    gradients = runpy.run_path(str(HERE.with_name("test_gradients.py")))
    for name, algorithm in gradients["METHODS"].items():
        found.append(lambda a=algorithm: assert_gradient(a, gradients["batch_for"](a)))
        found.append(lambda n=name: gradients["test_what_is_declared_suffices"](n))
        found.append(lambda n=name: gradients["test_junk_under_the_mask_changes_nothing"](n, float("nan")))
        found.append(lambda n=name: gradients["test_any_split_by_atoms_gives_the_same_gradient"](n, 1))
    return found


def killed(checks: list[Callable[[], None]]) -> bool:
    for index, check in enumerate(checks):
        try:
            check()
        except (Exception, pytest.fail.Exception):
            checks.insert(0, checks.pop(index))  # a check that bites once often bites the next mutant too
            return True
    return False


SHAPE_ONLY = "only the shape and dtype are taken, and they are equal"
EQUIVALENT: dict[str, str] = {
    "Preference.reduction: ops.total(mask) -> mask": "the division makes the mask a float anyway",
    "Preference.prepare: ops.group_deviation -> ops.leave_one_out": "for pairs twice the value, and the same sign",
    "PolicyGradient.prepare: ops.k1(log_ratio_ref) -> log_ratio_ref": "k1 is the identity; the call names it",
    "MeanRatio.rows: 1 -> 2": "it divides where the mean is 0, and there the deviation is 0",
    "KL.coefficient: log_ratio_ref -> log_ratio": SHAPE_ONLY,
    "KTO._gap: logp -> log_ratio": SHAPE_ONLY,
    "gae: value -> reward": SHAPE_ONLY,
    "gae: torch.zeros_like(ahead) -> ahead": "these are zeros at that point, and are replaced, not written to",
}


@pytest.mark.filterwarnings("ignore::SyntaxWarning")  # some mutants look wrong to the compiler too
@pytest.mark.parametrize("module", TARGETS)
def test_every_mutant_is_killed_or_known_to_be_equivalent(module: str) -> None:
    importlib.import_module(module)
    path = sys.modules[module].__file__
    assert path is not None
    source, checks = Path(path).read_text(), proofs()
    assert not killed(checks), "the unbroken code must pass"
    survivors, tried = [], 0
    for qualname in TARGETS[module]:
        function = function_of(module, qualname)
        original = function.__code__
        for description, tree in mutants(source, qualname):
            code = code_of(compile(tree, path, "exec"), qualname)
            assert code is not None
            function.__code__ = code
            tried += 1
            try:
                if not killed(checks):
                    survivors.append(description)
            finally:
                function.__code__ = original
    assert tried
    assert [s for s in survivors if s not in EQUIVALENT] == []
    listed = [d for d in EQUIVALENT if d.split(":")[0] in TARGETS[module]]
    assert sorted(listed) == sorted(set(survivors)), "a mutant is listed as equivalent that is killed, or gone"


def test_a_mutant_is_really_put_in_place() -> None:
    function = function_of("rlft.ops.kl", "k1")
    original = function.__code__
    code = code_of(compile("def k1(log_ratio_ref):\n    return 2 * log_ratio_ref", "kl.py", "exec"), "k1")
    assert code is not None
    function.__code__ = code
    try:
        assert importlib.import_module("rlft.ops").k1(torch.ones(1)).item() == 2
    finally:
        function.__code__ = original

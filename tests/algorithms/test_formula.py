"""`algorithm=formula`: what the text comes to, what is refused and where, and that it is the method by parts."""

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch

from rlft.algorithms import (
    CISPO,
    DPO,
    GAE,
    K2,
    K3,
    Distill,
    Formula,
    GroupNormalised,
    NoKL,
    PolicyGradient,
    PPOClip,
    RewardAdvantage,
    SequenceMean,
)
from rlft.base import Algorithm, UserError
from rlft.testing import ANNOTATIONS, assert_gradient, draw_logp, make_batch

CLIPPED = (
    "advantage * ratio * where(advantage > 0 and ratio > 1 + eps_high or advantage < 0 and ratio < 1 - eps_low, 0, 1)"
)
PARTS: dict[str, tuple[str, Algorithm]] = {
    "cispo": ("advantage * clip(ratio, 0.8, 1.2)", PolicyGradient(GroupNormalised(), CISPO(0.2, 0.2), NoKL(), 0.0)),
    "ppo's clip": (CLIPPED, PolicyGradient(GroupNormalised(), PPOClip(0.2, 0.2), NoKL(), 0.0)),
    "grpo": (
        CLIPPED + " + beta * (1 / ratio_ref - 1)", PolicyGradient(GroupNormalised(), PPOClip(0.2, 0.2), K3(), 0.04)
    ),
    "k2": (CLIPPED + " - beta * log_ratio_ref", PolicyGradient(GroupNormalised(), PPOClip(0.2, 0.2), K2(), 0.04)),
    "distill": ("logp_teacher - logp", Distill(reduction=SequenceMean())),
    "gspo without a clip": (
        "advantage * exp(mean_over_tokens(log_ratio))",
        PolicyGradient(GroupNormalised(), PPOClip(1.0, float("inf"), "geometric"), NoKL(), 0.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
def test_the_text_is_the_method_by_parts(name: str) -> None:
    text, by_parts = PARTS[name]
    batch, formula = make_batch(), Formula(text, beta=0.04 if "beta" in text else 0.0)
    logp = draw_logp(batch)
    expected = by_parts.coefficient(by_parts.prepare(batch), logp)
    assert torch.allclose(formula.coefficient(formula.prepare(batch), logp), expected, rtol=1e-12, atol=1e-12)
    assert formula.needs == by_parts.needs
    # Of one step π_old is π_θ.
    alone = batch.replace(logp_old=None)
    assert torch.allclose(
        formula.coefficient(formula.prepare(alone), logp),
        by_parts.coefficient(by_parts.prepare(alone), logp),
        rtol=1e-12,
    )


def test_dpo_is_a_line_too() -> None:
    """Pairs of rewards 1 and 0: h is the margin of the summed log-ratios."""
    batch = make_batch(3, 2, 5, rewards=torch.tensor([1.0, 0, 0, 1, 1, 0]))
    sign = "(2 * reward - 1)"
    text = f"{sign} * beta * sigmoid(-beta * 2 * group_mean({sign} * sum_over_tokens(log_ratio_ref)))"
    formula, dpo, logp = Formula(text, beta=0.3), DPO(beta=0.3), draw_logp(batch)
    got = formula.coefficient(formula.prepare(batch), logp)
    assert torch.allclose(got, dpo.coefficient(dpo.prepare(batch), logp) * batch.mask, rtol=1e-12)
    assert formula.atom == "group" and Formula("reward").atom == "completion"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3 - 4 / 2 ** 2", 6.0),
        ("-(2 ** -1)", -0.5),
        ("+5", 5.0),
        ("minimum(2, 3) + maximum(2, 3) + abs(-4)", 9.0),
        ("clip(7, 1, 3) + clip(-7, 1, 3)", 4.0),
        ("log(exp(2)) + tanh(0) + sigmoid(0)", 2.5),
        ("where(1 < 2, 10, 20) + where(not 1 < 2, 1, 2)", 12.0),
        ("where(1 <= 1 and 2 >= 3, 1, 0) + where(1 == 2 or 1 != 2, 1, 0)", 1.0),
        ("where(2 > 1 and 1 > 2 or 3 > 2, 1, 0)", 1.0),
        ("beta + eps_low + eps_high + mine", 10.0),
        ("reward", 3.0),
        ("length", 2.0),
        ("sum_over_tokens(logp)", -3.0),
        ("mean_over_tokens(where(logp < -1.5, 1, 0))", 0.5),
        ("group_mean(where(reward > 2, 1, 0))", 0.5),
        ("1 +\n  2", 3.0),
        ("mean_over_tokens(logp) * sg(2)", -3.0),
        ("group_mean(reward)", 2.0),
        ("group_std(reward)", 2**0.5),
        ("group_mean(length * 2)", 4.0),
    ],
)
def test_what_a_text_comes_to(text: str, value: float) -> None:
    batch = make_batch(1, 2, 2, holes=False, rewards=torch.tensor([3.0, 1.0]))
    spoken = {"beta": 1.0, "constants": {"mine": 4.0}} if "mine" in text else {}
    formula = Formula(text, eps_low=2.0, eps_high=3.0, **spoken)
    logp = torch.tensor([[-1.0, -2.0], [-1.0, -1.0]], dtype=torch.float64)
    got = formula.coefficient(formula.prepare(batch), logp)
    assert got.shape == (2, 2) and got[0].tolist() == pytest.approx([value, value])


@pytest.mark.parametrize(
    ("text", "column", "told"),
    [
        ("__import__('os').system('true')", 1, "not allowed here"),
        ("__import__('os')", 1, "no such function"),
        ("2 * advantage.mean()", 5, "not allowed here"),
        ("advantage.grad", 1, "not allowed here"),
        ("advantage[0]", 1, "not allowed here"),
        ("[r for r in reward]", 1, "not allowed here"),
        ("lambda: 1", 1, "not allowed here"),
        ("(reward := 1)", 2, "not allowed here"),
        ("1 if 1 > 2 else 3", 1, "not allowed here"),
        ("'text'", 1, "not allowed here"),
        ("True + 1", 1, "not allowed here"),
        ("1e999", 1, "not allowed here"),
        ("2j", 1, "not allowed here"),
        ("~reward", 1, "not allowed here"),
        ("reward % 2", 1, "not allowed here"),
        ("5 // 2", 1, "not allowed here"),
        ("f(1)(2)", 1, "not allowed here"),
        ("9 ** 9 ** 9", 6, "a power has to be a number of at most 8"),
        ("ratio ** 9", 10, "at most 8"),
        ("ratio ** -9", 10, "at most 8"),
        ("ratio ** reward", 10, "at most 8"),
        ("advantge * 2", 1, "unknown name; did you mean advantage?"),
        ("reward - bet", 10, "did you mean beta?"),
        ("reward - xyzzy", 10, "there are advantage, reward, length"),
        ("exp + 1", 1, "exp: is a function: write exp(…)"),
        ("clp(ratio, 1, 2)", 1, "did you mean clip?"),
        ("clip(ratio, 1)", 1, "clip takes 3 value(s)"),
        ("clip(ratio, 1, high=2)", 1, "by place"),
        ("ratio > 1", 1, "use where(…, 1, 0)"),
        ("1 + (ratio > 1)", 6, "use where(…, 1, 0)"),
        ("abs(ratio > 1)", 5, "use where(…, 1, 0)"),
        ("(ratio > 1) > 2", 2, "use where(…, 1, 0)"),
        ("where(ratio, 1, 2)", 7, "a comparison is wanted"),
        ("where(ratio > 1, 1 > 2, 2)", 18, "use where(…, 1, 0)"),
        ("where(not ratio, 1, 2)", 11, "a comparison is wanted"),
        ("where(1 < ratio < 2, 1, 0)", 7, "compare two values"),
        ("where(ratio in ratio, 1, 0)", 7, "compare two values"),
        ("group_mean(where(advantage > 0, 1, 0))", 12, "put it into mean_over_tokens(…)"),
        ("group_mean(ratio)", 12, "put it into mean_over_tokens(…)"),
        ("group_std(1 + ratio)", 11, "put it into mean_over_tokens(…)"),
        ("sum_over_tokens(reward)", 17, "takes a value per token"),
        ("1 +", 4, "invalid syntax"),
        ("reward @ * 2", 10, "invalid syntax"),
        ("", 1, "invalid syntax"),
        ("reward + äöü", 10, "unknown name"),
    ],
)  # fmt: skip
def test_all_else_is_refused_with_its_place(text: str, column: int, told: str) -> None:
    with pytest.raises(UserError) as error:
        Formula(text)
    first, line, underline = str(error.value).split("\n")
    assert first.startswith(f"algorithm.coefficient, column {column}: ") and told in first
    assert line == f"  {text}" and underline.index("^") == column + 1 and set(underline) <= {" ", "^"}
    assert len(underline) <= len(line) + 1


@pytest.mark.parametrize(
    "text", ["(" * 90 + "1" + ")" * 90 + "+" * 100 + "1", "1" + "+1" * 400, "abs(" * 80 + "1" + ")" * 80]
)
def test_nesting_has_an_end(text: str) -> None:
    with pytest.raises(UserError, match="more than 60 parts stand inside each other"):
        Formula(text)


def test_what_the_parser_gives_up_on_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"algorithm\.coefficient: .*surrogates not allowed; there are numbers"):
        Formula("reward + \ud800")

    def deep(*_: object, **__: object) -> None:
        raise RecursionError

    monkeypatch.setattr("ast.parse", deep)
    with pytest.raises(UserError, match="more than 60 parts stand inside each other"):
        Formula("reward")


def test_length_has_an_end() -> None:
    with pytest.raises(UserError, match="at most 1000 characters are read, these are 1499"):
        Formula("1 + " * 375)
    assert Formula("(" * 50 + "1" + ")" * 50).coefficient == "(" * 50 + "1" + ")" * 50


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"constants": {"ratio": 1.0}}, "algorithm.constants.ratio"),
        ({"constants": {"beta": 1.0}}, "algorithm.constants.beta"),
        ({"constants": {"exp": 1.0}}, "algorithm.constants.exp"),
        ({"constants": {"no word": 1.0}}, "algorithm.constants.no word"),
        ({"beta": -1.0}, "algorithm.beta=-1.0"),
        ({"eps_low": -1.0}, "algorithm.eps_low=-1.0"),
        ({"eps_high": -1.0}, "algorithm.eps_high=-1.0"),
        ({"coefficient": "value - 1"}, "_target_=rlft.algorithms.GAE"),
        ({"coefficient": "returns"}, "_target_=rlft.algorithms.GAE"),
        ({"objective": "reward *"}, "algorithm.objective, column 9"),
        ({"constants": {"lambda": 1.0}}, "algorithm.constants.lambda"),
        ({"constants": {"tau": 1.0}}, "algorithm.constants.tau: the coefficient does not speak of tau"),
        ({"beta": 0.1}, "algorithm.beta: the coefficient does not speak of beta"),
        ({"coefficient": "reward", "objective": "advantage * logp"}, "the coefficient does not speak of advantage"),
        ({"coefficient": "reward", "objective": "logp_ref * logp"}, "the coefficient does not speak of logp_ref"),
        ({"coefficient": "reward", "objective": "reward"}, "does not depend on log π"),
        ({"coefficient": "reward\0"}, "null bytes"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as error:
        Formula(**fields)
    assert told in str(error.value)


def test_annotations_follow_from_the_names() -> None:
    gae = GAE(1.0, 0.95, False)
    assert Formula("reward * 2").needs == frozenset() == Formula("ratio * logp_old").needs
    assert Formula("logp_ref").needs == Formula("ratio_ref").needs == Formula("log_ratio_ref").needs == {"reference"}
    assert Formula("advantage", advantage=gae).needs == Formula("value", advantage=gae).needs == {"critic"}
    assert Formula("reward", advantage=gae).needs == frozenset()
    batch = make_batch(needs=())
    assert Formula("reward").prepare(batch) is batch
    for text, need in (("logp_ref * 1", "reference"), ("value + returns", "critic")):
        formula = Formula(text, advantage=gae)
        with pytest.raises(ValueError, match=ANNOTATIONS[need]):
            formula.coefficient(formula.prepare(batch), torch.zeros(batch.mask.shape, dtype=torch.float64))
    full = make_batch()
    formula = Formula("returns - value", advantage=gae)
    assert torch.allclose(
        formula.coefficient(formula.prepare(full), full.logp_ref),
        gae.fill(full, 0 * full.logp_ref).advantage,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("text", "objective"),
    [
        ("reward", "reward * logp"),
        ("advantage * ratio", "advantage * ratio"),
        ("advantage * clip(ratio, 0.8, 1.2)", "sg(clip(ratio, 0.8, 1.2)) * advantage * logp"),
        (
            CLIPPED + " + beta * (1 / ratio_ref - 1)",
            "minimum(ratio * advantage, clip(ratio, 1 - eps_low, 1 + eps_high) * advantage)"
            " - beta * (1 / ratio_ref + log_ratio_ref - 1)",
        ),
    ],
)
def test_an_objective_proves_it(text: str, objective: str) -> None:
    beta = 0.3 if "beta" in text else 0.0
    assert_gradient(Formula(text, objective=objective, beta=beta), make_batch())
    with pytest.raises(AssertionError, match="weight · coefficient is"):
        assert_gradient(Formula(f"1.01 * ({text})", objective=objective, beta=beta), make_batch())


def test_without_an_objective_there_is_nothing_to_prove() -> None:
    with pytest.raises(ValueError, match="has no objective"):
        assert_gradient(Formula("reward"), make_batch())


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("reward * ratio", [0, 2]),
        ("-reward / ratio + 0 * logp", [0, 2]),
        ("advantage * clip(ratio, 0.8, 1.2)", [2, 3]),
        ("advantage * ratio - beta * log_ratio_ref", [2, 3]),
        ("advantage - reward", [2]),
        ("advantage * reward", [0, 2, 3]),
        ("abs(tanh(sg(reward))) + minimum(reward, reward * 2)", [0, 2]),
        ("mean_over_tokens(advantage) * ratio", [2, 3]),
        ("ratio", []),
        ("exp(reward)", []),
        ("reward ** 2", []),
        ("where(ratio > 1, 1, 0) * 0.0", [0, 1, 2, 3]),
        ("logp_old * 1", []),
    ],
)
def test_rows_that_need_no_pass(text: str, rows: list[int]) -> None:
    """Rewards 0, 1 and 0, 0: the second group has no advantage. Its third row has a reward with RewardAdvantage."""
    batch = make_batch(2, 2, 3, holes=False, rewards=torch.tensor([0.0, 1.0, 0.0, 1.0]))
    batch = batch.replace(advantage=torch.tensor([[-1.0], [1.0], [0.0], [0.0]], dtype=torch.float64).expand(4, 3))
    formula = Formula(text)
    assert formula.vanishes(batch).nonzero().flatten().tolist() == rows
    for seed in range(3):
        logp = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert not formula.coefficient(batch, logp)[formula.vanishes(batch)].any()


def test_groups_are_of_the_size_that_is_wanted() -> None:
    formula = Formula("reward - group_mean(reward)", group_size=2)
    formula.prepare(make_batch(2, 2))
    with pytest.raises(UserError, match=r"its query has 3 completion\(s\), algorithm\.group_size is 2"):
        formula.prepare(make_batch(2, 3))


def test_it_is_copied_and_changed_like_other_methods() -> None:
    formula = Formula("beta * reward", beta=2.0, objective="reward * logp")
    for same in (pickle.loads(pickle.dumps(formula)), copy.deepcopy(formula), replace(formula)):
        assert same == formula and same.formula == formula.formula == "GC = beta * reward, w = m/(|o|·B)"
    batch = make_batch()
    halved = replace(formula, beta=1.0, advantage=RewardAdvantage())
    logp = torch.zeros(batch.mask.shape, dtype=torch.float64)
    assert torch.equal(2 * halved.coefficient(batch, logp), formula.coefficient(batch, logp))

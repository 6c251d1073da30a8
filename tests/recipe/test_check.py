"""What a recipe may say: keys, types and mandatory values, strictly."""

from typing import Any, Literal

import pytest

from rlft.base import UserError
from rlft.recipe import compose
from rlft.recipe.values import read


def refuse(value: Any, cls: type, key: str) -> Any:
    raise AssertionError(f"{key} is no node")


@pytest.mark.parametrize(
    ("value", "hint", "result"),
    [
        (3, int, 3),
        (3, float, 3.0),
        (3, int | None, 3),
        (None, int | None, None),
        ("auto", int | Literal["auto"], "auto"),
        (3, int | Literal["auto"], 3),
        (1, float | int, 1),
        ("a", str | list[str], "a"),
        (["a"], str | list[str], ["a"]),
        ([1, 2], tuple[float, ...], (1.0, 2.0)),
        ({"a": [1]}, dict[str, Any], {"a": [1]}),
        (True, bool, True),
    ],
)
def test_values_that_fit(value: Any, hint: Any, result: Any) -> None:
    got = read(value, hint, "key", refuse)
    assert got == result
    assert type(got) is type(result)


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        ("many", int, "key: expected an integer, got 'many'"),
        (True, int, "key: expected an integer, got True"),
        (1.0, int, "key: expected an integer, got 1.0"),
        (True, float, "key: expected a number, got True"),
        ("1", float, "key: expected a number, got '1'"),
        (1, bool, "key: expected true or false, got 1"),
        (None, int, "key: expected an integer, got None"),
        ("c", Literal["a", "b", "d"], "key: expected one of a, b, d, got 'c'"),
        (1, Literal["1"], "key: expected 1, got 1"),
        (7, str, "key: expected text, got 7; for text, type 'key=\"7\"'"),
        ("a", list[str], "key: expected a list (of text), got 'a'"),
        (["a", 1], list[str], "key[1]: expected text, got 1"),
        ({"a": "b"}, dict[str, int], "key.a: expected an integer, got 'b'"),
        ("???", int, "key has no value: type key=NUMBER"),
        ("???", str, "key has no value: type key=VALUE"),
    ],
)
def test_values_that_do_not(value: Any, hint: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(value, hint, "key", refuse)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["algoritm.beta=1"], "unknown key 'algoritm': did you mean algorithm?"),
        (["+algorithm.bta=0.1"], "unknown key algorithm.bta: did you mean algorithm.beta?"),
        (["++algorithm.bta=0.1"], "unknown key algorithm.bta: did you mean algorithm.beta?"),
        (["algorithm.label_smoothing=0.1"], "'label_smoothing' belongs to dpo"),
        (["algorithm.eps_low=0.1"], "did you mean algorithm.surrogate.eps_low?"),
        (["algorithm.surrogate.epslow=0.1"], "did you mean algorithm.surrogate.eps_low?"),
        (["algorithm.surrogate.zzz=0.1"], "the keys here are"),
        (["learning_rate=1"], "did you mean trainer.learning_rate?"),
        (["zzz=1"], "the keys are data, curriculum, reward"),
        (["trainer.steps=many"], "trainer.steps: expected an integer, got 'many'"),
        (["trainer.steps=true"], "trainer.steps: expected an integer, got True"),
        (["trainer.steps=null"], "trainer.steps: expected an integer, got None"),
        (["seed=abc"], "seed: expected an integer, got 'abc'"),
        (["output_dir=7"], "output_dir: expected text or null, got 7"),
        (["model.dtype=float8"], "model.dtype: expected one of auto, float32"),
        (["model=hub"], "model.path has no value: type model.path=PATH"),
        (["reward=python"], "reward.function has no value: type reward.function=VALUE"),
        (["~algorithm"], "algorithm: expected a mapping with its _target_"),
        (["algorithm=grpp"], "there is no algorithm=grpp: did you mean algorithm=grpo?"),
        (["method=grpo"], "method is not a value of a recipe"),
        (["hydra.run.dir=x"], "hydra's own settings are no part of a recipe"),
        (["data.prompt={question}x"], "quote it: 'data.prompt=\"{question}x\"'"),
        (["algorithm.beta=0,1"], "add -m"),
        (["algorithm.beta=${nowhere.at_all}"], "the recipe does not compose"),
        (["algorithm.advantage._partial_=true"], "unknown key algorithm.advantage._partial_"),
    ],
)
def test_mistakes_are_named(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        compose(["recipe=grpo_math", *words])
    assert message in str(caught.value)


def test_a_recipe_must_be_named() -> None:
    with pytest.raises(UserError, match=r"which recipe\? \(you typed recpe=\)"):
        compose(["recpe=grpo_math"])
    with pytest.raises(UserError, match="did you mean recipe=grpo_math"):
        compose(["recipe=grpo_mth"])


def test_values_keep_their_types() -> None:
    config = compose(["recipe=grpo_math", "algorithm.beta=1", "trainer.learning_rate=1e-5", "seed=3"]).config
    assert (config["algorithm"]["beta"], config["trainer"]["learning_rate"], config["seed"]) == (1.0, 1e-5, 3)
    assert type(config["algorithm"]["beta"]) is float

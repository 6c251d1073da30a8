"""Words that are typed for several recipes at once go to those that have the key."""

import pytest

from rlft.base import UserError
from rlft.cli.keys import words_of_each
from rlft.cli.options import Arguments

RECIPES = ["sft_math", "rft_math", "grpo_math"]


def each(*words: str) -> dict[str, list[str]]:
    return words_of_each(RECIPES, list(words), Arguments([], []))


def test_a_word_goes_to_the_recipes_that_have_its_key(capsys: pytest.CaptureFixture[str]) -> None:
    words = each(
        "trainer.steps=3", "data.samples_per_prompt=4", "data.pool=9,8", "budget.flops=1e12", "+algorithm.beta=0"
    )
    assert words == {
        "sft_math": ["trainer.steps=3", "budget.flops=1e12"],
        "rft_math": ["trainer.steps=3", "data.samples_per_prompt=4", "data.pool=9,8", "budget.flops=1e12"],
        "grpo_math": ["trainer.steps=3", "data.samples_per_prompt=4", "budget.flops=1e12", "+algorithm.beta=0"],
    }
    assert capsys.readouterr().out.splitlines() == [
        "data.samples_per_prompt=4 is left out of sft_math: no such key there",
        "data.pool=9,8 is left out of sft_math, grpo_math: no such key there",
        "+algorithm.beta=0 is left out of sft_math, rft_math: no such key there",
    ]


def test_a_key_inside_a_field_and_a_choice_decide_too() -> None:
    """`data=online` gives sft_math samples; what stands inside `task_settings` is the task's own."""
    words = each("data=online", "data.samples_per_prompt=4", "data.task_settings.max_terms=3")
    assert words["sft_math"] == ["data=online", "data.samples_per_prompt=4", "data.task_settings.max_terms=3"]


def test_what_fits_nowhere_stays_to_be_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert each("data.samples=4", "steps=3") == {name: ["data.samples=4", "steps=3"] for name in RECIPES}
    assert not capsys.readouterr().out


def test_a_recipe_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="sft_maths"):
        words_of_each(["sft_maths"], [], Arguments([], []))

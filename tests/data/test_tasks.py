"""Questions of reasoning-gym tasks."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import rlft.data
from rlft.base import UserError, question_id
from rlft.data import Offline, Online, Recorded
from rlft.data.tasks import generate

SUMS = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}


def test_entries_are_seeded_distinct_and_kept_for_the_scorer() -> None:
    examples = generate("chain_sum", SUMS, 300)
    assert examples == generate("chain_sum", SUMS, 300)
    keys = [question_id(example.question) for example in examples]
    assert len(set(keys)) == len(keys) < 300
    assert [example.number for example in examples] == sorted(example.number for example in examples)
    for example in examples:
        assert example.metadata["task"] == "chain_sum"
        assert example.metadata["entry"]["question"] == example.question
        assert example.metadata["entry"]["answer"] == example.answer == example.solution
    assert generate("chain_sum", {**SUMS, "seed": 1}, 300) != examples


def test_a_task_through_every_source(context: Any, said: list[str]) -> None:
    for source in (
        Online(task="chain_sum", task_settings=SUMS, task_size=300),
        Offline(task="chain_sum", task_settings=SUMS, task_size=300, keep="pairs"),
        Recorded(task="chain_sum", task_settings=SUMS, task_size=300),
    ):
        source.bind(context())
        (group,) = source.next(1)
        assert group.query.metadata["entry"]["answer"] == group.query.answer
        assert source.name.endswith(" · chain_sum")
        assert source.held_out()
    assert group.completions[0].text == group.query.answer
    distinct = len(generate("chain_sum", SUMS, 300))
    assert f"data: {distinct} distinct questions in 300 entries of chain_sum" in said


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ("chain_sums", {}, r"data\.task=chain_sums: .*Did you mean chain_sum\?"),
        ("chain_sum", {"min_term": 2}, r"data\.task_settings\.min_term: chain_sum has .*Did you mean min_terms\?"),
        ("chain_sum", {"size": 5}, r"task_settings\.size: .*Type data\.task_size= instead"),
        ("chain_sum", {"min_terms": 0}, r"data\.task=chain_sum refuses .*min_terms: 0.*must be positive"),
        ("chain_sum", {"min_terms": "two"}, r"data\.task=chain_sum refuses .*min_terms: two"),
    ],
)
def test_mistakes(task: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        generate(task, settings, 5)


@pytest.mark.parametrize("name", ["recorded", "preference", "offline", "online"])
def test_the_recipe_has_the_class_s_own_fields_and_defaults(name: str) -> None:
    node = yaml.safe_load((Path(__file__).parents[2] / "recipes" / "data" / f"{name}.yaml").read_text())
    package, _, cls = node.pop("_target_").rpartition(".")
    assert package == "rlft.data"
    source = getattr(rlft.data, cls)(**node)
    assert source.kind == name
    assert source == getattr(rlft.data, cls)()

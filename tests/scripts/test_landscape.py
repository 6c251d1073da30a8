"""Slices of J: where they go, what is measured there, and that a run's adapter can be walked through."""

import json
from pathlib import Path

import pytest
import torch
from landscape import (
    LINES,
    Place,
    at,
    closeness,
    direction,
    line_of,
    main,
    make_rewards,
    places_of,
    read,
    table,
    values,
)
from runs import make_plan, run
from tiny import tiny_model_dir

from rlft.base import Completion, Group, Query
from rlft.evaluation.sampled import Measure
from rlft.recipe import freeze

WEIGHTS = {"q.lora_A.policy.weight": torch.randn(2, 5), "q.lora_B.policy.weight": torch.randn(4, 2)}


def test_closeness_counts_digits_in_their_places() -> None:
    said = {"That is 72.": 1.0, "70": 0.5, "27": 0.0, "172": 2 / 3, "2": 0.5, "-72": 2 / 3, "7.2": 0.0, "seventy": 0.0}
    assert {text: closeness("72", text) for text in said} == pytest.approx(said)


def test_the_rewards_see_the_same_answers() -> None:
    texts = [("72", True), ("it is 70.", True), ("72", False), ("no idea", True)]
    group = Group(Query("q", (), answer="72"), tuple(Completion((), text, finished=end) for text, end in texts))
    rewards = make_rewards()
    found = {name: values(reward, [group])[0] for name, reward in rewards.items()}
    for reward in rewards.values():
        reward.close()
    assert found["sparse"] == [1, 0, 1, 0] and found["dense"] == [1, 0.5, 1, 0]
    assert found["hackable"] == [1, 1, 0, 0] and found["shaped"] == pytest.approx([1, 0.2, 0.8, 0])


def test_places_go_from_the_adapter_outwards() -> None:
    assert places_of(6) == [
        ("trained", 1), ("random", 0.75), ("trained", 0.5), ("trained", 1.5), ("trained", 0), ("trained", 2),
        ("random", 2), ("trained", -0.5), ("random", -0.5),
    ]  # fmt: skip
    assert [alpha for line, alpha in places_of(11) if line == "random"] == [0.5, 1.5, 0, 2, -0.5]


def test_both_lines_go_through_the_adapter() -> None:
    random = direction(WEIGHTS, 0)
    for name, weight in WEIGHTS.items():
        assert torch.allclose(random[name].norm(dim=1), weight.norm(dim=1))
        assert all(torch.equal(at(line, 1.0, WEIGHTS, random)[name], weight) for line in LINES)
        assert torch.allclose(at("random", 3.0, WEIGHTS, random)[name], weight + 2 * random[name])
    up, down = at("trained", 0.5, WEIGHTS, random).values()
    assert torch.equal(up, WEIGHTS["q.lora_A.policy.weight"]) and torch.equal(
        down, WEIGHTS["q.lora_B.policy.weight"] / 2
    )
    assert not torch.equal(direction(WEIGHTS, 1)["q.lora_A.policy.weight"], random["q.lora_A.policy.weight"])


def test_the_common_place_stands_in_both_tables() -> None:
    measure = Measure(0.5, 0.25, 0.75)
    places = [Place(line, alpha, {"sparse": measure}, measure, 0.1) for line, alpha in (("trained", 1), ("random", 0))]
    assert [p.alpha for p in line_of(places, "trained")] == [1] and [p.alpha for p in line_of(places, "random")] == [
        0,
        1,
    ]
    assert table(places, "head").count("| 1 | 0.50 [0.25, 0.75] | 0.50 [0.25, 0.75] | 10% |") == 2


def test_a_run_s_adapter_is_walked_through(tmp_path: Path) -> None:
    plan = make_plan(tiny_model_dir(tmp_path / "model"), tmp_path / "run", "grpo", "trainer.steps=1")
    freeze(plan.config, plan.run_dir)
    run(plan)
    main([str(plan.run_dir), "--points", "6", "--questions", "3", "--samples", "2", "--out", str(tmp_path / "out")])
    record, places = (
        json.loads((tmp_path / "out" / "landscape.json").read_text("utf-8")),
        read(tmp_path / "out" / "landscape.json"),
    )
    assert (record["questions"], record["samples"]) == (3, 2)
    assert [p.alpha for p in line_of(places, "trained")] == [-0.5, 0, 0.5, 1, 1.5, 2]
    assert [p.alpha for p in line_of(places, "random")] == [-0.5, 0.75, 1, 2]
    assert (tmp_path / "out" / "landscape.svg").is_file() and (tmp_path / "out" / "landscape.md").is_file()


def test_without_an_adapter_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has no adapter"):
        main([str(tmp_path)])

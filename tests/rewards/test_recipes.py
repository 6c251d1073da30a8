"""The shipped reward recipes name real classes and every option of theirs."""

import inspect
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import yaml

import rlft.rewards
from rlft.base import RewardFunction

FILES = sorted((Path(__file__).parents[2] / "recipes" / "reward").glob("*.yaml"))


def test_there_is_one_for_each_reward() -> None:
    targets = {yaml.safe_load(file.read_text())["_target_"].rpartition(".")[2] for file in FILES}
    assert targets == {
        name
        for name in rlft.rewards.__all__
        if isinstance(cls := getattr(rlft.rewards, name), type)
        and issubclass(cls, RewardFunction)
        and not inspect.isabstract(cls)
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_its_options_are_the_class_s_fields_with_their_defaults(file: Path) -> None:
    node = yaml.safe_load(file.read_text())
    cls = getattr(rlft.rewards, node.pop("_target_").removeprefix("rlft.rewards."))
    assert node.keys() == {field.name for field in fields(cls)}
    if file.stem == "combine":  # an example, not the defaults
        return
    if "outcome" in node:
        assert node.pop("outcome") == {"_target_": "rlft.rewards.MathAnswer"}
    for field in (field for field in fields(cls) if field.name in node):
        assert node[field.name] == ("???" if field.default is MISSING else field.default), field.name

"""A recipe imports nothing that was not allowed, and calls nothing that is not of its node's kind."""

import os
import sys
from importlib import metadata
from pathlib import Path

import pytest

from rlft.base import Algorithm, UserError
from rlft.recipe import build, compose
from rlft.recipe.trust import load_class, trusted_packages


def test_os_system_is_refused_and_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("it was called"))
    with pytest.raises(UserError, match=r"os\.system is refused") as caught:
        compose(["recipe=grpo_math", "algorithm._target_=os.system"])
    assert "--plugin" not in str(caught.value)
    with pytest.raises(UserError, match=r"os\.system is not a subclass of rlft\.base\.algorithm\.Algorithm"):
        compose(["recipe=grpo_math", "algorithm._target_=os.system"], plugins=["os"])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("rlft.cli.main.main", "is not a subclass"),
        ("rlft.data.Online", "is not a subclass of rlft.base.algorithm.Algorithm"),
        ("rlft.models.embedded.os.system", "cannot import"),
        ("rlft.algorithms.Nothing", "has no class 'Nothing'"),
        ("rlftx.Mine", "is refused"),
        ("Mine", "expected the dotted path of a class"),
        (7, "expected the dotted path of a class"),
    ],
)
def test_other_targets_that_are_refused(target: object, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_class(target, Algorithm, "algorithm", trusted_packages())
    assert message in str(caught.value)


@pytest.mark.parametrize("node", ["algorithm.surrogate", "reward", "trainer.verifier", "model", "trainer", "data"])
def test_every_node_is_guarded(node: str) -> None:
    with pytest.raises(UserError, match=rf"{node}\._target_: os\.system is refused"):
        compose(["recipe=grpo_math", f"{node}._target_=os.system"])


def test_a_package_outside_is_refused_unless_the_command_line_names_it(outside: Path) -> None:
    words = ["recipe=grpo_math", "algorithm=mine"]
    with pytest.raises(UserError, match="add --plugin founders_own"):
        compose(words, outside / "own")
    assert "founders_own" not in sys.modules
    composed = compose(words, outside / "own", ["founders_own"])
    plan = build(composed.config, outside / "run", ["founders_own"])
    assert plan.algorithm.formula == "GC = s·(2r - 1)"
    assert plan.config["algorithm"] == {"_target_": "founders_own.Signed", "scale": 0.5}
    with pytest.raises(UserError, match=r"algorithm\.scal: did you mean algorithm\.scale"):
        compose([*words, "algorithm.scal=1"], outside / "own", ["founders_own"])
    with pytest.raises(UserError, match="is refused"):
        build(composed.config, outside / "run")


def test_an_installed_package_that_declares_itself_is_trusted(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = metadata.EntryPoint("mine", "founders_own", "rlft.plugins")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [entry] if group == "rlft.plugins" else [])
    monkeypatch.syspath_prepend(str(outside))
    assert compose(["recipe=grpo_math", "algorithm=mine"], outside / "own").config["method"] == "mine"


def test_a_plugin_that_is_not_there() -> None:
    for name in ("no_such_package", "../x", "no_such_file.py"):
        with pytest.raises(UserError, match="there is no such package"):
            trusted_packages([name])


def test_a_reward_function_in_a_file_needs_the_same_leave(outside: Path) -> None:
    (outside / "short.py").write_text("def short(query, text):\n    return -len(text)\n")
    words = ["recipe=grpo_math", "reward=python", "reward.function='short.py:short'"]
    config = compose(words).config
    with pytest.raises(UserError, match=r"add --plugin short\.py"):
        build(config, outside / "run")
    assert build(config, outside / "run", ["short.py"]).reward.name


def test_the_user_s_directory_goes_first_and_is_named(outside: Path) -> None:
    own = outside / "own" / "algorithm" / "grpo.yaml"
    own.write_text("_target_: rlft.algorithms.WeightedLikelihood\nreduction:\n  _target_: rlft.algorithms.Sum\n")
    composed = compose(["recipe=grpo_math"], outside / "own")
    assert composed.config["algorithm"]["_target_"] == "rlft.algorithms.WeightedLikelihood"
    assert composed.notes == [f"algorithm/grpo.yaml read from {own}, in place of the shipped one"]
    assert compose(["recipe=grpo_math"]).config["algorithm"]["_target_"] == "rlft.algorithms.PolicyGradient"
    with pytest.raises(UserError, match="there is no such directory"):
        compose(["recipe=grpo_math"], outside / "nowhere")

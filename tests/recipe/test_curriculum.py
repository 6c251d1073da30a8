"""The curriculum group: what it composes to, what it refuses, somebody's own, and runs frozen before there was one."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import rlft.data
from rlft.base import UserError
from rlft.cli.main import main
from rlft.data import Adaptive, Levels, NoCurriculum, Sorted
from rlft.recipe import build, compose, differences, freeze, load_plan, read_data, recipe_hash
from rlft.recipe.check import field_names
from rlft.recipe.groups import options

LEVELS = "data.task_levels=3"
OWN = '''
"""Somebody's own curriculum: the same questions again and again."""

from dataclasses import dataclass

from rlft.base import Curriculum


@dataclass
class Few(Curriculum):
    label = "few"
    many: int = 2

    def bind(self, pool):
        self.most = min(self.many, len(pool.queries))

    def next(self, position, n):
        return [(position + i) % self.most for i in range(n)]
'''


def make(tmp_path: Path, *words: str) -> Any:
    return build(compose(["recipe=grpo_math", *words]).config, tmp_path)


def test_it_composes_with_any_recipe_and_data(tmp_path: Path) -> None:
    assert make(tmp_path).curriculum == NoCurriculum()
    plan = make(tmp_path, "curriculum=adaptive", "curriculum.decay=0.8", LEVELS)
    assert plan.curriculum == Adaptive(decay=0.8)
    assert "data online · chain_sum · curriculum adaptive by level   reward" in plan.triple()
    assert make(tmp_path, "curriculum=levels", "curriculum.measure=2").curriculum == Levels(measure=2)
    words = ["data=recorded", "reward=implicit", "algorithm=sft", "curriculum=sorted", "curriculum.column=num_digits"]
    recorded = make(tmp_path, *words)
    assert recorded.curriculum == Sorted(column="num_digits")
    read_data(recorded)
    mixed = compose(["recipe=grpo_mixed", "curriculum=none"])
    assert mixed.config["curriculum"] == {"_target_": "rlft.data.NoCurriculum"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["curriculum=adptive"], "there is no curriculum=adptive: did you mean curriculum=adaptive?"),
        (["curriculum=adaptive", "curriculum.decy=1"], "unknown key curriculum.decy: did you mean curriculum.decay?"),
        (["curriculum.decay=1"], "unknown key curriculum.decay"),
        (["curriculum=adaptive", "curriculum.decay=often"], "curriculum.decay: expected a number, got 'often'"),
        (["curriculum=sorted"], "it has to know how hard a question is: type data.task_levels=N"),
        (["curriculum=levels"], "it has to know how hard a question is: type data.task_levels=N"),
        (["data=offline", "curriculum=adaptive"], "it goes by how the policy answers now"),
        (
            ["data=offline", LEVELS, "curriculum=sorted", "curriculum.measure=2"],
            "lets π_ref answer, for which data=onli",
        ),
        (["curriculum._target_=rlft.data.Online"], "is not a subclass of rlft.base.curriculum.Curriculum"),
        (["curriculum._target_=os.system"], "curriculum._target_: os.system is refused"),
    ],
)
def test_mistakes_are_named(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        make(tmp_path, *words)
    assert message in str(caught.value)


def test_a_column_that_is_not_there_is_found_before_any_model_is_loaded(tmp_path: Path) -> None:
    plan = make(tmp_path, "curriculum=sorted", "curriculum.column=num_digit")
    with pytest.raises(UserError, match=r"no column num_digit for curriculum\.column; .*Did you mean num_digits\?"):
        read_data(plan)


@pytest.mark.parametrize("name", options("curriculum"))
def test_the_recipe_has_the_class_s_own_fields_and_defaults(name: str) -> None:
    node = yaml.safe_load(options("curriculum")[name].read_text(encoding="utf-8"))
    cls = getattr(rlft.data, node.pop("_target_").rpartition(".")[2])
    assert cls.label == name and cls(**node) == cls()
    assert set(node) == set(field_names(cls))


def test_it_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "curricula", "--json"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)["curricula"]]
    assert names == ["adaptive", "levels", "none", "sorted"]


def test_runs_from_before_there_was_a_choice_are_the_same_runs(tmp_path: Path) -> None:
    config = compose(["recipe=grpo_math"]).config
    old = {key: value for key, value in config.items() if key != "curriculum"}
    freeze(old, tmp_path)
    plan = load_plan(tmp_path)
    assert plan.curriculum == NoCurriculum() and plan.config == config
    assert recipe_hash(old) == recipe_hash(config) and differences(config, tmp_path) == []


def test_somebody_s_own_is_a_class_and_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "her_pkg.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "own" / "curriculum").mkdir(parents=True)
    (tmp_path / "own" / "curriculum" / "few.yaml").write_text("# Few questions.\n_target_: her_pkg.Few\nmany: 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    words = ["show", "--config-dir", "own", "recipe=sft_math", "curriculum=few"]
    assert main(words) == 2
    assert "add --plugin her_pkg" in capsys.readouterr().err
    assert main([*words, "curriculum.many=4", "--plugin", "her_pkg"]) == 0
    out = capsys.readouterr().out
    assert "data recorded · chain_sum · curriculum few   reward" in out and "many: 4" in out

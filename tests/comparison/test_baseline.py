"""`compare` with a method that the others are held against."""

import json
from pathlib import Path

import pytest
from compared import printed, run, seeds
from pages import COMPARISON, check

from rlft.base import UserError
from rlft.comparison import compare


def test_the_others_are_held_against_the_baseline_alone_and_corrected_for_so_many(tmp_path: Path) -> None:
    paths = [path for name, right in (("sft", 50), ("dpo", 47), ("grpo", 56), ("ppo", 53))
             for path in seeds(tmp_path, name, [right - 1, right, right + 1])]  # fmt: skip
    every = {frozenset((p["better"], p["other"])): p["p"] for p in compare(paths, tmp_path / "all")["pairs"]}
    result = compare(paths, tmp_path / "out", baseline="sft_math")
    assert result["baseline"] == "sft" and len(every) == 6
    assert [(pair["better"], pair["other"]) for pair in result["pairs"]] == [
        ("grpo", "sft"),
        ("ppo", "sft"),
        ("sft", "dpo"),
    ]
    # The smallest p of these three was multiplied by at least 4 of 6 before, by 3 now.
    assert result["pairs"][0]["p"] < every[frozenset(("grpo", "sft"))]
    assert json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))["baseline"] == "sft"
    note = "baseline sft: the other methods are held against it, not against each other"
    assert note in printed(result) and note in (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    page = check(tmp_path / "out" / "compare.html", COMPARISON)
    assert "the other pairs" not in page.text["verdict"] and "B" + note[1:] in page.text["verdict"]
    assert "baseline=sft" in page.text["commands"]


def test_a_baseline_goes_by_its_label_its_directory_or_what_it_alone_is(tmp_path: Path) -> None:
    paths = [run(tmp_path, "a", 20, method="grpo"), run(tmp_path, "b", 60, method="grpo", beta=0.04)]
    paths += [run(tmp_path, "c", 50, method="rft", recipe="online_rft_math")]

    def held(name: str) -> str:
        return compare(paths, tmp_path / "out", baseline=name)["baseline"]

    assert held("grpo_math beta=0.04") == held(str(tmp_path / "b")) == "grpo_math beta=0.04"
    assert held("rft") == held("online_rft_math") == "online_rft_math"
    with pytest.raises(
        UserError, match=r"baseline=grpo: several methods are called so; name one of grpo_math beta=0.04, "
    ):
        held("grpo")
    with pytest.raises(UserError, match=r"baseline=sft: there is no such method; name one of grpo_math beta=0.04, onl"):
        held("sft")

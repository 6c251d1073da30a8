"""`compare` where methods have several seeds: what is pooled, what is decided, and what it would take."""

from pathlib import Path

import pytest
from compared import ROWS, run, seeds

from rlft.base import UserError
from rlft.comparison import compare


def test_three_seeds_of_each_make_a_verdict_best_method_first(tmp_path: Path) -> None:
    result = compare([*seeds(tmp_path, "sft", [19, 20, 21]), *seeds(tmp_path, "grpo", [58, 60, 62])], tmp_path / "out")
    best, other = result["methods"]
    assert (best["label"], best["seeds"], best["accuracies"]) == ("grpo", [0, 1, 2], [0.58, 0.6, 0.62])
    assert best["accuracy"] == pytest.approx(0.6) and best["iqm"] is None and other["label"] == "sft"
    assert best["gain"] == pytest.approx(0.4) and best["gain_interval"][0] < 0.4 < best["gain_interval"][1]
    (pair,) = result["pairs"]
    assert pair["decided"] and pair["p"] < 1e-6 and pair["improvement"] == 1.0
    assert pair["verdict"].startswith("grpo beats sft: +40.0 points [") and result["notes"] == []


def test_seeds_that_scatter_leave_a_difference_undecided(tmp_path: Path) -> None:
    paths = [*seeds(tmp_path, "sft", [30, 45, 60]), *seeds(tmp_path, "grpo", [40, 55, 70])]
    (pair,) = compare(paths, tmp_path / "out")["pairs"]
    # seeds: sd 0.15 each, variance 2 · 0.0225 / 3 = 0.015, so half a width of t(4) · 0.12 and more
    assert not pair["decided"] and pair["high"] - pair["difference"] > 2.77 * 0.122
    assert pair["improvement"] == pytest.approx(6 / 9)
    assert pair["verdict"].startswith("grpo against sft: not decided, +10.0 points [")
    assert "2 points would need about" in pair["verdict"] and "seeds and" in pair["verdict"]


def test_what_it_would_take_is_said_in_questions_where_seeds_agree(tmp_path: Path) -> None:
    # One question in 100 differs, always the same: variance 0.0099 / 99 = 1e-4, t(99) = 1.984, so half a width of
    # 1.98 points. Two in 100: 0.0196 / 99 = 1.98e-4, and 2 points take (1.984 / 0.02)² · 0.0198 = 195 questions.
    sft = seeds(tmp_path, "sft", [50] * 3)
    (one,) = compare([*sft, *seeds(tmp_path, "grpo", [51] * 3)], tmp_path / "out")["pairs"]
    assert not one["decided"] and one["verdict"].endswith("; 2 points would have shown")
    dpo = seeds(tmp_path, "dpo", [52] * 3)
    (two,) = compare([*sft, *dpo], tmp_path / "out")["pairs"]
    assert not two["decided"] and two["verdict"].endswith("; 2 points would need about 195 questions")
    # Of three pairs each has a third of the 5%: normal quantile 2.394 for 1.960, and 195 · (2.394 / 1.960)² = 291
    three = compare([*sft, *dpo, *seeds(tmp_path, "rft", [50] * 3)], tmp_path / "out")["pairs"]
    assert {p["verdict"].rpartition("; ")[2] for p in three if p["difference"]} == {
        "2 points would need about 291 questions"
    }


def test_what_it_would_take_is_said_in_seeds_where_they_scatter(tmp_path: Path) -> None:
    # One method of 3 equal seeds, one of 4 that scatter: variance of its seeds (2 · 15² + 2 · 5²) / 3 = 167 points²,
    # over 4. Half of the room is (2 / 1.96)² / 2 = 0.5206 points²: 4 · 41.67 / 0.5206 = 320.2 seeds.
    paths = [*seeds(tmp_path, "sft", [45] * 3), *seeds(tmp_path, "grpo", [35, 45, 55, 65])]
    (pair,) = compare(paths, tmp_path / "out")["pairs"]
    assert "2 points would need about 321 seeds and" in pair["verdict"]


def test_what_is_decided_is_corrected_for_the_number_of_pairs(tmp_path: Path) -> None:
    two = [*seeds(tmp_path, "sft", [49, 50, 51]), *seeds(tmp_path, "grpo", [55, 56, 57])]
    (alone,) = compare(two, tmp_path / "out")["pairs"]
    more = [path for name in ("a", "b", "c") for path in seeds(tmp_path, name, [49, 50, 51])]
    result = compare([*two, *more], tmp_path / "more")
    pair = next(p for p in result["pairs"] if {p["better"], p["other"]} == {"sft", "grpo"})
    # 4 equal pairs at the same p, and 6 pairs without any difference: Holm multiplies by all 10
    assert pair["p"] == pytest.approx(10 * alone["p"]) and alone["decided"]
    assert "Holm" in result["notes"][0]


def test_from_five_seeds_the_middle_half_is_reported_too(tmp_path: Path) -> None:
    paths = [*seeds(tmp_path, "sft", [10, 50, 52, 54, 56]), *seeds(tmp_path, "grpo", [60, 61, 62, 63, 64])]
    methods = {m["label"]: m for m in compare(paths, tmp_path / "out")["methods"]}
    assert methods["sft"]["iqm"] == pytest.approx(0.52) and methods["sft"]["accuracy"] == pytest.approx(0.444)


def test_the_same_settings_and_seed_are_one_run(tmp_path: Path) -> None:
    paths = [run(tmp_path, "a", 20, method="grpo"), run(tmp_path, "b", 60, method="grpo")]
    with pytest.raises(UserError, match=r"a and .*b have the same settings and the same seed"):
        compare(paths, tmp_path / "out")


def test_what_changes_no_number_keeps_seeds_apart_from_nothing(tmp_path: Path) -> None:
    paths = [*seeds(tmp_path, "grpo", [60, 61]), run(tmp_path, "x", 62, method="grpo", seed=2, stop=20)]
    (method,) = compare(paths, tmp_path / "out")["methods"]
    assert method["seeds"] == [0, 1, 2]


def test_seeds_that_answered_other_questions_are_not_pooled(tmp_path: Path) -> None:
    paths = [run(tmp_path, "a", 20, method="grpo"), run(tmp_path, "b", 30, method="grpo", seed=1, ids=ROWS[:50])]
    result = compare(paths, tmp_path / "out", allow_mismatch=True)
    assert [m["label"] for m in result["methods"]] == ["grpo_math (b)", "grpo_math (a)"]


def test_one_question_is_no_base_for_several_seeds(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"larger trainer\.eval_size"):
        compare(seeds(tmp_path, "grpo", [1, 0], ids=ROWS[:1]), tmp_path / "out")


def test_a_gain_is_left_open_where_the_answers_before_are_gone(tmp_path: Path) -> None:
    paths = seeds(tmp_path, "grpo", [60, 61, 62])
    for path in paths:
        for name in ("before", "before_long"):
            (path / f"eval_{name}.jsonl").unlink()
    (method,) = compare(paths, tmp_path / "out")["methods"]
    assert method["gain"] is None and method["accuracy"] == pytest.approx(0.61)


def test_methods_of_one_seed_each_are_not_pooled_with_others(tmp_path: Path) -> None:
    paths = [*seeds(tmp_path, "sft", [20, 21]), *seeds(tmp_path, "grpo", [60, 61, 62])]
    result = compare(paths, tmp_path / "out")
    assert [len(m["seeds"]) for m in result["methods"]] == [3, 2]
    assert not result["pairs"][0]["decided"] and result["pairs"][0]["p"] is None
    assert result["notes"][0].startswith("seed noise not estimated: that takes 3 seeds of each method")


def test_seeds_under_other_conditions_are_named(tmp_path: Path) -> None:
    paths = [run(tmp_path, "a", 20, method="grpo"), run(tmp_path, "b", 20, method="grpo", seed=1, base_model="qwen")]
    with pytest.raises(UserError, match=r"base model \(grpo seed=0: smol, grpo seed=1: qwen, "):
        compare([*paths, run(tmp_path, "sft", 10)], tmp_path / "out")

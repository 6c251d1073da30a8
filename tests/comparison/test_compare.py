"""`compare` on hand-made run directories."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rlft.base import UserError
from rlft.comparison import compare, render

ROWS = [f"q{i:03d}" for i in range(100)]


def run(
    root: Path, name: str, right: int, *, ids: list[str] = ROWS, method: str | None = None, recipe: str | None = None,
    status: str = "finished", beta: float = 0.0, seed: int = 0, stop: int = 0, **evaluation: Any,
) -> Path:  # fmt: skip
    """Writes a run whose first `right` answers are right and whose last 5 were cut off."""
    path = root / name
    path.mkdir()
    (path / "config.yaml").write_text(
        f"output_dir: {path}\nseed: {seed}\nrecipe: {recipe or method or name}\nalgorithm:\n  beta: {beta}\n",
        encoding="utf-8",
    )
    measured = {
        "n": len(ids), "accuracy_before": 0.1, "accuracy_before_long": 0.2, "accuracy_after": right / len(ids),
        "difference": right / len(ids) - 0.2, "interval": [0.1, 0.3], "base_model": "smol", "template_hash": "abc",
        "max_completion_tokens": 24,
    }  # fmt: skip
    summary = {
        "method": method or name, "model": "smol", "steps": 4, "seed": seed, "status": status,
        "recipe": recipe or f"{method or name}_math",
        "eval": measured | evaluation, "totals": {"generated_tokens": 12345, "trained_tokens": 6789, "seconds": 90.0},
    }  # fmt: skip
    (path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    rows = [{"id": q, "correct": i < right, "finished": i < len(ids) - 5} for i, q in enumerate(ids)]
    (path / "eval_after.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for name, known in (("before", 10), ("before_long", 20)):
        rows = [{"id": q, "correct": i < known} for i, q in enumerate(ids)]
        (path / f"eval_{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def seeds(root: Path, name: str, rights: list[int], **settings: Any) -> list[Path]:
    """Writes a run per seed of one method."""
    return [run(root, f"{name}{i}", n, method=name, seed=i, **settings) for i, n in enumerate(rights)]


def printed(result: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=160)
    render(result, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_single_runs_are_measured_and_no_winner_is_named(tmp_path: Path) -> None:
    result = compare([run(tmp_path, "sft", 20), run(tmp_path, "grpo", 60)], tmp_path / "out")
    best, other = result["methods"]
    assert (best["label"], best["seeds"], best["n"], best["accuracies"]) == ("grpo", [0], 100, [0.6])
    # Wilson at 60 of 100, z = 1.96: centre (0.6 + 0.019207)/1.038415, half-width 1.96·sqrt(0.0024 + 0.000096)/1.038415
    assert (best["low"], best["high"]) == pytest.approx((0.5020, 0.6906), abs=5e-4)
    assert (other["label"], other["cut_share"], other["generated_tokens"]) == ("sft", 0.05, 12345)
    (pair,) = result["pairs"]
    assert (pair["better"], pair["other"], pair["n"], pair["decided"]) == ("grpo", "sft", 100, False)
    assert pair["difference"] == pytest.approx(0.4)
    assert 0.28 < pair["low"] < 0.32 and 0.48 < pair["high"] < 0.52  # 0.4 ± 1.96·sqrt(0.24/100) = 0.4 ± 0.096
    assert pair["verdict"].startswith("grpo against sft: +40.0 points [")
    assert pair["verdict"].endswith("for these runs; no winner is named of fewer than 3 seeds")


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


def test_the_difference_is_paired_by_question_and_not_by_line(tmp_path: Path) -> None:
    one = run(tmp_path, "sft", 50)
    two = run(tmp_path, "grpo", 50)
    lines = (two / "eval_after.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (two / "eval_after.jsonl").write_text("".join(reversed(lines)), encoding="utf-8")
    (pair,) = compare([one, two], tmp_path / "out")["pairs"]
    equal = 1.0 / 100  # the same questions right: as if one had told them apart, t(99) = 1.984
    assert pair["difference"] == 0 and pair["high"] - pair["low"] == pytest.approx(2 * 1.984 * equal, rel=1e-3)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("base_model", "qwen", "base model (grpo: qwen, sft: smol)"),
        ("template_hash", "xyz", "chat template (grpo: xyz, sft: abc)"),
        ("max_completion_tokens", 96, "completion limit (tokens) (grpo: 96, sft: 24)"),
    ],
)
def test_runs_under_other_conditions_are_refused(tmp_path: Path, key: str, value: Any, words: str) -> None:
    paths = [run(tmp_path, "sft", 20), run(tmp_path, "grpo", 60, **{key: value})]
    with pytest.raises(UserError) as error:
        compare(paths, tmp_path / "out")
    assert words in str(error.value) and "allow_mismatch=true" in str(error.value)
    assert not (tmp_path / "out").exists()
    result = compare(paths, tmp_path / "out", allow_mismatch=True)
    assert result["mismatches"] == [f"the runs differ in {words}"]
    assert f"MISMATCH: the runs differ in {words}" in printed(result)


def test_other_questions_are_refused_and_compared_where_shared_on_demand(tmp_path: Path) -> None:
    paths = [run(tmp_path, "sft", 20), run(tmp_path, "grpo", 60, ids=[*ROWS[:50], *(f"x{i}" for i in range(50))])]
    with pytest.raises(UserError, match=r"held-out questions \(grpo has 100, sft 100, 50 of them in common\)"):
        compare(paths, tmp_path / "out")
    (pair,) = compare(paths, tmp_path / "out", allow_mismatch=True)["pairs"]
    assert pair["n"] == 50 and pair["difference"] == pytest.approx(0.6)  # 50 right against 20, of the 50 shared


def test_on_shared_questions_the_method_with_the_lower_accuracy_can_win(tmp_path: Path) -> None:
    # grpo answers 50 easy questions of its own, then 10 of the 50 shared ones; sft answers 20 of those
    own = [*(f"x{i}" for i in range(50)), *ROWS[:50]]
    paths = [*seeds(tmp_path, "sft", [20] * 3), *seeds(tmp_path, "grpo", [60] * 3, ids=own)]
    (pair,) = compare(paths, tmp_path / "out", allow_mismatch=True)["pairs"]
    assert pair["n"] == 50 and pair["difference"] == pytest.approx(-0.2) and pair["decided"]
    assert pair["verdict"].startswith("sft beats grpo: -20.0 points [")


def test_runs_without_a_question_in_common_decide_nothing(tmp_path: Path) -> None:
    paths = [run(tmp_path, "sft", 20), run(tmp_path, "grpo", 60, ids=[f"x{i}" for i in range(100)])]
    (pair,) = compare(paths, tmp_path / "out", allow_mismatch=True)["pairs"]
    assert (pair["n"], pair["difference"], pair["decided"]) == (0, None, False)


def test_unfinished_runs_are_named_and_left_out(tmp_path: Path) -> None:
    stopped = run(tmp_path, "ppo", 90, status="stopped")
    started = run(tmp_path, "dpo", 90)
    (started / "summary.json").unlink()
    finished = [run(tmp_path, "sft", 20), run(tmp_path, "grpo", 60)]
    result = compare([stopped, started, *finished], tmp_path / "out")
    assert [m["label"] for m in result["methods"]] == ["grpo", "sft"]
    assert result["unfinished"] == [str(stopped), str(started)]
    assert f"not finished, left out: {started}" in printed(result)
    with pytest.raises(UserError, match=r"two or more finished runs are needed, 1 given; not finished: .*ppo"):
        compare([stopped, finished[0]], tmp_path / "out")


def test_runs_of_one_method_are_told_apart_by_their_settings(tmp_path: Path) -> None:
    paths = [run(tmp_path, "a", 20, method="grpo"), run(tmp_path, "b", 60, method="grpo", beta=0.04)]
    result = compare([*paths, run(tmp_path, "sft", 10)], tmp_path / "out")
    assert [m["label"] for m in result["methods"]] == ["grpo_math beta=0.04", "grpo_math beta=0.0", "sft"]
    assert len(result["verdicts"]) == 3


def test_recipes_of_one_algorithm_go_by_the_name_of_the_recipe(tmp_path: Path) -> None:
    paths = [run(tmp_path, "a", 20, method="rft", recipe="rft_math")]
    paths += [run(tmp_path, "b", 60, method="rft", recipe="online_rft_math"), run(tmp_path, "sft", 10)]
    result = compare(paths, tmp_path / "out")
    assert [m["label"] for m in result["methods"]] == ["online_rft_math", "rft_math", "sft"]


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


def test_failed_runs_are_named(tmp_path: Path) -> None:
    result = compare(seeds(tmp_path, "grpo", [60, 61]), tmp_path / "out", failed=["seed=2 (runs/x): NaN"])
    assert "failed, left out: seed=2 (runs/x): NaN" in printed(result)
    assert "failed, left out: seed=2" in (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")


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


def test_every_file_is_written_and_holds_the_same_numbers(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    result = compare([*seeds(tmp_path, "sft", [20] * 3), *seeds(tmp_path, "grpo", [60] * 3)], out)
    assert result["files"] == [str(out / f"compare.{end}") for end in ("json", "csv", "md", "png")]
    assert json.loads((out / "compare.json").read_text(encoding="utf-8")) == result
    rows = list(csv.DictReader((out / "compare.csv").open(encoding="utf-8")))
    assert [(r["label"], r["seeds"], r["accuracies"], r["seconds"]) for r in rows] == [
        ("grpo", "0 1 2", "0.6 0.6 0.6", "90.0"),
        ("sft", "0 1 2", "0.2 0.2 0.2", "90.0"),
    ]
    assert float(rows[0]["gain_low"]) == result["methods"][0]["gain_interval"][0]
    page = (out / "compare.md").read_text(encoding="utf-8")
    assert page.index("grpo beats sft") < page.index("| grpo |")
    assert "| +40.0% [30.2, 49.8] | 5.0% | 12,345 | 6,789 | 1.5 min |" in page
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_the_verdict_is_printed_before_the_table(tmp_path: Path) -> None:
    text = printed(compare([run(tmp_path, "sft", 20), run(tmp_path, "grpo", 60)], tmp_path / "out"))
    assert text.index("grpo against sft") < text.index("held-out accuracy") < text.index("seed noise not estimated")
    assert "12,345" in text and "1.5 min" in text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: expected a JSON object"),
        ('{"id": "a"}', 'line 2: expected "id" (text) and "correct"'),
        ('{"id": "q000", "correct": true}', "line 2: question q000 stands there twice"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, line: str, words: str) -> None:
    bad = run(tmp_path, "grpo", 60)
    (bad / "eval_after.jsonl").write_text('{"id": "q000", "correct": true}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(UserError) as error:
        compare([bad, run(tmp_path, "sft", 20)], tmp_path / "out")
    assert words in str(error.value) and str(bad / "eval_after.jsonl") in str(error.value)


def test_what_is_no_run_to_compare_is_refused(tmp_path: Path) -> None:
    good = run(tmp_path, "sft", 20)
    with pytest.raises(UserError, match="no such run directory"):
        compare([good, tmp_path / "absent"], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="not a run directory"):
        compare([good, tmp_path / "empty"], tmp_path / "out")
    elsewhere = run(tmp_path, "dpo", 60)
    (elsewhere / "eval_before.jsonl").write_text('{"id": "x", "correct": true}\n', encoding="utf-8")
    (elsewhere / "eval_before_long.jsonl").unlink()
    with pytest.raises(UserError, match=r"eval_before\.jsonl and eval_after\.jsonl are not the same"):
        compare([good, elsewhere], tmp_path / "out")
    with pytest.raises(UserError, match="named twice"):
        compare([good, tmp_path / "." / "sft"], tmp_path / "out")
    unmeasured = run(tmp_path, "grpo", 60)
    (unmeasured / "eval_after.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"trainer\.eval_size"):
        compare([good, unmeasured], tmp_path / "out")
    (unmeasured / "eval_after.jsonl").unlink()
    with pytest.raises(UserError, match=r"trainer\.eval_size"):
        compare([good, unmeasured], tmp_path / "out")
    (good / "config.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(UserError, match=r"config\.yaml: not a run's frozen recipe"):
        compare([good, unmeasured], tmp_path / "out")

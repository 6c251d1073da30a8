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
    status: str = "finished", beta: float = 0.0, seed: int = 0, **evaluation: Any,
) -> Path:  # fmt: skip
    """Writes a run whose first `right` answers are right and whose last 5 were cut off."""
    path = root / name
    path.mkdir()
    (path / "config.yaml").write_text(
        f"output_dir: {path}\nseed: {seed}\nmethod: {method or name}\nalgorithm:\n  beta: {beta}\n", encoding="utf-8"
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
    return path


def printed(result: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=160)
    render(result, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_clear_difference_is_a_verdict_best_run_first(tmp_path: Path) -> None:
    result = compare([run(tmp_path, "sft", 20), run(tmp_path, "grpo", 60)], tmp_path / "out")
    best, other = result["runs"]
    assert (best["label"], best["correct"], best["n"], best["accuracy"]) == ("grpo", 60, 100, 0.6)
    # Wilson at 60 of 100, z = 1.96: centre (0.6 + 0.019207)/1.038415, half-width 1.96·sqrt(0.0024 + 0.000096)/1.038415
    assert (best["low"], best["high"]) == pytest.approx((0.5020, 0.6906), abs=5e-4)
    assert (other["label"], other["cut_share"], other["generated_tokens"]) == ("sft", 0.05, 12345)
    (pair,) = result["pairs"]
    assert (pair["better"], pair["other"], pair["n"], pair["decided"]) == ("grpo", "sft", 100, True)
    assert pair["difference"] == pytest.approx(0.4)
    assert 0.28 < pair["low"] < 0.32 and 0.48 < pair["high"] < 0.52  # 0.4 ± 1.96·sqrt(0.24/100) = 0.4 ± 0.096
    assert pair["verdict"].startswith("grpo beats sft: +40.0 points [")


def test_an_interval_that_holds_zero_decides_nothing(tmp_path: Path) -> None:
    result = compare([run(tmp_path, "sft", 51), run(tmp_path, "grpo", 50)], tmp_path / "out")
    (pair,) = result["pairs"]
    assert not pair["decided"] and pair["low"] <= 0 <= pair["high"]
    assert pair["verdict"].startswith("sft against grpo: not decided, +1.0 points [")


def test_the_difference_is_paired_by_question_and_not_by_line(tmp_path: Path) -> None:
    one = run(tmp_path, "sft", 50)
    two = run(tmp_path, "grpo", 50)
    lines = (two / "eval_after.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (two / "eval_after.jsonl").write_text("".join(reversed(lines)), encoding="utf-8")
    (pair,) = compare([one, two], tmp_path / "out")["pairs"]
    equal = 1.0 / 100  # the same questions right: no spread but what a small-sample correction adds
    assert pair["difference"] == 0 and pair["high"] - pair["low"] < 6 * equal


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


def test_on_shared_questions_the_run_with_the_lower_accuracy_can_win(tmp_path: Path) -> None:
    # grpo answers 50 easy questions of its own, then 10 of the 50 shared ones; sft answers 20 of those
    paths = [run(tmp_path, "sft", 20), run(tmp_path, "grpo", 60, ids=[*(f"x{i}" for i in range(50)), *ROWS[:50]])]
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
    assert [r["label"] for r in result["runs"]] == ["grpo", "sft"]
    assert result["unfinished"] == [str(stopped), str(started)]
    assert f"not finished, left out: {started}" in printed(result)
    with pytest.raises(UserError, match=r"two or more finished runs are needed, 1 given; not finished: .*ppo"):
        compare([stopped, finished[0]], tmp_path / "out")


def test_runs_of_one_method_are_told_apart_by_their_settings(tmp_path: Path) -> None:
    paths = [run(tmp_path, "a", 20, method="grpo"), run(tmp_path, "b", 60, method="grpo", beta=0.04)]
    result = compare([*paths, run(tmp_path, "sft", 10)], tmp_path / "out")
    assert [r["label"] for r in result["runs"]] == ["grpo_math beta=0.04", "grpo_math beta=0.0", "sft"]
    assert len(result["verdicts"]) == 3
    assert "the 3 paired intervals are 95% each, not jointly" in result["notes"]


def test_recipes_of_one_algorithm_go_by_the_name_of_the_recipe(tmp_path: Path) -> None:
    paths = [run(tmp_path, "a", 20, method="rft", recipe="rft_math")]
    paths += [run(tmp_path, "b", 60, method="rft", recipe="online_rft_math"), run(tmp_path, "sft", 10)]
    result = compare(paths, tmp_path / "out")
    assert [r["label"] for r in result["runs"]] == ["online_rft_math", "rft_math", "sft"]


def test_equal_settings_are_told_apart_by_directory(tmp_path: Path) -> None:
    result = compare([run(tmp_path, "a", 20, method="grpo"), run(tmp_path, "b", 60, method="grpo")], tmp_path / "out")
    assert [r["label"] for r in result["runs"]] == ["grpo_math (b)", "grpo_math (a)"]


def test_seed_noise_is_said_not_to_be_estimated(tmp_path: Path) -> None:
    one = compare([run(tmp_path, "sft", 20), run(tmp_path, "grpo", 60)], tmp_path / "out")
    assert one["notes"] == [
        "seed noise not estimated: one seed per method; the intervals cover the draw of the questions only"
    ]
    seeds = [run(tmp_path, f"s{i}", 20 + i, method="grpo", seed=i) for i in range(2)]
    assert "not pooled" in compare(seeds, tmp_path / "two")["notes"][0]


def test_every_file_is_written_and_holds_the_same_numbers(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    result = compare([run(tmp_path, "sft", 20), run(tmp_path, "grpo", 60)], out)
    assert result["files"] == [str(out / f"compare.{end}") for end in ("json", "csv", "md", "png")]
    assert json.loads((out / "compare.json").read_text(encoding="utf-8")) == result
    rows = list(csv.DictReader((out / "compare.csv").open(encoding="utf-8")))
    assert [(r["label"], r["accuracy"], r["gain_low"], r["seconds"]) for r in rows] == [
        ("grpo", "0.6", "0.1", "90.0"),
        ("sft", "0.2", "0.1", "90.0"),
    ]
    page = (out / "compare.md").read_text(encoding="utf-8")
    assert page.index("grpo beats sft") < page.index("| grpo |")
    assert "| +40.0% [10.0, 30.0] | 5.0% | 12,345 | 6,789 | 1.5 min |" in page
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_the_verdict_is_printed_before_the_table(tmp_path: Path) -> None:
    text = printed(compare([run(tmp_path, "sft", 20), run(tmp_path, "grpo", 60)], tmp_path / "out"))
    assert text.index("grpo beats sft") < text.index("held-out accuracy") < text.index("seed noise not estimated")
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

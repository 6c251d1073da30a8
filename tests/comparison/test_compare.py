"""`compare` on hand-made run directories."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from compared import ROWS, printed, run, seeds

from rlft.base import UserError
from rlft.comparison import compare


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


def test_a_model_of_scores_is_not_compared(tmp_path: Path) -> None:
    scores = run(tmp_path, "bradley_terry", 20)
    file = scores / "summary.json"
    summary = json.loads(file.read_text())
    file.write_text(json.dumps(summary | {"eval": {"pair_accuracy": 0.8, "pair_interval": [0.7, 0.9]}}))
    with pytest.raises(UserError) as error:
        compare([run(tmp_path, "sft", 20), scores], tmp_path / "out")
    assert f"{scores}: this run trained what scores completions" in str(error.value)


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


def test_failed_runs_are_named(tmp_path: Path) -> None:
    result = compare(seeds(tmp_path, "grpo", [60, 61]), tmp_path / "out", failed=["seed=2 (runs/x): NaN"])
    assert "failed, left out: seed=2 (runs/x): NaN" in printed(result)
    assert "failed, left out: seed=2" in (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")


def test_every_file_is_written_and_holds_the_same_numbers(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    result = compare([*seeds(tmp_path, "sft", [20] * 3), *seeds(tmp_path, "grpo", [60] * 3)], out)
    assert result["files"] == [str(out / f"compare.{end}") for end in ("json", "csv", "md", "html", "png")]
    assert json.loads((out / "compare.json").read_text(encoding="utf-8")) == result
    rows = list(csv.DictReader((out / "compare.csv").open(encoding="utf-8")))
    assert [(r["label"], r["seeds"], r["accuracies"], r["seconds"]) for r in rows] == [
        ("grpo", "0 1 2", "0.6 0.6 0.6", "90.0"),
        ("sft", "0 1 2", "0.2 0.2 0.2", "90.0"),
    ]
    assert float(rows[0]["gain_low"]) == result["methods"][0]["gain_interval"][0]
    page = (out / "compare.md").read_text(encoding="utf-8")
    assert page.index("grpo beats sft") < page.index("| grpo |")
    assert "| +40.0% [30.2, 49.8] | 5.0% | 12,345 | 6,789 | – | 1.5 min |" in page
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

"""`rlft eval` on models that answer: files, samples, and the same answers for the same seed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlft.evaluation.sampled import pass_at_k

Rlft = Callable[..., dict[str, Any]]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text(encoding="utf-8").split("\n") if text]


def test_drawn_answers_are_written_counted_and_the_same_for_a_seed(rlft: Rlft, tiny: list[str], tmp_path: Path) -> None:
    verifier = "trainer.verifier={_target_: rlft.rewards.Format, pattern: u, match: search}"
    words = ["eval", "recipe=grpo_math", *tiny, verifier, "output_dir=run", "eval.samples=4", "eval.questions=3"]
    measured = rlft(*words)
    result, drawn = measured["base"], measured["base"]["sampled"]
    assert json.loads((tmp_path / "run" / "eval_base.json").read_text(encoding="utf-8")) == result
    assert result["n"] == 3 < result["available"] and result["questions"] == "chain_sum"
    rows = read(tmp_path / "run" / "eval_base_samples.jsonl")
    assert [row["id"] for row in rows] == [row["id"] for row in read(tmp_path / "run" / "eval_base.jsonl")]
    right = [sum(answer["correct"] for answer in row["answers"]) for row in rows]
    assert 0 < sum(right) < 12, "each answer has a u, or none has: this shows nothing"
    assert drawn["pass"]["2"]["value"] == sum(pass_at_k(4, c, 2) for c in right) / 3
    assert drawn["avg"]["value"] == pytest.approx(sum(right) / 12) and drawn["maj"] is None
    assert drawn["cut_share"] == sum(not answer["finished"] for row in rows for answer in row["answers"]) / 12
    assert rlft(*words) == measured, "the same seed, other answers"
    texts = [[answer["text"] for answer in row["answers"]] for row in rows]
    rlft(*words, "seed=1")
    assert texts != [
        [answer["text"] for answer in row["answers"]] for row in read(tmp_path / "run" / "eval_base_samples.jsonl")
    ]

"""`rlft eval` on models that answer: files, samples, and the same answers for the same seed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlft.cli.main import main
from rlft.evaluation.sampled import pass_at_k

Rlft = Callable[..., dict[str, Any]]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text(encoding="utf-8").split("\n") if text]


def test_drawn_answers_are_written_counted_and_the_same_for_a_seed(
    rlft: Rlft, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
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
    texts = [[answer["text"] for answer in row["answers"]] for row in rows]
    monkeypatch.setattr("rlft.train.evaluate.PORTION", 2)
    monkeypatch.setattr("rlft.train.examination.PAUSE", 0)
    assert main(words) == 0
    out = capsys.readouterr().out
    assert out.count("2 of 3 questions are answered") == 2 and "base: asking 3 of " in out
    assert json.loads((tmp_path / "run" / "eval_base.json").read_text(encoding="utf-8")) == result, "by portion"
    plain = words[:-2]
    shown = rlft(*plain, "eval.questions=4")["base"]
    kept = json.loads((tmp_path / "run" / "eval_base.json").read_text(encoding="utf-8"))
    assert (shown["sampled"], kept["n"], kept["sampled"]) == (None, 4, drawn) and drawn["n"] == 3
    rlft(*words, "seed=1")
    assert texts != [
        [answer["text"] for answer in row["answers"]] for row in read(tmp_path / "run" / "eval_base_samples.jsonl")
    ]
    rlft(*plain, "data.system='Be brief.'")
    kept = json.loads((tmp_path / "run" / "eval_base.json").read_text(encoding="utf-8"))
    assert kept["sampled"] is None, "what was drawn for other questions"


@pytest.mark.real
def test_the_real_model_on_a_file_of_other_columns(rlft: Rlft, tmp_path: Path) -> None:
    """Sums small enough for the model as it is, and a question it is asked four times."""
    rows = [
        {"Body": f"Tom has {n} apples.", "Question": f"He buys {n + 1} more. How many has he?", "Answer": 2.0 * n + 1}
        for n in (1, 2)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "svamp.jsonl").write_text(text, encoding="utf-8")
    words = ["data.eval_file=svamp.jsonl", "data.columns={question: Body+Question, answer: Answer}", "output_dir=run"]
    words += ["data.max_completion_tokens=10", "eval.samples=4", "eval.temperature=0.8", "model.dtype=float32"]
    measured = rlft("eval", *words)["base"]
    assert (measured["n"], measured["available"], measured["max_completion_tokens"]) == (2, 2, 10)
    assert set(measured["sampled"]["pass"]) == {"1", "2", "4"}
    rows = read(tmp_path / "run" / "eval_base_samples.jsonl")
    assert {row["gold"] for row in rows} == {"3.0", "5.0"} and rows[0]["question"].startswith("Tom has ")
    drawn = [answer for row in rows for answer in row["answers"]]
    assert len({answer["text"] for answer in drawn}) > 2, "the draws of a question are one draw"
    assert all(0 < answer["tokens"] <= 10 for answer in drawn)

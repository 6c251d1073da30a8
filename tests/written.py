"""Run directories written by hand, with all that a page reads: metrics, samples, answers, environment."""

import json
from pathlib import Path
from typing import Any

EVIL = '</script><img src=x onerror="alert(1)"> & <b>bold</b>'


def jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def answer(number: int, correct: bool, text: str = "It is 3.") -> dict[str, Any]:
    return {
        "id": f"q{number:03d}", "question": f"What is {number} + 1? {EVIL}", "text": text, "gold": str(number + 1),
        "extracted": "3", "correct": correct, "finished": correct, "tokens": 7,
    }  # fmt: skip


def step(number: int, **values: Any) -> dict[str, Any]:
    """Returns a line of metrics.jsonl: 10 tokens generated, 5 trained on and 2 seconds a step."""
    return {
        "step": number, "reward/mean": number / 10, "reward/std": 0.1, "kl": number / 100, "entropy": 1.0,
        "completion_length/mean": 7.0, "completion_length/cut_share": 0.5, "tokens/generated": 10, "tokens/trained": 5,
        "flops": 1e12 * number, "time/step_s": 2.0, "gc/share_positive": 0.5, "gc/share_negative": 0.25,
        "gc/share_zero": 0.25, "gc/mean_abs": 0.4, **values,
    }  # fmt: skip


def billed(path: Path, steps: list[dict[str, Any]], evaluated: dict[str, Any] | None = None, **totals: Any) -> Path:
    """Writes as much of a run as `rlft cost` reads; what is not given is 1."""
    keys = ("time/step_s", "time/rollout_s", "completion_length/mean", "completion_length/max", "reward/mean")
    rest = dict.fromkeys((*keys, "gc/share_zero", "group/all_right", "group/all_wrong"), 1)
    jsonl(path / "metrics.jsonl", [rest | one for one in steps])
    counted = dict.fromkeys(("reward_calls", "flops", "seconds", "generated_tokens"), 1) | totals
    summary = {"totals": counted, "peak_memory_bytes": 1} | ({"eval": evaluated} if evaluated else {})
    (path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return path


def written(
    path: Path, right: int, *, method: str = "grpo", seed: int = 0, steps: int = 4, questions: int = 20,
    text: str = EVIL, config: str = "", **totals: Any,
) -> Path:  # fmt: skip
    """Writes a finished run: the first `right` of the questions are answered rightly, 2 before training."""
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(
        f"output_dir: {path}\nseed: {seed}\nrecipe: {method}_math\nalgorithm:\n  _target_: rlft.algorithms.{method}\n"
        f"{config}trainer:\n  steps: {steps}\n",
        encoding="utf-8",
    )
    jsonl(path / "metrics.jsonl", [step(n) for n in range(1, steps + 1)])
    for name, known in (("after", right), ("before", 2), ("before_long", 2)):
        jsonl(path / f"eval_{name}.jsonl", [answer(n, n < known, text) for n in range(questions)])
    jsonl(
        path / "samples.jsonl",
        [
            {
                "step": n, "prompt_id": "p0", "prompt": "2 + 2?", "text": f"{text} {i}", "reward": i / 2,
                "parts": {}, "extracted": "4", "answer": "4", "finished": True, "tokens": 3, "error": None,
                "seed": seed,
            }
            for n in range(1, steps + 1)
            for i in range(3)
        ],
    )  # fmt: skip
    share = right / questions
    evaluated = {
        "n": questions, "accuracy_before": 2 / questions, "accuracy_before_long": 2 / questions,
        "accuracy_after": share, "difference": share - 0.1,
        "interval": [share - 0.2, share], "cut_share_before": 0.9, "cut_share_after": 0.1,
        "max_completion_tokens": 24, "long_tokens": 128, "base_model": "smol", "template_hash": "abc",
    }  # fmt: skip
    bill = {"generated_tokens": 40, "trained_tokens": 20, "flops": 4e12, "seconds": 11.0} | totals
    summary = {
        "method": method, "recipe": f"{method}_math", "model": "smol", "steps": steps, "seed": seed,
        "status": "finished", "eval": evaluated, "totals": bill, "peak_memory_bytes": 2e9,
    }  # fmt: skip
    (path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    environment = {"command": ["x/rlft", "train", f"recipe={method}_math", "data.prompt={question}!", "--json"]}
    (path / "environment.json").write_text(json.dumps(environment | {"seed": seed, "python": "3.11"}), encoding="utf-8")
    return path

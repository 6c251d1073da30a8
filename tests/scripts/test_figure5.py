"""The study of Figures 5 and 7: equal budgets, nothing run twice, and words that say what the intervals allow."""

import json
import shutil
from pathlib import Path
from typing import Any

import figure5
import pytest
from figure5 import HELD_OUT, LIMIT, METHODS, PROMPT, TERMS, Budget, run, warm_rows
from figure5_doc import command, page, rises, verdicts, write
from figure5_result import Run, collect

from rlft.base import Completion, Group, Query, question_id
from rlft.data.split import is_held_out
from rlft.evaluation.accuracy import Answer
from rlft.recipe import compose
from rlft.rewards import ArithmeticSteps

BUDGET = Budget(steps=2, seeds=3, questions=4, samples=4, drawn_questions=2, evaluations=2)
IDS = ["q0", "q1", "q2", "q3"]


def answers(*extracted: str) -> list[Answer]:
    """Answers to a question of which "7" is right."""
    return [Answer("", "", "", "7", text, text == "7", True, 1) for text in extracted]


START = {"q0": answers("7", "7", "3", "3"), "q1": answers("1", "2", "3", "4")}


def a_run(correct: list[int], drawn: dict[str, list[Answer]] = START, seed: int = 0) -> Run:
    totals = {"generated_tokens": 100 + seed, "trained_tokens": 10}
    curve = [(0, 0.25), (128, sum(correct) / 4)]
    return Run({"seed": seed, "totals": totals}, curve, 0.5, dict(zip(IDS, map(bool, correct), strict=True)), drawn)


class Shell:
    """Stands in for rlft: notes what is run, and leaves what a run leaves."""

    def __init__(self, home: Path):
        self.home, self.commands = home, []

    def __call__(self, *words: str) -> dict[str, Any]:
        self.commands.append(words)
        folder = Path(words[-1].partition("=")[2]) if words[-1].startswith("output_dir=") else None
        if words[0] == "eval":
            assert folder is not None
            folder.mkdir(parents=True)
            file = folder / "eval_adapter_samples.jsonl"
            plain = {key: [{k: v for k, v in vars(a).items() if k not in ("id", "question", "gold")} for a in row]
                     for key, row in START.items()}  # fmt: skip
            file.write_text("".join(json.dumps({"id": k, "question": "", "gold": "7", "answers": v}) + "\n"
                                    for k, v in plain.items()))  # fmt: skip
            return {}
        if "-m" not in words:
            return {}
        recipe = next(word for word in words if word.startswith("recipe=")).partition("=")[2]
        runs = [self.home / "runs" / f"{recipe}-{seed}" for seed in range(BUDGET.seeds)]
        for seed, made in enumerate(runs):
            made.mkdir(parents=True, exist_ok=True)
            evaluated = {"accuracy_before": 0.25, "accuracy_after": 0.5}
            totals = {"generated_tokens": 100, "trained_tokens": 10}
            summary = {"seed": seed, "steps": 2, "eval": evaluated, "totals": totals}
            (made / "summary.json").write_text(json.dumps(summary))
            alike = {"group/all_right": 0.25, "group/all_wrong": 0.125}
            lines = [{"step": 1, "eval/accuracy": 0.25, **alike}, {"step": 2, "eval/accuracy": None, **alike}]
            (made / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            right = [{"id": key, "correct": key < "q2"} for key in IDS]
            (made / "eval_after.jsonl").write_text("".join(json.dumps(line) + "\n" for line in right))
        return {"runs": [{"run_dir": f"runs/{made.name}"} for made in runs]}


def test_the_warm_start_is_right_in_every_step_and_asks_nothing_that_is_held_out() -> None:
    rows = warm_rows(40)
    assert len({row["question"] for row in rows}) == len(rows) == 40
    for row in rows:
        assert not is_held_out(question_id(row["question"]), HELD_OUT)
        query = Query("q", ({"role": "user", "content": PROMPT.replace("{question}", row["question"])},), row["answer"])
        (scored,) = ArithmeticSteps().score([Group(query, (Completion((), row["answer"]),))])
        assert [value for _, value in scored.rewards[0].steps] == [1.0] * TERMS


def test_all_methods_have_one_task_one_prompt_and_as_many_samples() -> None:
    words = f"seed=1 trainer.steps={BUDGET.steps}".split()
    configs = [
        compose([word.replace("{groups}", "16") for word in arm] + words).config for arm in METHODS.arms.values()
    ]
    for config in configs:
        data, trainer = config["data"], config["trainer"]
        drawn = (data.get("pool") or trainer["steps"] * trainer["prompts_per_step"]) * data["samples_per_prompt"]
        assert drawn == BUDGET.total == 128
        assert (data["held_out_share"], data["max_completion_tokens"]) == (HELD_OUT, LIMIT)
        assert data["task_settings"]["max_terms"] == TERMS
        assert data["prompt"] == PROMPT and data.get("keep", "all") == "all"
        for key in ("data", "algorithm"):
            config.pop(key)
        config.pop("recipe"), config.pop("method")
    assert all(config == configs[0] for config in configs)


def test_claims_name_arms_that_there_are() -> None:
    assert all({better, other} <= set(METHODS.arms) for better, other in METHODS.claims.values())


def test_what_has_been_drawn_is_not_drawn_again(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    result = run(METHODS, BUDGET, shell)  # type: ignore[arg-type]
    verbs = [command[0] for command in shell.commands]
    assert verbs.count("eval") == 1 + 4 * 3 and verbs.count("train") == 1 + 4
    adapters = [word for command in shell.commands for word in command if word.startswith("adapter=")]
    assert adapters[0] == f"adapter={tmp_path}/warm-8/adapter" and len(set(adapters)) == 13
    trained = [command for command in shell.commands if "-m" in command]
    assert all(f"model.adapter_path={tmp_path}/warm-8/adapter" in command for command in trained)
    assert "data.pool=16" in trained[0] and "seed=0,1,2" in trained[0]
    assert result["arms"]["RFT"]["runs"][0]["alike"] == 0.375
    assert result["arms"]["RFT"]["runs"][0]["curve"] == [(0, 0.25), (64, 0.25), (128, 0.5)]

    shell.commands.clear()
    assert run(METHODS, BUDGET, shell) == result  # type: ignore[arg-type]
    assert all(command[0] == "train" for command in shell.commands), "whose runs are skipped by `rlft train` itself"


def test_arms_run_side_by_side_are_told_apart(tmp_path: Path) -> None:
    alone = run(METHODS, BUDGET, Shell(tmp_path / "a"))  # type: ignore[arg-type]
    assert run(METHODS, BUDGET, Shell(tmp_path / "b"), jobs=4) == alone  # type: ignore[arg-type]


def test_a_command_that_fails_ends_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure5.sys, "executable", shutil.which("false"))
    with pytest.raises(SystemExit, match="status 1 of: rlft train recipe=x"):
        figure5.Runner(tmp_path)("train", "recipe=x")


def results(first: list[list[int]], second: list[list[int]], seeds: int = 3) -> dict[str, Any]:
    """Two arms with these greedy answers by seed, a in front of b."""
    better = {"q0": answers("7", "7", "7", "3"), "q1": answers("7", "2", "3", "4")}
    arms = {
        "a": [a_run(correct, better, seed) for seed, correct in enumerate(first)],
        "b": [a_run(correct, seed=seed) for seed, correct in enumerate(second)],
    }
    described = {"claims": {"a is better": ("a", "b"), "b is better": ("b", "a")}, "warm": 2}
    budget = vars(Budget(steps=2, seeds=seeds, questions=4, samples=4, drawn_questions=2))
    return {**described, "budget": budget, **collect(arms, START)}


def test_the_numbers_are_those_of_the_answers() -> None:
    result = results([[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0]], [[1, 0, 0, 0]] * 3)
    assert result["arms"]["a"]["accuracy"]["value"] == pytest.approx(0.5)
    (pair,) = result["pairs"]
    assert pair["value"] == pytest.approx(0.25) and pair["holm"] == pair["p"] and pair["low"] < 0.25 < pair["high"]
    # q0: two of four are right, maj@2 of (7, 7) and (3, 3) is 1/2, maj@4 a tie; pass@2 = 1 - C(2,2)/C(4,2) = 5/6.
    start = {measure: {k: e["value"] for k, e in curve.items()} for measure, curve in result["start"].items()}
    assert start["maj"] == pytest.approx({"1": 0.25, "2": 0.25, "4": 0.25})
    assert start["pass"] == pytest.approx({"1": 0.25, "2": 5 / 12, "4": 0.5})
    # q0: three of four, maj@4 = 1 and pass@4 = 1 as before. q1: one of a tie of four, maj@4 = 1/4 and pass@4 = 1.
    gain = {measure: e["value"] for measure, e in result["arms"]["a"]["gain"].items()}
    assert gain == pytest.approx({"maj": 0.375, "pass": 0.5})
    assert result["arms"]["a"]["maj_over_pass"]["value"] == pytest.approx(-0.125)


def test_p_values_are_holm_s_over_all_pairs() -> None:
    runs = {name: [a_run(c, seed=s) for s, c in enumerate(correct)] for name, correct in {
        "a": [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]],
        "b": [[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]],
        "c": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]],
    }.items()}  # fmt: skip
    pairs = collect(runs, START)["pairs"]
    assert [(p["first"], p["second"]) for p in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    smallest = min(pairs, key=lambda p: p["p"])
    assert smallest["holm"] == pytest.approx(min(1, 3 * smallest["p"]))


def with_pair(p: float, value: float, low: float, high: float, seeds: int = 3) -> dict[str, Any]:
    result = results([[1, 1, 0, 0]] * 3, [[1, 0, 0, 0]] * 3, seeds)
    result["pairs"][0] |= {"value": value, "low": low, "high": high, "holm": p}
    return result


def test_a_claim_is_decided_only_by_its_interval() -> None:
    agree, disagree = verdicts(with_pair(0.01, 0.1, 0.02, 0.18))
    assert agree == '"a is better": +10.0 points [+2.0, +18.0]. The intervals agree.'
    assert disagree == '"b is better": -10.0 points [-18.0, -2.0]. The intervals disagree: it is the other way round.'
    open_, _ = verdicts(with_pair(0.06, 0.1, -0.02, 0.22))
    assert "Not decided: the interval allows anything from 2.0 points worse to 22.0 points better" in open_
    few, _ = verdicts(with_pair(0.01, 0.1, 0.02, 0.18, seeds=2))
    assert "nothing is decided" in few and "agree" not in few


def test_the_page_says_what_was_run_and_what_came_of_it(tmp_path: Path) -> None:
    result = results([[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0]], [[1, 0, 0, 0]] * 3)
    text = page(result)
    assert command(result) in text and "--steps 2 --seeds 3 --questions 4 --evaluations 5 --samples 4" in command(
        result
    )
    assert "128 samples: 2 steps of 8 questions with 8 answers each" in text
    assert "| a | 25.0% | 50.0% [" in text and "| 50.0, 75.0, 25.0 | 50% | 101 | 10 |" in text
    assert all(sentence in text for sentence in [*verdicts(result), *rises(result)])
    assert rises(result)[0].startswith("a changes maj@4 by +37.5 [")
    files = write(result, tmp_path)
    pictures = (tmp_path / "figure5.svg").read_bytes()
    assert [file.name for file in files] == ["figure5.json", "figure5.svg", "figure5.md"]
    assert write(json.loads(files[0].read_text()), tmp_path) == files
    assert (tmp_path / "figure5.svg").read_bytes() == pictures and files[2].read_text() == text

"""`report.html` of hand-made runs."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from pages import REPORT, Page, check
from written import EVIL, answer, jsonl, step, written

from rlft.base import UserError
from rlft.cli.main import main
from rlft.report import write_report
from rlft.report.convergence import convergence


def report(path: Path) -> Page:
    return check(write_report(path), REPORT)


def change(path: Path, **values: Any) -> None:
    summary = json.loads((path / "summary.json").read_text())
    (path / "summary.json").write_text(json.dumps(summary | values))


def test_a_run_s_page_has_its_parts_and_its_numbers(tmp_path: Path) -> None:
    page = report(written(tmp_path / "run", 12))
    assert "grpo raised held-out accuracy by 50.0 points, to 60.0%." in page.text["result"]  # 12 of 20, 2 before
    for figure in ("95%: +40.0 to +60.0", "before 10.0% at the limit of 24 tokens", "4T FLOPs", "11.0 s of training",
                   "40 generated", "20 trained on", "2.00 GB", "One seed"):  # fmt: skip
        assert figure in page.text["result"], figure
    for title in ("Reward", "Held-out accuracy", "KL to the reference", "Entropy", "Completion length"):
        assert title in page.text["curves"]
    assert "Gradient norm" not in page.text["curves"]  # no such metric
    assert "Gradient coefficient" in page.text["coefficients"]
    assert "mean |GC| per token0.40.40.40.40.4" in page.text["coefficients"]
    assert "Of 20 questions, 10 were answered rightly by the trained model alone and 0 by the" in page.text["flips"]
    assert "rlft train recipe=grpo_math 'data.prompt={question}!'" in page.text["commands"]
    assert f"cp {tmp_path}/run/config.yaml {tmp_path}/run-again/" in page.text["commands"]
    assert "_target_: rlft.algorithms.grpo" in page.text["configuration"] and "3.11" in page.text["environment"]


def test_what_a_model_wrote_stays_text(tmp_path: Path) -> None:
    page = report(written(tmp_path / "run", 12))
    assert page.text["samples"].count(EVIL) == 8  # the best and the worst of one prompt, at 4 steps
    assert EVIL in page.text["flips"]
    assert EVIL not in page.source and "alert(1)&quot;" in page.source


def test_samples_are_those_of_steps_spread_over_the_run(tmp_path: Path) -> None:
    path = written(tmp_path / "run", 12, steps=41)
    page = report(path)
    steps = [step for step in range(1, 42) if f"step {step}: 3 completions of 1 prompt," in page.text["samples"]]
    assert steps == [1, 11, 21, 31, 41]
    assert "reward 0 · read as" in page.text["samples"] and "reward 0.5 ·" not in page.text["samples"]
    assert "reward 1 · read as 4 · the answer is 4 · 3 tokens" in page.text["samples"]


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ([-0.3, -0.1], "grpo lowered held-out accuracy by 20.0 points, to 60.0%."),
        ([-0.1, 0.1], "grpo made no difference to held-out accuracy that 20 questions could show."),
    ],
)
def test_the_headline_says_no_more_than_the_interval(tmp_path: Path, interval: list[float], words: str) -> None:
    path = written(tmp_path / "run", 12)
    evaluated = json.loads((path / "summary.json").read_text())["eval"]
    change(path, eval=evaluated | {"difference": sum(interval) / 2, "interval": interval})
    assert words in report(path).text["result"]


def test_a_stopped_run_has_a_page_that_says_how_to_go_on(tmp_path: Path) -> None:
    path = written(tmp_path / "run", 12, steps=3)
    (path / "eval_after.jsonl").unlink()
    evaluated = json.loads((path / "summary.json").read_text())["eval"]
    change(path, status="stopped", steps=2, eval=evaluated | {"accuracy_after": None, "interval": None})
    page = report(path)
    assert "grpo: stopped after 2 of 3 steps; held-out accuracy is measured at the end." in page.text["result"]
    assert f"rlft resume {path}" in page.text["commands"]
    assert "have no answers to the same questions on disk" in page.text["flips"]


def test_a_run_with_a_budget_says_what_it_spent(tmp_path: Path) -> None:
    path = written(tmp_path / "run", 12)
    change(path, budget={"unit": "generated_tokens", "amount": 5000, "spent": 5100, "largest_batch": 200})
    assert "finished after 4 steps, 5.1k of 5k generated tokens" in report(path).source


def test_a_run_that_has_only_just_begun_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("recipe: grpo_math\nseed: 0\ntrainer:\n  steps: 5\n")
    page = report(tmp_path)
    assert "grpo_math: not finished after 0 of 5 steps" in page.text["result"]
    assert "No step has been logged" in page.text["curves"] and "holds no completion" in page.text["samples"]


def test_a_run_without_held_out_questions_says_so(tmp_path: Path) -> None:
    path = written(tmp_path / "run", 12)
    change(path, eval=None)
    assert "held-out accuracy was not measured (trainer.eval_size=0)" in report(path).text["result"]


def test_the_gradient_has_a_chart_and_a_verdict(tmp_path: Path) -> None:
    path = written(tmp_path / "run", 12)
    gradient = {"grad_norm": 0.8, "grad_signal": 0.1, "grad_noise_floor": 0.2, "grad_snr": 0.02, "grad_cosine": 0.01}
    jsonl(path / "metrics.jsonl", [step(n, **gradient, noise_floor_since=31 if n > 70 else None) for n in (70, 71)])
    text = report(path).text["convergence"]
    assert "At the noise floor since step 31: up to step 71 there is no direction" in text
    for words in ("Gradient norm", "estimate of ‖∇J‖", "noise floor", "Signal to noise", "Cosine with the last step"):
        assert words in text
    assert "Gradient norm" not in report(path).text["curves"] and "gradient norm before clipping0.80.8" in text


@pytest.mark.parametrize(
    ("signals", "floors", "since", "words"),
    [
        ([], [], [], "too few steps to tell"),
        ([0.5, 0.3], [0.2, 0.25], [], "Not at the noise floor: at step 9 ‖∇J‖ is about 0.3, where the floor is 0.25."),
        ([0.5, 0.2], [0.2, 0.25], [], "No signal is seen at step 9, where the floor is 0.25, but to say that there is"),
        ([0.5, 0.2], [0.2, 0.25], [(8, 3)], "No signal is seen at step 9"),  # it was said before, and is not now
        ([0.5, 0.2], [0.2, 0.25], [(9, 4)], "At the noise floor since step 4: up to step 9"),
    ],
)
def test_the_verdict_is_that_of_the_last_step(signals: Any, floors: Any, since: Any, words: str) -> None:
    steps = [8, 9][: len(signals)]
    curves = {"grad_signal": (steps, signals), "grad_noise_floor": (steps, floors), "grad_norm": ([8, 9], [1.0, 1.0])}
    curves |= {"noise_floor_since": ([at for at, _ in since], [float(value) for _, value in since])} if since else {}
    assert words in convergence({key: curve for key, curve in curves.items() if curve[0]})


def test_parts_of_the_reward_critic_and_curriculum_have_charts_where_there_are_some(tmp_path: Path) -> None:
    path = written(tmp_path / "run", 12)
    parts = {"reward/part/format": 0.5, "reward/part/math": 0.2, "critic/explained_variance": 0.1}
    parts |= {"curriculum/pass_rate": 0.5, "curriculum/pass_rate/3": 0.5}
    jsonl(path / "metrics.jsonl", [step(n, **parts) for n in (1, 2)])
    text = report(path).text["curves"]
    assert "Parts of the reward" in text and "format" in text and "critic: explained_variance" in text
    assert "curriculum: pass_rate" in text and "pass_rate: 3" not in text


def test_a_last_line_that_a_kill_tore_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "run", 12)
    whole = report(path).text
    with (path / "samples.jsonl").open("a") as file:
        file.write('{"step": 90, "text": "torn')
    assert report(path).text == whole


def test_a_malformed_file_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "run", 12)
    (path / "samples.jsonl").write_text('{"step": 1, "text"\n')
    with pytest.raises(UserError, match=r"samples\.jsonl, line 1: not JSON"):
        write_report(path)
    assert not (path / "report.html").exists()
    with pytest.raises(UserError, match=r"it has no config\.yaml"):
        write_report(tmp_path / "nowhere")


def test_a_page_of_many_samples_is_written_at_once_and_small(tmp_path: Path) -> None:
    path = written(tmp_path / "run", 12, steps=500)
    lines = (path / "samples.jsonl").read_text().splitlines(keepends=True)
    (path / "samples.jsonl").write_text("".join(line * 40 for line in lines))  # 40,000 completions
    jsonl(path / "eval_after.jsonl", [answer(n, True, "long " * 2000) for n in range(200)])
    jsonl(path / "eval_before.jsonl", [answer(n, False, "long " * 2000) for n in range(200)])
    began = time.process_time()
    size = write_report(path).stat().st_size
    assert time.process_time() - began < 1
    assert size < 400_000


def test_commands_allow_what_the_run_was_allowed(tmp_path: Path) -> None:
    path = written(tmp_path / "run", 12)
    change(path, status="stopped")
    environment = json.loads((path / "environment.json").read_text(encoding="utf-8"))
    environment["command"] = ["rlft", "train", "recipe=a", "--plugin", "mine", "--trust-remote-code"]
    (path / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
    text = report(path).text["commands"]
    for command in (f"resume {path}-again", f"resume {path}", f"eval {path}"):
        assert f"rlft {command} --plugin mine --trust-remote-code" in text


def test_the_verb_writes_the_page_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "run", 12)
    assert main(["report", str(path), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"report": str(path / "report.html")} and (path / "report.html").is_file()
    assert err == f"written: {path / 'report.html'}\n"
    assert main(["report", str(path), "x=1"]) == 2
    assert "takes no values" in capsys.readouterr().err
    assert main(["report"]) == 2
    assert "expected one run directory: rlft report RUN_DIR" in capsys.readouterr().err

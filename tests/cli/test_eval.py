"""`eval`: which models it measures on which questions, its own words, and its table."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rlft.base import UserError
from rlft.cli.main import main
from rlft.evaluation.config import EvalConfig
from rlft.evaluation.harness import Score
from rlft.evaluation.sampled import interval_of
from rlft.recipe import build, compose, freeze, own_words
from rlft.recipe.overrides import changed

ROWS = [{"Body": f"Ann has {n} pens.", "Question": "How many has she?", "Answer": float(n)} for n in range(3)]
MEASURE = {"value": 0.5, "low": 0.25, "high": 0.75}


@dataclass
class Asked:
    plan: Any
    file: str
    adapter: str | None
    config: EvalConfig


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Asked]:
    """What would have been asked, in an empty directory with a file of questions."""
    calls: list[Asked] = []

    def evaluate(
        plan: Any, file: str, adapter: str | None, trust_remote_code: bool, asked: EvalConfig
    ) -> dict[str, Any]:
        calls.append(Asked(plan, file, adapter, asked))
        passes = {str(k): MEASURE for k in (1, 2, 4) if k <= asked.samples}
        drawn = {"samples": asked.samples, "avg": MEASURE, "maj": None, "pass": passes, "cut_share": 0.25}
        return {
            "n": 1200, "available": 1200 if adapter else 1319,
            "accuracy": 0.6 if adapter else 0.1, "interval": [0.05, 0.65], "cut_share": 0.125,
            "max_completion_tokens": 24, "sampled": drawn if asked.samples else None,
        }  # fmt: skip

    monkeypatch.setattr("rlft.train.evaluate_plan", evaluate)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    Path("svamp.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return calls


@pytest.fixture
def run_dir(tmp_path: Path) -> Callable[..., str]:
    """Makes the directory of a run that has trained."""

    def make(*words: str, trained: str = "adapter") -> str:
        folder = tmp_path / "run"
        freeze(build(compose(["recipe=grpo_math", *words]).config, folder).config, folder)
        (folder / trained).mkdir()
        return "run"

    return make


def test_of_a_run_the_base_and_what_was_trained(
    run_dir: Callable[..., str], asked: list[Asked], capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_dir()
    assert main(["eval", run, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["trained"]["accuracy"] == 0.6
    assert [line.split() for line in err.splitlines()] == [
        ["95%", "intervals", "base", "trained"],
        ["greedy", "10.0%", "[5.0,", "65.0]", "60.0%", "[5.0,", "65.0]"],
        ["cut", "off", "at", "24", "tokens", "12.5%", "12.5%"],
        ["questions", "1,200", "of", "1,319", "1,200"],
    ]
    assert [(call.file, call.adapter) for call in asked] == [("base", None), ("trained", "run/adapter")]
    assert {call.config for call in asked} == {EvalConfig()}
    Path("run/adapter").rmdir()
    assert main(["eval", run]) == 2
    assert "has no trained model yet" in capsys.readouterr().err


def test_of_a_run_that_trained_every_weight(run_dir: Callable[..., str], asked: list[Asked]) -> None:
    assert main(["eval", run_dir("model.adapter=none", trained="model")]) == 0
    assert [call.plan.model.path for call in asked] == ["embedded", "run/model"]


def test_of_a_recipe(asked: list[Asked], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "recipe=grpo_math", "trainer.eval_size=50"]) == 0
    assert main(["eval", "recipe=grpo_math", "adapter=some/where"]) == 0
    assert [(call.file, call.adapter) for call in asked] == [("base", None), ("adapter", "some/where")]
    assert asked[0].plan.trainer.eval_size == 50
    assert asked[1].plan.source.task == "chain_sum" and asked[1].plan.source.held_out_share == 0.05
    assert "adapter" in capsys.readouterr().out


def test_the_table_of_drawn_answers_leaves_out_what_it_says_already(
    asked: list[Asked], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval.samples=4", "eval.temperature=0.7", "eval.top_p=0.9", "eval.questions=all"]
    assert main(["eval", "recipe=grpo_math", *words]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[2:] == [
        "avg@4 50.0% [25.0, 75.0]",
        "maj@4 no answers to count",
        "pass@2 50.0% [25.0, 75.0]",
        "pass@4 50.0% [25.0, 75.0]",
        "cut off at 24 tokens 12.5% greedy, 25.0% drawn",
        "questions 1,200 of 1,319",
    ]
    assert asked[0].config == EvalConfig("all", 4, 0.7, top_p=0.9)


def test_a_file_of_questions_alone_with_its_columns_mapped_as_the_message_says(
    asked: list[Asked], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "data.eval_file=svamp.jsonl", "model=hub", "model.path=some/model"]
    assert main(words) == 2
    message = capsys.readouterr().err
    assert "the columns Body, Question, Answer" in message and not asked
    mapping = "data.columns='{question: Body+Question, answer: Answer}'"
    assert mapping in message
    assert main([*words, mapping.replace("'", "")]) == 0
    (call,) = asked
    assert call.config.questions == "all"
    assert (call.plan.recipe, call.plan.model.path, call.plan.source.asks) == ("eval", "some/model", "svamp.jsonl")
    assert call.plan.run_dir.parent == Path("runs") and call.plan.run_dir.name.startswith("eval-")


@pytest.mark.parametrize("origin", ["data.train_file=svamp.jsonl", "data.task=gcd"])
def test_without_a_recipe_all_questions_are_asked(origin: str, asked: list[Asked]) -> None:
    columns = "data.columns={question: Question, answer: Answer}"
    assert main(["eval", origin, *([columns] if "file" in origin else [])]) == 0
    assert main(["eval", origin, *([columns] if "file" in origin else []), "data.held_out_share=0.5"]) == 0
    assert [call.plan.source.held_out_share for call in asked] == [1, 0.5]
    assert {call.config.questions for call in asked} == {"all" if "file" in origin else None}


def test_a_number_that_is_typed_counts(asked: list[Asked]) -> None:
    words = ["eval", "data.eval_file=svamp.jsonl", "data.columns={question: Question, answer: Answer}"]
    assert main([*words, "trainer.eval_size=2"]) == main([*words, "eval.questions=1"]) == 0
    assert [(call.config.questions, call.plan.trainer.eval_size) for call in asked] == [(None, 2), (1, 200)]


def test_a_run_is_asked_another_file_and_its_own_answers_stay(run_dir: Callable[..., str], asked: list[Asked]) -> None:
    run = run_dir("data.columns={question: q, prompt: p}")
    words = ["data.eval_file=svamp.jsonl", "data.columns={question: Body+Question, answer: Answer, prompt: Body}"]
    assert main(["eval", run, *words, "data.max_completion_tokens=9"]) == 0
    (base, trained) = (call.file for call in asked)
    assert re.fullmatch("base_svamp-[0-9a-f]{8}", base) and trained == base.replace("base", "trained")
    source = asked[0].plan.source
    assert (source.task, source.eval_file, source.max_completion_tokens) == (None, "svamp.jsonl", 9)
    assert source.columns == {"question": "Body+Question", "answer": "Answer", "prompt": "Body"}
    assert asked[0].plan.run_dir == Path("run") and asked[0].config.questions == "all"


def test_of_another_set_all_questions_are_asked(run_dir: Callable[..., str], asked: list[Asked]) -> None:
    run = run_dir("data.eval_file=svamp.jsonl", "data.validation_share=0.1", "data.evaluate_on=validation")
    words = ["data.train_file=svamp.jsonl", "data.columns={question: Question, answer: Answer}"]
    assert main(["eval", run, *words]) == 0
    source = asked[0].plan.source
    assert (source.task, source.eval_file, source.question_pattern, source.held_out_share) == (None, None, None, 1)
    assert source.evaluate_on == "held_out" and asked[0].config.questions == "all"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["eval.sampels=4"], "unknown key eval.sampels: did you mean eval.samples?"),
        (["eval.samples=many"], "eval.samples: expected an integer, got 'many'"),
        (["eval.samples=-1"], "eval.samples=-1: expected a whole number of at least 0"),
        (["eval.samples=1,2"], "one value is expected"),
        (["eval.temperature=0"], "eval.temperature=0.0: expected a number above 0"),
        (["eval.top_p=0"], "eval.top_p=0.0: expected"),
        (["eval.top_k=-1"], "eval.top_k=-1: expected"),
        (["eval.min_p=1"], "eval.min_p=1.0: expected"),
        (["eval.questions=0"], "eval.questions=0: expected at least 1, or all"),
        (["eval.questions=some"], "eval.questions: expected an integer or all or null"),
        (["data.eval_fil=x"], "did you mean data.eval_file?"),
        (["data.eval_file=nowhere.jsonl"], "nowhere.jsonl does not exist"),
        ([], "none is given. Type e.g. data.train_file=PATH"),
    ],
)
def test_mistakes_are_found_before_anything_is_loaded(
    words: list[str], message: str, asked: list[Asked], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", *words]) == 2
    assert message in capsys.readouterr().err and not asked


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model=hub", "of a frozen recipe values can be changed"),
        ("~data.columns", "of a frozen recipe values can be changed"),
        ("data.task=a,b", "of a frozen recipe values can be changed"),
        ("data.task.size=3", "task is a value of this recipe"),
        ("data.taks=gcd", "did you mean data.task?"),
        ("dta.task=gcd", "did you mean data?"),
        ("adapter=x", "expected one run directory"),
    ],
)
def test_what_cannot_be_changed_of_a_run(
    word: str, message: str, run_dir: Callable[..., str], asked: list[Asked], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", run_dir(), word]) == 2
    assert message in capsys.readouterr().err and not asked


def test_a_mapping_is_merged_and_the_frozen_recipe_stays(run_dir: Callable[..., str], asked: list[Asked]) -> None:
    assert main(["eval", run_dir(), "data.task_settings={max_terms: 3}"]) == 0
    settings = asked[0].plan.source.task_settings
    assert settings == {"min_terms": 2, "max_terms": 3, "min_digits": 2, "max_digits": 2}
    assert asked[0].file.startswith("base_chain_sum-") and asked[0].plan.source.held_out_share == 0.05
    config = {"data": {"task_settings": {"min_terms": 2}}}
    assert changed(config, ["data.task_settings.min_terms=1", "data.task=gcd"])["data"] == {
        "task_settings": {"min_terms": 1}, "task": "gcd",
    }  # fmt: skip
    assert config == {"data": {"task_settings": {"min_terms": 2}}}


def test_own_words_are_taken_out_and_read_like_a_recipe_s() -> None:
    config, rest = own_words(["recipe=x", "+eval.samples=2", "eval.top_p=1", "data.task=eval"], "eval", EvalConfig)
    assert config == EvalConfig(samples=2, top_p=1.0) and rest == ["recipe=x", "data.task=eval"]
    with pytest.raises(UserError, match=r"unknown key eval\.eval"):
        own_words(["eval=3"], "eval", EvalConfig)


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []

    def run(plan: Any, tasks: list[str], file: str, adapter: str | None, limit: int | None, trust: bool) -> list[Score]:
        calls.append((tasks, file, adapter, limit))
        return [Score("sums", "acc", "none", 0.5, 0.1, 25), Score("sums", "bleu", "x", 0.25, None, None)]

    monkeypatch.setattr("rlft.train.harness.run_harness", run)
    monkeypatch.setattr("rlft.train.harness.require_harness", lambda: None)
    return calls


def test_the_harness_is_run_on_the_same_models_and_needs_no_data(
    run_dir: Callable[..., str], asked: list[Asked], harness: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", run_dir(), "--harness", "sums,mine.yaml", "eval.questions=25"]) == 0
    tasks = ["sums", "mine.yaml"]
    assert harness == [(tasks, "base", None, 25), (tasks, "trained", "run/adapter", 25)] and not asked
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    low, high = interval_of(0.5, 0.1**2 * 24, 25)
    cell = f"0.500 [{low:.3f}, {high:.3f}], n=25"
    assert lines[1:] == [f"sums acc {cell} {cell}", "sums bleu (x) 0.250 0.250"]
    assert main(["eval", "--harness", "sums", "--json"]) == 0
    (first, _) = json.loads(capsys.readouterr().out)["base"]
    assert first == {"task": "sums", "metric": "acc", "filter": "none", "value": 0.5, "stderr": 0.1, "n": 25}


def test_the_harness_asks_in_its_own_way(harness: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--harness", "sums", "eval.samples=4"]) == 2
    assert "of the eval.* words only eval.questions=N counts" in capsys.readouterr().err and not harness

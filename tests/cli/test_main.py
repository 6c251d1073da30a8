"""The dispatcher: help at once, mistakes in one message with status 2, one JSON object on stdout."""

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import rlft.cli.main as dispatcher
from rlft import __version__
from rlft.base import RunError
from rlft.cli.main import VERBS, main

HEAVY = ("torch", "hydra", "omegaconf", "transformers", "datasets", "rich", "yaml")


def test_help_imports_nothing_heavy_and_answers_at_once() -> None:
    words = [["--help"], ["--version"], ["trian"], *([verb, "--help"] for verb in VERBS)]
    code = (
        "import sys\nfrom rlft.cli.main import main\n"
        f"print([main(words) for words in {words!r}])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[-1] == "[]"
    assert lines[-2] == str([0, 0, 2] + [0] * len(VERBS))

    def seconds(*words: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "rlft", *words], capture_output=True, check=True)
        return time.perf_counter() - began

    for words in (["--help"], ["train", "--help"]):
        assert min(seconds(*words) for _ in range(3)) < 0.5


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(f"  {verb}" in text for verb in VERBS)
    assert main(["help", "train"]) == 0
    assert "usage: rlft train recipe=NAME" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rlft {__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "there is no command 'trian': did you mean `rlft train`?"),
        (["zzz"], "the commands are train"),
        (["train", "recipe=grpo_math", "algoritm.beta=1"], "did you mean algorithm?"),
        (["train", "recipe=grpo_math", "+algorithm.bta=0.1"], "did you mean algorithm.beta?"),
        (["train", "recipe=grpo_math", "algorithm.label_smoothing=0.1"], "belongs to dpo"),
        (["train", "recipe=grpo_math", "--beta", "0.1"], "write algorithm.beta=0.1"),
        (["train", "recipe=grpo_math", "--label-smoothing=0.1"], "write algorithm.label_smoothing=0.1"),
        (["train", "recipe=grpo_math", "--lam"], "write algorithm.advantage.lam=VALUE"),
        (["train", "recipe=grpo_math", "--trainer.steps", "3"], "write trainer.steps=3"),
        (["train", "recipe=grpo_math", "-x"], "unknown option -x"),
        (["train", "recipe=grpo_mth"], "did you mean recipe=grpo_math?"),
        (["train", "recipe=grpo_math", "trainer.steps=many"], "expected an integer, got 'many'"),
        (["train", "recipe=grpo_gsm8k", "data.train_file=nowhere.jsonl"], "nowhere.jsonl does not exist"),
        (["train", "recipe=grpo_gsm8k", "data.train_file=bad.jsonl"], "bad.jsonl line 2"),
        (["train", "recipe=grpo_math", "algorithm._target_=os.system"], "os.system is refused"),
        (["train", "recipe=grpo_math", "algorithm.beta=0,0.04"], "add -m"),
        (["train", "recipe=grpo_math", "data.task=chain_sm"], "Did you mean chain_sum?"),
        (["train", "grpo_math"], "recipe=grpo_math"),
        (["train", "--config-dir", "nowhere", "recipe=grpo_math"], "there is no such directory"),
        (["train", "--config-dir"], "expected one argument"),
        (["resume"], "expected one run directory"),
        (["resume", "nowhere"], "is not a run directory"),
        (["resume", ".", "algorithm.beta=1"], "only trainer.stop_after=N"),
        (["resume", ".", "trainer.stop_after=x"], "expected an integer"),
        (["eval", "nowhere"], "is not a run directory"),
        (["eval", "a", "recipe=x"], "expected one run directory with key=value, or recipe=NAME"),
        (["compare", "nowhere", "nor_here"], "no such run directory"),
        (["compare", "a", "b=c"], "takes run directories"),
        (["ls", "zzz"], "there is no list of 'zzz'"),
        (["ls", "recipe=x"], "did you mean `rlft show`"),
    ],
)
def test_mistakes_end_in_one_message_and_status_2(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.system", lambda *_: pytest.fail("it was called"))
    monkeypatch.setattr("rlft.train.train", lambda *_, **__: pytest.fail("it was trained"))
    (tmp_path / "bad.jsonl").write_text('{"question": "1+1?", "answer": "#### 2"}\n{"question": \n')
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rlft: ") and err.count("\n") == 1, err
    assert message in err
    assert not (tmp_path / "runs").exists()


def verb_that(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    monkeypatch.setattr(
        dispatcher, "import_module", lambda _: SimpleNamespace(options=lambda parser: None, run=lambda arguments: act())
    )


def fail(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (RunError("gradient is nan"), 1, "rlft: gradient is nan\n"),
        (KeyError("x"), 1, "rlft: KeyError: 'x'\nrlft: set RLFT_TRACEBACK=1 to see where\n"),
        (KeyboardInterrupt("go on with `rlft resume d`"), 130, "go on with `rlft resume d`\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_other_failures(
    error: BaseException, status: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verb_that(monkeypatch, lambda: fail(error))
    assert main(["train"]) == status
    assert capsys.readouterr().err == message


def test_a_traceback_is_there_for_the_asking(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verb_that(monkeypatch, lambda: fail(KeyError("x")))
    monkeypatch.setenv("RLFT_TRACEBACK", "1")
    assert main(["train"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_json_is_one_object_and_the_rest_goes_to_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def chat() -> tuple[int, dict[str, object]]:
        print("for people")
        return 0, {"answer": "π"}

    verb_that(monkeypatch, chat)
    assert main(["train", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"answer": "π"} and out.count("\n") == 1
    assert err == "for people\n"
    verb_that(monkeypatch, lambda: fail(RunError("no")))
    assert main(["train", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"status": "error", "error": "no"}

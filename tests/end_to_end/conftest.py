"""The command line in this process, in a directory of its own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import real_model_dir, tiny_model_dir

from rlft.cli.main import main

Rlft = Callable[..., dict[str, Any]]
TINY = [
    "model=hub", "model.dtype=float32", "model.rank=2", "trainer.device=cpu", "trainer.tokens_per_micro_batch=256",
    "data.task_size=120", "data.held_out_share=0.2", "data.max_completion_tokens=4", "data.samples_per_prompt=3",
    "trainer.prompts_per_step=3", "trainer.eval_size=5", "trainer.eval_long_tokens=6", "trainer.steps=2",
]  # fmt: skip


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with SmolLM2's tokenizer."""
    return tiny_model_dir(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def tiny(tiny_dir: Path) -> list[str]:
    """Overrides that shorten a recipe to a second on the tiny model."""
    return [*TINY, f"model.path={tiny_dir}"]


@pytest.fixture
def rlft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rlft:
    """Runs a command with --json in an empty directory and returns its object, the only thing on its stdout."""
    real_model_dir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> dict[str, Any]:
        status = main([*words, "--json"])
        out = capsys.readouterr().out
        assert status == 0, out
        assert out.count("\n") == 1
        result: dict[str, Any] = json.loads(out)
        return result

    return run

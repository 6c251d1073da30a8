"""A method in a package outside the repository trains without any change here."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlft.cli.main import main

METHOD = '''
"""Somebody's own method: how much better than the rest of its batch a completion is."""

from dataclasses import dataclass

from rlft.base import Algorithm


@dataclass(frozen=True)
class BatchCentred(Algorithm):
    strength: float = 1.0

    @property
    def formula(self):
        return "GC = s·(r - mean r), w = m/Σm"

    def reduction(self, mask, group):
        return mask / mask.sum()

    def prepare(self, batch):
        return batch.replace(advantage=(batch.reward - batch.reward.mean())[:, None] * batch.mask)

    def coefficient(self, batch, logp):
        return self.strength * batch.advantage

    def objective(self, batch, logp):
        return (batch.weight * self.strength * batch.advantage * logp).sum()
'''


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the package `its_package` and its YAML in ./own."""
    (tmp_path / "its_package").mkdir()
    (tmp_path / "its_package" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "its_package" / "methods.py").write_text(METHOD, encoding="utf-8")
    (tmp_path / "own" / "algorithm").mkdir(parents=True)
    text = "# GC = s·(r - mean r).\n_target_: its_package.methods.BatchCentred\nstrength: 2.0\n"
    (tmp_path / "own" / "algorithm" / "mine.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("its_package", "its_package.methods"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_it_trains(outside: Path, rlft: Callable[..., dict[str, Any]], tiny: list[str]) -> None:
    words = ["recipe=grpo_math", "algorithm=mine", "algorithm.strength=3", "reward=format", "reward.match=search"]
    words += ["reward.pattern=u", *tiny, "output_dir=run"]
    summary = rlft("train", "--config-dir", "own", "--plugin", "its_package", *words)
    assert (summary["status"], summary["method"], summary["steps"]) == ("finished", "mine", 2)
    card, config, metrics = (
        (outside / "run" / name).read_text(encoding="utf-8") for name in ("README.md", "config.yaml", "metrics.jsonl")
    )
    assert "algorithm mine: GC = s·(r - mean r), w = m/Σm" in card and "strength: 3.0" in config
    assert '"grad_norm": 0.0,' not in metrics


def test_its_gradient_can_be_proved(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rlft.testing import assert_gradient, make_batch

    monkeypatch.syspath_prepend(outside)
    from its_package.methods import BatchCentred  # type: ignore[import-not-found]

    assert_gradient(BatchCentred(2.0), make_batch())


def test_it_is_not_imported_unless_the_command_line_names_it(
    outside: Path, tiny: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(outside)
    assert main(["train", "--config-dir", "own", "recipe=grpo_math", "algorithm=mine", *tiny]) == 2
    assert "--plugin its_package" in capsys.readouterr().err and "its_package" not in sys.modules

"""A package outside the repository with an algorithm of its own, and the directory of recipes that names it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGIN = '''
from dataclasses import dataclass

import torch
from rlft.base import Algorithm


@dataclass(frozen=True)
class Signed(Algorithm):
    """GC = scale · (2r - 1)."""

    scale: float = 1.0

    @property
    def formula(self):
        return "GC = s·(2r - 1)"

    def reduction(self, mask, group):
        return mask / mask.sum()

    def coefficient(self, batch, logp):
        return self.scale * (2 * batch.reward - 1).unsqueeze(1).expand_as(logp)
'''


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with the package `founders_own` in it and its YAML in ./own."""
    package = tmp_path / "founders_own"
    package.mkdir()
    (package / "__init__.py").write_text(PLUGIN)
    (tmp_path / "own" / "algorithm").mkdir(parents=True)
    (tmp_path / "own" / "algorithm" / "mine.yaml").write_text("# My own.\n_target_: founders_own.Signed\nscale: 0.5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("founders_own", None)

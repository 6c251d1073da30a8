"""The tiny model on disk, and a cache of its own for every test."""

from pathlib import Path

import pytest
from tiny import real_model_dir, tiny_model_dir


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with SmolLM2's tokenizer."""
    real_model_dir()  # before the cache is moved
    return tiny_model_dir(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, tiny_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of sampled completions."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RLFT_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than training a tiny model; a fixture of a wider scope still draws."""
    monkeypatch.setattr("rlft.train.run.plot_run", lambda *_: None)

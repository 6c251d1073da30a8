"""The pretrained model, loaded once."""

from pathlib import Path

import pytest
import torch
from tiny import randomise, tiny_model_dir

from rlft.models.config import ModelConfig
from rlft.models.load import POLICY, Loaded, load


@pytest.fixture(scope="session")
def real() -> Loaded:
    """SmolLM2-135M-Instruct in float32 with an adapter that does something."""
    loaded = load(ModelConfig(dtype="float32", rank=4), 0, torch.device("cpu"), print)
    randomise(loaded.model, POLICY, 0.01)
    return loaded


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with SmolLM2's tokenizer."""
    return tiny_model_dir(tmp_path_factory.mktemp("model") / "tiny")

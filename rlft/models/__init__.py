"""Models, adapters, sampling, and the models beside the policy."""

from rlft.models.config import ModelConfig

__all__ = ["ModelConfig"]

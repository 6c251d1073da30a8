"""Models, adapters, sampling, and the models beside the policy."""

from rlft.models.config import ModelConfig, TeacherConfig
from rlft.models.rollout import VLLM, Native, Rollout

__all__ = ["VLLM", "ModelConfig", "Native", "Rollout", "TeacherConfig"]

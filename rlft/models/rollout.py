"""The recipe's `rollout` node: who draws completions of π_θ and of π_ref."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from rlft.base import DataSource, Processes, Sampler, UserError
from rlft.models.config import ModelConfig
from rlft.models.mismatch import Mismatch

if TYPE_CHECKING:  # recipes are checked without what runs models
    from rlft.models.load import Loaded
    from rlft.models.policy import Policy
    from rlft.models.roles import Reference


@dataclass(frozen=True)
class Setting:
    """What a sampler is made from when a run starts.

    Attributes:
        policy, reference, loaded: π_θ, π_ref, and where the model came from. config: the recipe's `model` node.
        seed: the run's seed. fingerprint: hash of what π_ref's samples depend on.
        processes: of the run. say: prints one line for the user.
        trust_remote_code: let the model's repository run its own code.
    """

    policy: Policy
    reference: Reference
    loaded: Loaded
    config: ModelConfig
    seed: int
    fingerprint: str
    processes: Processes
    say: Callable[[str], None]
    trust_remote_code: bool = False


class Rollout(ABC):
    """Who draws the completions. Subclasses are frozen dataclasses; their fields are the schema of the `rollout` node.

    Attributes:
        correction: what weighs tokens drawn from π_θ, where the engine's log-probabilities are not the trainer's.
    """

    @property
    def correction(self) -> Mismatch | None:
        """See above."""
        return None

    def check(self, source: DataSource, model: ModelConfig, processes: int) -> None:  # noqa: B027  # most fit all
        """Raises UserError for what of a recipe this engine cannot do. Nothing is looked for on the machine."""

    def require(self) -> None:  # noqa: B027
        """Raises UserError if the machine lacks what the engine needs; called before any model is loaded."""

    @abstractmethod
    def sampler(self, setting: Setting) -> Sampler:
        """Returns the sampler, on every process."""


@dataclass(frozen=True)
class Native(Rollout):
    """rlft's own sampler: the model that is trained, in its own process."""

    def sampler(self, setting: Setting) -> Sampler:
        """See Rollout."""
        from rlft.models.sampler import PolicySampler

        s = setting
        return PolicySampler(s.policy, s.reference, s.loaded.chat, s.seed, s.fingerprint, s.processes)


@dataclass(frozen=True)
class VLLM(Rollout):
    """vLLM, in this process or behind a URL.

    Attributes:
        url: of a vLLM server that serves the recipe's model, e.g. http://localhost:8000; null starts vLLM in this
            process, which the extra `vllm` brings.
        served_model: the name the server has for the base model; null takes the first one it lists.
        adapter_dir: a folder that this machine and the server both see, for the adapters handed over to a server; null
            is a temporary folder of this machine.
        timeout: seconds a request to the server may take.
        mismatch: weighs each token drawn from π_θ by min(π/μ, C) ("truncated"), or by π/μ inside [1/C, C] and 0 outside
            ("masked"), μ being what vLLM drew from; see `rlft.models.mismatch`.
        mismatch_cap: C, at least 1.
        max_model_len, gpu_memory_utilization, enforce_eager: vLLM's own settings, in this process: the longest prompt
            and completion together, tokens (null is the model's own limit); the share of the device's memory (on a
            CPU, of the machine's) that it may take beside the trainer; and no compilation, which starts faster and
            runs slower.
    """

    url: str | None = None
    served_model: str | None = None
    adapter_dir: str | None = None
    timeout: float = 600.0
    mismatch: Literal["none", "truncated", "masked"] = "truncated"
    mismatch_cap: float = 2.0
    max_model_len: int | None = None
    gpu_memory_utilization: float = 0.3
    enforce_eager: bool = False

    def __post_init__(self) -> None:
        if self.url is not None and not (urlsplit(self.url).scheme in ("http", "https") and urlsplit(self.url).netloc):
            raise UserError(f"rollout.url={self.url}: expected the address of a server, as http://localhost:8000")
        if not self.mismatch_cap >= 1:
            raise UserError(f"rollout.mismatch_cap={self.mismatch_cap}: expected a number of at least 1")
        if not self.timeout > 0:
            raise UserError(f"rollout.timeout={self.timeout}: expected seconds, more than 0")
        if not 0 < self.gpu_memory_utilization <= 1:
            raise UserError(
                f"rollout.gpu_memory_utilization={self.gpu_memory_utilization}: expected a share above 0 and at most 1"
            )
        if self.max_model_len is not None and self.max_model_len < 2:
            raise UserError(f"rollout.max_model_len={self.max_model_len}: expected at least 2 tokens")

    @property
    def correction(self) -> Mismatch | None:
        """See Rollout."""
        return None if self.mismatch == "none" else Mismatch(self.mismatch, self.mismatch_cap)

    def check(self, source: DataSource, model: ModelConfig, processes: int) -> None:
        """See Rollout."""
        whole = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
        other = [f"data.{k}={got}" for k, v in whole.items() if (got := getattr(source, k, v)) != v]
        if self.mismatch != "none" and source.on_policy and other:
            raise UserError(
                f"rollout.mismatch={self.mismatch} compares log π with vLLM's log-probabilities, and with "
                f"{', '.join(other)} the two are of different distributions: type rollout.mismatch=none, or sample at "
                "data.temperature=1 with all tokens kept"
            )
        if self.url is None and processes > 1:
            raise UserError(
                f"trainer.processes={processes}: vLLM in the trainer's process goes with one process; start a server "
                "(`vllm serve`) and type rollout.url=http://HOST:PORT"
            )
        if model.adapter == "none":
            raise UserError(
                "model.adapter=none: vLLM is handed an adapter after every update, and here there is none; train one "
                "(model.adapter=lora), or type rollout=native"
            )

    def require(self) -> None:
        """See Rollout."""
        if self.url is None:
            from rlft.models.vllm.engine import require_vllm

            require_vllm()

    def sampler(self, setting: Setting) -> Sampler:
        """See Rollout."""
        from rlft.models.vllm.sampler import VLLMSampler

        if self.url is None:
            from rlft.models.vllm.engine import start

            engine = start(
                setting,
                max_model_len=self.max_model_len,
                gpu_memory_utilization=self.gpu_memory_utilization,
                enforce_eager=self.enforce_eager,
            )
        else:
            from rlft.models.vllm.server import connect

            engine = connect(
                setting, self.url, model=self.served_model, adapter_dir=self.adapter_dir, timeout=self.timeout
            )
        return VLLMSampler(engine, setting.loaded.chat, setting.seed, setting.fingerprint, setting.processes)

"""vLLM in this process, handed the adapter merged into the weights."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, util
from typing import Any

from torch import Tensor

from rlft.base import UserError
from rlft.models.adapter import can_merge, merged
from rlft.models.load import POLICY, REFERENCE
from rlft.models.rollout import Setting
from rlft.models.vllm.request import Drawn, Request

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the weights stay in this process: nothing is written or sent
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the trainer's threads are these
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}
"""Set before vLLM is imported, unless the user has set them."""


class LocalEngine:
    """A `vllm.LLM` (see `rlft.models.vllm.sampler.Engine`).

    The weights are merged and loaded in place. On a CPU, where it was measured, loading costs a fraction of a second
    and an adapter beside the weights would make every token many times as slow (docs/vllm.md).
    """

    def __init__(self, llm: Any, parameters: Any, model: Any):
        self.llm, self.parameters, self.model = llm, parameters, model
        self.max_model_len = int(llm.model_config.max_model_len)
        self._holds_reference = False

    def hold(self, reference: bool) -> None:
        """See Engine. π_ref does not change, so it is not loaded twice running."""
        if reference and self._holds_reference:
            return
        with checkpoint_weights(self.model, REFERENCE if reference else POLICY) as tensors:
            self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": tensors})
        self.llm.reset_prefix_cache()  # its keys and values are the old weights'
        self._holds_reference = reference

    def draw(self, requests: list[Request]) -> list[list[Drawn]]:
        """See Engine."""
        prompts = [{"prompt_token_ids": r.prompt} for r in requests]
        settings = [self.parameters(**r.settings, detokenize=False) for r in requests]
        outputs = self.llm.generate(prompts, settings, use_tqdm=False)
        return [[_drawn(o) for o in sorted(output.outputs, key=lambda o: o.index)] for output in outputs]

    def close(self) -> None:
        """See Engine."""
        self.llm.llm_engine.engine_core.shutdown()


def _drawn(output: Any) -> Drawn:
    ids = list(output.token_ids)
    return ids, [at[token].logprob for token, at in zip(ids, output.logprobs, strict=True)]


def require_vllm() -> None:
    """Raises UserError if vLLM is not installed."""
    if util.find_spec("vllm") is None:
        raise UserError(
            "rollout=vllm: vLLM is not installed; type `pip install 'rlft[vllm]'` (on a CPU, vLLM's CPU build), or "
            "name a server that runs it with rollout.url=http://HOST:PORT"
        )


def start(
    setting: Setting, *, max_model_len: int | None, gpu_memory_utilization: float, enforce_eager: bool
) -> LocalEngine:
    """Starts vLLM on the run's model.

    Raises:
        UserError: it does not start with these settings, or the adapter cannot be merged into the weights.
    """
    model, dtype = setting.policy.model, str(setting.loaded.dtype).removeprefix("torch.")
    if dtype == "float64":
        raise UserError("model.dtype=float64: vLLM has no such weights; take float32 or bfloat16, or rollout=native")
    _require_mergeable(model, POLICY)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    vllm: Any = import_module("vllm")
    setting.say("starting vLLM" if enforce_eager else "starting vLLM (it compiles the model: minutes, the first time)")
    try:
        llm = vllm.LLM(
            model=setting.loaded.source,
            revision=setting.config.revision,
            trust_remote_code=setting.trust_remote_code,
            dtype=dtype,
            skip_tokenizer_init=True,
            logprobs_mode="processed_logprobs",  # of the distribution drawn from, temperature and filters included
            max_model_len=max_model_len,
            gpu_memory_utilization=gpu_memory_utilization,
            enforce_eager=enforce_eager,
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"vLLM does not start: {str(error).strip() or type(error).__name__}; its settings here are "
            "rollout.max_model_len, rollout.gpu_memory_utilization and rollout.enforce_eager"
        ) from error
    return LocalEngine(llm, vllm.SamplingParams, model)


@contextmanager
def checkpoint_weights(model: Any, adapter: str) -> Iterator[Iterator[tuple[str, Tensor]]]:
    """Returns a context that gives the weights with an adapter merged into them (the bare ones if the model has no such
    adapter), under their names in the checkpoint."""
    if adapter not in model.peft_config:
        yield _named(model)
        return
    _require_mergeable(model, adapter)
    with merged(model, adapter):
        yield _named(model)


def _require_mergeable(model: Any, adapter: str) -> None:
    if not can_merge(model, adapter):
        raise UserError(
            "rollout=vllm merges the adapter into the weights, and this one is more than plain LoRA on linear layers; "
            "start a server (`vllm serve --enable-lora`) and type rollout.url=http://HOST:PORT, or take rollout=native"
        )


def _named(model: Any) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in model.get_base_model().named_parameters():
        if ".lora_" not in name:
            yield name.replace(".base_layer.", "."), parameter.detach()

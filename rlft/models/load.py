"""From the recipe's `model` node to a model with its adapter, and its chat template."""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rlft.base import UserError, derive_seed
from rlft.models.chat import ChatTemplate
from rlft.models.config import ModelConfig
from rlft.models.dtype import resolve_dtype
from rlft.models.embedded import embedded_model

POLICY, REFERENCE, TEACHER = "default", "reference", "teacher"
"""Names of the trained adapter, of the frozen copy that a run starting from an existing adapter refers to, and of the
frozen one that it is taught by."""


@dataclass(frozen=True)
class Loaded:
    """A model ready to be trained.

    Attributes:
        model: a `PeftModel`, or the bare model if there is no adapter.
        chat: its chat template.
        dtype: as resolved.
        source: the folder or hub id it was loaded from.
        base_hash: hash of the frozen weights. adapter_hash: of the trained ones before the first step.
    """

    model: Any
    chat: ChatTemplate
    dtype: torch.dtype
    source: str
    base_hash: str
    adapter_hash: str


def load(
    config: ModelConfig, seed: int, device: torch.device, say: Callable[[str], None], trust_remote_code: bool = False
) -> Loaded:
    """Loads model and tokenizer and adds the adapter. Raises UserError naming `model.path` if it cannot be found."""
    from transformers import GenerationConfig

    source = embedded_model(config.hub_id, say) if config.path == "embedded" else config.path
    dtype = resolve_dtype(config.dtype, device)
    tokenizer, model = read_model("model.path", source, dtype, config.revision, trust_remote_code)
    if config.chat_template:
        tokenizer.chat_template = _read_template(config.chat_template)
    generation: GenerationConfig = model.generation_config
    chat = ChatTemplate(tokenizer, _ids(tokenizer.eos_token_id) | _ids(generation.eos_token_id))
    base_hash = weights_hash(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # between transformers and peft, nothing a user can act on
        model = add_adapter(model.to(device), config, seed)
    model.eval()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    return Loaded(model, chat, dtype, source, base_hash, tensors_hash(trained))


def read_model(
    key: str, source: str, dtype: torch.dtype, revision: str | None, trust_remote_code: bool
) -> tuple[Any, Any]:
    """Returns the tokenizer and the bare model of a folder or hub id. Raises UserError, by its key in the recipe, if
    there is none."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # loading takes less time than its bar does to read
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code, "revision": revision}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, use_safetensors=True, **options)
    except (OSError, ValueError) as error:
        raise UserError(f"{key}={source}: {_first_line(error)}; give a local folder or a hub id") from error
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()  # or the file stays mapped, beside whatever replaces a weight
    return tokenizer, model


def add_adapter(model: Any, config: ModelConfig, seed: int) -> Any:
    """Returns the model with a trainable adapter, drawn anew or read from a folder, or with all weights trainable."""
    if config.adapter == "none":
        if config.adapter_path:
            raise UserError("model.adapter_path is set and model.adapter=none: drop one of them")
        return model.requires_grad_(True)
    torch.manual_seed(derive_seed(seed, "adapter"))  # before the adapter is drawn, or the seed would not fix it
    model = _read_adapter(model, config.adapter_path) if config.adapter_path else _new_adapter(model, config)
    return _in_its_dtype(model)


def _in_its_dtype(model: Any) -> Any:
    """Adapters compute in the model's dtype; `rlft.models.optimizer` keeps float32 copies of the trained one."""
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(dtype)
    return model


def _read_adapter(model: Any, path: str) -> Any:
    """The adapter to go on with, and a frozen copy of it."""
    model = read_adapter("model.adapter_path", model, path, POLICY, trained=True)
    return read_adapter("model.adapter_path", model, path, REFERENCE)


def read_adapter(key: str, model: Any, path: str, name: str, trained: bool = False) -> Any:
    """Returns the model with a further adapter in PEFT format, frozen unless it is to be `trained`; which one is on
    stays as it was. Raises UserError, by its key in the recipe, if it cannot be read or is another model's."""
    from peft import PeftModel

    for file in ("adapter_config.json", "adapter_model.safetensors"):  # pickled weights are not read
        if not (Path(path) / file).is_file():
            raise UserError(f"{key}={path}: no {file} there")
    options: dict[str, Any] = {"adapter_name": name, "is_trainable": trained, "autocast_adapter_dtype": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between transformers and peft: see `load`
            if isinstance(model, PeftModel):
                on: Any = model.active_adapter
                model.load_adapter(path, **options)
                model.set_adapter(on)
            else:
                model = PeftModel.from_pretrained(model, path, **options)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise UserError(
            f"{key}={path}: {_first_line(error)}; give an adapter in PEFT format made for this model"
        ) from error
    return _in_its_dtype(model)


def _new_adapter(model: Any, config: ModelConfig) -> Any:
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        r=config.rank,
        lora_alpha=int(config.alpha) if float(config.alpha).is_integer() else config.alpha,  # pyright: ignore
        lora_dropout=config.dropout,
        target_modules=config.target_modules,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, settings, adapter_name=POLICY, autocast_adapter_dtype=False)
    except ValueError as error:
        raise UserError(f"model.target_modules={config.target_modules}: {_first_line(error)}") from error


def tensors_hash(tensors: dict[str, torch.Tensor]) -> str:
    """Returns 16 hex digits over names and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def weights_hash(model: nn.Module) -> str:
    """Returns a hash of all weights, from a sample of each tensor (whole models would take seconds per gigabyte)."""
    sample = {}
    for name, p in model.named_parameters():
        flat = p.detach().flatten()
        sample[f"{name}{tuple(p.shape)}{p.dtype}"] = flat[:: max(1, flat.numel() // 4096)].clone()
    return tensors_hash(sample)


def _ids(value: int | list[int] | None) -> set[int]:
    return set() if value is None else {value} if isinstance(value, int) else set(value)


def _read_template(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise UserError(f"model.chat_template={path}: {error.strerror}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

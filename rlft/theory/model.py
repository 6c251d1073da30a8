"""A model without its weights: what its config.json says of its size."""

import copy
import json
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from rlft.base import UserError
from rlft.models.config import ModelConfig, TeacherConfig
from rlft.models.embedded import embedded_model
from rlft.models.flops import Shape
from rlft.models.load import add_adapter
from rlft.models.native.weights import why_not
from rlft.rewards.adapter import read_adapter


@dataclass(frozen=True)
class Model:
    """The sizes that cost anything.

    Attributes:
        shape: what costs arithmetic.
        weights: all of them, without adapters. adapted: those that stand beside an adapter.
        layers, width, inner: L, D and the feed-forward width. vocabulary: V.
        cache: numbers that one token leaves in the key-value cache, 2·L·(key-value heads)·d.
        source: the folder or hub id of the config and the tokenizer. settings: the recipe's `model` node, with an
            existing adapter's rank and modules in place. config: as transformers reads it.
        stored: bytes of a number in the file of the weights, None if the config does not say.
    """

    shape: Shape
    weights: int
    adapted: int
    layers: int
    width: int
    inner: int
    vocabulary: int
    cache: int
    source: str
    settings: ModelConfig
    config: Any
    stored: int | None = None


def read_model(settings: ModelConfig, trust_remote_code: bool = False, node: str = "model") -> Model:
    """Returns the sizes of the recipe's model, or of that of another `node`; of a model on the hub only config.json is
    fetched.

    Raises:
        UserError: there is no such model, or it is no causal language model.
    """
    from transformers import AutoConfig

    source = embedded_model(settings.hub_id, _silent) if settings.path == "embedded" else settings.path
    try:
        config = AutoConfig.from_pretrained(source, revision=settings.revision, trust_remote_code=trust_remote_code)
        stored = getattr(config, "dtype", None)
        if settings.adapter_path:
            settings = _as_adapted(settings, Path(settings.adapter_path), node)
        model = build(config, settings, "meta", trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"{node}.path={source}: {reason}; give a local folder with a config.json, or a hub id"
        ) from error
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    text = config.get_text_config()
    heads = text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // heads
    groups = getattr(text, "num_key_value_heads", None) or heads
    return Model(
        shape=Shape.of(model),
        weights=sum(p.numel() for n, p in base.named_parameters() if "lora_" not in n),
        adapted=sum(m.get_base_layer().weight.numel() for m in base.modules() if hasattr(m, "lora_A")),
        layers=text.num_hidden_layers,
        width=text.hidden_size,
        inner=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        vocabulary=text.vocab_size,
        cache=2 * text.num_hidden_layers * groups * size,
        source=source,
        settings=settings,
        config=config,
        stored=stored.itemsize if isinstance(stored, torch.dtype) else None,
    )


def build(
    config: Any,
    settings: ModelConfig,
    device: torch.device | str,
    dtype: torch.dtype = torch.bfloat16,
    trust_remote_code: bool = False,
) -> Any:
    """Returns the model with its adapter, its weights as they happen to be (none at all on the device "meta")."""
    from transformers import AutoModelForCausalLM, initialization

    with warnings.catch_warnings(), torch.device(device), initialization.no_init_weights():
        warnings.simplefilter("ignore", FutureWarning)  # between transformers and peft, nothing a user can act on
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=trust_remote_code)
        model.tie_weights()
        return add_adapter(model, settings, seed=0)


def read_teacher(config: TeacherConfig, settings: ModelConfig) -> tuple[Shape | None, int]:
    """Returns a teacher's shape, None where it is the recipe's model with the adapter off, and how many weights it has
    beside that model's.

    Raises:
        UserError: there is no such model or adapter.
    """
    if config.path is None and config.adapter_path is None:
        return None, 0
    kind = "none" if config.adapter_path is None else "lora"
    path, revision = config.where(settings)
    own = replace(settings, path=path, revision=revision, adapter=kind, adapter_path=config.adapter_path)
    read = read_model(own, node="teacher")
    apart = config.path is not None or settings.adapter == "none"
    return read.shape, read.shape.adapter + (read.weights if apart else 0)


def is_native(model: Model) -> bool:
    """Returns whether a model runs natively on the CPU; one layer of it is looked at, whose weights are never read."""
    config = copy.deepcopy(model.config)
    cut(config, 1)
    built = build(config, model.settings, "cpu")
    base = built.get_base_model() if hasattr(built, "get_base_model") else built
    return not why_not(base, base.base_model)


def cut(config: Any, layers: int) -> None:
    """Leaves a configuration the first so many layers."""
    text = config.get_text_config()
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]


def reward_shape(path: str) -> Shape:
    """Returns the shape of a reward model, from its config. Raises UserError if there is none at the path."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    try:
        adapter = read_adapter(path)
        config = AutoConfig.from_pretrained(adapter.base if adapter else path)
        with torch.device("meta"):
            return Shape.of(AutoModelForSequenceClassification.from_config(config))
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(f"reward.path={path}: {reason}; give a folder with a config.json, or a hub id") from error


def _as_adapted(settings: ModelConfig, folder: Path, node: str) -> ModelConfig:
    """Returns the settings with rank and modules of an adapter in PEFT format."""
    file = folder / "adapter_config.json"
    if not file.is_file():
        raise UserError(f"{node}.adapter_path={folder}: no adapter_config.json there")
    read = json.loads(file.read_text(encoding="utf-8"))
    return replace(settings, rank=read["r"], target_modules=read["target_modules"], adapter_path=None)


def _silent(line: str) -> None:
    del line

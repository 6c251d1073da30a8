"""Which adapter is on: the trained one, none, a frozen one, or the trained one merged into the weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from rlft.models.load import POLICY


def has_adapter(model: Any) -> bool:
    """Returns whether the model has PEFT adapters."""
    return hasattr(model, "peft_config")


@contextmanager
def only(model: Any, adapter: str | None) -> Iterator[None]:
    """Runs the model with one adapter, or with None of them; what is trainable stays trainable."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if adapter is None:
        with model.disable_adapter():
            yield
    else:
        before = list(model.active_adapters)
        model.base_model.set_adapter(adapter)
        _train_again(trained)
        try:
            yield
        finally:
            model.base_model.set_adapter(before)
    for p in model.parameters():
        p.requires_grad_(False)
    _train_again(trained)


@contextmanager
def merged(model: Any) -> Iterator[None]:
    """Runs the model with the trained adapter merged into its weights, which saves two small products per layer and
    token. Exact: afterwards the weights are the very tensors they were, not a difference."""
    if not has_adapter(model):
        yield
        return
    from peft.tuners.lora import Linear as LoraLinear
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [m for m in model.modules() if isinstance(m, BaseTunerLayer)]
    if not all(isinstance(layer, LoraLinear) and POLICY in layer.lora_A for layer in layers):
        yield  # convolutions, quantised layers: run the adapter beside them
        return
    kept: list[tuple[Any, Tensor]] = []
    with torch.no_grad():
        for layer in layers:
            weight = layer.get_base_layer().weight
            kept.append((weight, weight.data))
            weight.data = (weight.data.float() + layer.get_delta_weight(POLICY).float()).to(weight.dtype) if (
                weight.dtype != torch.float64
            ) else weight.data + layer.get_delta_weight(POLICY)
    try:
        with only(model, None):
            yield
    finally:
        for weight, data in kept:
            weight.data = data


def _train_again(parameters: list[Any]) -> None:
    for p in parameters:
        p.requires_grad_(True)

"""Which adapter is on: the trained one, none, a frozen one, or the trained one merged into the weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rlft.models.load import POLICY


def has_adapter(model: Any) -> bool:
    """Returns whether the model has PEFT adapters."""
    return hasattr(model, "peft_config")


def has_dropout(model: Any) -> bool:
    """Returns whether an adapter drops activations out, by the recipe or by the settings it was read with."""
    drops = (module for name, module in model.named_modules() if ".lora_dropout." in name)
    return any(isinstance(module, nn.Dropout) and module.p > 0 for module in drops)


@contextmanager
def only(model: Any, adapter: str | None) -> Iterator[None]:
    """Runs the model with one adapter, or with None of them; what is trainable stays trainable."""
    trained = [p for p in model.parameters() if p.requires_grad]
    before = list(model.active_adapters)
    try:
        if adapter is None:
            with model.disable_adapter():
                yield
        else:
            model.base_model.set_adapter(adapter)
            _train_again(trained)
            yield
    finally:
        if adapter is not None:
            model.base_model.set_adapter(before)
        model.requires_grad_(False)
        _train_again(trained)


@contextmanager
def merged(model: Any, adapter: str = POLICY) -> Iterator[None]:
    """Runs the model with the trained adapter (or another one) merged into its weights, which saves two small products
    per layer and token. Exact: afterwards the weights are the very tensors they were, not a difference."""
    if not has_adapter(model):
        yield
        return
    layers = _mergeable(model, adapter)
    if not layers:
        yield  # run the adapter beside the weights
        return
    kept: list[tuple[Any, Tensor]] = []
    with torch.no_grad():
        for layer in layers:
            weight = layer.get_base_layer().weight
            kept.append((weight, weight.data))
            wide = torch.promote_types(weight.dtype, torch.float32)
            weight.data = (weight.data.to(wide) + layer.get_delta_weight(adapter).to(wide)).to(weight.dtype)
    try:
        with only(model, None):
            yield
    finally:
        for weight, data in kept:
            weight.data = data


def can_merge(model: Any, adapter: str = POLICY) -> bool:
    """Returns whether `merged` merges an adapter, or would run it beside the weights."""
    return bool(_mergeable(model, adapter))


def _mergeable(model: Any, adapter: str) -> list[Any]:
    """Returns the adapter's layers, or none if one of them is more than a sum onto weights of its own: a convolution, a
    quantised layer, DoRA, a bias, a head tied to the embedding, a module trained whole. Linear layers that only another
    adapter has are left alone."""
    from peft.tuners.lora import Linear as LoraLinear
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    if any(isinstance(m, AuxiliaryTrainingWrapper) for m in model.modules()):
        return []
    embedding = model.get_base_model().get_input_embeddings().weight
    tuned = (m for m in model.modules() if isinstance(m, BaseTunerLayer))
    layers = [m for m in tuned if not isinstance(m, LoraLinear) or adapter in m.lora_A]
    plain = all(
        isinstance(layer, LoraLinear)
        and adapter not in layer.lora_variant
        and not layer.lora_bias.get(adapter)
        and layer.get_base_layer().weight is not embedding
        for layer in layers
    )
    return layers if plain else []


def _train_again(parameters: list[Any]) -> None:
    for p in parameters:
        p.requires_grad_(True)

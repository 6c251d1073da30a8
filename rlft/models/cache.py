"""A key-value cache for sampling: buffers allocated once, rows that can be dropped."""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


class BufferLayer(DynamicLayer):
    """One layer's keys and values in buffers with room for `capacity` positions, so that a new token copies nothing."""

    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor, capacity: int):
        super().__init__()
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True
        self._store = [_roomy(keys, capacity), _roomy(values, capacity)]
        self._view(keys.shape[2])

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Writes the new keys and values and returns all so far."""
        start = self.keys.shape[2]
        stop = start + key_states.shape[2]
        self._store[0][:, :, start:stop] = key_states
        self._store[1][:, :, start:stop] = value_states
        self._view(stop)
        return self.keys, self.values

    def keep(self, rows: Tensor) -> None:
        """Drops every row but these [N] (long)."""
        length = self.keys.shape[2]
        capacity = self._store[0].shape[2]
        self._store = [_roomy(part[rows, :, :length], capacity) for part in self._store]
        self._view(length)

    def _view(self, length: int) -> None:
        self.keys, self.values = (part[:, :, :length] for part in self._store)


def expand_cache(prompt: Cache, group: Tensor, capacity: int) -> Cache:
    """Returns the cache of prompts [K] repeated for rows [B] by group index, with room for `capacity` positions."""
    layers: Any = prompt.layers
    rows: Any = [BufferLayer(layer.keys[group], layer.values[group], capacity) for layer in layers]
    return Cache(layers=rows)


def keep_rows(cache: Cache, rows: Tensor) -> None:
    """Drops every row of a cache of `expand_cache` but these [N] (long)."""
    layers: Any = cache.layers
    for layer in layers:
        layer.keep(rows)


def _roomy(part: Tensor, capacity: int) -> Tensor:
    rows, heads, length, width = part.shape
    store = torch.empty(rows, heads, capacity, width, dtype=part.dtype, device=part.device)
    store[:, :, :length] = part
    return store

"""Decoding through transformers: a key-value cache in buffers allocated once, whose rows can be dropped; or none."""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from rlft.models.decode import left_padded
from rlft.models.policy import Policy


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


class CachedDecoder:
    """One prefill per query, its cache expanded to the query's rows."""

    def __init__(self, policy: Policy):
        self.policy = policy
        self.logits = policy.logits

    def start(self, prompts: list[list[int]], count: int, limit: int) -> Tensor:
        """See `rlft.models.decode.Decoder`."""
        ids, mask = left_padded(prompts, self.policy.device)
        cache = DynamicCache()  # of whole layers: a sliding window is the mask's affair
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        out = self.policy.decoder(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache)
        group = torch.arange(len(prompts), device=ids.device).repeat_interleave(count)
        self.cache = expand_cache(cache, group, ids.shape[1] + limit)
        self.mask, self.position = mask[group], positions[group, -1:]
        return out.last_hidden_state[group, -1]

    def advance(self, token: Tensor) -> Tensor:
        """See `rlft.models.decode.Decoder`."""
        self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], 1)
        self.position = self.position + 1
        return self.policy.decoder(
            input_ids=token[:, None],
            attention_mask=self.mask,
            position_ids=self.position,
            past_key_values=self.cache,
        ).last_hidden_state[:, -1]

    def keep(self, rows: Tensor) -> None:
        """See `rlft.models.decode.Decoder`."""
        keep_rows(self.cache, rows)
        self.mask, self.position = self.mask[rows], self.position[rows]


class WholeDecoder:
    """Every row with its whole prompt at every token, for models whose cache cannot be shared: slow, and right."""

    def __init__(self, policy: Policy):
        self.policy = policy
        self.logits = policy.logits

    def start(self, prompts: list[list[int]], count: int, limit: int) -> Tensor:
        """See `rlft.models.decode.Decoder`."""
        self.rows = [list(p) for p in prompts for _ in range(count)]
        return self._states()

    def advance(self, token: Tensor) -> Tensor:
        """See `rlft.models.decode.Decoder`."""
        for row, new in zip(self.rows, token.tolist(), strict=True):
            row.append(new)
        return self._states()

    def keep(self, rows: Tensor) -> None:
        """See `rlft.models.decode.Decoder`."""
        self.rows = [self.rows[i] for i in rows.tolist()]

    def _states(self) -> Tensor:
        ids, mask = left_padded(self.rows, self.policy.device)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        out = self.policy.decoder(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)
        return out.last_hidden_state[:, -1]


def _roomy(part: Tensor, capacity: int) -> Tensor:
    rows, heads, length, width = part.shape
    store = torch.empty(rows, heads, capacity, width, dtype=part.dtype, device=part.device)
    store[:, :, :length] = part
    return store

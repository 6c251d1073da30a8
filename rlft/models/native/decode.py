"""Decoding on the native path: merged and packed weights, prompts' keys once per query, buffers allocated once."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlft.models.native import block
from rlft.models.native.attention import Heads
from rlft.models.native.layout import lay_out_prompts
from rlft.models.native.model import Native
from rlft.models.native.weights import Layer, Linear

ROOM = 32  # tokens that the buffers of keys and values grow by

_flash: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


@dataclass
class Prompts:
    """Where the rows being decoded find their prompts.

    Attributes:
        slot: [B] each row's place among the K·G places of K queries with at most G rows each.
        count, most: K and G. full: whether every place is taken.
        mask: [K, 1, 1, P] 0, and -inf where a prompt is shorter; None if all are as long.
    """

    slot: Tensor
    count: int
    most: int
    full: bool
    mask: Tensor | None


@dataclass
class Memory:
    """One block's keys and values: of the prompts [2, K, groups, P, size], and of what was decoded so far, in a buffer
    [2, B, groups, room, size] with zeros behind."""

    prompt: Tensor
    own: Tensor


class NativeDecoder:
    """Decodes with the adapters that are on when it is made, summed into a copy of the weights.

    The rows of a query attend to its prompt's keys together. To each row's own softmax the whole prompt is one more
    key: its score is the log-sum-exp of the prompt's, its value what was attended to there.
    """

    def __init__(self, native: Native, head: Linear):
        self.native, self.head = native, head.merged()
        self.layers = [layer.merged() for layer in native.layers()]

    def start(self, prompts: list[list[int]], count: int, limit: int) -> Tensor:
        """Runs prompts [K] once and makes room for `count` rows each of up to `limit` tokens; returns the state [B, D]
        that each row's first token comes from."""
        native, heads = self.native, self.native.heads
        layout, place, inside = lay_out_prompts(prompts, self.device)
        setting = native.setting(layout)
        lengths, place = inside.sum(1), place.to(self.device)
        rows = len(prompts) * count
        self.owner = torch.arange(len(prompts)).repeat_interleave(count)
        self.position = lengths[self.owner].to(self.device)
        self.length = 0
        h = native.decoder.embed_tokens(layout.ids)
        self.memory: list[Memory] = []
        for layer in self.layers:
            h, kept = block.forward(h, layer, setting)
            keys = kept.qkv[:, heads.queries :].unflatten(1, (2, heads.groups, heads.size))
            room = keys.new_zeros(2, rows, heads.groups, min(ROOM, limit), heads.size)
            self.memory.append(Memory(keys[place].permute(2, 0, 3, 1, 4).contiguous(), room))
        self.inside = inside
        self._place()
        return native.decoder.norm(h[layout.outputs])[self.owner]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.native.decoder.embed_tokens.weight.device

    def logits(self, hidden: Tensor) -> Tensor:
        """Returns the logits [B, V] of states [B, D]."""
        return self.head(hidden)

    def advance(self, token: Tensor) -> Tensor:
        """Takes each row's new token [B] and returns the state [B, D] that its next one comes from."""
        native, heads = self.native, self.native.heads
        cos, sin = native.rotation(self.position)
        h = native.decoder.embed_tokens(token)
        if self.length == self.memory[0].own.shape[3]:
            for memory in self.memory:
                memory.own = torch.nn.functional.pad(memory.own, (0, 0, 0, ROOM))
        for layer, memory in zip(self.layers, self.memory, strict=True):
            h = self._block(h, layer, memory, heads, cos, sin)
        self.length += 1
        self.position = self.position + 1
        return native.decoder.norm(h)

    def keep(self, rows: Tensor) -> None:
        """Drops every row but these [N] (long), and the prompts of queries none of whose rows goes on."""
        self.owner, self.position = self.owner[rows.cpu()], self.position[rows]
        queries, self.owner = self.owner.unique(return_inverse=True)
        fewer = len(queries) < len(self.inside)
        self.inside = self.inside[queries]
        for memory in self.memory:
            memory.own = memory.own[:, rows]
            memory.prompt = memory.prompt[:, queries.to(self.device)] if fewer else memory.prompt
        self._place()

    def _place(self) -> None:
        """Gives each row its slot."""
        counts = self.owner.bincount(minlength=len(self.inside))
        first = counts.cumsum(0) - counts
        most = int(counts.max())
        slot = self.owner * most + torch.arange(len(self.owner)) - first[self.owner]
        mask = None
        if not bool(self.inside.all()):
            mask = torch.zeros(self.inside.shape, dtype=self.layers[0].norm1.dtype)
            mask = mask.masked_fill(~self.inside, -math.inf)[:, None, None].to(self.device)
        self.prompts = Prompts(slot.to(self.device), len(self.inside), most, len(slot) == most * len(counts), mask)

    def _block(self, h: Tensor, layer: Layer, memory: Memory, heads: Heads, cos: Tensor, sin: Tensor) -> Tensor:
        qkv = block.project(h, layer, heads, cos, sin)[0]
        q, new = qkv.split([heads.queries, 2 * heads.keys], 1)
        q = q.unflatten(1, (heads.groups, heads.fold, heads.size))
        memory.own[:, :, :, self.length] = new.unflatten(1, (2, heads.groups, heads.size)).transpose(0, 1)
        past, past_lse = self._past(q, memory)
        keys, values = memory.own.flatten(1, 2)
        wide = past_lse.dtype if heads.precise else q.dtype
        scaled = q.flatten(0, 1).to(wide) * heads.size**-0.5
        scores = past_lse.new_empty(len(keys), heads.fold, 1 + keys.shape[1])
        scores[:, :, 0] = past_lse.flatten(0, 1)
        # All the room goes through the products: a part of it would be copied first.
        scores[:, :, 1:] = torch.bmm(scaled, keys.to(wide).transpose(1, 2))
        scores[:, :, 2 + self.length :] = -math.inf
        p = torch.softmax(scores, -1)
        context = torch.bmm(p[:, :, 1:].to(values.dtype), values).to(p.dtype)
        context.addcmul_(past.flatten(0, 1).to(p.dtype), p[:, :, :1])
        return block.feed_forward(layer.out(context.to(h.dtype).view(len(h), -1), h), layer)[0]

    def _past(self, q: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Attends to the prompts; returns values [B, groups, fold, size] and log-sum-exp [B, groups, fold]."""
        at, heads = self.prompts, self.native.heads
        slots = q
        if not at.full:
            slots = q.new_zeros(at.count * at.most, heads.groups, heads.fold, heads.size)
            slots[at.slot] = q
        folded = slots.unflatten(0, (at.count, at.most)).transpose(1, 2).flatten(2, 3)
        out, lse = _flash(folded, *memory.prompt, 0.0, False, attn_mask=at.mask)
        values = out.unflatten(2, (at.most, heads.fold)).transpose(1, 2).flatten(0, 1)
        sums = lse.unflatten(2, (at.most, heads.fold)).transpose(1, 2).flatten(0, 1)
        return (values, sums) if at.full else (values[at.slot], sums[at.slot])

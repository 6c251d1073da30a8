"""The native path through a whole decoder."""

from typing import Any

import torch
from torch import Tensor

from rlft.base import Batch
from rlft.models.native import block
from rlft.models.native.attention import Heads
from rlft.models.native.layout import Layout, lay_out
from rlft.models.native.weights import Layer, join, read_layer, why_not


class Native:
    """Runs a transformers decoder of the Llama family on its own weights, without its code.

    Attributes:
        decoder: the transformers model below the head. heads: of its attention.
        recompute: whether backward runs each block again, which keeps little more than one state per block.
    """

    def __init__(self, decoder: Any):
        config = decoder.config
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        groups = config.num_key_value_heads
        self.decoder = decoder
        biased = decoder.layers[0].self_attn.k_proj.bias is not None
        self.heads = Heads(groups, config.num_attention_heads // groups, size, precise=biased)
        self.recompute = False

    def layers(self) -> list[Layer]:
        """Returns the blocks' weights with the adapters that are on now."""
        return [read_layer(layer) for layer in self.decoder.layers[: self.decoder.config.num_hidden_layers]]

    def setting(self, layout: Layout) -> block.Setting:
        """Returns what all blocks share on a layout."""
        cos, sin = self.rotation(layout.positions)
        return block.Setting(layout, self.heads, cos, sin, self.recompute)

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Returns cos and sin [N, 1, size / 2] of positions [N], wide, as the model itself rounds them."""
        weight = self.decoder.embed_tokens.weight
        tables = self.decoder.rotary_emb(weight, positions[None])
        wide = torch.promote_types(weight.dtype, torch.float32)
        cos, sin = (t[0, :, None, : self.heads.size // 2].to(wide) for t in tables)
        return cos, sin

    def hidden(self, batch: Batch) -> Tensor:
        """Returns the last hidden state [M, D] of the position before each trained token, in the mask's order."""
        layout = lay_out(batch)
        setting = self.setting(layout)
        h = self.decoder.embed_tokens(layout.ids).detach()
        for layer in self.layers():
            factors = layer.factors()
            if torch.is_grad_enabled() and any(t.requires_grad for t in (h, *factors)):  # h: adapters below, none here
                h = block.Block.apply(h, layer, setting, *factors)
            else:
                h = block.forward(h, layer, setting)[0]
        return self.decoder.norm(h.index_select(0, layout.outputs))


def native_model(model: Any, decoder: Any) -> Native | str:
    """Returns the native path of a model, or why it has none."""
    reason = why_not(model, decoder)
    if reason:
        return reason
    for layer in decoder.layers:
        join(layer)
    return Native(decoder)

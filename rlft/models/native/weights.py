"""The weights of a Llama-like model as the native path wants them: products that share an input stand in one matrix."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
ROPES = ("default", "linear", "llama3", "yarn")  # tables that do not depend on how long a sequence is


@dataclass
class Low:
    """One low-rank part of a product: y[:, out] += scale · (x · downᵀ) · upᵀ.

    Attributes:
        down: [r, D]. up: [width of out, r]. out: columns of y. scale: LoRA's alpha / r.
    """

    down: Tensor
    up: Tensor
    out: slice
    scale: float


@dataclass
class Linear:
    """y = x · weightᵀ + bias + low-rank parts.

    Attributes:
        weight: [E, D], None if it is packed. bias: [E] or None. parts: of the adapters that are on.
        down, up: the parts' factors side by side, [R, D] and [E, R], the scale in `up`; None without parts.
        packed: the weight in oneDNN's own order, for products of few rows.
    """

    weight: Tensor | None
    bias: Tensor | None
    parts: tuple[Low, ...] = ()
    down: Tensor | None = None
    up: Tensor | None = None
    packed: Tensor | None = None

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """Returns y [N, E], added to `onto` [N, E] if given."""
        if self.packed is not None:
            if onto is not None:
                return torch.ops.mkldnn._linear_pointwise.binary(x, onto, self.packed, self.bias, "add")
            return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
        assert self.weight is not None
        y = functional.linear(x, self.weight, self.bias) if onto is None else self._onto(x, onto)
        return y if self.down is None or self.up is None else y.addmm_(x @ self.down.T, self.up.T)

    def _onto(self, x: Tensor, onto: Tensor) -> Tensor:
        assert self.weight is not None
        y = torch.addmm(onto, x, self.weight.T)
        return y if self.bias is None else y.add_(self.bias)

    def backward(self, dy: Tensor, x: Tensor, wants_input: bool = True) -> tuple[Tensor | None, list[Tensor]]:
        """Returns the gradient of x [N, D], if wanted, and of each part's factors: down, up, down, up, …"""
        assert self.weight is not None
        dx = dy @ self.weight if wants_input else None
        if self.down is None or self.up is None:
            return dx, []
        low, inner = dy @ self.up, x @ self.down.T
        if dx is not None:
            dx.addmm_(low, self.down)
        d_down = low.T @ x
        grads: list[Tensor] = []
        at = 0
        for part in self.parts:
            rank = slice(at, at + part.down.shape[0])
            grads += [d_down[rank], (dy[:, part.out].T @ inner[:, rank]).mul_(part.scale)]
            at = rank.stop
        return dx, grads

    def merged(self) -> "Linear":
        """Returns a product without parts, the weight summed in float32 at least, packed where that is faster."""
        weight = self.weight
        assert weight is not None
        if self.down is not None and self.up is not None:
            wide = torch.promote_types(weight.dtype, torch.float32)
            weight = torch.addmm(weight.to(wide), self.up.to(wide), self.down.to(wide)).to(weight.dtype)
        packed = pack(weight)
        return Linear(weight if packed is None else None, self.bias, packed=packed)


@dataclass
class Layer:
    """One decoder block.

    Attributes:
        norm1, norm2: [D] scales of the two RMS norms. eps: theirs.
        qkv, out, gate_up, down: the four products.
        q_norm, k_norm: [head size], of Qwen3, or None. head_eps: theirs.
    """

    norm1: Tensor
    norm2: Tensor
    eps: float
    qkv: Linear
    out: Linear
    gate_up: Linear
    down: Linear
    q_norm: Tensor | None
    k_norm: Tensor | None
    head_eps: float

    def factors(self) -> list[Tensor]:
        """Returns the adapters' factors in the order of the gradients: qkv, out, gate_up, down."""
        products = (self.qkv, self.out, self.gate_up, self.down)
        return [t for linear in products for part in linear.parts for t in (part.down, part.up)]

    def merged(self) -> "Layer":
        """Returns the block with its adapters summed into the weights."""
        products = {name: getattr(self, name).merged() for name in ("qkv", "out", "gate_up", "down")}
        rest = {name: getattr(self, name) for name in ("norm1", "norm2", "eps", "q_norm", "k_norm", "head_eps")}
        return Layer(**products, **rest)


def pack(weight: Tensor) -> Tensor | None:
    """Returns the weight reordered for oneDNN, or None where its plain order serves as well, or the processor has no
    instructions for it."""
    able = weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and packs()
    return torch.ops.mkldnn._reorder_linear_weight(weight, None) if able else None


def packs() -> bool:
    """Returns whether this processor multiplies packed bfloat16 matrices."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def read_layer(layer: Any) -> Layer:
    """Returns a transformers decoder layer's weights and its active adapters."""
    attention, mlp = layer.self_attn, layer.mlp
    q_norm, k_norm = getattr(attention, "q_norm", None), getattr(attention, "k_norm", None)
    return Layer(
        norm1=layer.input_layernorm.weight,
        norm2=layer.post_attention_layernorm.weight,
        eps=_eps(layer.input_layernorm),
        qkv=_joined([attention.q_proj, attention.k_proj, attention.v_proj]),
        out=_joined([attention.o_proj]),
        gate_up=_joined([mlp.gate_proj, mlp.up_proj]),
        down=_joined([mlp.down_proj]),
        q_norm=None if q_norm is None else q_norm.weight,
        k_norm=None if k_norm is None else k_norm.weight,
        head_eps=0.0 if q_norm is None else _eps(q_norm),
    )


def read_head(head: Any) -> Linear:
    """Returns a language-model head without an adapter."""
    return Linear(head.weight.detach(), None if head.bias is None else head.bias.detach())


def join(layer: Any) -> None:
    """Lets the weights of products that share an input stand in one matrix each; the modules keep views of it."""
    attention, mlp = layer.self_attn, layer.mlp
    for modules in ([attention.q_proj, attention.k_proj, attention.v_proj], [mlp.gate_proj, mlp.up_proj]):
        bases = [_base(m) for m in modules]
        whole = torch.cat([b.weight.data for b in bases])
        for base, part in zip(bases, whole.split([b.weight.shape[0] for b in bases]), strict=True):
            base.weight.data = part


def why_not(model: Any, decoder: Any) -> str:
    """Returns what keeps a model from the native path, "" if nothing does."""
    config = model.config
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    windowed = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    if config.model_type not in FAMILIES:
        return f"{config.model_type} is none of {', '.join(FAMILIES)}"
    if rope not in ROPES or kinds != {"full_attention"} or windowed or config.hidden_act != "silu":
        return "its attention or activation is of another kind"
    if next(decoder.parameters()).device.type != "cpu":
        return "it is written for the CPU"
    frozen = (p for n, p in decoder.named_parameters() if "lora_" not in n)
    if any(p.requires_grad for p in frozen):
        return "weights of its own are trained"
    if type(decoder.embed_tokens) is not nn.Embedding:
        return "its embedding has an adapter"
    for layer in decoder.layers:
        for module in (*_attention(layer), *_mlp(layer)):
            if reason := _unfit(module):
                return reason
    return ""


def _attention(layer: Any) -> list[Any]:
    a = layer.self_attn
    return [a.q_proj, a.k_proj, a.v_proj, a.o_proj]


def _mlp(layer: Any) -> list[Any]:
    return [layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj]


def _unfit(module: Any) -> str:
    """Says why a module is not a plain linear layer with plain LoRA on it."""
    from peft.tuners.lora import Linear as LoraLinear

    if type(module) is nn.Linear:
        return ""
    if type(module) is not LoraLinear or type(module.base_layer) is not nn.Linear:
        return f"a {type(module).__name__} is not a linear layer with or without LoRA"
    drops = any(isinstance(d, nn.Dropout) and d.p > 0 for d in module.lora_dropout.values())
    variant = bool(module.lora_variant) or any(module.lora_bias.values()) or module.fan_in_fan_out
    return "its adapter has dropout" if drops else "its adapter is more than two factors" if variant else ""


def _joined(modules: list[Any]) -> Linear:
    bases = [_base(m) for m in modules]
    weight = _whole([b.weight for b in bases])
    biases = [b.bias for b in bases]
    bias = None
    if any(b is not None for b in biases):
        sized = zip(biases, bases, strict=True)
        bias = torch.cat([weight.new_zeros(base.weight.shape[0]) if b is None else b for b, base in sized])
    parts: list[Low] = []
    at = 0
    for module, base in zip(modules, bases, strict=True):
        out = slice(at, at + base.weight.shape[0])
        parts += _parts(module, out)
        at = out.stop
    if not parts:
        return Linear(weight, bias)
    down = torch.cat([part.down.detach() for part in parts])
    up = weight.new_zeros(weight.shape[0], down.shape[0])
    at = 0
    for part in parts:
        rank = part.down.shape[0]
        up[part.out, at : at + rank] = part.up.detach() * part.scale
        at += rank
    return Linear(weight, bias, tuple(parts), down, up)


def _parts(module: Any, out: slice) -> list[Low]:
    if not hasattr(module, "base_layer") or module.disable_adapters:
        return []
    return [
        Low(module.lora_A[name].weight, module.lora_B[name].weight, out, module.scaling[name])
        for name in module.active_adapters
        if name in module.lora_A
    ]


def _whole(weights: list[Tensor]) -> Tensor:
    """Returns the weights below each other, without a copy if they are views of one matrix as `join` leaves them."""
    first = weights[0].detach()
    rows = sum(w.shape[0] for w in weights)
    at = first.data_ptr()
    for weight in weights:
        if weight.data_ptr() != at:
            return torch.cat([w.detach() for w in weights])
        at += weight.numel() * weight.element_size()
    return first.as_strided((rows, first.shape[1]), (first.shape[1], 1))


def _base(module: Any) -> Any:
    return getattr(module, "base_layer", module)


def _eps(norm: Any) -> float:
    return norm.variance_epsilon if hasattr(norm, "variance_epsilon") else norm.eps

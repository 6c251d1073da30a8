"""What a decoder's passes cost: floating-point operations in closed form, from its weights and the tokens it reads.

A product of a vector with a matrix is two operations a weight. So a token's forward pass is 2 operations per weight
(Kaplan et al., arXiv 2001.08361, Table 1), the gradient of its activations 2 more, and that of the weights another 2
where they are trained. Attention adds 4 operations per key attended and unit of width, forward; backward takes 2.5
times that, since the scores are computed again (Dao, arXiv 2307.08691, section 4.1). Norms, activations and the
optimiser are element by element and are left out, as `torch.utils.flop_counter` leaves them out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from rlft.base import Batch
from rlft.models.load import POLICY
from rlft.models.native.layout import WORTH, opening_of


@dataclass(frozen=True)
class Shape:
    """What of a model costs arithmetic; a model without storage (device "meta") has it too.

    Attributes:
        body: weights of the matrices that every token goes through; of experts, those that a token is routed to.
        head: weights of the language-model head, V·D, or of a classifier's.
        adapter: weights of the trained LoRA matrices, 0 without them. whole: all weights are trained instead.
        merge: operations that add the adapter onto the weights it stands beside.
        attention: Σ over layers of the queries' width, L·H·d.
    """

    body: float
    head: int
    adapter: int
    merge: float
    attention: int
    whole: bool

    @classmethod
    def of(cls, model: Any, adapter: str = POLICY) -> "Shape":
        """Returns the shape of a causal language model or of a classifier, bare or with PEFT adapters, of which the
        named one is meant."""
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        config = base.config.get_text_config()
        named = dict(base.named_parameters())
        head = _head(base)
        tables = {id(m.weight) for m in base.modules() if isinstance(m, nn.Embedding)} | {id(head)}
        body = sum(
            p.numel() * (_routed(config) if ".experts." in name else 1.0)
            for name, p in named.items()
            if p.ndim > 1 and id(p) not in tables and "lora_" not in name
        )
        adapters = {name: p for name, p in named.items() if f".{adapter}." in name and "lora_" in name}
        pairs = [(p, named[n.replace("lora_A", "lora_B")]) for n, p in adapters.items() if "lora_A" in n]
        heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        return cls(
            body=body,
            head=0 if head is None else head.numel(),
            adapter=sum(p.numel() for p in adapters.values()),
            merge=sum(2.0 * a.numel() * len(b) for a, b in pairs),
            attention=config.num_hidden_layers * heads * width,
            whole=not adapters,
        )

    def forward(self, tokens: "Tokens", adapter: bool = True, head: bool = True) -> float:
        """Returns the FLOPs of scoring tokens: 2 per weight and position, 2·V·D per scored token, and attention.

        >>> Shape(body=100, head=30, adapter=5, merge=0, attention=8, whole=False).forward(Tokens(3, 6, 2))
        942
        """
        weights = self.body + (self.adapter if adapter else 0)
        scored = 2 * self.head * tokens.scored if head else 0
        return 2 * weights * tokens.positions + 4 * self.attention * tokens.keys + scored

    def backward(
        self, tokens: "Tokens", head: bool = True, whole: bool | None = None, recompute: bool = False
    ) -> float:
        """Returns the FLOPs of the gradient: that of the activations, of the trained weights, and of the scored hidden
        states (which `rlft.ops.linear_logp` finds in its forward pass). A trained head is also computed once more.

        Args:
            tokens: what went forward.
            head: whether tokens were scored by the language-model head.
            whole: whether all weights are trained; None takes the policy's way, a critic always has an adapter.
            recompute: whether the blocks run forward once more, because their activations were not kept.
        """
        whole = self.whole if whole is None else whole
        weights = 2 * self.body * (2 if whole else 1) + 4 * (0 if whole else self.adapter)
        scored = 2 * self.head * (3 if whole else 1) * tokens.scored if head else 0
        again = self.forward(tokens, head=False) if recompute else 0
        return weights * tokens.positions + 10 * self.attention * tokens.keys + scored + again


@dataclass(frozen=True)
class Tokens:
    """Tokens as a pass reads them.

    Attributes:
        positions: inputs of the model: prompts once per query, completions without their last token.
        keys: Σ over the inputs of the keys each attends to, itself among them.
        scored: tokens whose distribution is computed.
    """

    positions: float = 0
    keys: float = 0
    scored: float = 0

    @classmethod
    def of(cls, batch: Batch, shared: bool = True) -> "Tokens":
        """Returns what a batch's scoring reads, its trained tokens being scored. Prompts that are not `shared` are run
        once for each of their completions."""
        prompts = batch.prompt_mask.sum(1).double()
        inputs = (batch.attention.sum(1) - 1).clamp(min=0).double()
        seen = prompts[batch.group]
        prompts = prompts if shared else seen
        keys = (prompts * (prompts + 1) / 2).sum() + (inputs * seen + inputs * (inputs + 1) / 2).sum()
        return cls(float(prompts.sum() + inputs.sum()), float(keys), float(batch.mask.sum()))

    @classmethod
    def of_group(cls, prompt: float, completion: float, rows: float, shared: bool = True) -> "Tokens":
        """Returns what a prompt with its completions reads, by mean lengths; every completion token is scored.

        >>> Tokens.of_group(prompt=4, completion=3, rows=2)
        Tokens(positions=8, keys=32.0, scored=6)
        """
        if not shared:
            return cls.of_group(prompt, completion, 1) * rows
        inputs = max(0, completion - 1)
        keys = prompt * (prompt + 1) / 2 + rows * (inputs * prompt + inputs * (inputs + 1) / 2)
        return cls(prompt + rows * inputs, keys, rows * completion)

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.positions + other.positions, self.keys + other.keys, self.scored + other.scored)

    def __mul__(self, times: float) -> "Tokens":
        return Tokens(self.positions * times, self.keys * times, self.scored * times)


@dataclass(frozen=True)
class Way:
    """How a run puts batches through the model.

    Attributes:
        recompute: whether backward runs each block forward once more.
        shared: whether training runs each prompt once for its group, or once for each completion.
        opens: whether what all prompts begin with is run once for those that go through the model together.
        at_once: positions that do. processes: that share a batch.
        teacher: the shape of the teacher, where it is not the policy without its adapter.
    """

    recompute: bool = False
    shared: bool = True
    opens: bool = False
    at_once: int = 1
    processes: int = 1
    teacher: Shape | None = None

    def read(self, batch: Batch, learns: bool = False) -> Tokens:
        """Returns what a batch's scoring reads, or where it `learns` what training on it does."""
        tokens = Tokens.of(batch, self.shared or not learns)
        if not self.opens or not len(batch):
            return tokens
        return self.opened(tokens, opening_of(batch), len(batch.prompt_ids))

    def opened(self, tokens: Tokens, opening: float, prompts: float) -> Tokens:
        """Returns the same tokens without what an opening of all `prompts` saves where a batch is scored."""
        return tokens + self.saved(opening, prompts, math.ceil(tokens.positions / self.at_once))

    def saved(self, opening: float, prompts: float, calls: int) -> Tokens:
        """Returns, negative, what an opening saves that is run once in each of so many calls."""
        spared = max(0.0, prompts - max(calls, self.processes))
        worth = self.opens and opening * spared >= WORTH * max(calls, self.processes)
        return Tokens.of_group(opening, 0, 0) * -spared if worth else Tokens()


def step_flops(
    shape: Shape,
    scored: Mapping[str, Tokens],
    trained: Tokens,
    epochs: float,
    recompute: bool = False,
    learnt: Tokens | None = None,
    teacher: Shape | None = None,
) -> dict[str, float]:
    """Returns the FLOPs of one batch by part: those of the roles there are ("old", "reference", "kl_full",
    "mismatched", "teacher", "critic"), "forward" and "backward".

    Args:
        shape: of the policy. Of a reference the adapter is off; a critic has one of the policy's shape and no
            language-model head.
        scored: what each role runs of a batch, by its name; a critic also learns from it.
        trained: its rows whose coefficient is not zero everywhere; the others need no pass.
        epochs: passes over the batch.
        recompute: whether backward runs the blocks forward once more. A critic beside fully trained weights is a model
            of its own, which does not.
        learnt: what a critic then learns from, if not `scored` as it is.
        teacher: its shape, None where it is that of the policy with the adapter off.
    """
    parts: dict[str, float] = {}
    if "old" in scored:
        parts["old"] = shape.forward(scored["old"])
    if "reference" in scored:
        parts["reference"] = shape.forward(scored["reference"], adapter=False)
    for role in ("kl_full", "mismatched"):  # both models run
        if role in scored:
            parts[role] = shape.forward(scored[role]) + shape.forward(scored[role], adapter=False)
    if "teacher" in scored:
        parts["teacher"] = (teacher or shape).forward(scored["teacher"], adapter=teacher is not None)
    if "critic" in scored:
        again = recompute and not shape.whole
        learnt = learnt if learnt is not None and again else scored["critic"]
        update = shape.forward(learnt, head=False) + shape.backward(learnt, False, whole=False, recompute=again)
        parts["critic"] = shape.forward(scored["critic"], head=False) + epochs * update
    parts["forward"] = epochs * shape.forward(trained)
    return parts | {"backward": epochs * shape.backward(trained, recompute=recompute)}


def sampling_flops(shape: Shape, tokens: Tokens, merges: float) -> float:
    """Returns the FLOPs of sampling: the adapter is merged into the weights `merges` times, then every prompt runs
    once, and every sampled token but a completion's last is an input."""
    return merges * shape.merge + shape.forward(tokens, adapter=False)


def counter() -> FlopCounterMode:
    """Returns torch's counter with the products it does not know by itself: in place, of weights packed for oneDNN, and
    attention's on the CPU. The closed formulas are held against it."""
    aten = torch.ops.aten
    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten.addmm_: lambda onto, left, right, **_: 2 * math.prod(left) * right[1],
            torch.ops.mkldnn._linear_pointwise: lambda x, *_, out_shape, **__: 2 * math.prod(x) * out_shape[-1],
            aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, *_, **__: 4 * math.prod(q) * k[-2],
            aten._scaled_dot_product_flash_attention_for_cpu_backward: (
                lambda grad, q, k, *_, **__: 10 * math.prod(q) * k[-2]
            ),
        },
    )


def _head(model: Any) -> torch.Tensor | None:
    """Returns the weight that makes the logits: a language model's head [V, D] or a classifier's [labels, D]; None
    where that is more than a layer, which then counts as body."""
    embeddings = model.get_output_embeddings()
    return getattr(getattr(model, "score", None) if embeddings is None else embeddings, "weight", None)


def _routed(config: Any) -> float:
    """Returns the share of a layer's experts that a token goes through."""
    names = ("num_experts", "num_local_experts", "n_routed_experts")
    experts = next((value for name in names if (value := getattr(config, name, None))), None)
    return config.num_experts_per_tok / experts if experts else 1.0

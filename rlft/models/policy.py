"""The policy as a module: a batch in, log π of its completions out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rlft import ops
from rlft.base import Batch, RunError, UserError
from rlft.models.adapter import has_adapter
from rlft.models.load import POLICY
from rlft.models.native import Native, native_model
from rlft.ops.logprob import linear_logp

SAME = 1e-3  # relative: two ways of computing hidden states that differ by more than this in float32 are not the same
CHUNK_NUMBERS = 3 * 2**22  # logits held at once


class Policy(nn.Module):
    """π_θ: scores completions.

    Models of the Llama family with plain LoRA run natively on the CPU (`rlft.models.native`). Others run through
    transformers: where the model's cache allows it, each prompt runs once and its keys and values, gradient and all,
    are expanded to the completions of its group; otherwise every completion runs with its whole prompt.

    Attributes:
        model: a causal language model, with or without a PEFT adapter.
        native: the native path, None where the model has none.
        shares_prompts: whether prompts run once per group.
        recompute: whether backward computes each layer's activations again; set by `checkpoint`.
    """

    def __init__(self, model: Any, say: Callable[[str], None]):
        super().__init__()
        self.model = model
        self.base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.decoder = getattr(self.base, self.base.base_model_prefix, None) or self.base.model
        self.shares_prompts = True
        self.recompute = False
        self.plain_head = _has_plain_head(self.base)
        if not self._head_is_known():
            raise UserError(
                f"model.path: {type(self.base).__name__} does more to its logits than rlft knows of (a linear head, a "
                "scale, a cap), so that log π would be wrong; take another model"
            )
        self.native = self._native(say)
        if self.native is None and not self._is_exact(self._shared):
            self.shares_prompts = False
            say(f"{type(self.base).__name__}: prompts run once per completion (its cache cannot be shared by a group)")

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def checkpoint(self, on: bool) -> None:
        """Switches gradient checkpointing on or off. Raises UserError if the model cannot."""
        self.recompute = on
        if self.native is not None:
            self.native.recompute = on
        elif on and not getattr(self.base, "supports_gradient_checkpointing", False):
            raise UserError(
                f"trainer.gradient_checkpointing=on: {type(self.base).__name__} has none; type "
                "trainer.gradient_checkpointing=off"
            )
        elif on:
            self.base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    @property
    def flat(self) -> bool:
        """Whether rows go through the model without padding."""
        return self.native is not None

    @property
    def trains_shared(self) -> bool:
        """Whether each prompt runs once per group where a gradient is wanted too: checkpointed layers of transformers
        drop the cache that it takes."""
        return self.native is not None or not self.recompute

    @property
    def score_dtype(self) -> torch.dtype:
        """The dtype of log π: float32, or float64 where the model has it."""
        return torch.promote_types(next(self.model.parameters()).dtype, torch.float32)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns log π_θ(o_t | q, o_<t) [B, T] in nats, 0 where nothing is trained, and without gradient the entropy
        of each of those distributions [B, T], nats."""
        batch = batch.to(self.device)
        mask = batch.mask
        hidden, target = self.hidden(batch), batch.completion_ids[mask]
        head = self.base.get_output_embeddings()
        width = head.weight.shape[0]
        logp, entropy = (
            linear_logp(
                hidden,
                head.weight,
                target,
                max(16, CHUNK_NUMBERS // width),
                bias=getattr(head, "bias", None),
                return_entropy=True,
            )
            if self.plain_head
            else self._through_logits(hidden, target)
        )
        blank = torch.zeros(mask.shape, dtype=logp.dtype, device=logp.device)
        return blank.masked_scatter(mask, logp), blank.masked_scatter(mask, entropy)

    def whole(self, logp: Tensor, mask: Tensor) -> Tensor:
        """Returns what the tokens' [B, T] come to over a completion [B]: log π(o | q)."""
        return ops.row_sum(logp, mask)

    @property
    def heads(self) -> list[nn.Parameter]:
        """What is trained beside the model's own weights."""
        return []

    def save_pretrained(self, folder: Path) -> None:
        """Writes the trained adapter in PEFT format, or the whole model where all weights are trained."""
        chosen = {"selected_adapters": [POLICY]} if has_adapter(self.model) else {}
        self.model.save_pretrained(folder, **chosen)

    def load_pretrained(self, folder: Path) -> None:
        """Takes what `save_pretrained` wrote in the place of its weights."""
        from safetensors.torch import load_file

        self.take({k: v for file in sorted(folder.glob("*.safetensors")) for k, v in load_file(file).items()})

    def take(self, tensors: dict[str, Tensor]) -> None:
        """Takes weights by their names in a file. Raises RunError if the model has no such weights."""
        if has_adapter(self.model):
            from peft import set_peft_model_state_dict

            set_peft_model_state_dict(self.model, tensors, adapter_name=POLICY)
        elif unexpected := self.model.load_state_dict(tensors, strict=False).unexpected_keys:
            raise RunError(f"a file holds weights the model has not: {sorted(unexpected)[:3]}")

    def hidden(self, batch: Batch) -> Tensor:
        """Returns the last hidden state [M, D] of the position before each trained token, in the mask's order."""
        if self.native is not None:
            return self.native.hidden(batch)
        if self.recompute and torch.is_grad_enabled():
            return self._recomputed(batch)[batch.mask]
        return (self._shared(batch) if self.shares_prompts else self._whole(batch))[batch.mask]

    def logits(self, hidden: Tensor) -> Tensor:
        """Returns the logits [N, V] of hidden states [N, D], as the model itself scales and caps them."""
        logits = self.base.get_output_embeddings()(hidden)
        if self.plain_head:
            return logits
        logits = logits * _logit_factor(self.base.config)
        cap = getattr(self.base.config, "final_logit_softcapping", None)
        return cap * torch.tanh(logits / cap) if cap else logits

    def _through_logits(self, hidden: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """log π and entropy for models that do more to the logits than one linear layer does."""
        logits = self.logits(hidden)
        log_p = torch.log_softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))
        entropy = -(log_p.detach().exp() * log_p.detach()).sum(-1)
        return log_p.gather(1, target[:, None])[:, 0], entropy

    def _shared(self, batch: Batch) -> Tensor:
        from transformers import DynamicCache

        cache = DynamicCache()  # of whole layers: a sliding window is the mask's affair
        prompt = self.decoder(
            input_ids=batch.prompt_ids,
            attention_mask=batch.prompt_mask.long(),
            position_ids=_positions(batch.prompt_mask),
            past_key_values=cache,
            use_cache=True,
        )
        first = prompt.last_hidden_state[:, -1:][batch.group]
        if batch.completion_ids.shape[1] == 1:
            return first
        cache.batch_select_indices(batch.group)
        seen = torch.cat([batch.prompt_mask[batch.group], batch.attention[:, :-1]], 1)
        rest = self.decoder(
            input_ids=batch.completion_ids[:, :-1],
            attention_mask=seen.long(),
            position_ids=_positions(seen)[:, batch.prompt_ids.shape[1] :],
            past_key_values=cache,
            use_cache=True,
        )
        return torch.cat([first, rest.last_hidden_state], 1)

    def _whole(self, batch: Batch) -> Tensor:
        ids = torch.cat([batch.prompt_ids[batch.group], batch.completion_ids], 1)[:, :-1]
        seen = torch.cat([batch.prompt_mask[batch.group], batch.attention], 1)[:, :-1]
        out = self.decoder(input_ids=ids, attention_mask=seen.long(), position_ids=_positions(seen), use_cache=False)
        return out.last_hidden_state[:, batch.prompt_ids.shape[1] - 1 :]

    def _recomputed(self, batch: Batch) -> Tensor:
        """Whole sequences with checkpointed layers: those of transformers drop any cache, and with it a shared prompt.
        They checkpoint in training mode only; the modules inside keep theirs, or dropout would come on."""
        layers = [m for m in self.decoder.modules() if getattr(m, "gradient_checkpointing", False)]
        modes = [layer.training for layer in layers]
        for layer in layers:
            layer.training = True
        try:
            return self._whole(batch)
        finally:
            for layer, mode in zip(layers, modes, strict=True):
                layer.training = mode

    def _native(self, say: Callable[[str], None]) -> Native | None:
        """The native path if the model has one and it computes what transformers does."""
        native = native_model(self.base, self.decoder)
        if isinstance(native, str):
            say(f"{type(self.base).__name__}: runs through transformers ({native})")
            return None
        depth = self.decoder.config.num_hidden_layers
        # One block alone: over many, half precisions drift apart however right both ways are.
        self.decoder.config.num_hidden_layers = 1
        try:
            exact = self._is_exact(native.hidden)
        finally:
            self.decoder.config.num_hidden_layers = depth
        if not exact:
            say(f"{type(self.base).__name__}: runs through transformers (the native path computes something else)")
            return None
        return native

    @torch.no_grad()
    def _is_exact(self, hidden: Callable[[Batch], Tensor]) -> bool:
        """Tries a way of computing hidden states against whole sequences; where it is wrong it differs or raises."""
        probe = _probe(self.device)
        whole = self._whole(probe)[probe.mask]
        try:
            found = hidden(probe)
        except (AttributeError, LookupError, TypeError, ValueError, RuntimeError):
            return False
        return self._same(found if found.ndim == 2 else found[probe.mask], whole)

    @torch.no_grad()
    def _head_is_known(self) -> bool:
        """Compares the logits made from the last hidden states with the model's own."""
        ids = torch.tensor([[3, 5, 7, 9]], device=self.device)
        expected = self.base(input_ids=ids, use_cache=False).logits[0]
        return self._same(self.logits(self.decoder(input_ids=ids, use_cache=False).last_hidden_state[0]), expected)

    def _same(self, found: Tensor, expected: Tensor) -> bool:
        tolerance = max(SAME, 8 * torch.finfo(next(self.model.parameters()).dtype).eps)
        return bool((found.float() - expected.float()).norm() <= tolerance * expected.float().norm())


def _probe(device: torch.device) -> Batch:
    """Three short rows: two of them share a prompt, one ends early."""
    tokens = torch.tensor([[3, 4, 5], [6, 7, 0], [5, 3, 9]])
    mask = tokens > 0
    return Batch(
        prompt_ids=torch.tensor([[0, 5, 7, 9], [4, 5, 6, 8]]),
        prompt_mask=torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]]).bool(),
        completion_ids=tokens,
        attention=mask,
        mask=mask,
        group=torch.tensor([0, 0, 1]),
        finished=mask[:, 0],
        reward=torch.zeros(3),
    ).to(device)


def _positions(mask: Tensor) -> Tensor:
    return (mask.long().cumsum(1) - 1).clamp(min=0)


def _has_plain_head(model: Any) -> bool:
    """Whether logits are one linear layer's output; with an adapter on the head they are not."""
    adapted = hasattr(model.get_output_embeddings(), "base_layer")
    capped = bool(getattr(model.config, "final_logit_softcapping", None))
    return not adapted and not capped and _logit_factor(model.config) == 1.0


def _logit_factor(config: Any) -> float:
    """What a model multiplies its logits by (Cohere `logit_scale`, Granite `logits_scaling`)."""
    return float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)

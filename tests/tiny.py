"""Tiny models: the real architecture in a thousandth of the size, in float64 where equality is to be exact."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from rlft.base import Batch, Message
from rlft.models.config import ModelConfig
from rlft.models.embedded import embedded_model
from rlft.models.load import POLICY, add_adapter

VOCABULARY, END = 64, 2
SIZES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": END,
}
FAMILIES: dict[str, tuple[type, type, dict[str, Any]]] = {
    "llama": (LlamaForCausalLM, LlamaConfig, {}),
    "mistral": (MistralForCausalLM, MistralConfig, {"sliding_window": None}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, {}),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {"head_dim": 6}),
}
"""The families that run natively: model, configuration, and what of it is set beside `SIZES`."""


@cache
def real_model_dir() -> str:
    """The folder of the embedded SmolLM2-135M-Instruct, converted once in the user's cache."""
    return embedded_model(None, print)


def tiny_model_dir(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Writes a Llama of two layers with SmolLM2's tokenizer and returns its folder; about 0.8 M weights."""
    tokenizer = AutoTokenizer.from_pretrained(real_model_dir())
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = LlamaConfig(**{**SIZES, **ends, "vocab_size": len(tokenizer), "tie_word_embeddings": True, **changes})
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_model(
    kind: type = LlamaForCausalLM, config: Any = None, dtype: torch.dtype = torch.float64, seed: int = 0
) -> Any:
    """A model in memory, 64 tokens, weights large enough for its distributions to be far from flat."""
    torch.manual_seed(seed)
    model = kind(config or LlamaConfig(**SIZES, vocab_size=VOCABULARY)).to(dtype).eval()
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(0, 0.3)
    return exact_norms(model) if dtype == torch.float64 else model


def family(name: str, dtype: torch.dtype = torch.float64, **changes: Any) -> Any:
    """A tiny model of a family that runs natively. Its biases and the scales of its norms are drawn too."""
    kind, config, own = FAMILIES[name]
    model = tiny_model(kind, config(**{**SIZES, "vocab_size": VOCABULARY, **own, **changes}), dtype)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 1:
                p.add_(0.3 * torch.randn(p.shape, generator=draw, dtype=torch.float64))
    return model


def with_adapter(model: Any, seed: int = 0, scale: float = 0.2, **settings: Any) -> Any:
    """The model with a rank-2 adapter that does something: its B is drawn, not zero."""
    model = add_adapter(model, ModelConfig(**{"rank": 2, "alpha": 4.0, **settings}), seed)
    randomise(model, POLICY, scale, seed)
    return model.eval()


def randomise(model: Any, adapter: str, scale: float = 0.2, seed: int = 0) -> None:
    """Draws an adapter's B."""
    draw = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if f"lora_B.{adapter}." in name:
                p.copy_(scale * torch.randn(p.shape, generator=draw, dtype=torch.float64))


def exact_norms(model: Any) -> Any:
    """Replaces norms that compute in float32 whatever they are given."""
    for name, module in list(model.named_modules()):
        if type(module).__name__ in ("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm"):
            norm = nn.RMSNorm(module.weight.shape, eps=module.variance_epsilon, dtype=torch.float64)
            norm.weight = module.weight
            model.set_submodule(name, norm)
    return model


def make_batch(
    prompts: list[list[int]], completions: list[list[list[int]]], holes: tuple[tuple[int, int], ...] = ()
) -> Batch:
    """A batch of prompts with their completions, given as tokens; `holes` (row, t) are attended and not trained."""
    rows = [(k, tokens) for k, group in enumerate(completions) for tokens in group]
    depth, width = max(map(len, prompts)), max(len(tokens) for _, tokens in rows)
    prompt_ids, prompt_mask = torch.zeros(len(prompts), depth, dtype=torch.long), torch.zeros(len(prompts), depth)
    ids, attention = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width)
    for k, prompt in enumerate(prompts):
        prompt_ids[k, depth - len(prompt) :], prompt_mask[k, depth - len(prompt) :] = torch.tensor(prompt), 1
    for b, (_, tokens) in enumerate(rows):
        ids[b, : len(tokens)], attention[b, : len(tokens)] = torch.tensor(tokens), 1
    mask = attention.bool().clone()
    for b, t in holes:
        mask[b, t] = False
    return Batch(
        prompt_ids=prompt_ids,
        prompt_mask=prompt_mask.bool(),
        completion_ids=ids,
        attention=attention.bool(),
        mask=mask,
        group=torch.tensor([k for k, _ in rows]),
        finished=torch.ones(len(rows), dtype=torch.bool),
        reward=torch.zeros(len(rows), dtype=torch.float64),
        row=torch.arange(len(rows)),
    )


def random_batch(
    groups: tuple[int, ...] = (3, 1, 2),
    depths: tuple[int, ...] = (7, 3, 5),
    longest: int = 6,
    vocabulary: int = VOCABULARY,
    seed: int = 0,
    holes: tuple[tuple[int, int], ...] = ((0, 1), (2, 0)),
) -> Batch:
    """Groups of unequal size with prompts and completions of unequal length, and holes in the mask."""
    draw = torch.Generator().manual_seed(seed)

    def tokens(n: int) -> list[int]:
        return torch.randint(3, vocabulary, (n,), generator=draw).tolist()

    completions = [[tokens(max(1, longest - (i + k) % 3)) for i in range(size)] for k, size in enumerate(groups)]
    return make_batch([tokens(n) for n in depths], completions, holes)


def direct(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """log π and entropy [B, T] of a batch, one row at a time without padding, cache or anything of rlft; 0 outside
    the mask."""
    logp, entropy = [], []
    for b in range(len(batch)):
        k = int(batch.group[b])
        prompt = batch.prompt_ids[k][batch.prompt_mask[k]]
        tokens = batch.completion_ids[b][batch.attention[b]]
        logits = model(torch.cat([prompt, tokens])[None], use_cache=False).logits[0, len(prompt) - 1 : -1]
        log_p = torch.log_softmax(logits, -1)
        pad = (0, batch.mask.shape[1] - len(tokens))
        logp.append(nn.functional.pad(log_p.gather(1, tokens[:, None])[:, 0], pad))
        entropy.append(nn.functional.pad(-(log_p.exp() * log_p).sum(-1), pad))
    return torch.stack(logp) * batch.mask, torch.stack(entropy) * batch.mask


def weights(batch: Batch) -> Tensor:
    """What log π is weighed by where a gradient is wanted [B, T]; 0 outside the mask."""
    return torch.randn(batch.mask.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * batch.mask


def gradient(model: Any, logp: Tensor, weight: Tensor) -> Tensor:
    """The gradient of Σ weight · logp in all weights that get one, as one vector."""
    model.zero_grad()
    logp.backward(weight.to(logp.dtype))
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


class NumberChat:
    """Conversations whose words are token numbers, for models without a tokenizer."""

    def __init__(self, ends: tuple[int, ...] = (END,)):
        self.eos_ids = set(ends)

    def prompt(self, messages: tuple[Message, ...]) -> list[int]:
        return [int(word) for m in messages for word in m["content"].split()]

    def text(self, token_ids: list[int]) -> str:
        return " ".join(map(str, token_ids))

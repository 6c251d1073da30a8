"""How many positions go through the model at once."""

import os
from typing import Any

import torch

SHARE = 0.4  # of the free memory that activations may take: caches, logits and the optimiser want theirs
MOST = {"cpu": 4096, "cuda": 32768}  # past these, larger products are no faster


def resolve_tokens(setting: int | str, config: Any, dtype: torch.dtype, device: torch.device, processes: int) -> int:
    """Returns the setting, or for "auto" a power of two of positions whose activations fit the free memory.

    A layer keeps about 20 vectors of the model's width and 4 of the feed-forward width per position for backward.
    """
    if setting != "auto":
        return int(setting)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    width = text.hidden_size
    inner = getattr(text, "intermediate_size", None) or 4 * width
    each = text.num_hidden_layers * (20 * width + 4 * inner) * dtype.itemsize
    free = free_memory(device) // (processes if device.type == "cpu" else 1)
    fits = max(256, int(SHARE * free / each))
    return min(MOST.get(device.type, 32768), 1 << (fits.bit_length() - 1))


def free_memory(device: torch.device) -> int:
    """Returns the free bytes of a device, or of the machine."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 8 * 2**30


def is_out_of_memory(error: Exception) -> bool:
    """Returns whether memory ran out; on the CPU torch says so in a plain RuntimeError."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def out_of_memory_advice(peak: int, tokens: int | str, prompts: int) -> str:
    """Returns what to try after running out of memory. `tokens` is "auto" if they were not chosen yet."""
    tokens = 1024 if isinstance(tokens, str) else tokens
    return (
        f"out of memory: the peak was {peak / 2**30:.1f} GiB. Try one of: "
        f"trainer.tokens_per_micro_batch={max(128, tokens // 2)}, "
        f"trainer.prompts_per_step={max(1, prompts // 2)}, data.max_completion_tokens set lower"
    )

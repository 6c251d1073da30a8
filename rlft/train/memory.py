"""What fits the memory there is: positions that go through the model at once, and whether backward recomputes."""

import ctypes
import sys
from contextlib import suppress
from typing import Any

import psutil
import torch

from rlft.base import DataSource
from rlft.train.cgroup import memory_left
from rlft.train.config import TrainerConfig

SHARE = 0.4  # of the free memory that activations may take: caches, logits and the optimiser want theirs
LEAST = 256  # positions at once: below this, products are slow
MOST = {"cpu": 2048, "cuda": 32768}  # past these, larger products are no faster


def resolve(
    trainer: TrainerConfig,
    source: DataSource,
    config: Any,
    dtype: torch.dtype,
    device: torch.device,
    processes: int,
    weights: int = 0,
) -> tuple[int, bool]:
    """Returns the positions that go through the model at once, and whether backward computes activations again.
    `weights` are bytes of the model in each process, 0 where it is loaded already."""
    longest = getattr(source, "max_prompt_tokens", 0) + getattr(source, "max_completion_tokens", 0)
    shared = processes if device.type == "cpu" else 1
    free = free_memory(device) // shared - weights
    recompute = resolve_checkpointing(trainer.gradient_checkpointing, longest, config, dtype, free)
    return resolve_tokens(trainer.tokens_per_micro_batch, config, dtype, device, free, recompute), recompute


def resolve_tokens(
    setting: int | str,
    config: Any,
    dtype: torch.dtype,
    device: torch.device,
    free: int,
    recompute: bool = False,
) -> int:
    """Returns the setting, or for "auto" a power of two of positions whose activations fit the free memory, bytes."""
    if setting != "auto":
        return int(setting)
    fits = max(LEAST, _fitting(config, dtype, free, recompute))
    return min(MOST.get(device.type, 32768), 1 << (fits.bit_length() - 1))


def resolve_checkpointing(setting: str, longest: int, config: Any, dtype: torch.dtype, free: int) -> bool:
    """Returns whether backward computes activations again: "on", or "auto" where those of the longest row (prompt and
    completion, tokens) or of the least that is worth running at once do not fit the free memory, bytes."""
    if setting != "auto":
        return setting == "on"
    return _fitting(config, dtype, free, recompute=False) < max(LEAST, longest)


def activation_bytes(config: Any, dtype: torch.dtype, recompute: bool = False) -> int:
    """Returns what one position keeps for backward: in each layer three states, queries, keys, values, the attended
    values and the gate and up products (`rlft.models.native.block`); transformers keeps up to twice that. With
    `recompute` one state a layer and one layer's activations."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    width = text.hidden_size
    inner = getattr(text, "intermediate_size", None) or 4 * width
    heads = text.num_attention_heads
    size = getattr(text, "head_dim", None) or width // heads
    keys = (getattr(text, "num_key_value_heads", None) or heads) * size
    layer = 3 * width + 2 * heads * size + 2 * keys + 2 * inner
    numbers = text.num_hidden_layers * (width if recompute else layer) + (layer if recompute else 0)
    return numbers * dtype.itemsize


def _fitting(config: Any, dtype: torch.dtype, free: int, recompute: bool) -> int:
    return int(SHARE * max(0, free) / (2 * activation_bytes(config, dtype, recompute)))


def free_memory(device: torch.device) -> int:
    """Returns the free bytes of a device, or of the machine: with what the system would give up for it, such as files
    that it keeps in memory after they were read, and within the limits of this process's container."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(min(psutil.virtual_memory().available, memory_left()))


def keep_freed_memory() -> None:
    """Tells glibc to hand large blocks out of memory that was freed before rather than ask the system for fresh pages,
    whose first touch costs more than many of the computations done in them (an update took 13.5 s without this and
    10 to 11.7 s with it, SmolLM2-135M on two cores). Elsewhere than under glibc nothing happens."""
    if not sys.platform.startswith("linux"):
        return
    trim_threshold, mmap_threshold = -1, -3  # of mallopt(3)
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    set_option(mmap_threshold, 2**30)
    set_option(trim_threshold, 2**31 - 1)


def give_back_memory() -> None:
    """Gives the system back what `keep_freed_memory` let glibc keep. Pieces of all sizes lie scattered over it after a
    while, and large blocks find no room between them: 45 steps of GRPO on the embedded model came to 2.4 GB where 1.7
    were foretold. The call takes 0.04 s."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def is_out_of_memory(error: Exception) -> bool:
    """Returns whether memory ran out; on the CPU torch says so in a plain RuntimeError."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def out_of_memory_advice(peak: int, tokens: int | str, prompts: int) -> str:
    """Returns what to try after running out of memory. `tokens` is "auto" if they were not chosen yet."""
    tokens = 1024 if isinstance(tokens, str) else tokens
    return (
        f"out of memory: the peak was {peak / 2**30:.1f} GiB. Try one of: "
        f"trainer.tokens_per_micro_batch={max(128, tokens // 2)}, trainer.gradient_checkpointing=on, "
        f"trainer.prompts_per_step={max(1, prompts // 2)}"
    )

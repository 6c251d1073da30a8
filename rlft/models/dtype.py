"""The dtype a machine is fast at, found by measuring."""

import time

import torch
from torch import Tensor

FASTER = 1.2  # bfloat16 gives up digits: it must be clearly faster, not just within the noise


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """Returns the named dtype; for "auto" bfloat16 if its products are at least 1.2 times as fast, else float32."""
    if name != "auto":
        return getattr(torch, name)
    full = matmul_seconds(torch.float32, device)
    half = matmul_seconds(torch.bfloat16, device)
    return torch.bfloat16 if half * FASTER < full else torch.float32


def matmul_seconds(dtype: torch.dtype, device: torch.device, rows: int = 256, width: int = 1024) -> float:
    """Returns the least seconds of several [rows, width] x [width, width] products."""
    left = torch.ones(rows, width, dtype=dtype, device=device)
    right = torch.ones(width, width, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        _wait(left @ right)
        best = min(best, time.perf_counter() - start)
    return best


def _wait(result: Tensor) -> None:
    result[0, 0].item()

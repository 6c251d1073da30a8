"""The machine's own rate of matrix products, FLOP/s, in bfloat16 and float32: a worker."""

import time

import torch

from bench.worker import Channel, Record

SHAPES = ((2048, 1536, 576), (2048, 576, 1536), (2048, 2048, 2048))
"""[M, K] x [K, N]: SmolLM2-135M's widest layer over a large micro-batch, both ways, and a square."""

SECONDS = 1.0


def rate(dtype: torch.dtype, shape: tuple[int, int, int]) -> float:
    """Returns 2·M·K·N over the least seconds that a product took within a second of them."""
    m, k, n = shape
    left, right = torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype)
    best, until = float("inf"), time.perf_counter() + SECONDS
    while (began := time.perf_counter()) < until:
        torch.mm(left, right)
        best = min(best, time.perf_counter() - began)
    return 2 * m * k * n / best


def measure() -> Record:
    """Returns for each dtype the best rate of the shapes, FLOP/s."""
    began = time.perf_counter()
    rates = {name: max(rate(getattr(torch, name), shape) for shape in SHAPES) for name in ("bfloat16", "float32")}
    return {**rates, "seconds": time.perf_counter() - began, "tokens": 0}


if __name__ == "__main__":
    channel = Channel()
    channel.ready(torch=torch.__version__, threads=torch.get_num_threads())
    channel.serve(measure)

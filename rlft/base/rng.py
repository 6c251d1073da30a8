"""Random generators named by what they are for, so that no draw depends on what was drawn before it."""

import hashlib

import torch


def derive_seed(seed: int, purpose: str, *keys: int | str) -> int:
    """Returns a 63-bit seed for (seed, purpose, keys); equal arguments give equal seeds on every machine."""
    text = "\x1f".join([str(seed), purpose, *map(str, keys)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, purpose: str, *keys: int | str) -> torch.Generator:
    """Returns a CPU generator for one purpose, e.g. `generator(0, "sample", step, query.id)`."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, *keys))

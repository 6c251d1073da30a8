"""How much goes through the model at once, and when backward recomputes."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rlft.train import memory

CONFIG: Any = SimpleNamespace(
    hidden_size=8, intermediate_size=16, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2
)
CPU = torch.device("cpu")


def test_what_a_position_keeps() -> None:
    # A layer: 3 states of 8, 8 queries and 8 attended values, 4 keys and 4 values, 2 products of 16.
    assert memory.activation_bytes(CONFIG, torch.float32) == 3 * (24 + 16 + 8 + 32) * 4
    assert memory.activation_bytes(CONFIG, torch.bfloat16, recompute=True) == (3 * 8 + 80) * 2


@pytest.mark.parametrize(("free", "tokens"), [(1, 256), (600, 512), (1100, 1024), (10**6, 1024)])
def test_a_power_of_two_that_fits(monkeypatch: pytest.MonkeyPatch, free: int, tokens: int) -> None:
    each = 2 * memory.activation_bytes(CONFIG, torch.float32)
    monkeypatch.setattr(memory, "free_memory", lambda _: int(free * each / memory.SHARE) + 1)
    assert memory.resolve_tokens("auto", CONFIG, torch.float32, CPU, 1) == tokens
    assert memory.resolve_tokens(77, CONFIG, torch.float32, CPU, 1) == 77


def test_processes_share_the_machines_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    each = 2 * memory.activation_bytes(CONFIG, torch.float32)
    monkeypatch.setattr(memory, "free_memory", lambda _: int(1030 * each / memory.SHARE) + 1)
    assert [memory.resolve_tokens("auto", CONFIG, torch.float32, CPU, n) for n in (1, 2, 4)] == [1024, 512, 256]


def test_checkpointing_is_on_where_the_longest_row_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    each = 2 * memory.activation_bytes(CONFIG, torch.float32)
    monkeypatch.setattr(memory, "free_memory", lambda _: int(500 * each / memory.SHARE) + 1)
    rest = (CONFIG, torch.float32, CPU, 1)
    assert not memory.resolve_checkpointing("auto", 500, *rest)
    assert memory.resolve_checkpointing("auto", 501, *rest)
    assert memory.resolve_checkpointing("on", 1, *rest) and not memory.resolve_checkpointing("off", 10**9, *rest)
    assert memory.resolve_checkpointing("auto", 1, CONFIG, torch.float32, CPU, 2), "fewer than are worth running"


def test_freed_memory_is_kept_without_a_complaint_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    memory.keep_freed_memory()
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: SimpleNamespace())
    memory.keep_freed_memory()
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    memory.keep_freed_memory()

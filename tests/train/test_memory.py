"""How much goes through the model at once, and when backward recomputes."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from rlft.train import cgroup, memory
from rlft.train.config import TrainerConfig

CONFIG: Any = SimpleNamespace(
    hidden_size=8, intermediate_size=16, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2
)
CPU = torch.device("cpu")


def test_what_a_position_keeps() -> None:
    # A layer: 3 states of 8, 8 queries and 8 attended values, 4 keys and 4 values, 2 products of 16.
    assert memory.activation_bytes(CONFIG, torch.float32) == 3 * (24 + 16 + 8 + 32) * 4
    assert memory.activation_bytes(CONFIG, torch.bfloat16, recompute=True) == (3 * 8 + 80) * 2


def room(positions: int) -> int:
    """Free bytes in which the activations of so many positions fit."""
    return int(positions * 2 * memory.activation_bytes(CONFIG, torch.float32) / memory.SHARE) + 1


@pytest.mark.parametrize(("positions", "tokens"), [(1, 256), (600, 512), (1100, 1024), (10**6, 2048)])
def test_a_power_of_two_that_fits(positions: int, tokens: int) -> None:
    assert memory.resolve_tokens("auto", CONFIG, torch.float32, CPU, room(positions)) == tokens
    assert memory.resolve_tokens(77, CONFIG, torch.float32, CPU, room(positions)) == 77


def test_checkpointing_is_on_where_the_longest_row_does_not_fit() -> None:
    rest = (CONFIG, torch.float32, room(500))
    assert not memory.resolve_checkpointing("auto", 500, *rest)
    assert memory.resolve_checkpointing("auto", 501, *rest)
    assert memory.resolve_checkpointing("on", 1, *rest) and not memory.resolve_checkpointing("off", 10**9, *rest)
    assert memory.resolve_checkpointing("auto", 1, CONFIG, torch.float32, room(250)), "fewer than are worth running"
    assert memory.resolve_checkpointing("auto", 1, CONFIG, torch.float32, -1), "the weights alone do not fit"


def test_processes_share_the_machines_memory_and_weights_may_be_still_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, source = TrainerConfig(gradient_checkpointing="off"), SimpleNamespace()
    monkeypatch.setattr(memory, "free_memory", lambda _: room(1030))

    def tokens(processes: int, device: str = "cpu", weights: int = 0) -> int:
        resolved = memory.resolve(
            trainer, cast(Any, source), CONFIG, torch.float32, torch.device(device), processes, weights
        )
        return resolved[0]

    assert [tokens(n) for n in (1, 2, 4)] == [1024, 512, 256]
    assert [tokens(n, "cuda") for n in (1, 4)] == [1024, 1024], "every process has a device of its own"
    assert [tokens(1, weights=room(520)), tokens(2, weights=room(1))] == [256, 512]


def test_the_longest_row_is_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda _: room(500))
    for limits, recompute in (((300, 200), False), ((300, 201), True)):
        source: Any = SimpleNamespace(max_prompt_tokens=limits[0], max_completion_tokens=limits[1])
        assert memory.resolve(TrainerConfig(), source, CONFIG, torch.float32, CPU, 1)[1] == recompute


def test_freed_memory_is_kept_without_a_complaint_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for handle in (memory.keep_freed_memory, memory.give_back_memory):
        with monkeypatch.context() as patch:
            handle()
            patch.setattr(memory.ctypes, "CDLL", lambda _: SimpleNamespace())
            handle()
            patch.setattr(memory.sys, "platform", "darwin")
            patch.setattr(memory.ctypes, "CDLL", None)
            handle()


GIB = 2**30
STAT = "anon 5\ninactive_file {inactive}\nactive_file 7\ntotal_inactive_file {inactive}\n"


def groups(folder: Path, own: str, **limits: tuple[object, int, int]) -> float:
    """Writes made-up control groups, limit, use and inactive files of each, and returns what they leave."""
    (folder / "self").write_text(own)
    for name, (most, used, inactive) in limits.items():
        group = folder / "fs" / name.replace("__", "/")
        group.mkdir(parents=True, exist_ok=True)
        first = "memory.limit_in_bytes" if "memory" in group.parts else "memory.max"
        second = "memory.usage_in_bytes" if "memory" in group.parts else "memory.current"
        (group / first).write_text(f"{most}\n")
        (group / second).write_text(f"{used}\n")
        (group / "memory.stat").write_text(STAT.format(inactive=inactive))
    return cgroup.memory_left(folder / "self", folder / "fs")


def test_a_container_s_limit(tmp_path: Path) -> None:
    """8 GiB, 3 in use, of which 1 are files read a while ago: 6 are left."""
    assert groups(tmp_path, "0::/\n") == math.inf
    assert groups(tmp_path, "0::/\n", **{"": (8 * GIB, 3 * GIB, GIB)}) == 6 * GIB
    assert groups(tmp_path, "0::/\n", **{"": ("max", 3 * GIB, GIB)}) == math.inf
    assert groups(tmp_path, "0::/\n", **{"": (GIB, 2 * GIB, 0)}) == 0


def test_the_tightest_of_the_groups_above_counts(tmp_path: Path) -> None:
    own = "0::/jobs/17/step\n"
    assert groups(tmp_path, own, jobs__17__step=("max", 1, 0), jobs=(9 * GIB, GIB, 0)) == 8 * GIB
    assert groups(tmp_path, own, jobs__17=(4 * GIB, GIB, 0), other=(GIB, 0, 0)) == 3 * GIB


def test_groups_of_the_first_version(tmp_path: Path) -> None:
    own = "5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n0::/docker/ab\n"
    unlimited = 2**63 - 4096
    assert groups(tmp_path, own, memory__docker__ab=(8 * GIB, 3 * GIB, GIB), memory=(unlimited, 9, 0)) == 6 * GIB


def test_in_a_container_the_path_may_be_the_host_s(tmp_path: Path) -> None:
    assert groups(tmp_path, "4:memory:/docker/ab\n", memory=(8 * GIB, 3 * GIB, GIB)) == 6 * GIB


def test_what_the_machine_would_free_counts_and_no_more_than_the_container_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a large file was read: 1 GiB is free and 15 more are a copy of it."""
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=24 * GIB, available=16 * GIB, free=GIB))
    for left, free in ((math.inf, 16 * GIB), (5 * GIB, 5 * GIB)):
        monkeypatch.setattr(memory, "memory_left", lambda left=left: left)
        assert memory.free_memory(CPU) == free

"""The processes of a run: who does what, and how results come together."""

from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Item = TypeVar("Item")


class Processes:
    """The process group, or the single process there is without one.

    Attributes:
        rank: this process. world: how many there are.
    """

    def __init__(self) -> None:
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world = dist.get_world_size() if dist.is_initialized() else 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and speaks to the user."""
        return self.rank == 0

    def share(self, items: list[Item]) -> list[Item]:
        """Returns this process's part of a list that every process holds."""
        return items[self.rank :: self.world]

    def gather(self, mine: list[Item]) -> list[Item]:
        """Returns the whole list, in order, from the parts that `share` gave out."""
        if self.world == 1:
            return mine
        parts: list[list[Item]] = [[]] * self.world
        dist.all_gather_object(parts, mine)  # pyright: ignore[reportUnknownMemberType]
        whole: list[Item] = []
        for turn in range(max(len(part) for part in parts)):
            whole += [part[turn] for part in parts if turn < len(part)]
        return whole

    def broadcast(self, item: Item) -> Item:
        """Returns the first process's item."""
        if self.world == 1:
            return item
        box = [item]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def add(self, tensors: list[Tensor]) -> None:
        """Adds tensors up over the processes, in place, in one message."""
        if self.world == 1 or not tensors:
            return
        flat = torch.cat([t.flatten() for t in tensors])
        dist.all_reduce(flat)  # pyright: ignore[reportUnknownMemberType]
        start = 0
        for t in tensors:
            t.copy_(flat[start : start + t.numel()].view_as(t))
            start += t.numel()

    def wait(self) -> None:
        """Returns when every process has come here."""
        if self.world > 1:
            dist.barrier()  # pyright: ignore[reportUnknownMemberType]

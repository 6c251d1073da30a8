"""AdamW that keeps float32 copies of weights the model computes with in fewer bits."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rlft.base.processes import Processes


class MasterAdamW:
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101) over float32 master weights.

    Gradients of 16-bit weights are added up in float32 as the backward passes produce them, so that many micro-batches
    lose no more than one. Weights in float32 or float64 are their own masters.

    Attributes:
        adamw: the optimiser over the masters; a scheduler takes it.
    """

    def __init__(
        self, parameters: list[nn.Parameter], learning_rate: float, betas: tuple[float, float], weight_decay: float
    ):
        self.parameters = parameters
        self.master = [
            p if p.dtype in (torch.float32, torch.float64) else nn.Parameter(p.detach().float()) for p in parameters
        ]
        for p, master in zip(self.parameters, self.master, strict=True):
            if p is not master:
                p.register_post_accumulate_grad_hook(_Accumulate(master))
        self.adamw = torch.optim.AdamW(self.master, lr=learning_rate, betas=betas, weight_decay=weight_decay)

    def set_apart(self, parameters: Sequence[nn.Parameter], learning_rate: float) -> None:
        """Gives some of the weights a learning rate of their own, before a scheduler takes `adamw`."""
        chosen = {id(p) for p in parameters}
        pairs = list(zip(self.parameters, self.master, strict=True))
        (group,) = self.adamw.param_groups
        group["params"] = [m for p, m in pairs if id(p) not in chosen]
        self.adamw.add_param_group({"params": [m for p, m in pairs if id(p) in chosen], "lr": learning_rate})

    def step(self, max_norm: float, processes: Processes, watch: Callable[[list[Tensor]], None] | None = None) -> float:
        """Adds the gradients up over the processes, clips them to `max_norm` (0: not), steps, clears them and returns
        their norm before clipping. A non-finite norm changes no weight: the caller sees it and stops. `watch` is shown
        the sums before they are clipped."""
        for m in self.master:
            if m.grad is None:
                m.grad = torch.zeros_like(m)
        gradients = [m.grad for m in self.master if m.grad is not None]
        processes.add(gradients)
        if watch is not None:
            watch(gradients)
        norm = float(nn.utils.clip_grad_norm_(self.master, max_norm or float("inf")))
        if norm == norm and norm != float("inf"):
            self.adamw.step()
            with torch.no_grad():
                for p, m in zip(self.parameters, self.master, strict=True):
                    if p is not m:
                        p.copy_(m)
        self.adamw.zero_grad()
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Returns the masters and AdamW's moments."""
        return {"master": [m.detach() for m in self.master], "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores masters, moments and the model's own weights."""
        with torch.no_grad():
            for p, m, saved in zip(self.parameters, self.master, state["master"], strict=True):
                m.copy_(saved)
                if p is not m:
                    p.copy_(m)
        self.adamw.load_state_dict(state["adamw"])


class _Accumulate:
    """Moves a weight's gradient onto its master as soon as it is there."""

    def __init__(self, master: Tensor):
        self.master = master

    def __call__(self, parameter: Tensor) -> None:
        assert parameter.grad is not None
        grad = parameter.grad.float()
        self.master.grad = grad if self.master.grad is None else self.master.grad.add_(grad)
        parameter.grad = None

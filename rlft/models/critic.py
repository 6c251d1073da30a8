"""The critic: a second adapter and a value head, learning by clipped regression on the returns."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rlft.base import Atom, Batch, Role, RunError, derive_seed
from rlft.base.processes import Processes
from rlft.models.adapter import has_adapter, only
from rlft.models.load import POLICY
from rlft.models.optimizer import MasterAdamW
from rlft.models.policy import Policy
from rlft.models.roles import over_processes

CRITIC = "critic"


class CriticRole(Role):
    """V(q, o_<t): the value of the state before o_t.

    Its body is the policy's frozen model with an adapter of its own (a frozen copy of the model where all weights are
    trained); its head starts at zero. It minimises ½ Σ w·max((V-R)², (clip(V, V_old ± clip) - R)²) (PPO, arXiv
    1707.06347, and its reference implementation's value clipping).
    """

    def __init__(
        self,
        policy: Policy,
        tokens: int,
        atom: Atom,
        processes: Processes,
        seed: int,
        *,
        learning_rate: float,
        betas: tuple[float, float],
        weight_decay: float,
        max_norm: float,
        clip: float,
    ):
        self.atom: Atom = atom
        self.tokens, self.processes = tokens, processes
        self.clip, self.max_norm = clip, max_norm
        self.body = _body(policy, seed)
        width = policy.base.get_output_embeddings().weight.shape[1]
        self.head = nn.Linear(width, 1, dtype=policy.score_dtype, device=policy.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        adapter = [p for n, p in self.body.model.named_parameters() if f".{CRITIC}." in n]
        self.optimizer = MasterAdamW([*adapter, *self.head.parameters()], learning_rate, betas, weight_decay)

    def annotate(self, batch: Batch) -> Batch:
        """Returns the batch with `value` [B, T]."""
        with self._active() as body:
            value = over_processes(
                body,
                batch,
                self.tokens,
                self.atom,
                self.processes,
                lambda micro: self.values(body, micro.to(body.device)),
            )
        return batch.replace(value=value)

    def learn(self, mini: Batch) -> dict[str, float]:
        """Takes one step on a mini-batch that has `value`, `returns` and `weight`; returns the loss and the share of
        the returns' variance that the values explain."""
        assert mini.value is not None and mini.returns is not None
        loss_sum = 0.0
        mine = mini.mine(self.processes.rank, self.processes.world, self.atom)
        with self._active() as body:
            for micro in mine.micro_batches(self.atom, self.tokens, flat=body.flat) if len(mine) else []:
                micro = micro.to(body.device)
                loss = self._loss(self.values(body, micro), micro)
                if not bool(torch.isfinite(loss)):
                    rows = [] if micro.row is None else micro.row.tolist()
                    raise RunError(
                        f"the critic's loss is not finite in rows {rows}; lower trainer.critic_learning_rate"
                    )
                if loss.requires_grad:
                    loss.backward()
                loss_sum += float(loss.detach())
        total = torch.tensor([loss_sum], dtype=torch.float64)
        self.processes.add([total])
        norm = self.optimizer.step(self.max_norm, self.processes)
        if not torch.isfinite(torch.tensor(norm)):
            raise RunError("the critic's gradient is not finite; lower trainer.critic_learning_rate")
        error = (mini.returns - mini.value)[mini.mask]
        variance = float(mini.returns[mini.mask].var(unbiased=False)) if mini.mask.any() else 0.0
        explained = 1 - float(error.var(unbiased=False)) / variance if variance > 0 else 0.0
        return {"critic/loss": float(total), "critic/grad_norm": norm, "critic/explained_variance": explained}

    def values(self, body: Policy, micro: Batch) -> Tensor:
        """Returns V [B, T], 0 where nothing is trained."""
        hidden = body.hidden(micro)
        value = self.head(hidden.to(self.head.weight.dtype))[:, 0]
        return torch.zeros(micro.mask.shape, dtype=value.dtype, device=value.device).masked_scatter(micro.mask, value)

    def _loss(self, value: Tensor, micro: Batch) -> Tensor:
        assert micro.value is not None and micro.returns is not None and micro.weight is not None
        square = (value - micro.returns).square()
        if self.clip:
            near = torch.clamp(value, micro.value - self.clip, micro.value + self.clip)
            square = torch.maximum(square, (near - micro.returns).square())
        return 0.5 * (micro.weight * square).sum()

    @contextmanager
    def _active(self) -> Iterator[Policy]:
        with only(self.body.model, CRITIC):
            yield self.body

    def state_dict(self) -> dict[str, Any]:
        """Returns the critic's weights and its optimiser's state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores them."""
        self.optimizer.load_state_dict(state)


def _body(policy: Policy, seed: int) -> Policy:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(derive_seed(seed, "critic"))
    if has_adapter(policy.model):
        trained = [p for p in policy.model.parameters() if p.requires_grad]
        policy.model.add_adapter(CRITIC, copy.deepcopy(policy.model.peft_config[POLICY]), autocast_adapter_dtype=False)
        body = policy
    else:
        trained = []
        model = copy.deepcopy(policy.model).requires_grad_(False)
        settings = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        body = Policy(
            get_peft_model(model, settings, adapter_name=CRITIC, autocast_adapter_dtype=False), lambda _: None
        )
    dtype = next(p.dtype for p in policy.model.parameters() if p.is_floating_point())
    for name, p in body.model.named_parameters():
        if f".{CRITIC}." in name:
            p.data = p.data.to(dtype)
            p.requires_grad_(True)
    for p in trained:
        p.requires_grad_(True)
    body.eval()  # the new adapter's dropout comes switched on
    return body

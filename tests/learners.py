"""A learner on a tiny float64 model, and every way of splitting its batch that must not matter."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
import torch.distributed as dist
from tiny import random_batch, randomise, tiny_model, with_adapter
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from rlft.algorithms import LeaveOneOut
from rlft.base import Algorithm, Batch, Processes, Role, generator
from rlft.models.critic import CRITIC, CriticRole
from rlft.models.optimizer import MasterAdamW
from rlft.models.policy import Policy
from rlft.models.roles import FullKLRole, MismatchedRole, OldPolicyRole, Reference, ReferenceRole
from rlft.models.teacher import Teacher, TeacherRole
from rlft.train.loop import Learner
from rlft.train.metrics import Tally
from rlft.train.weights import trained_parameters

ADAPTED = ["q_proj", "v_proj", "down_proj"]
LOTS = 100_000  # tokens: everything goes through the model at once


@dataclass(frozen=True)
class Case:
    """A method on one batch. `odd` has three atoms and is split into mini-batches of two and one, so that a second
    process gets nothing of the latter; `off_policy` scores samples of a policy some way off; with `sparse` rewards are
    0 or 1, and groups are all right, all wrong, and mixed."""

    algorithm: Algorithm
    off_policy: bool = False
    odd: bool = False
    sparse: bool = False


@dataclass(frozen=True)
class Split:
    """Positions and atoms that go through the model at once."""

    tokens: int = LOTS
    atoms: int | None = None


class Elsewhere(Role):
    """Fills `logp_old` with that of a policy some way off."""

    def __init__(self, policy: Policy, processes: Processes):
        self.inner = OldPolicyRole(policy, LOTS, "completion", processes)

    def annotate(self, batch: Batch) -> Batch:
        batch = self.inner.annotate(batch)
        assert batch.logp_old is not None
        noise = torch.randn(batch.logp_old.shape, generator=generator(0, "noise"), dtype=torch.float64)
        return batch.replace(logp_old=batch.logp_old + 0.3 * noise * batch.mask)


def make_learner(case: Case, split: Split, passes: int) -> Learner:
    """Returns a learner of `passes` epochs of `passes` mini-batches, with the roles its algorithm needs."""
    policy = Policy(with_adapter(tiny_model(), target_modules=ADAPTED), print)
    algorithm, processes = case.algorithm, Processes()
    assert policy.shares_prompts
    reference, needs = Reference(policy), algorithm.needs
    optimizer = MasterAdamW(trained_parameters(policy), 1e-2, (0.9, 0.99), 0.01)
    roles: list[Role] = []
    if case.off_policy:
        roles.append(Elsewhere(policy, processes))
    elif "old" in needs or passes > 1:
        roles.append(OldPolicyRole(policy, split.tokens, algorithm.atom, processes))
    if "reference" in needs:
        roles.append(ReferenceRole(reference, split.tokens, algorithm.atom, processes))
    if "teacher" in needs:
        roles.append(TeacherRole(Teacher(policy), split.tokens, algorithm.atom, processes))
    if "kl_full" in needs:
        roles.append(FullKLRole(reference, split.tokens, algorithm.atom, processes))
    if "mismatched" in needs:
        roles.append(MismatchedRole(reference, split.tokens, algorithm.atom, processes))
    if "critic" in needs:
        critic = CriticRole(
            policy, split.tokens, algorithm.atom, processes, 0, learning_rate=1e-2, betas=(0.9, 0.99),
            weight_decay=0.01, max_norm=1.0, clip=0.2,
        )  # fmt: skip
        randomise(policy.model, CRITIC)
        with torch.no_grad():
            critic.head.weight.copy_(torch.linspace(-0.2, 0.3, critic.head.weight.numel())[None])
        roles.append(critic)
    return Learner(
        policy=policy, algorithm=algorithm, roles=roles, optimizer=optimizer,
        scheduler=LambdaLR(optimizer.adamw, lambda step: 1 / (1 + step)), processes=processes, seed=0, epochs=passes,
        mini_batches=passes, tokens=split.tokens, max_norm=0.5, max_atoms=split.atoms,
    )  # fmt: skip


def make(case: Case) -> Batch:
    """Returns prompts and completions of unequal lengths, groups of unequal size (pairs where the atom is a group) and
    masks with holes."""
    pairs, several = case.algorithm.atom == "group", "mismatched" in case.algorithm.needs
    advantage = getattr(case.algorithm, "advantage", None)
    if pairs:
        groups = (2,) * (3 if case.odd else 5)
    elif case.odd:
        groups = (2, 1) if several else (3,)
    else:
        groups = (4, 2, 3, 2) if isinstance(advantage, LeaveOneOut) else (4, 1, 2, 4)
    batch = random_batch(groups, (7, 3, 5, 4, 6)[: len(groups)], holes=((0, 1), (2, 0), (1, 2)))
    reward = torch.randn(len(batch), generator=generator(0, "reward"), dtype=torch.float64)
    if case.sparse:
        mixed = batch.group == (0 if case.odd else 2)
        reward = torch.where(mixed, torch.arange(len(batch)) % 2, (batch.group == 0).long()).double()
    steps = torch.randn(batch.mask.shape, generator=generator(0, "steps"), dtype=torch.float64)
    ends = batch.attention & (torch.arange(batch.mask.shape[1]) % 2 == 1)
    batch = batch.replace(reward=reward, step_reward=steps, step_end=ends)
    if "teacher" not in case.algorithm.needs:
        return batch
    shown = torch.cat([batch.prompt_ids, batch.prompt_ids.flip(1)], 1)  # a teacher reads more
    return batch.replace(
        teacher_prompt_ids=shown,
        teacher_prompt_mask=torch.cat([batch.prompt_mask, torch.ones_like(batch.prompt_mask)], 1),
    )


@cache
def gradient(case: Case, split: Split) -> Tensor:
    """Returns the adapter's gradient of one batch (of its last mini-batch, if `odd`), over all processes."""
    learner = make_learner(case, split, 1)
    batch = learner.annotate(make(case))
    if case.odd:
        batch = batch.mini_batches(2, case.algorithm.atom, generator(0, "odd"))[1]
    batch = batch.replace(weight=case.algorithm.reduction(batch.mask, batch.group).double())
    learner.accumulate(batch, Tally(case.algorithm.clip_range), 0)
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in learner.optimizer.master]
    learner.processes.add(grads)
    return flat(grads)


@cache
def weights(case: Case, split: Split) -> Tensor:
    """Returns all trained weights, a critic's included, after two epochs of two mini-batches, the metrics, and the
    gradient as the diagnostics saw it."""
    learner = make_learner(case, split, 2)
    metrics = learner.update(learner.annotate(make(case)), 0)
    critics = [role for role in learner.roles if isinstance(role, CriticRole)]
    masters = [*learner.optimizer.master, *(m for critic in critics for m in critic.optimizer.master)]
    gradient = learner.diagnostics.last
    return flat([*masters, *numbers(metrics), *([] if gradient is None else [gradient])])


def numbers(metrics: dict[str, float | None]) -> list[Tensor]:
    """Returns metrics in the order of their names, without those there are not."""
    return [torch.tensor([metrics[name]], dtype=torch.float64) for name in sorted(metrics) if metrics[name] is not None]


def flat(tensors: list[Tensor]) -> Tensor:
    """Returns tensors as one vector."""
    return torch.cat([t.detach().flatten() for t in tensors])


def second_process(rank: int, folder: str, cases: dict[str, Case]) -> None:
    """Computes every case in one of two processes; the first writes the results to `folder`/results.pt."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    results: dict[str, Tensor] = {}
    for name, case in cases.items():
        results[f"{name} gradient"] = gradient(case, Split())
        results[f"{name} weights"] = weights(case, Split(atoms=2))
        case = replace(case, odd=True)
        results[f"{name} odd gradient"] = gradient(case, Split())
        results[f"{name} odd weights"] = weights(case, Split(atoms=2))
    held: list[dict[str, Tensor]] = [{}, {}]
    dist.all_gather_object(held, results)
    assert all(torch.equal(held[0][name], held[1][name]) for name in results), "the processes differ"
    if rank == 0:
        torch.save(results, Path(folder) / "results.pt")
    dist.destroy_process_group()

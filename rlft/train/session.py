"""Everything a plan becomes when it is set up: device, model, sampler, roles, optimiser and data."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.optim.lr_scheduler import LambdaLR

from rlft.base import (
    READ_REFERENCE,
    Batch,
    Context,
    Group,
    Processes,
    Role,
    RunError,
    Sampler,
    UserError,
    derive_seed,
)
from rlft.models.adapter import has_dropout
from rlft.models.embedded import cache_home
from rlft.models.flops import Shape, Way
from rlft.models.load import Loaded, load, tensors_hash
from rlft.models.policy import Policy
from rlft.models.roles import Reference
from rlft.models.rollout import Setting
from rlft.models.scorer import MODULES
from rlft.models.teacher import TeacherRole, load_teacher
from rlft.train.bill import reading_flops
from rlft.train.budget import Meter
from rlft.train.collate import collate
from rlft.train.kl_control import KLControl, with_beta
from rlft.train.loop import Learner
from rlft.train.memory import keep_freed_memory, resolve
from rlft.train.plan import Plan
from rlft.train.roles import make_roles
from rlft.train.schedule import schedule
from rlft.train.weights import make_optimizer


@dataclass
class Session:
    """A plan set up on this machine.

    Attributes:
        plan: with "auto" values resolved.
        reference: π_ref.
        meter: of the budget.
        context: what the data source was given.
        data_seconds: what binding the data took; where completions are sampled once, that is most of their cost.
        reward_calls: completions judged since it was set up.
    """

    plan: Plan
    accelerator: Accelerator
    processes: Processes
    loaded: Loaded
    policy: Policy
    reference: Reference
    sampler: Sampler
    roles: dict[str, Role]
    learner: Learner
    say: Callable[[str], None]
    meter: Meter
    context: Context
    data_seconds: float = 0.0
    reward_calls: int = 0

    @cached_property
    def shape(self) -> Shape:
        """What of the model costs arithmetic, for the bill."""
        return Shape.of(self.policy.model)

    @cached_property
    def learnt_shape(self) -> Shape:
        """Likewise, of an update: a head that gives scores is next to nothing beside one that gives logits."""
        scores = self.plan.algorithm.trains != "log_probs"
        return replace(self.shape, head=0) if scores else self.shape

    @property
    def teacher(self) -> TeacherRole | None:
        """The role that asks the teacher, if the algorithm has one."""
        role = self.roles.get("teacher")
        return role if isinstance(role, TeacherRole) else None

    @cached_property
    def way(self) -> Way:
        """How batches go through the model, likewise."""
        policy, tokens = self.policy, self.learner.tokens
        shape = self.teacher.shape if self.teacher else None
        return Way(policy.recompute, policy.trains_shared, policy.flat, tokens, self.processes.world, shape)

    def collate(self, groups: list[Group]) -> Batch:
        """Returns the scored groups as a batch, with a teacher's own prompts where there is one."""
        teacher = self.plan.teacher if "teacher" in self.roles else None
        return collate(groups, self.loaded.chat, self.policy.score_dtype, teacher)

    def score(self, groups: list[Group]) -> list[Group]:
        """Returns the groups with their rewards, each process having scored its share of those that had none."""
        reward, new = self.plan.reward, [group for group in groups if not group.rewards]
        self.reward_calls += sum(len(group.completions) for group in new) if reward.judges else 0
        scored = iter(self.processes.gather(reward.score(self.processes.share(new))))
        return [group if group.rewards else next(scored) for group in groups]

    def acceptance(self, batch: Batch) -> float | None:
        """Returns the share of sampled completions that have a coefficient: of those that were kept (RFT's acceptance,
        where the right ones are) the share in the batch. None where nothing is sampled."""
        source, gone = self.plan.source, self.learner.algorithm.vanishes(batch)
        return source.kept_share * float((~gone).double().mean()) if source.sampled_tokens else None

    def reward_flops(self) -> float:
        """Returns the FLOPs of the reward's models since it was set up, over all processes; collective."""
        flops = torch.tensor([reading_flops(self.plan.reward.readings())], dtype=torch.float64)
        self.processes.add([flops])
        return flops.item()

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint must hold of models, optimisers and data."""
        return {
            "optimizer": self.learner.optimizer.state_dict(),
            "scheduler": self.learner.scheduler.state_dict(),
            "kl_weight": self.learner.algorithm.kl_weight,
            "diagnostics": self.learner.diagnostics.state_dict(),
            "source": self.plan.source.state_dict(),
            "roles": {name: role.state_dict() for name, role in self.roles.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores it."""
        self.learner.optimizer.load_state_dict(state["optimizer"])
        self.learner.scheduler.load_state_dict(state["scheduler"])
        self.learner.diagnostics.load_state_dict(state["diagnostics"])
        if self.learner.kl_control is not None:
            self.learner.algorithm = with_beta(self.learner.algorithm, state["kl_weight"])
        self.plan.source.load_state_dict(state["source"])
        for name, role in self.roles.items():
            role.load_state_dict(state["roles"][name])

    def close(self) -> None:
        """Ends what was started beside the model."""
        self.sampler.close()
        self.plan.reward.close()
        if self.plan.trainer.verifier is not None:
            self.plan.trainer.verifier.close()


def set_up(
    plan: Plan,
    say: Callable[[str], None],
    trust_remote_code: bool = False,
    training: bool = True,
    needs: frozenset[str] = frozenset(),
) -> Session:
    """Loads the model, resolves what is "auto", and binds the data; without `training` only what an evaluation needs.
    `needs` are those of further algorithms that will be tried. Raises UserError for what the machine, the model or the
    data cannot do."""
    trainer = plan.trainer
    plan.rollout.require()
    keep_freed_memory()
    set_seed(derive_seed(plan.seed, "global") % 2**32)  # no draw of rlft's comes from these; a plugin's may
    accelerator = _accelerator(plan)
    processes = Processes()
    if not processes.first:
        say = _silent
    loaded = _load_in_turn(plan, accelerator.device, say, trust_remote_code, processes)
    other = None
    if training and "teacher" in plan.algorithm.needs:  # its adapter comes first: the policy looks at what it runs
        plan.check()
        other = load_teacher(plan.teacher, plan.model, loaded, accelerator.device, say, trust_remote_code)
    policy = MODULES[plan.algorithm.trains](loaded, say)
    tokens = _resolve_memory(plan, policy, loaded, accelerator, processes, say)
    plan = _resolved(plan, loaded, tokens, policy.recompute)
    reference = Reference(policy, keep=training and bool((plan.algorithm.needs | needs) & READ_REFERENCE))
    fingerprint = tensors_hash(_described(plan, loaded))
    setting = Setting(policy, reference, loaded, plan.model, plan.seed, fingerprint, processes, say, trust_remote_code)
    sampler = plan.rollout.sampler(setting)
    optimizer = make_optimizer(policy, trainer)
    learning = max(0, trainer.steps - trainer.critic_warmup_steps)  # batches in which the policy's optimiser steps
    total = learning * trainer.epochs * trainer.mini_batches
    meter = Meter(plan.budget)
    spent = None if plan.budget.unit is None else lambda: meter.share
    scheduler = LambdaLR(optimizer.adamw, schedule(trainer.schedule, trainer.warmup_steps, total, spent))
    correction = plan.rollout.correction if plan.source.on_policy else None
    roles = make_roles(plan, policy, reference, tokens, processes, other) if training else {}
    learner = Learner(
        policy=policy,
        algorithm=plan.algorithm,
        roles=list(roles.values()),
        optimizer=optimizer,
        scheduler=scheduler,
        processes=processes,
        seed=plan.seed,
        epochs=trainer.epochs,
        mini_batches=trainer.mini_batches,
        tokens=tokens,
        max_norm=trainer.max_grad_norm,
        dropout=has_dropout(loaded.model),
        correction=correction,
        on_policy=plan.source.on_policy,
        kl_control=None if trainer.kl_target is None else KLControl(trainer.kl_target, trainer.kl_horizon),
    )
    context = Context(
        seed=plan.seed,
        chat=loaded.chat,
        sampler=sampler,
        score=lambda groups: session.score(groups),
        cache_dir=cache_home() / "samples",
        say=say,
        training=training,
        curriculum=plan.curriculum,
    )
    session = Session(
        plan, accelerator, processes, loaded, policy, reference, sampler, roles, learner, say, meter, context
    )
    began = time.perf_counter()
    plan.source.bind(context)
    session.data_seconds = time.perf_counter() - began
    if plan.source.labels and (advice := plan.algorithm.advice(*plan.source.labels)):
        say(advice)
    return session


def _accelerator(plan: Plan) -> Accelerator:
    from accelerate.utils import InitProcessGroupKwargs, LoggerType, ProjectConfiguration

    trackers: list[Any] = list(plan.trainer.trackers)
    if any(name not in LoggerType.list() for name in trackers):
        raise UserError(f"trainer.trackers={trackers}: accelerate has {', '.join(LoggerType.list())}")
    on_cuda = torch.cuda.is_available() and plan.trainer.device == "auto"
    # Gradients are added up on the device, small tallies on the CPU: both need a backend. Alone there is no group, and
    # accelerate takes the mention of one for its being there.
    together = on_cuda and "WORLD_SIZE" in os.environ
    backends: list[Any] = [InitProcessGroupKwargs(backend="cpu:gloo,cuda:nccl")] if together else []
    accelerator = Accelerator(
        kwargs_handlers=backends,
        cpu=plan.trainer.device == "cpu",
        mixed_precision="no",
        log_with=trackers or None,
        project_config=ProjectConfiguration(project_dir=str(plan.run_dir), logging_dir=str(plan.run_dir / "trackers")),
    )
    if trackers and not accelerator.log_with:
        raise UserError(f"trainer.trackers={trackers}: none of them is installed; type `pip install` and its name")
    return accelerator


def _load_in_turn(
    plan: Plan, device: torch.device, say: Callable[[str], None], trust_remote_code: bool, processes: Processes
) -> Loaded:
    """The first process goes first: it may have to convert or download the model and to measure the dtype."""
    config = plan.model
    loaded = None
    if processes.first:
        loaded = load(config, plan.seed, device, say, trust_remote_code)
    name = processes.broadcast(str(loaded.dtype).removeprefix("torch.") if loaded else "")
    if loaded is None:
        loaded = load(replace(config, dtype=name), plan.seed, device, say, trust_remote_code)  # type: ignore[arg-type]
    if processes.broadcast(loaded.adapter_hash) != loaded.adapter_hash:
        raise RunError(
            "the processes hold different adapters at step 0; are their versions of torch and peft the same?"
        )
    return loaded


def _resolve_memory(
    plan: Plan,
    policy: Policy,
    loaded: Loaded,
    accelerator: Accelerator,
    processes: Processes,
    say: Callable[[str], None],
) -> int:
    """Returns the positions that go through the model at once, and sets gradient checkpointing."""
    machine = (policy.base.config, loaded.dtype, accelerator.device, processes.world)
    tokens, recompute = processes.broadcast(resolve(plan.trainer, plan.source, *machine))
    if recompute and plan.trainer.gradient_checkpointing == "auto":
        say("gradient checkpointing is on: activations would not fit the memory (trainer.gradient_checkpointing=off)")
    policy.checkpoint(recompute)
    return tokens


def _resolved(plan: Plan, loaded: Loaded, tokens: int, recompute: bool) -> Plan:
    dtype = str(loaded.dtype).removeprefix("torch.")
    found = {"tokens_per_micro_batch": tokens, "gradient_checkpointing": "on" if recompute else "off"}
    config = {
        **plan.config,
        "model": {**plan.config["model"], "dtype": dtype},
        "trainer": {**plan.config["trainer"], **found},
    }
    model = replace(plan.model, dtype=dtype)  # type: ignore[arg-type]
    return replace(plan, config=config, model=model, trainer=replace(plan.trainer, **found))  # type: ignore[arg-type]


def _described(plan: Plan, loaded: Loaded) -> dict[str, torch.Tensor]:
    """What π_ref's samples depend on, under names that are hashed with it."""
    adapter = loaded.adapter_hash if plan.model.adapter_path else ""
    import transformers

    versions = f"{torch.__version__} {transformers.__version__}"
    return {f"{loaded.base_hash} {adapter} {loaded.dtype} {loaded.chat.fingerprint} {versions}": torch.zeros(1)}


def _silent(_: str) -> None:
    return None

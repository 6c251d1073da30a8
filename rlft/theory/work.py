"""What a recipe asks for, as numbers."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rlft.base import DataSource, RewardFunction, Trained
from rlft.data import Offline, Online, Pairs
from rlft.data.curriculum.graded import Graded
from rlft.models.flops import Shape, Way
from rlft.rewards import Combine, ProcessModel, RewardModel, Stepped
from rlft.theory.live import Live
from rlft.theory.model import read_teacher, reward_shape

if TYPE_CHECKING:
    from rlft.train.plan import Plan

Sampled = Literal["never", "once", "each step"]


@dataclass(frozen=True)
class Work:
    """The portions of a run.

    Attributes:
        method: the algorithm's name.
        steps, queries: batches, and the groups in each. rows: completions of a group that are trained.
        sampled: whether completions are sampled never, once from π_ref, or from π_θ at each step.
        samples: completions sampled of one query. pool: queries sampled from once; None while it is not known.
        measured: completions sampled once of each query of the pool, for a curriculum that goes by π_ref's pass rate.
        kept: which groups training sees: "all" that were sampled or recorded, or of "right" rows or of "pairs" only.
        most: rows of a query that are kept at most, of those sampled once.
        live: which rows move the policy.
        roles: "old", "reference", "kl_full", "mismatched", "teacher" and "critic", as far as there are any.
        epochs, mini_batches: passes over a batch, and optimiser steps in each. frozen: steps in which only roles learn.
        tokens: positions that go through the model at once.
        max_prompt, max_completion: limits, tokens.
        questions: asked in an evaluation. evaluations: the token limit of each.
        trains: "log_probs", or scores of a model that answers nothing and ranks held-out completions instead, so many
            `rankings` times.
        judges: shapes of the reward models.
        teacher: shape of the teacher, None where it is π_ref. teacher_weights: those that it has of its own.
        processes: that share the work.
        recompute: whether backward runs each block forward once more. shared: whether training runs each prompt once
            for its group, or once for each completion. opens: whether what all prompts begin with is run once.
    """

    method: str
    steps: int
    queries: int
    rows: int
    sampled: Sampled
    samples: int
    pool: int | None
    kept: Literal["all", "right", "pairs"]
    live: Live
    roles: frozenset[str]
    epochs: int
    mini_batches: int
    frozen: int
    tokens: int
    max_prompt: int
    max_completion: int
    questions: int
    evaluations: tuple[int, ...]
    judges: tuple[Shape, ...] = field(default=())
    processes: int = 1
    most: int = 0
    measured: int = 0
    recompute: bool = False
    shared: bool = True
    opens: bool = False
    teacher: Shape | None = None
    teacher_weights: int = 0
    trains: Trained = "log_probs"
    rankings: int = 0

    @property
    def way(self) -> Way:
        """How batches go through the model."""
        return Way(self.recompute, self.shared, self.opens, self.tokens, self.processes, self.teacher)


def read_work(plan: "Plan", tokens: int, recompute: bool = False, shared: bool = True, opens: bool = False) -> Work:
    """Returns what a plan asks for.

    Args:
        plan: the recipe as objects. A data source of someone else's that has `samples_per_prompt` is taken to sample
            at each step; one without it, to have one recorded completion for each query.
        tokens, recompute: `trainer.tokens_per_micro_batch` and `trainer.gradient_checkpointing`, resolved.
        shared, opens: see Work.

    Raises:
        UserError: a reward model or a teacher that cannot be found.
    """
    trainer, source = plan.trainer, plan.source
    curriculum = plan.curriculum if isinstance(plan.curriculum, Graded) else None
    sampled, samples, rows, kept = _portions(source)
    limit = int(getattr(source, "max_completion_tokens", trainer.eval_long_tokens))
    between = trainer.steps // trainer.eval_every if trainer.eval_every else 0
    examined = between + 1 if trainer.eval_size else 0  # from the first step on
    scores = plan.algorithm.trains != "log_probs"
    needs = plan.algorithm.needs | ({"old"} if trainer.epochs * trainer.mini_batches > 1 else set[str]())
    teacher, own = read_teacher(plan.teacher, plan.model) if "teacher" in needs else (None, 0)
    return Work(
        method=plan.method,
        steps=min(trainer.steps, trainer.stop_after or trainer.steps),
        queries=trainer.prompts_per_step,
        rows=rows,
        sampled=sampled,
        samples=samples,
        pool=source.pool if isinstance(source, Offline) else curriculum.pool if curriculum else None,
        kept=kept,
        live=Live.of(plan.algorithm, rows, getattr(plan.reward, "wrong", 0.0)),
        roles=needs - {"steps"},  # which a reward fills, not a role
        epochs=trainer.epochs,
        mini_batches=trainer.mini_batches,
        frozen=min(trainer.steps, trainer.critic_warmup_steps),
        tokens=tokens,
        max_prompt=int(getattr(source, "max_prompt_tokens", limit)),
        max_completion=limit,
        questions=trainer.eval_size,
        evaluations=(max(limit, trainer.eval_long_tokens), *[limit] * examined) if examined and not scores else (),
        judges=tuple(reward_shape(path) for path in _reward_models(plan.reward)),
        processes=trainer.processes,
        most=_most(source) if isinstance(source, Offline) else 0,
        measured=curriculum.measure if curriculum else 0,
        recompute=recompute,
        shared=shared,
        opens=opens,
        teacher=teacher,
        teacher_weights=own,
        trains=plan.algorithm.trains,
        rankings=examined if scores else 0,
    )


def _portions(source: DataSource) -> tuple[Sampled, int, int, Literal["all", "right", "pairs"]]:
    """Returns when completions are sampled, how many of a query, how many of a group are trained, and which."""
    if isinstance(source, Offline):
        rows = {"right": 1, "pairs": 2, "all": source.samples_per_prompt}[source.keep]
        return "once", source.samples_per_prompt, rows, source.keep
    if isinstance(source, Online):
        return "each step", source.samples_per_prompt, source.samples_per_prompt, "all"
    if isinstance(source, Pairs):
        return "never", 0, 2, "pairs"
    samples = getattr(source, "samples_per_prompt", None)
    return ("each step", samples, samples, "all") if samples else ("never", 0, 1, "right")


def _most(source: Offline) -> int:
    pairs = source.pairs_per_question if source.keep == "pairs" else None
    return min(source.samples_per_prompt, 2 * pairs) if pairs else source.samples_per_prompt


def _reward_models(reward: RewardFunction) -> list[str]:
    if isinstance(reward, Combine):
        return [path for part in reward.parts.values() for path in _reward_models(part)]
    own = [reward.path] if isinstance(reward, RewardModel | ProcessModel) else []
    return own + (_reward_models(reward.outcome) if isinstance(reward, Stepped) else [])

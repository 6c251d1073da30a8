"""What a method would do to a model: steps of the training loop on a few groups, one method beside another."""

from dataclasses import dataclass, replace
from pathlib import Path

from torch.optim.lr_scheduler import LambdaLR

from rlft.base import Algorithm, Batch, Group, UserError
from rlft.train import checkpoint
from rlft.train.loop import Learner
from rlft.train.roles import make_roles
from rlft.train.session import Session
from rlft.train.weights import make_optimizer

MOST = 64
"""Questions drawn at most in search of those whose completions differ in their rewards."""


@dataclass(frozen=True)
class Trial:
    """One method, set up as training sets it up.

    Attributes:
        learner: steps with an AdamW of its own that has not stepped before; the roles do not learn.
        batch: what it is given, annotated and prepared. rows: the numbers of its completions among all there are.
    """

    learner: Learner
    batch: Batch
    rows: list[int]


def restore(session: Session, run_dir: Path, dtype: str) -> None:
    """Puts a session where the newest checkpoint of a run in this dtype is: weights, critic, and the next question.
    Raises UserError if there is none."""
    newest = checkpoint.latest(run_dir)
    if newest is None:
        raise UserError(f"{run_dir} has no checkpoint yet: go on with `rlft resume {run_dir}`")
    state = checkpoint.read(newest)
    kept = state["session"]["roles"]
    if dtype != session.plan.model.dtype:  # the log π_ref that it remembers are rounded otherwise than ours
        kept |= {name: {} for name in ("reference", "teacher") if name in session.roles}
    # Values that were changed may ask for a role that the run had not, such as π_old for several mini-batches.
    state["session"]["roles"] = {name: {} for name in session.roles} | kept
    session.load_state_dict(state["session"])
    session.say(f"{run_dir} after step {state['step']}")


def draw(session: Session, count: int) -> list[Group]:
    """Returns scored groups of a session's data, as its next steps would draw them: `count` of them, and rather those
    whose completions differ in their rewards, for which at most `MOST` questions are drawn."""
    source, reward = session.plan.source, session.plan.reward
    found: list[Group] = []
    telling: list[int] = []
    while len(telling) < count and len(found) < MOST:
        groups = source.next(max(count, session.plan.trainer.prompts_per_step))
        if not groups:
            break
        for group in reward.finish(session.score(groups)):
            if len(group.completions) == 1 or differs(group):
                telling.append(len(found))
            found.append(group)
    session.say(f"{len(found)} questions drawn, {len(telling)} of them with completions that teach something")
    others = [i for i in range(len(found)) if i not in telling]
    return [found[i] for i in sorted([*telling, *others][:count])]


def differs(group: Group) -> bool:
    """Returns whether a group's completions differ in their rewards."""
    return len({reward.value for reward in group.rewards}) > 1


def trial(
    session: Session, algorithm: Algorithm, method: str, groups: list[Group], learning_rate: float, passes: int = 1
) -> Trial:
    """Returns a method on a session's model, with the roles it needs; those that another one had before are shared.

    Args:
        session: set up for training.
        algorithm, method: what is tried, and its name for messages.
        groups: completions of every question. A method of pairs is given the best and the worst of each group.
        learning_rate: of its optimiser, the other settings of which are the plan's.
        passes: optimiser steps that will be taken on these completions; from two on π_old is not π_θ.

    Raises:
        UserError: the method needs what there is not.
    """
    taken, rows = _given(algorithm, method, groups)
    _require(session, algorithm, method, taken)
    trainer = replace(session.plan.trainer, epochs=passes, mini_batches=1, prompts_per_step=len(groups), kl_target=None)
    plan = replace(session.plan, algorithm=algorithm, method=method, trainer=trainer)
    policy, before = session.policy, session.learner
    roles = make_roles(plan, policy, session.reference, before.tokens, session.processes, known=session.roles)
    session.roles |= roles
    optimizer = make_optimizer(policy, replace(trainer, learning_rate=learning_rate, head_learning_rate=None))
    learner = replace(
        before,
        algorithm=algorithm,
        roles=list(roles.values()),
        optimizer=optimizer,
        scheduler=LambdaLR(optimizer.adamw, lambda _: 1.0),
        epochs=1,
        mini_batches=1,
        dropout=False,
        correction=None,
        kl_control=None,
    )
    batch = learner.annotate(session.collate(taken))
    return Trial(replace(learner, roles=[]), batch, rows)


def _require(session: Session, algorithm: Algorithm, method: str, groups: list[Group]) -> None:
    """Raises UserError for what the session or these groups lack, where the recipe's own check cannot know it."""
    ours = session.plan.algorithm
    if algorithm.trains != ours.trains:
        raise UserError(
            f"algorithm {method} trains another kind of model than {session.plan.method}; explain it alone, with a "
            "recipe of its own (recipe=…)"
        )
    if "teacher" in algorithm.needs and "teacher" not in session.roles:
        raise UserError(
            f"algorithm {method} needs a teacher, and this run has none; explain it with a recipe that has (recipe=…)"
        )
    if "mismatched" in algorithm.needs and len(groups) < 2:
        raise UserError(
            f"algorithm {method} compares completions with those of other questions; type groups=2 or more (with "
            "file=: prompts with completions of their own)"
        )
    if "steps" in algorithm.needs and not any(reward.steps for group in groups for reward in group.rewards):
        raise UserError(f"algorithm {method} needs rewards of steps, and these completions have one reward each")


def _given(algorithm: Algorithm, method: str, groups: list[Group]) -> tuple[list[Group], list[int]]:
    """Returns the groups as a method takes them, and the numbers of their completions."""
    size, first = algorithm.group_size, 0
    taken: list[Group] = []
    rows: list[int] = []
    for group in groups:
        places = list(range(len(group.completions)))
        if size == 2:
            places = best_and_worst(group)
        elif size is not None and size != len(places):
            raise UserError(
                f"algorithm {method} wants {size} completions of each question, and there are {len(places)}"
            )
        if places:
            completions, rewards = ([each[i] for i in places] for each in (group.completions, group.rewards))
            taken.append(replace(group, completions=tuple(completions), rewards=tuple(rewards)))
            rows += [first + i for i in places]
        first += len(group.completions)
    if not taken:
        raise UserError(
            f"algorithm {method} takes a better and a worse completion of one question, and here no two differ in "
            f"their rewards; give a wrong answer beside a right one (rewards=[1,0]), or leave {method} out"
        )
    return taken, rows


def best_and_worst(group: Group) -> list[int]:
    """Returns the places of the completions with the greatest and the least reward, the first ones of their kind; none
    where all rewards are equal."""
    if not differs(group):
        return []
    values = [reward.value for reward in group.rewards]
    return [values.index(max(values)), values.index(min(values))]

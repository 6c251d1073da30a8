"""The models beside the policy that a plan's algorithm needs."""

from collections.abc import Callable, Mapping

from rlft.base import Processes, Role
from rlft.models.adapter import has_dropout
from rlft.models.critic import CriticRole
from rlft.models.policy import Policy
from rlft.models.roles import FullKLRole, MismatchedRole, OldPolicyRole, Reference, ReferenceRole
from rlft.models.row_cache import RowCache
from rlft.models.teacher import Teacher, TeacherRole
from rlft.train.plan import Plan


def make_roles(
    plan: Plan,
    policy: Policy,
    reference: Reference,
    tokens: int,
    processes: Processes,
    teacher: Policy | None = None,
    known: Mapping[str, Role] | None = None,
) -> dict[str, Role]:
    """Returns the roles the algorithm needs. Without a further optimiser step per batch π_old is the policy itself.

    Args:
        plan: whose algorithm, trainer and data they are for.
        policy, reference: π_θ and π_ref. teacher: a teacher that is another model; None: `policy` holds it.
        tokens: positions that go through a model at once.
        processes: the others that the rows are shared with.
        known: roles that are taken as they are.

    Raises:
        UserError: as Plan.check does.
    """
    plan.check()
    trainer, needs, atom = plan.trainer, plan.algorithm.needs, plan.algorithm.atom
    noisy = plan.rollout.correction is not None and has_dropout(policy.model)  # π_old of the mismatch has no dropout
    if trainer.epochs * trainer.mini_batches > 1 or noisy:
        needs = needs | {"old"}

    def cache() -> RowCache | None:  # of rows that come again
        return None if plan.source.on_policy else RowCache()

    makers: dict[str, Callable[[], Role]] = {
        "old": lambda: OldPolicyRole(policy, tokens, atom, processes),
        "reference": lambda: ReferenceRole(reference, tokens, atom, processes, cache()),
        "teacher": lambda: TeacherRole(Teacher(policy, teacher), tokens, atom, processes, cache()),
        "kl_full": lambda: FullKLRole(reference, tokens, atom, processes),
        "mismatched": lambda: MismatchedRole(reference, tokens, atom, processes),
        "critic": lambda: CriticRole(
            policy,
            tokens,
            atom,
            processes,
            plan.seed,
            learning_rate=trainer.critic_learning_rate,
            betas=(trainer.beta1, trainer.beta2),
            weight_decay=trainer.weight_decay,
            max_norm=trainer.max_grad_norm,
            clip=trainer.critic_clip,
        ),
    }
    known = known or {}
    return {name: known[name] if name in known else make() for name, make in makers.items() if name in needs}

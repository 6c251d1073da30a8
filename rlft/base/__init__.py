"""Types and the base classes of the plugins."""

from rlft.base.algorithm import READ_REFERENCE, Algorithm, Atom, Trained
from rlft.base.batch import Batch
from rlft.base.curriculum import Curriculum, Pool
from rlft.base.data import Chat, Context, DataSource, Sampler, Sampling
from rlft.base.errors import RunError, UserError
from rlft.base.processes import Processes
from rlft.base.reward import Reading, RewardFunction
from rlft.base.rng import derive_seed, generator
from rlft.base.role import Role
from rlft.base.types import Completion, Group, Message, Query, Reward, question_id

__all__ = [
    "READ_REFERENCE",
    "Algorithm",
    "Atom",
    "Batch",
    "Chat",
    "Completion",
    "Context",
    "Curriculum",
    "DataSource",
    "Group",
    "Message",
    "Pool",
    "Processes",
    "Query",
    "Reading",
    "Reward",
    "RewardFunction",
    "Role",
    "RunError",
    "Sampler",
    "Sampling",
    "Trained",
    "UserError",
    "derive_seed",
    "generator",
    "question_id",
]

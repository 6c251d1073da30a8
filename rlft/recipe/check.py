"""A composed recipe against the classes it names: every key, every type, every mandatory value.

The dataclass fields of a class are the schema of its node, so nothing is declared twice.
"""

import typing
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any

from rlft.base import Algorithm, Curriculum, DataSource, RewardFunction, UserError
from rlft.models.config import ModelConfig, TeacherConfig
from rlft.models.rollout import Rollout
from rlft.recipe.suggest import unknown_field, unknown_root_key
from rlft.recipe.trust import load_class
from rlft.recipe.values import MISSING as MANDATORY
from rlft.recipe.values import read
from rlft.train.budget import Budget
from rlft.train.config import TrainerConfig

BASES: dict[str, type] = {
    "data": DataSource,
    "curriculum": Curriculum,
    "reward": RewardFunction,
    "algorithm": Algorithm,
    "model": ModelConfig,
    "rollout": Rollout,
    "teacher": TeacherConfig,
    "trainer": TrainerConfig,
    "budget": Budget,
}
BEFORE: dict[str, Any] = {
    "rollout": {"_target_": "rlft.models.Native"},
    "curriculum": {"_target_": "rlft.data.NoCurriculum"},
    "teacher": {"_target_": "rlft.models.TeacherConfig", **{field.name: None for field in fields(TeacherConfig)}},
    "budget": {"_target_": "rlft.train.Budget", **{field.name: None for field in fields(Budget)}},
}
"""What a recipe has for a node that it was frozen without: what there was before there was a choice."""
ROOT: dict[str, Any] = {"recipe": str, "method": str, "seed": int, "output_dir": str | None}


@dataclass(frozen=True)
class Node:
    """A checked node.

    Attributes:
        cls: the class it names. target: the dotted path it was named by.
        values: a value for every field; values that are nodes, or lists and mappings of nodes, among them.
    """

    cls: type
    target: str
    values: dict[str, Any]


def check(
    config: dict[str, Any], trusted: frozenset[str], others: Callable[[], dict[str, list[str]]] = dict
) -> dict[str, Any]:
    """Returns the recipe with every node checked (`Node`) and every default filled in.

    Args:
        config: plain values with the keys of `ROOT` and `BASES`.
        trusted: packages whose classes may be named.
        others: called when a key is unknown: the field names of all algorithms, with the algorithms that have them.

    Raises:
        UserError: an unknown key, a value of the wrong type, a missing mandatory value, a class that may not be named.
    """
    config = {**BEFORE, **config}
    for key in config:
        if key not in BASES and key not in ROOT:
            raise UserError(unknown_root_key(key, config, [*BASES, "seed", "output_dir"]))
    reader = _Reader(trusted, config, others)
    result = {key: read(config.get(key), hint, key, reader.node) for key, hint in ROOT.items()}
    for key, base in BASES.items():
        if not isinstance(config.get(key), dict):
            raise UserError(f"{key}: expected a mapping with its _target_, got {config.get(key)!r}")
        result[key] = reader.node(config[key], base, key)
    return result


def plain(value: Any) -> Any:
    """Returns checked values as the plain ones of YAML; a node becomes a mapping with its `_target_` first."""
    if isinstance(value, Node):
        return {"_target_": value.target, **{name: plain(entry) for name, entry in value.values.items()}}
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if is_dataclass(value) and not isinstance(value, type):
        return plain(_node_of(value))
    return value


def field_names(cls: type) -> list[str]:
    """Returns the names that a recipe may set for a class. Raises UserError if it is not a dataclass."""
    return [field.name for field in _fields(cls)]


@dataclass(frozen=True)
class _Reader:
    trusted: frozenset[str]
    config: dict[str, Any]
    others: Callable[[], dict[str, list[str]]]

    def node(self, value: dict[str, Any], base: type, key: str) -> Node:
        if value.get("_target_", MANDATORY) in (MANDATORY, None):
            raise UserError(f"{key}._target_ is missing: name the class, a subclass of {base.__qualname__}")
        cls = load_class(value["_target_"], base, key, self.trusted)
        known = {field.name: field for field in _fields(cls)}
        for name in value:
            if name != "_target_" and name not in known:
                raise UserError(unknown_field(key, str(name), list(known), self.config, self.others()))
        hints = typing.get_type_hints(cls)
        values = {name: self._field(field, hints[name], value, f"{key}.{name}") for name, field in known.items()}
        return Node(cls, value["_target_"], values)

    def _field(self, field: Field[Any], hint: Any, node: dict[str, Any], key: str) -> Any:
        if field.name in node:
            return read(node[field.name], hint, key, self.node)
        if field.default is not MISSING:
            return field.default
        if field.default_factory is not MISSING:
            return field.default_factory()
        return read(MANDATORY, hint, key, self.node)


def _fields(cls: type) -> list[Field[Any]]:
    if not is_dataclass(cls):
        raise UserError(f"{cls.__module__}.{cls.__qualname__} must be a dataclass: its fields are the recipe's schema")
    return [field for field in fields(cls) if field.init]


def _node_of(value: Any) -> Node:
    cls = type(value)
    values = {field.name: getattr(value, field.name) for field in _fields(cls)}
    return Node(cls, f"{cls.__module__}.{cls.__qualname__}", values)

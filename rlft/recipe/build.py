"""From checked values to objects, and from a recipe to the directory its run writes to."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from rlft.base import UserError
from rlft.base.nested import flat
from rlft.recipe.check import BEFORE, Node, check, plain
from rlft.recipe.overrides import changed
from rlft.recipe.trust import trusted_packages
from rlft.train.plan import Plan
from rlft.train.run_dir import write_config

FROZEN = "config.yaml"


def build(config: dict[str, Any], run_dir: Path, plugins: Sequence[str] = ()) -> Plan:
    """Returns the plan of a recipe.

    Args:
        config: plain values, as `compose` returns them and as config.yaml holds them.
        run_dir: where the run writes.
        plugins: packages whose classes may be named beside rlft's own.

    Raises:
        UserError: the values do not fit the classes, or a class refuses them.
    """
    from rlft.rewards.python import allow

    trusted = trusted_packages(plugins)
    nodes = check(config, trusted)
    allow(trusted)
    return Plan(
        source=_construct(nodes["data"], "data"),
        curriculum=_construct(nodes["curriculum"], "curriculum"),
        reward=_construct(nodes["reward"], "reward"),
        algorithm=_construct(nodes["algorithm"], "algorithm"),
        model=_construct(nodes["model"], "model"),
        trainer=_construct(nodes["trainer"], "trainer"),
        rollout=_construct(nodes["rollout"], "rollout"),
        teacher=_construct(nodes["teacher"], "teacher"),
        budget=_construct(nodes["budget"], "budget"),
        seed=nodes["seed"],
        run_dir=run_dir,
        recipe=nodes["recipe"],
        method=nodes["method"],
        config={key: plain(node) for key, node in nodes.items()},
    )


def _construct(value: Any, key: str) -> Any:
    """Returns checked values with every node called."""
    if isinstance(value, Node):
        arguments = {name: _construct(entry, f"{key}.{name}") for name, entry in value.values.items()}
        try:
            return value.cls(**arguments)
        except (ValueError, TypeError) as error:
            raise UserError(f"{key}: {value.cls.__name__} refuses these values: {error}") from error
    if isinstance(value, dict):
        return {name: _construct(entry, f"{key}.{name}") for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_construct(entry, f"{key}[{index}]") for index, entry in enumerate(value))
    return value


def recipe_hash(config: dict[str, Any]) -> str:
    """Returns 8 hex digits that name a recipe's values. `output_dir` and `trainer.stop_after` do not change what a run
    computes, so they do not change its name; nor does a choice made as it was before there was one."""
    named = {key: value for key, value in config.items() if key != "output_dir" and value != BEFORE.get(key)}
    named["trainer"] = {key: value for key, value in config["trainer"].items() if key != "stop_after"}
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:8]


def run_directory(config: dict[str, Any]) -> Path:
    """Returns where a recipe's run writes: its `output_dir`, or runs/RECIPE-HASH."""
    return Path(config["output_dir"] or Path("runs") / f"{config['recipe']}-{recipe_hash(config)}")


def freeze(config: dict[str, Any], run_dir: Path) -> None:
    """Writes a recipe into its run directory, where `load_plan` and the processes of a run read it."""
    write_config(run_dir, config)


def differences(config: dict[str, Any], run_dir: Path) -> list[str]:
    """Returns the keys in which a recipe differs from the one frozen in a run directory, as far as both decide: where a
    run's directory is and when it stops is left out, and "auto" is equal to what it was resolved to."""
    if not (run_dir / FROZEN).is_file():
        return []
    frozen = yaml.safe_load((run_dir / FROZEN).read_text(encoding="utf-8"))
    ours, theirs = flat({**BEFORE, **config}), flat({**BEFORE, **frozen})
    for key in ("output_dir", "trainer.stop_after"):
        ours[key] = theirs[key] = None
    keys = sorted(ours.keys() | theirs.keys())
    return [key for key in keys if ours.get(key) != theirs.get(key) and ours.get(key) != "auto"]


def load_plan(
    run_dir: Path, plugins: Sequence[str] = (), stop_after: int | None = None, changes: Sequence[str] = ()
) -> Plan:
    """Returns the plan frozen in a run directory.

    Args:
        run_dir: the directory of a run.
        plugins: packages whose classes may be named beside rlft's own.
        stop_after: the step at which to stop this time; None keeps the frozen one.
        changes: `key=value` words that replace frozen values; the directory keeps what it has.

    Raises:
        UserError: there is no frozen recipe, or it does not fit the classes any more.
    """
    path = run_dir / FROZEN
    if not path.is_file():
        raise UserError(f"{run_dir} is not a run directory: it has no {FROZEN}; `rlft ls runs` lists those there are")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path}: expected a mapping with the keys of a recipe")
    plan = build(changed(config, list(changes)), run_dir, plugins)
    return plan if stop_after is None else replace(plan, trainer=replace(plan.trainer, stop_after=stop_after))

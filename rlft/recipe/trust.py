"""Which code a recipe may name. A recipe is input: nothing is imported because a recipe says so."""

import importlib
import sys
from collections.abc import Iterable
from importlib import metadata, util
from pathlib import Path

from rlft.base import UserError

ENTRY_POINTS = "rlft.plugins"


def trusted_packages(plugins: Iterable[str] = ()) -> frozenset[str]:
    """Returns the packages whose classes a recipe may name: rlft, installed packages that declare an entry point in the
    group `rlft.plugins`, and those named on the command line. Nothing is imported here.

    Args:
        plugins: names given with `--plugin`, packages or (for reward functions) .py files; the working directory is put
            on the import path if there are any.

    Raises:
        UserError: there is no such package or file.
    """
    declared = {entry.module.partition(".")[0] for entry in metadata.entry_points(group=ENTRY_POINTS)}
    named = list(plugins)
    here = str(Path.cwd())
    if named and here not in sys.path:
        sys.path.append(here)
    for name in named:
        if not _exists(name):
            raise UserError(
                f"--plugin {name}: there is no such package; install it, or run from the folder it lies in "
                "(a reward function may also lie in a .py file)"
            )
    return frozenset({"rlft", *declared, *named})


def _exists(name: str) -> bool:
    if name.endswith(".py"):
        return Path(name).expanduser().is_file()
    # Only the top package is looked for: looking for a submodule would import its parents.
    return all(part.isidentifier() for part in name.split(".")) and util.find_spec(name.partition(".")[0]) is not None


def load_class(target: object, base: type, key: str, trusted: frozenset[str]) -> type:
    """Returns the class that a `_target_` names.

    Args:
        target: the dotted path as the recipe has it.
        base: what the class must be a subclass of.
        key: where in the recipe it stands, for messages.
        trusted: packages that may be imported (`trusted_packages`); the path is held against them before any import.

    Raises:
        UserError: the package is not trusted, there is no such class, or it is no subclass of `base`.
    """
    if not isinstance(target, str) or "." not in target:
        raise UserError(f"{key}._target_: expected the dotted path of a class, as package.module.Class; got {target!r}")
    if not any(target.startswith(package + ".") for package in trusted):
        top = target.partition(".")[0]
        tip = "" if top in sys.stdlib_module_names else f"; if you trust the package {top}, add --plugin {top}"
        raise UserError(
            f"{key}._target_: {target} is refused: a recipe may name classes of rlft and of its plugins only{tip}"
        )
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise UserError(f"{key}._target_: cannot import {target}: {error}") from error
    except AttributeError as error:
        raise UserError(f"{key}._target_: {module} has no class {name!r}") from error
    if not isinstance(found, type) or not issubclass(found, base):
        raise UserError(f"{key}._target_: {target} is not a subclass of {base.__module__}.{base.__qualname__}")
    return found

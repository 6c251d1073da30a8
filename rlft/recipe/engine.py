"""Hydra, and nothing else of the package knows it: group files and overrides in, plain values out."""

from pathlib import Path
from typing import Any, ClassVar

import yaml
from hydra import compose, initialize_config_module
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from rlft.base import UserError
from rlft.recipe.groups import GROUPS, directories


class UserDirectory(SearchPathPlugin):
    """Puts the user's directory in front of the shipped one. Hydra's own option appends it, where a file of the same
    name loses without a word."""

    directory: ClassVar[Path | None] = None

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra when it starts."""
        if self.directory is not None:
            search_path.prepend("user", f"file://{self.directory}")


def load(overrides: list[str], config_dir: Path | None) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the composed values with interpolations resolved (what is mandatory and not given stays `???`), and the
    choice made in every group.

    Raises:
        UserError: Hydra cannot compose it.
    """
    searched = directories(config_dir)
    UserDirectory.directory = searched[0] if config_dir is not None else None
    Plugins.instance().register(UserDirectory)
    try:
        with initialize_config_module("rlft.recipes", version_base="1.3"):
            config = compose("config", overrides=overrides, return_hydra_config=True)
        choices = {group: str(config.hydra.runtime.choices.get(group)) for group in GROUPS}
        with open_dict(config):
            del config["hydra"]
        values = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"the recipe does not compose: {_reason(error)}") from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}, choices


def read_yaml(path: Path) -> dict[str, Any]:
    """Returns a YAML file's mapping, nothing resolved. Numbers such as 1e-4 are numbers here, unlike in plain PyYAML.

    Raises:
        UserError: it cannot be read, or is no mapping.
    """
    try:
        values = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: cannot be read as YAML: {_reason(error)}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a mapping, got a list")
    return {str(key): value for key, value in values.items()}


def _reason(error: BaseException) -> str:
    """Returns the first line of the error and of each of its causes, equal lines once."""
    lines: list[str] = []
    current: BaseException | None = error
    while current is not None:
        text = next(iter(str(current).strip().splitlines()), type(current).__name__)
        if not any(text in line for line in lines):
            lines.append(text)
        current = current.__cause__
    return "; ".join(lines)

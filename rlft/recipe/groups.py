"""The groups of recipes and the files in them: the user's own directory first, then the shipped ones."""

from importlib import resources
from pathlib import Path

from rlft.base import UserError
from rlft.recipe.suggest import closest

GROUPS = ("recipe", "data", "curriculum", "reward", "algorithm", "model", "rollout", "trainer")


def shipped() -> Path:
    """Returns the directory of the shipped recipes."""
    return Path(str(resources.files("rlft.recipes")))


def directories(config_dir: Path | None) -> list[Path]:
    """Returns the directories that are searched, in order. Raises UserError if the user's own does not exist."""
    if config_dir is None:
        return [shipped()]
    if not config_dir.is_dir():
        raise UserError(f"--config-dir {config_dir}: there is no such directory")
    return [config_dir.resolve(), shipped()]


def options(group: str, config_dir: Path | None = None) -> dict[str, Path]:
    """Returns the choices of a group with the file that each one is read from, sorted by name."""
    found: dict[str, Path] = {}
    for directory in reversed(directories(config_dir)):
        found.update({path.stem: path for path in (directory / group).glob("*.yaml")})
    return dict(sorted(found.items()))


def summary_line(path: Path) -> str:
    """Returns what a file says it is: its first comment that is not a package directive."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and not line.startswith("# @package"):
            return line.lstrip("# ").rstrip()
    return ""


def require_option(group: str, name: str, config_dir: Path | None = None) -> None:
    """Raises UserError, with the nearest name, if a group has no such choice."""
    known = options(group, config_dir)
    if name in known:
        return
    meant = closest(name, known)
    tip = f"did you mean {group}={meant}?" if meant else f"there are {', '.join(known)}"
    raise UserError(f"there is no {group}={name}: {tip}")


def origin_notes(choices: dict[str, str], config_dir: Path | None) -> list[str]:
    """Returns a line for every chosen file that was read from the user's directory."""
    if config_dir is None:
        return []
    notes: list[str] = []
    for name in ["config", *(f"{group}/{choice}" for group, choice in choices.items() if choice)]:
        own = config_dir.resolve() / f"{name}.yaml"
        if own.is_file():
            instead = ", in place of the shipped one" if (shipped() / f"{name}.yaml").is_file() else ""
            notes.append(f"{name}.yaml read from {own}{instead}")
    return notes

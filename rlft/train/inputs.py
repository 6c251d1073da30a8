"""Which files a run has read: a recipe names them by path, and its hash does not see what is in them."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from rlft.base.nested import flat


def digests(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns size, bytes, and SHA-256 of the files that a recipe names: its data, functions of its rewards that are
    in .py files, and the modules of classes that are not rlft's own, by path. Those that are not there are left out."""
    return {str(path): _digest(path) for path in _named(config)}


def changed(config: dict[str, Any], run_dir: Path) -> list[str]:
    """Returns the files that a recipe's run has read and that hold something else by now. Runs of older versions did
    not write down what they read."""
    try:
        known = json.loads((run_dir / "environment.json").read_text(encoding="utf-8")).get("files", {})
    except (OSError, ValueError):
        return []
    return [str(path) for path in _named(config) if str(path) in known and known[str(path)] != _digest(path)]


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _named(config: dict[str, Any]) -> list[Path]:
    found: list[Path] = []
    for key, value in flat(config).items():
        name = key.rpartition(".")[2]
        if not isinstance(value, str):
            continue
        if name in ("train_file", "eval_file"):
            found.append(Path(value))
        elif name == "function" and ".py:" in value:
            found.append(Path(value.rpartition(":")[0]).expanduser())
        elif name == "_target_" and not value.startswith("rlft."):
            module = sys.modules.get(value.rpartition(".")[0])
            found += [Path(file) for file in [getattr(module, "__file__", None)] if file]
    return [path for path in dict.fromkeys(found) if path.is_file()]

"""Checkpoints: everything a run needs to go on bit for bit, written atomically."""

import json
import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlft.base import UserError

FOLDER = "checkpoints"
_MARK = "__tensor__"


def save(run_dir: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Writes `checkpoints/step-NNNNNN` whole or not at all, then drops all but the newest `keep` of them."""
    folder = run_dir / FOLDER
    folder.mkdir(exist_ok=True)
    target = folder / f"step-{step:06d}"
    write(target, {**state, "random": _random_state()})
    for old in sorted(folder.glob("step-*"))[: -max(1, keep)]:
        shutil.rmtree(old)
    return target


def latest(run_dir: Path) -> Path | None:
    """Returns the newest whole checkpoint."""
    found = sorted((run_dir / FOLDER).glob("step-*"))
    return found[-1] if found else None


def load(path: Path) -> dict[str, Any]:
    """Returns the state that `save` wrote, and puts the global random generators where they were."""
    state = read(path)
    _set_random_state(state.pop("random"))
    return state


def write(target: Path, state: dict[str, Any]) -> None:
    """Writes nested dicts and lists of tensors and plain values as a folder: state.safetensors and state.json."""
    from safetensors.torch import save_file

    scratch = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    tensors: dict[str, Tensor] = {}
    plain = _split(state, "", tensors)
    save_file(tensors, scratch / "state.safetensors")
    (scratch / "state.json").write_text(json.dumps(plain))
    for file in scratch.iterdir():  # on the disk before the name is: a power cut must not leave an empty checkpoint
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    scratch.chmod(0o755)
    if target.exists():
        shutil.rmtree(target)
    scratch.rename(target)


def read(path: Path) -> dict[str, Any]:
    """Returns what `write` wrote. Raises UserError if it is not a checkpoint."""
    from safetensors.torch import load_file

    try:
        return _join(json.loads((path / "state.json").read_text()), load_file(path / "state.safetensors"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a checkpoint of rlft: {error}") from error


def sweep_partial(run_dir: Path) -> None:
    """Removes the unfinished files and folders that a killed run left."""
    for scratch in [*run_dir.glob(".partial-*"), *(run_dir / FOLDER).glob(".partial-*")]:
        if scratch.is_dir():
            shutil.rmtree(scratch, ignore_errors=True)
        else:
            scratch.unlink(missing_ok=True)


def _split(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[path] = value.detach().cpu().contiguous().clone()
        return {_MARK: path}
    if isinstance(value, dict):  # pairs, because the keys of an optimiser's state are numbers
        return {"__dict__": [[k, _split(v, f"{path}/{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return [_split(v, f"{path}/{i}", tensors) for i, v in enumerate(value)]
    return value


def _join(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if _MARK in value:
            return tensors[value[_MARK]]
        return {k: _join(v, tensors) for k, v in value["__dict__"]}
    if isinstance(value, list):
        return [_join(v, tensors) for v in value]
    return value


def _random_state() -> dict[str, Any]:
    drawn: Any = np.random.get_state()
    kind, keys, position, has_gauss, gauss = drawn
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": list(random.getstate()[1]),
        "numpy": {
            "kind": kind,
            "keys": torch.from_numpy(keys.astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "gauss": float(gauss),
        },
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    random.setstate((3, tuple(state["python"]), None))
    n = state["numpy"]
    np.random.set_state((n["kind"], n["keys"].numpy().astype(np.uint32), n["position"], n["has_gauss"], n["gauss"]))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])

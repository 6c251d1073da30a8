"""Hand-made run directories, and what a comparison of them prints."""

import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from rlft.comparison import render

ROWS = [f"q{i:03d}" for i in range(100)]


def run(
    root: Path, name: str, right: int, *, ids: list[str] = ROWS, method: str | None = None, recipe: str | None = None,
    status: str = "finished", beta: float = 0.0, seed: int = 0, stop: int = 0, **evaluation: Any,
) -> Path:  # fmt: skip
    """Writes a run whose first `right` answers are right and whose last 5 were cut off."""
    path = root / name
    path.mkdir()
    (path / "config.yaml").write_text(
        f"output_dir: {path}\nseed: {seed}\nrecipe: {recipe or method or name}\nalgorithm:\n  beta: {beta}\n",
        encoding="utf-8",
    )
    measured = {
        "n": len(ids), "accuracy_before": 0.1, "accuracy_before_long": 0.2, "accuracy_after": right / len(ids),
        "difference": right / len(ids) - 0.2, "interval": [0.1, 0.3], "base_model": "smol", "template_hash": "abc",
        "max_completion_tokens": 24,
    }  # fmt: skip
    summary = {
        "method": method or name, "model": "smol", "steps": 4, "seed": seed, "status": status,
        "recipe": recipe or f"{method or name}_math",
        "eval": measured | evaluation, "totals": {"generated_tokens": 12345, "trained_tokens": 6789, "seconds": 90.0},
    }  # fmt: skip
    (path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    rows = [{"id": q, "correct": i < right, "finished": i < len(ids) - 5} for i, q in enumerate(ids)]
    (path / "eval_after.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for name, known in (("before", 10), ("before_long", 20)):
        rows = [{"id": q, "correct": i < known} for i, q in enumerate(ids)]
        (path / f"eval_{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def seeds(root: Path, name: str, rights: list[int], **settings: Any) -> list[Path]:
    """Writes a run per seed of one method."""
    return [run(root, f"{name}{i}", n, method=name, seed=i, **settings) for i, n in enumerate(rights)]


def printed(result: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=160)
    render(result, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()

"""What a page reads from a run directory."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from rlft.base import UserError
from rlft.train.plots import Curve, read_metrics

STEP = re.compile(r'\{"step": (\d+)')


@dataclass(frozen=True)
class Files:
    """A run directory. Each file is read when it is asked for; one that is not there is empty."""

    path: Path

    @cached_property
    def summary(self) -> dict[str, Any]:
        """summary.json; a run that was killed has none."""
        return self._json("summary.json")

    @cached_property
    def environment(self) -> dict[str, Any]:
        """environment.json."""
        return self._json("environment.json")

    @cached_property
    def config_text(self) -> str:
        """config.yaml as it stands there."""
        file = self.path / "config.yaml"
        return file.read_text(encoding="utf-8") if file.is_file() else ""

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.yaml."""
        value = yaml.safe_load(self.config_text)
        return value if isinstance(value, dict) else {}

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """metrics.jsonl: each metric's steps and values. Raises UserError where a line is malformed."""
        file = self.path / "metrics.jsonl"
        return read_metrics(file) if file.is_file() else {}

    def answers(self, name: str) -> dict[str, dict[str, Any]]:
        """Returns the rows of eval_NAME.jsonl by question."""
        return {row["id"]: row for row in self._rows(f"eval_{name}.jsonl")}

    def samples(self, steps: set[int]) -> list[dict[str, Any]]:
        """Returns the lines of samples.jsonl that belong to the steps. Of the others, which can be many, no more than
        the step is read."""
        return list(self._rows("samples.jsonl", steps))

    def steps_with_samples(self) -> list[int]:
        """Returns the steps that samples.jsonl has lines of, in order."""
        found = {int(match[1]) for line in self._lines("samples.jsonl") if (match := STEP.match(line))}
        return sorted(found)

    def _json(self, name: str) -> dict[str, Any]:
        file = self.path / name
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

    def _rows(self, name: str, steps: set[int] | None = None) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(self._lines(name), 1):
            if steps is not None and not ((match := STEP.match(line)) and int(match[1]) in steps):
                continue
            try:
                yield json.loads(line)
            except ValueError as error:
                raise UserError(f"{self.path / name}, line {number}: not JSON ({error})") from error

    def _lines(self, name: str) -> Iterator[str]:
        file = self.path / name
        if file.is_file():
            with file.open(encoding="utf-8", newline="\n") as lines:
                # The last line of a run that was killed may be torn.
                yield from (line for line in lines if line.strip() and line.endswith(("\n", "}")))

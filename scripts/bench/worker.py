"""The far end of a contender's pipe: a process of its own that takes one step whenever it is told to.

No import beyond the standard library: an engine of another environment runs it too.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Channel:
    """A line of JSON in, a line of JSON out. What the process itself prints goes to stderr."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        _go_first()
        self.settings: Record = json.loads(sys.stdin.readline())

    def ready(self, **facts: Any) -> None:
        """Says that the first step can be taken."""
        self._tell(facts)

    def wait(self) -> bool:
        """Blocks until the next step is wanted; returns False where none is any more."""
        return bool(sys.stdin.readline().strip())

    def answer(self, record: Record) -> None:
        """Says what a step came to, and the process's peak so far."""
        self._tell({**record, "peak_bytes": peak_bytes()})

    def serve(self, step: Callable[[], Record]) -> None:
        """Takes steps until none is wanted."""
        while self.wait():
            self.answer(step())

    def _tell(self, record: Record) -> None:
        self._out.write(json.dumps(record) + "\n")


def _go_first() -> None:
    """Where memory runs out Linux ends a process: this one, not whatever else runs."""
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000")


def peak_bytes() -> int:
    """Returns the most resident memory this process has had, bytes, and with it that of its children: VmHWM, which
    starts anew with the program, or where there is no /proc the resource usage's maximum."""
    if Path("/proc/self/status").exists():
        return sum(_high_water(pid) for pid in _tree(os.getpid()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _tree(pid: int) -> list[int]:
    """The process and all that came of it and still live."""
    children = [
        int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()
    ]
    return [pid, *(member for child in children for member in _tree(child))]


def _high_water(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

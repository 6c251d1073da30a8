"""The near end of a contender's pipe, and the order in which contenders take their steps."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from bench.worker import Record

SCRIPTS = Path(__file__).resolve().parents[1]


class Ended(Exception):
    """A worker ended before its answer; the message has its last words, `reason` the last of them."""

    def __init__(self, name: str, status: int, words: list[str]):
        super().__init__(f"{name} ended before its answer (status {status}):\n{''.join(words)}")
        # SIGKILL that nobody sent is Linux's answer to a machine without memory.
        self.reason = "out of memory" if status == -9 else (words[-1].strip() if words else f"status {status}")


class Contender:
    """A worker process: one module of this folder, with settings.

    Attributes:
        name: for the table.
        ready: what it said when it had started. start_up_s: what that took, imports, loading and compiling included.
        records: what its steps came to, warm-up steps included.
    """

    def __init__(self, name: str, module: str, settings: Record, threads: int, python: str = sys.executable):
        self.name = name
        self.records: list[Record] = []
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  # closed by close()
        paths = [str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
        }
        self._process = subprocess.Popen(
            [python, "-m", f"bench.{module}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=environment,
        )  # fmt: skip
        began = time.perf_counter()
        self.ready = self._ask(json.dumps(settings))
        self.start_up_s = time.perf_counter() - began

    def step(self) -> Record:
        """Lets it take one step, and returns what it came to."""
        self.records.append(self._ask("step"))
        return self.records[-1]

    def close(self) -> None:
        """Ends the process."""
        if self._process.poll() is None:
            assert self._process.stdin is not None
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()

    def _ask(self, line: str) -> Record:
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # it is dead: its last words are in the log
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            self._log.seek(0)
            words = self._log.readlines()[-30:]
            self.close()
            raise Ended(self.name, self._process.returncode, words)
        return json.loads(answer)


Say = Callable[[str], None]


def alternate(contenders: Sequence[Contender], warmup: int, steps: int, say: Say) -> dict[str, list[Record]]:
    """Lets the contenders take their steps in turn, one at a time, and returns each one's records after the warm-up;
    ends them all."""
    try:
        for number in range(warmup + steps):
            for contender in contenders:
                record = contender.step()
                kind = "warm-up" if number < warmup else f"step {number - warmup + 1} of {steps}"
                say(f"{contender.name}: {kind}, {record['tokens']:,} tokens in {record['seconds']:.1f} s")
        return {contender.name: contender.records[warmup:] for contender in contenders}
    finally:
        for contender in contenders:
            contender.close()

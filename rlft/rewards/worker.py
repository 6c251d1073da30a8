"""A process that calls one function for us and can be killed: a function that hangs or dies costs its own call only."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rlft.base.errors import UserError

ISOLATED = Path(__file__).parent / "isolated"
LOAD_SECONDS = 120.0
"""How long the function's module may take to import."""


class WorkerError(Exception):
    """One call that gave no result: it raised, took too long, or ended the process."""


class Worker:
    """Calls a function in a fresh interpreter of its own, started at the first call and again after each kill.

    The interpreter is spawned, not forked, and runs `isolated/child.py`: it shares no locks or threads with this
    process, does not run its `__main__` again, and imports neither rlft nor torch. POSIX only.

    Args:
        reference: "pkg.mod:function" or "path/file.py:function"; imported in the worker alone.
        seconds: how long one call may take.
        hint: what to type if the function cannot be imported.
    """

    def __init__(self, reference: str, seconds: float, hint: str = "") -> None:
        self.reference = reference
        self.seconds = seconds
        self.hint = hint
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def call(self, *arguments: Any) -> float | dict[str, float]:
        """Returns what the function returns for picklable arguments, as a finite number or named ones.

        Raises:
            WorkerError: the function raised, took more than `seconds`, or ended its process.
            UserError: the function cannot be imported.
        """
        try:
            if self._process is None or self._process.poll() is not None:
                self._start()
            return self._exchange(arguments, self.seconds)
        except WorkerError:
            raise
        except BaseException:  # an interruption in between would leave a reply that the next call took for its own
            self.close()
            raise

    def close(self) -> None:
        """Kills the process and all it started; a later call starts a new one."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = self._connection = None

    def _start(self) -> None:
        self.close()
        near, far = socket.socketpair()
        self._connection = Connection(near.detach())
        command = [sys.executable, "-P", str(ISOLATED / "child.py"), str(far.fileno())]
        # Standard output is ours to keep clean (`--json`), so what the function prints goes to standard error.
        self._process = subprocess.Popen(
            command, pass_fds=(far.fileno(),), stdin=subprocess.DEVNULL, stdout=2, start_new_session=True
        )
        far.close()
        try:
            self._exchange((self.reference, sys.path, self.seconds), LOAD_SECONDS)
        except WorkerError as error:
            self.close()
            raise UserError(f"{self.reference} cannot be loaded: {error}. {self.hint}".rstrip()) from error

    def _exchange(self, message: tuple[Any, ...], seconds: float) -> float | dict[str, float]:
        assert self._connection is not None and self._process is not None
        try:
            self._connection.send(message)
            if not self._connection.poll(seconds):
                self.close()
                raise WorkerError(f"no result after {seconds:g} s")
            reply = json.loads(self._connection.recv_bytes())
        except (EOFError, ConnectionError) as error:
            status = self._process.wait()
            self.close()
            raise WorkerError(f"its process ended with status {status}") from error
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply["value"]

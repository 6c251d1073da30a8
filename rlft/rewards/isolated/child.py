"""The far end of `rlft.rewards.worker`: loads one function and calls it as often as it is asked to.

Run as a script, `child.py FILE_DESCRIPTOR`, with a socket to the parent. Requests come pickled from the parent; replies
go back as JSON, so that nothing a user's function returns is ever unpickled there.
"""

import faulthandler
import importlib
import importlib.util
import json
import math
import os
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

GRACE_SECONDS = 2.0
"""How long after its time is up the child ends itself; only if the parent that should have killed it is gone."""


def load(reference: str) -> Callable[..., Any]:
    """Returns the function that "pkg.mod:function" or "path/file.py:function" names."""
    place, _, name = reference.rpartition(":")
    if not place.endswith(".py"):
        return getattr(importlib.import_module(place), name)
    spec = importlib.util.spec_from_file_location("rlft_user_reward", place)
    if spec is None or spec.loader is None:
        raise ImportError(f"{place} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look a module up by its name
    spec.loader.exec_module(module)
    return getattr(module, name)


def number(value: Any) -> float:
    """Returns a finite float. Raises TypeError or ValueError for anything else."""
    result = float(value)
    if not math.isfinite(result):
        raise ValueError(f"the function returned {result}")
    return result


def plain(value: Any) -> float | dict[str, float]:
    """Returns a function's result as a number or named numbers."""
    if isinstance(value, dict):
        return {str(name): number(part) for name, part in value.items()}
    if value is None or isinstance(value, str):
        raise TypeError(f"the function returned {value!r}; a number or a dict of numbers is needed")
    return number(value)


def describe(error: BaseException) -> str:
    """Returns an exception in one line, with the place it came from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def serve(connection: Connection) -> None:
    """Answers requests until the parent closes the connection or is gone."""
    parent = os.getppid()
    nowhere = open(os.devnull, "w")  # noqa: SIM115 - faulthandler keeps the descriptor while the process lives

    def answer(result: dict[str, Any]) -> None:
        connection.send_bytes(json.dumps(result).encode())

    try:
        reference, search_path, seconds = connection.recv()
        sys.path[:] = search_path
        function = load(reference)
    except BaseException as error:
        return answer({"error": describe(error)})
    answer({"value": 0.0})
    while True:
        while not connection.poll(2.0):
            if os.getppid() != parent:
                return
        try:
            arguments = connection.recv()
        except EOFError:
            return
        # A thread of C, so it ends this process even where the function holds the interpreter's lock.
        faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True, file=nowhere)
        try:
            result = {"value": plain(function(*arguments))}
        except BaseException as error:
            result = {"error": describe(error)}
        faulthandler.cancel_dump_traceback_later()
        answer(result)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))

"""The commands that made a run and that repeat it."""

import shlex
from typing import Any

from rlft.report.files import Files


def typed(environment: dict[str, Any]) -> str | None:
    """Returns the command that a run was started by, None where it was not `rlft train` (of a run in several processes
    each reads the frozen recipe).

    >>> typed({"command": ["/x/rlft/__main__.py", "train", "recipe=a", "data.prompt={question} Go", "--json"]})
    "rlft train recipe=a 'data.prompt={question} Go'"
    >>> typed({"command": ["/x/rlft/__main__.py", "resume", "runs/a"]})
    """
    words = [word for word in environment.get("command", [])[1:] if word != "--json"]
    return shlex.join(["rlft", *words]) if words[:1] == ["train"] else None


def again(run: Files) -> str:
    """Returns the commands that repeat a run from its frozen recipe, whatever it was started by."""
    folder, copy = (shlex.quote(f"{run.path}{end}") for end in ("", "-again"))
    return f"mkdir {copy} && cp {folder}/config.yaml {copy}/ && rlft resume {copy}"

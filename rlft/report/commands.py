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
    return f"mkdir {copy} && cp {folder}/config.yaml {copy}/ && {on(run, 'resume', end='-again')}"


def on(run: Files, verb: str, end: str = "") -> str:
    """Returns the command of a verb on a run's directory, or on the one of that name with an `end`."""
    return shlex.join(["rlft", verb, f"{run.path}{end}", *allowed(run.environment)])


def allowed(environment: dict[str, Any]) -> list[str]:
    """Returns the options a run was started with by which its recipe may name other packages and its model run code.

    >>> allowed({"command": ["/x/rlft", "train", "--plugin", "mine", "recipe=a", "--trust-remote-code", "--plugin=b"]})
    ['--plugin', 'mine', '--trust-remote-code', '--plugin=b']
    """
    words = environment.get("command", [])
    found: list[str] = []
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word == "--plugin":
            found += [word, following]
        elif word.startswith("--plugin=") or word == "--trust-remote-code":
            found.append(word)
    return found

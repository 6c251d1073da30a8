"""A user's own function as reward, run only if the command line allows it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar, Literal

from rlft.base import Completion, Group, Query, Reward, RunError, UserError
from rlft.rewards.common import Isolated, untrained
from rlft.rewards.worker import WorkerError

_allowed: set[str] = set()


def allow(names: Iterable[str]) -> None:
    """Lets recipes name functions of these packages, modules or .py files, as `--plugin` does. Nothing is imported."""
    _allowed.update(_place(name) for name in names)


def check(function: str) -> str:
    """Returns "pkg.mod:function" or "/absolute/file.py:function" for a function that a recipe names.

    Raises UserError if it is not written so, if its file is missing, or if `allow` was not told of it: a recipe is
    input, and importing is executing. Nothing is imported here.
    """
    place, colon, name = function.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise UserError(f"reward.function={function!r}: write pkg.module:function or path/file.py:function")
    place = _place(place)
    if place.endswith(".py"):
        if not Path(place).is_file():
            raise UserError(f"reward.function={function!r}: there is no file {place}")
        allowed = place in _allowed
    else:
        allowed = any(place == known or place.startswith(f"{known}.") for known in _allowed)
    if not allowed:
        plugin = function.rpartition(":")[0] if place.endswith(".py") else place.partition(".")[0]
        raise UserError(
            f"reward.function={function!r} would run code that the recipe names; if you trust it, add --plugin {plugin}"
        )
    return f"{place}:{name}"


def _place(name: str) -> str:
    return str(Path(name).expanduser().resolve()) if name.endswith(".py") else name


@dataclass(kw_only=True)
class PythonReward(Isolated):
    """What a function says: f(query, text) -> a number, or a dict of named numbers whose sum is the reward.

    It runs in a worker process, one call at a time. `query` has the attributes of `rlft.base.Query` (id, messages,
    answer, metadata). What it prints goes to standard error.

    Attributes:
        function: pkg.module:function or path/file.py:function; allowed by `--plugin`.
        on_error: what a completion is worth whose call raised, took longer than `timeout` or died: "zero" gives it 0,
            "skip" gives it 0 and trains on none of its tokens, "stop" ends the run. Errors are counted apart from
            wrong answers by `Reward.error` in each case.
    """

    label: ClassVar[str] = "python"

    function: str
    on_error: Literal["zero", "skip", "stop"] = "zero"

    @property
    def reference(self) -> str:
        return check(self.function)

    def rate(self, query: Query, completions: tuple[Completion, ...]) -> list[Reward]:
        plain = SimpleNamespace(id=query.id, messages=query.messages, answer=query.answer, metadata=query.metadata)
        return [self._one(plain, completion.text) for completion in completions]

    def settle(self, group: Group, rewards: list[Reward]) -> Group:
        settled = super().settle(group, rewards)
        if self.on_error != "skip":
            return settled
        completions = tuple(
            untrained(c) if reward.error else c for c, reward in zip(settled.completions, rewards, strict=True)
        )
        return Group(settled.query, completions, settled.rewards)

    def _one(self, query: SimpleNamespace, text: str) -> Reward:
        try:
            result = self.worker.call(query, text)
        except WorkerError as error:
            if self.on_error == "stop":
                raise RunError(f"reward.function={self.function!r} failed on query {query.id}: {error}") from error
            return Reward(0.0, {self.label: 0.0}, error=str(error))
        parts: dict[str, float] = result if isinstance(result, dict) else {self.label: result}
        return Reward(sum(parts.values()), parts)

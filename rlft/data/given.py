"""Completions with their rewards as someone typed them, to be looked at and not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlft.base import Context, DataSource, Group, Query, Reward, UserError, question_id
from rlft.data.files import read_file


@dataclass(frozen=True)
class Entry:
    """A prompt, sent as it is as the user's turn, with completions and the reward of each."""

    prompt: str
    completions: tuple[str, ...]
    rewards: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.completions:
            raise UserError(f'completions: the prompt {self.prompt!r} has none; type completions=\'["…","…"]\'')
        if len(self.completions) != len(self.rewards):
            raise UserError(
                f"rewards: {len(self.completions)} completions of the prompt {self.prompt!r} and {len(self.rewards)} "
                "rewards; each completion has one, e.g. rewards=[1,0]"
            )


@dataclass
class Given(DataSource):
    """Groups of recorded completions that come with their rewards.

    Attributes:
        entries: a group each, in their order.
    """

    entries: Sequence[Entry]

    @property
    def name(self) -> str:
        """See DataSource."""
        return "given"

    def bind(self, context: Context) -> None:
        """Makes tokens of the texts."""
        self._position = 0
        self._groups: list[Group] = []
        for entry in self.entries:
            query = Query(question_id(entry.prompt), ({"role": "user", "content": entry.prompt},))
            completions = tuple(context.chat.completion(query.messages, text) for text in entry.completions)
            self._groups.append(Group(query, completions, tuple(Reward(value) for value in entry.rewards)))

    def next(self, n: int) -> list[Group]:
        """Returns the next n groups, fewer where there are no more."""
        self._position += n
        return self._groups[self._position - n : self._position]

    def held_out(self) -> list[Query]:
        """There is none."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing: what was given once is not gone on with."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See state_dict."""


def read_given(path: str) -> list[Entry]:
    """Returns the rows of a json, jsonl or parquet file with the columns prompt, completions and rewards.

    Raises:
        UserError: whatever is wrong with the file or a row, with its line.
    """
    found: list[Entry] = []
    for row in read_file(path):
        values = row.values
        if not _fits(values):
            raise UserError(
                f"{row.where}: expected prompt (a text), completions (a list of texts) and rewards (a list of "
                f"numbers), found the columns {', '.join(values)}"
            )
        try:
            rewards = tuple(float(value) for value in values["rewards"])
            found.append(Entry(values["prompt"], tuple(values["completions"]), rewards))
        except UserError as error:
            raise UserError(f"{row.where}: {error}") from error
    return found


def _fits(values: dict[str, Any]) -> bool:
    lists = [values.get(key) for key in ("completions", "rewards")]
    if not isinstance(values.get("prompt"), str) or not all(isinstance(entry, list) for entry in lists):
        return False
    texts, numbers = lists
    return all(isinstance(text, str) for text in texts or []) and all(
        isinstance(number, int | float) and not isinstance(number, bool) for number in numbers or []
    )

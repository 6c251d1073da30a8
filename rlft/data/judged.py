"""What sources of recorded completions that are good or bad have in common."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlft.base import Completion, Query
from rlft.data.examples import Example
from rlft.data.source import Listed


@dataclass(kw_only=True)
class Judged(Listed):
    """Rows with completions that are preferred, and others that are not."""

    def _short_enough(self, example: Example, query: Query, texts: Sequence[str]) -> list[Completion]:
        """Returns those of an example's recorded texts that are within `max_completion_tokens`, as completions."""
        completions = [self._bound().chat.completion(query.messages, text) for text in texts]
        return [c for c in completions if not self._too_long(example, "max_completion_tokens", len(c.token_ids))]

    def _say_dropped(self, count: int) -> None:
        """Says how many completions were not."""
        if count:
            limit = self.max_completion_tokens
            self._bound().say(f"data: {count} completions dropped, they are over data.max_completion_tokens={limit}")

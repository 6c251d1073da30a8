"""What can be known of a recipe's data before any model is loaded: a missing file, a malformed row, an unknown task."""

from dataclasses import replace
from pathlib import Path

from rlft.base import Completion, Context, Group, Message, Query
from rlft.data import Source
from rlft.train.plan import Plan


class WordCount:
    """A chat that counts words for tokens: never more than a tokeniser finds, so no row is refused wrongly."""

    def prompt(self, messages: tuple[Message, ...]) -> list[int]:
        """Returns a token per word of the conversation."""
        return [0] * sum(len(message["content"].split()) for message in messages)

    def completion(self, messages: tuple[Message, ...], text: str) -> Completion:
        """Returns a completion of a token per word, and its end."""
        return Completion((0,) * (len(text.split()) + 1), text)

    def text(self, token_ids: list[int]) -> str:
        """Returns as many words."""
        return " ".join("word" for _ in token_ids)


def read_data(plan: Plan, training: bool = True) -> None:
    """Checks the settings of one of rlft's own data sources and reads a copy of it, without a model; a dataset on the
    hub is left for the run. Other sources are left alone: what binding them does is not known here. Without `training`
    only what an evaluation needs is checked, else also whether the reward suits the algorithm.

    Raises:
        UserError: whatever is wrong with the settings or the rows, with the row named.
    """
    if training:
        plan.check()
    source = plan.source
    if not isinstance(source, Source):
        return
    source.check(training)
    if source.hub_id is not None:
        return
    _bound(plan, replace(source, task_size=1))  # one entry shows whether a task and its settings exist


def held_out(plan: Plan) -> list[Query] | None:
    """Returns the held-out questions of one of rlft's own data sources, read without a model; of another source None.
    Prompts are counted in words: those that have more tokens than `data.max_prompt_tokens` may be among them.

    Raises:
        UserError: whatever is wrong with the settings or the rows.
    """
    return _bound(plan, replace(plan.source)).held_out() if isinstance(plan.source, Source) else None


def _bound(plan: Plan, source: Source) -> Source:
    source.bind(
        Context(
            seed=plan.seed, chat=WordCount(), sampler=None, score=_unscored, cache_dir=Path(),
            say=_silent, training=False, curriculum=plan.curriculum,
        )
    )  # fmt: skip
    return source


def _unscored(groups: list[Group]) -> list[Group]:
    return groups


def _silent(line: str) -> None:
    del line

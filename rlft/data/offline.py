"""Completions sampled once from π_ref: for rejection sampling, and for pairs where none are recorded."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from rlft.base import Completion, Context, Group, Query, UserError
from rlft.data.cache import sample_once
from rlft.data.errors import expect_choice
from rlft.data.examples import Example
from rlft.data.online import Sampled, distinct
from rlft.data.pairs import check_pairs_per_question, combine
from rlft.data.source import Listed


@dataclass(kw_only=True)
class Offline(Sampled, Listed):
    """Completions of π_ref, sampled when the run starts and kept in the cache.

    Attributes:
        keep: "all" gives groups of G; "right" the completions with a reward above 0.5, each by itself (RFT); "pairs" a
            right and a wrong one of the same query, the right one first (DPO).
        pool: questions sampled from, a fair choice of them; null takes all.
        pairs_per_question: with keep=pairs, at most so many of one question; null takes every combination.
    """

    kind: ClassVar[str] = "offline"

    keep: Literal["all", "right", "pairs"] = "right"
    pool: int | None = None
    pairs_per_question: int | None = 1

    def check(self, training: bool = True) -> None:
        """Checks the settings alone. Raises UserError."""
        super().check(training)
        expect_choice("keep", self.keep, ["all", "right", "pairs"])
        check_pairs_per_question(self.pairs_per_question)
        if self.pool is not None and self.pool < 1:
            raise UserError(f"data.pool={self.pool}: expected a whole number of at least 1, or null for all questions")
        if self.keep == "pairs" and self.samples_per_prompt < 2:
            raise UserError(f"data.keep=pairs needs data.samples_per_prompt=2 or more, not {self.samples_per_prompt}")

    def held_out_groups(self, questions: int) -> list[Group]:
        """Returns as many completions of π_ref for each question as are trained on, where pairs are made of them."""
        asked = self.held_out()[:questions] if self.keep == "pairs" else []
        return sample_once(self._bound(), asked, self.samples_per_prompt, self._sampling(), "held-out")[0]

    def _prepare(self, context: Context, rows: list[tuple[Example, Query]]) -> None:
        queries = distinct(rows, context)
        if self.pool is not None:
            queries = sorted(queries, key=lambda query: query.id)[: self.pool]
        if context.sampler is None:  # nothing is to be sampled: the questions stand for their groups
            self._groups = [Group(query, ()) for query in queries]
            return
        groups, self.spared_seconds = sample_once(context, queries, self.samples_per_prompt, self._sampling())
        self._count(groups)
        self._groups = groups if self.keep == "all" else self._kept(context, groups)

    def _kept(self, context: Context, groups: list[Group]) -> list[Group]:
        judged = [(group.query, *_judge(group)) for group in context.score(groups)]
        total = sum(len(group.completions) for group in groups)
        right = sum(len(good) for _, good, _ in judged)
        context.say(f"data: acceptance {right} of {total} ({right / max(1, total):.1%})")
        if self.keep == "right":
            kept = [Group(query, (completion,)) for query, good, _ in judged for completion in good]
        else:
            kept = [
                Group(query, pair)
                for query, good, bad in judged
                for pair in combine(good, bad, self.pairs_per_question)
            ]
            questions = len({group.query.id for group in kept})
            context.say(f"data: {len(kept)} pairs of {questions} of {len(groups)} questions")
        self.kept_share = len({id(c) for group in kept for c in group.completions}) / max(1, total)
        if not kept:
            wanted = "right" if self.keep == "right" or right == 0 else "wrong"
            raise UserError(
                f"data.keep={self.keep}: none of {total} completions sampled from π_ref is {wanted} where needed, "
                "so there is nothing to train on. Try more samples (data.samples_per_prompt=, data.pool=), other "
                "questions (data.task_settings=, data.prompt=), a longer data.max_completion_tokens=, another "
                "data.temperature= or a reward that fits the answers (reward=)"
            )
        return kept


def _judge(group: Group) -> tuple[list[Completion], list[Completion]]:
    """Returns the right completions and the wrong ones; those that could not be scored are neither."""
    if len(group.rewards) != len(group.completions):
        raise ValueError(f"{len(group.rewards)} rewards for {len(group.completions)} completions")
    scored = [(c, r.value > 0.5) for c, r in zip(group.completions, group.rewards, strict=True) if r.error is None]
    return [c for c, good in scored if good], [c for c, good in scored if not good]

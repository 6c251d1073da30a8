"""Lengths and acceptance: read off the data where they stand there, bounded where they do not."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from rlft.base import Completion, Context, Group, Query, Sampling, UserError
from rlft.data import Offline, Online, Source
from rlft.models.chat import ChatTemplate
from rlft.models.native.layout import opening
from rlft.theory.work import Work

if TYPE_CHECKING:
    from rlft.train.plan import Plan

ROWS = 256  # of the data, whose mean length is taken for that of all
ENTRIES = 1000  # of a generated task


@dataclass(frozen=True)
class Lengths:
    """Means over a run, tokens.

    Attributes:
        prompt: of a query as rendered. completion: of a trained one. sampled: of all that are sampled.
        longest: the longest of those decoded together. answer: of a held-out question's.
        acceptance: share of right completions. all_right, all_wrong: shares of such groups, None if not known.
        questions: held out and asked. pool: queries sampled from once.
        distinct: rows among those trained that differ; None where each is taken to.
        opening: what all prompts begin with. taught: of a query as a teacher reads it, None where it reads the prompt.
        busiest: the share of trained tokens that move the policy in the step with most of them; None takes all.
        candidates: recorded completions of a held-out question that a model of scores ranks; 0 if they are sampled.
    """

    prompt: float
    completion: float
    sampled: float
    longest: float
    answer: float
    acceptance: float
    questions: int
    pool: int
    all_right: float | None = None
    all_wrong: float | None = None
    distinct: float | None = None
    opening: float = 0
    taught: float | None = None
    busiest: float | None = None
    candidates: float = 0


@dataclass(frozen=True)
class Known:
    """What the data says; None where it does not.

    Attributes:
        prompt, completion: mean lengths, tokens. questions: held out that have an answer, or answers to rank, and
            `candidates` of these each. rows: in an epoch.
        distinct: recorded completions that differ, of those that training draws. opening: what all prompts begin with,
            tokens. more: what a teacher's prompt has beyond the others, on average.
    """

    prompt: float | None = None
    completion: float | None = None
    questions: int | None = None
    rows: int | None = None
    distinct: int | None = None
    opening: int = 0
    more: float = 0
    candidates: float = 0


def read_lengths(plan: "Plan", tokenizer: str) -> Known:
    """Returns the mean lengths of a recipe's prompts and recorded completions, from its first rows as training draws
    them. Nothing is known of a dataset on the hub, of a source without data and of one of someone else's.

    Raises:
        UserError: what is wrong with the data.
    """
    source = plan.source
    if not isinstance(source, Source) or source.hub_id or not (source.task or source.train_file):
        return Known()
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(tokenizer)
    chat = ChatTemplate(tokens, {tokens.eos_token_id})
    # Where a pool is to be counted, all entries are wanted; a mean needs fewer.
    pool = getattr(source if isinstance(source, Offline) else plan.curriculum, "pool", None)
    once = isinstance(source, Offline) or getattr(plan.curriculum, "measure", 0)
    counted = not source.task or (once and pool is None)
    entries = source.task_size if counted else min(source.task_size, ENTRIES)
    share = source.task_size / entries
    source = replace(source, task_size=entries)
    asked = _Unanswered() if isinstance(source, Online) else None
    source.bind(Context(plan.seed, chat, asked, _unscored, Path(), _silent))
    trainer = plan.trainer
    asked_for = min(trainer.steps, trainer.stop_after or trainer.steps) * trainer.prompts_per_step
    # An epoch has every row once: what comes after it is known.
    drawn = [] if asked is not None else source.next(min(asked_for, source.rows))
    groups = [*drawn, *source.next(max(0, ROWS - len(drawn)))][:ROWS]
    prompts = [chat.prompt(group.query.messages) for group in groups]
    taught = prompts
    if "teacher" in plan.algorithm.needs:
        taught = [chat.prompt(plan.teacher.messages(group.query)) for group in groups]
    completions = [len(c.token_ids) for group in groups for c in group.completions]
    distinct = {(str(group.query.messages), c.token_ids) for group in drawn for c in group.completions}
    held = sum(query.answer is not None for query in source.held_out())
    recorded = source.held_out_groups(trainer.eval_size) if _ranks_recorded(plan) else []
    return Known(
        prompt=fmean(map(len, prompts)),
        completion=fmean(completions) if completions else None,
        questions=len(recorded) or int(held * share),
        rows=source.rows if counted else None,
        distinct=len(distinct) if counted and distinct else None,
        opening=opening(prompts),
        more=fmean(map(len, taught)) - fmean(map(len, prompts)),
        candidates=fmean(len(group.completions) for group in recorded) if recorded else 0,
    )


def _ranks_recorded(plan: "Plan") -> bool:
    return plan.algorithm.trains != "log_probs" and not isinstance(plan.source, Offline)


def bounds(
    work: Work,
    known: Known,
    prompt: float | None = None,
    completion: float | None = None,
    acceptance: float | None = None,
) -> tuple[Lengths, Lengths]:
    """Returns the least and the most that lengths and acceptance can be, given what the data says and what the user
    does. What is given holds for completions trained, sampled and answered alike.

    Raises:
        UserError: a number outside its limits.
    """
    for key, value, most in (
        ("lengths.prompt", prompt, work.max_prompt),
        ("lengths.completion", completion, work.max_completion),
    ):
        if value is not None and not 1 <= value <= most:
            raise UserError(f"{key}={value:g}: expected a number from 1 to the recipe's limit, {most}")
    if acceptance is not None and not 0 <= acceptance <= 1:
        raise UserError(f"acceptance={acceptance:g}: expected a share from 0 to 1")
    recorded = known.completion if work.sampled == "never" else None
    questions = work.questions if known.questions is None else min(work.questions, known.questions)
    pool = work.pool or known.rows or 0

    def one(low: bool) -> Lengths:
        trained = completion or recorded or (1 if low else work.max_completion)
        asked = prompt or known.prompt or (1 if low else work.max_prompt)
        return Lengths(
            prompt=asked,
            completion=trained,
            sampled=trained,
            longest=trained if low else work.max_completion,
            answer=completion or (1 if low else work.max_completion),
            acceptance=_extreme(work, low) if acceptance is None else acceptance,
            questions=questions,
            pool=pool,
            distinct=_distinct(work, known, pool, low),
            opening=min(known.opening, asked - 1),
            taught=asked + known.more if known.more else None,
            candidates=known.candidates,
        )

    return one(True), one(False)


def _distinct(work: Work, known: Known, pool: int, low: bool) -> float | None:
    """Returns the fewest, or the most, rows that differ: of what is sampled once some are kept, and some are equal."""
    if work.sampled == "each step" or known.distinct is not None:
        return known.distinct
    return work.rows if low else pool * work.most or None


def _extreme(work: Work, low: bool) -> float:
    """Returns the acceptance at which the fewest, or the most, rows move the policy."""
    choose: Callable[..., float] = min if low else max
    return choose((i / 20 for i in range(21)), key=lambda a: work.live.shares(a, work.rows)[0])


class _Unanswered:
    """A sampler that gives every query no completions: only the prompts are wanted."""

    def sample(
        self, queries: list[Query], count: int, sampling: Sampling, *, purpose: str, step: int, reference: bool = False
    ) -> list[Group]:
        none: tuple[Completion, ...] = ()
        return [Group(query, none) for query in queries]

    def fingerprint(self) -> str:
        return ""

    def close(self) -> None:
        return None


def _unscored(groups: list[Group]) -> list[Group]:
    return groups


def _silent(line: str) -> None:
    del line

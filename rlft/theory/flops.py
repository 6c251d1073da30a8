"""The floating-point operations of a whole run by part."""

import math
from dataclasses import dataclass, replace

from rlft.models.flops import Shape, Tokens, sampling_flops, step_flops
from rlft.models.row_cache import LIMIT, ROW
from rlft.models.sampler import ROWS
from rlft.theory.lengths import Lengths
from rlft.theory.work import Work


@dataclass(frozen=True)
class Sampling:
    """What is sampled.

    Attributes:
        tokens: what sampling reads. prefilled: how much of that are prompts.
        draws: rounds of prefill and decoding that a process goes through.
    """

    tokens: Tokens
    prefilled: float
    draws: int

    def __add__(self, other: "Sampling") -> "Sampling":
        return Sampling(self.tokens + other.tokens, self.prefilled + other.prefilled, self.draws + other.draws)


@dataclass(frozen=True)
class Passes:
    """What goes through the model in one step, and what is sampled in the whole run.

    Attributes:
        scored: tokens of a batch. taught: the same as a teacher reads them.
        learnt: the same where a gradient is wanted: prompts may run once a completion then.
        trained: those of its rows whose coefficient is not zero everywhere, likewise. busiest: in the step with most.
        live: the share of such rows. new: that of rows which the reference has not scored before.
        whole: positions of `scored` if every prompt ran whole.
        rollout: of the whole run. merges: times the adapter is merged for it.
        judged: tokens that a reward model reads in the whole run; it reads every prompt with every completion.
    """

    scored: Tokens
    taught: Tokens
    learnt: Tokens
    trained: Tokens
    busiest: Tokens
    live: float
    new: float
    whole: float
    rollout: Sampling
    merges: int
    judged: Tokens

    def share(self, role: str) -> float:
        """Returns the share of a batch's rows that a role runs."""
        return self.new if role in ("reference", "teacher") else 1.0

    def read(self, role: str) -> Tokens:
        """Returns what a role runs of a batch."""
        return (self.taught if role == "teacher" else self.scored) * self.share(role)


def passes(work: Work, lengths: Lengths) -> Passes:
    """Returns what a run of these lengths puts through the model."""
    live, groups = live_shares(work, lengths)
    each = work.rows * live / groups if groups else 0
    draws = {"never": 0, "once": lengths.pool, "each step": work.steps * work.queries}[work.sampled]
    times = work.steps if work.sampled == "each step" else 1
    once = sampling(work, lengths, lengths.pool, work.measured, lengths.sampled)
    judged = (
        draws * work.samples
        + lengths.pool * work.measured
        + (0 if work.sampled == "each step" else work.steps * work.queries * work.rows)
    )
    alone = Tokens.of_group(lengths.prompt + lengths.sampled, 0, 0)

    def read(rows: float, queries: float, shared: bool = True, prompt: float | None = None) -> Tokens:
        tokens = Tokens.of_group(prompt or lengths.prompt, lengths.completion, rows, shared) * queries
        if work.trains != "log_probs":
            tokens = replace(tokens, scored=0.0)  # a score's head is next to nothing
        return work.way.opened(tokens, lengths.opening, queries)

    return Passes(
        scored=read(work.rows, work.queries),
        taught=read(work.rows, work.queries, prompt=lengths.taught),
        learnt=read(work.rows, work.queries, work.shared),
        trained=read(each, work.queries * groups, work.shared),
        busiest=read(work.rows * (1.0 if lengths.busiest is None else lengths.busiest), work.queries, work.shared),
        whole=Tokens.of_group(lengths.prompt, lengths.completion, work.rows).positions * work.queries,
        live=live,
        new=_new(work, lengths),
        rollout=sampling(work, lengths, draws, work.samples, lengths.sampled, times) + once,
        merges=work.steps if work.sampled == "each step" else 0,
        judged=alone * judged,
    )


def sampling(work: Work, lengths: Lengths, prompts: int, samples: int, completion: float, times: int = 1) -> Sampling:
    """Returns what sampling takes that goes over `prompts` in so many `times`."""
    if not prompts * samples:
        return Sampling(Tokens(), 0.0, 0)
    draws = times * math.ceil(prompts / times / work.processes / max(1, ROWS // samples))
    saved = work.way.saved(lengths.opening, prompts, draws * work.processes)
    tokens = Tokens.of_group(lengths.prompt, completion, samples) * prompts + saved
    return Sampling(tokens, prompts * lengths.prompt + saved.positions, draws)


def _new(work: Work, lengths: Lengths) -> float:
    """Returns the share of rows that the reference runs: each of those that differ once, as far as it may hold them."""
    drawn = work.steps * work.queries * work.rows
    if lengths.distinct is None or lengths.distinct >= drawn:
        return 1.0
    held = min(1.0, LIMIT / (lengths.distinct * (lengths.completion + ROW)))
    return 1 - held * (1 - lengths.distinct / drawn)


def live_shares(work: Work, lengths: Lengths) -> tuple[float, float]:
    """Returns the shares of rows and of groups that move the policy. Of what was kept for being right, or a pair, the
    acceptance is known."""
    if work.kept == "right":
        return work.live.shares(1.0, work.rows)
    if work.kept == "pairs":
        return work.live.shares(0.5, work.rows, all_right=0.0, all_wrong=0.0)
    return work.live.shares(lengths.acceptance, work.rows, lengths.all_right, lengths.all_wrong)


def run_flops(work: Work, shape: Shape, lengths: Lengths) -> dict[str, float]:
    """Returns the FLOPs of a run by part: "rollout", "reward", the roles there are, "forward" and "backward"."""
    p = passes(work, lengths)
    scored = {role: p.read(role) for role in work.roles}
    step = step_flops(shape, scored, p.trained, work.epochs, work.recompute, p.learnt, work.teacher)
    often = dict.fromkeys(step, work.steps) | dict.fromkeys(("forward", "backward"), work.steps - work.frozen)
    return {
        "rollout": sampling_flops(shape, p.rollout.tokens, p.merges),
        "reward": sum(judge.forward(p.judged, adapter=False) for judge in work.judges),
        **{part: flops * often[part] for part, flops in step.items()},
    }


def evaluation_flops(work: Work, shape: Shape, lengths: Lengths) -> float:
    """Returns the FLOPs of all evaluations: one answer to every held-out question, at the limit of each; or, of a model
    that scores, its rankings."""
    if work.rankings:
        once, scored = ranked(work, lengths)
        return sampling_flops(shape, once.tokens, 0) + work.rankings * shape.forward(scored, head=False)
    tokens = Tokens()
    for limit in work.evaluations:
        tokens += sampling(work, lengths, lengths.questions, 1, min(limit, lengths.answer)).tokens
    return sampling_flops(shape, tokens, len(work.evaluations))


def ranked(work: Work, lengths: Lengths) -> tuple[Sampling, Tokens]:
    """Returns what is sampled for held-out questions, unless their completions are recorded, and what a ranking of
    these reads."""
    completions = lengths.candidates or work.samples or work.rows
    once = sampling(work, lengths, lengths.questions, work.samples, lengths.sampled)
    length = lengths.sampled if work.samples else lengths.completion
    return once, Tokens.of_group(lengths.prompt, length, completions) * lengths.questions

"""How long a run takes: from rates measured on this machine, or from what a device can do on paper."""

import math
from dataclasses import dataclass

from rlft.models.flops import Shape
from rlft.models.sampler import MOST
from rlft.theory.flops import Sampling, evaluation_flops, passes, ranked, run_flops, sampling
from rlft.theory.lengths import Lengths
from rlft.theory.model import Model
from rlft.theory.work import Work


@dataclass(frozen=True)
class Line:
    """Seconds that grow in a line: for each call, and for each unit."""

    call: float
    unit: float

    def __call__(self, units: float, calls: float = 1) -> float:
        return calls * self.call + units * self.unit


@dataclass(frozen=True)
class Rates:
    """What this machine takes for the recipe's model, seconds.

    Attributes:
        score, update: a pass forward, and forward and backward (with what is recomputed), by positions; the head is
            apart.
        head, head_update: scoring one token by the language-model head, without and with its gradient.
        prefill: a token of a prompt that is sampled from. decode: one step of decoding, by rows. merge: summing the
            adapter into a copy of the weights.
        optimizer: one optimiser step.
    """

    score: Line
    update: Line
    head: float
    head_update: float
    prefill: float
    decode: Line
    merge: float
    optimizer: float

    def seconds(self, work: Work, model: Model, lengths: Lengths) -> dict[str, float]:
        """Returns a run's seconds by part, evaluation apart from them under "evaluation"."""
        p = passes(work, lengths)
        steps = work.steps / work.processes
        split = math.ceil(p.scored.positions / work.processes / work.tokens)
        updates = work.epochs * (work.steps - work.frozen)
        parts = {"rollout": p.merges * self.merge + self._decoding(p.rollout, lengths.longest)}
        parts["reward"] = self.score(p.judged.positions / work.processes) * _ratio(work, model.shape)
        scoring = steps * (self.score(p.scored.positions, split * work.processes) + p.scored.scored * self.head)
        parts |= {role: scoring * p.share(role) for role in ("old", "reference") if role in work.roles}
        if "teacher" in work.roles:
            read = p.read("teacher")
            size = work.teacher.body / model.shape.body if work.teacher else 1.0
            one = self.score(read.positions, split * work.processes) + read.scored * self.head
            parts["teacher"] = steps * one * size
        parts |= {role: 2 * scoring for role in ("kl_full", "mismatched") if role in work.roles}
        if "critic" in work.roles:
            learnt = p.scored if model.shape.whole else p.learnt  # beside trained weights it is a model of its own
            values = self.score(p.scored.positions, split) + work.epochs * self.update(learnt.positions, split)
            parts["critic"] = steps * values + work.steps * work.epochs * work.mini_batches * self.optimizer
        calls = max(split * p.live, work.mini_batches)
        passed = self.update(p.trained.positions / work.processes, calls if p.live else 0)
        parts["update"] = updates * (passed + p.trained.scored / work.processes * self.head_update)
        parts["optimizer"] = updates * work.mini_batches * self.optimizer
        return parts | {"evaluation": self._evaluation(work, lengths)}

    def _evaluation(self, work: Work, lengths: Lengths) -> float:
        if work.rankings:
            once, scored = ranked(work, lengths)
            calls = math.ceil(scored.positions / work.tokens)
            return self._decoding(once, lengths.longest) + work.rankings * self.score(scored.positions, calls)
        total = 0.0
        for limit in work.evaluations:
            answer = min(limit, lengths.answer)
            longest = limit if lengths.longest > lengths.completion else answer
            total += self.merge + self._decoding(sampling(work, lengths, lengths.questions, 1, answer), longest)
        return total

    def _decoding(self, of: Sampling, longest: float) -> float:
        """Seconds of prefill and decoding. The first token of a row comes out of the prefill."""
        sampled = of.tokens.positions - of.prefilled
        return of.prefilled * self.prefill + self.decode(sampled, of.draws * max(0, longest - 1))


@dataclass(frozen=True)
class Device:
    """A device on paper.

    Attributes:
        tflops: dense peak in the training dtype, 10¹² FLOP/s. count: devices that share each batch.
        mfu: the share of that peak that is reached.
        gb_per_s: memory bandwidth, 10⁹ bytes/s; with it a step of decoding takes at least the reading of all weights.
            None leaves decoding to the peak alone.
    """

    tflops: float
    count: int
    mfu: float
    gb_per_s: float | None = None

    def seconds(self, work: Work, model: Model, lengths: Lengths, itemsize: int) -> dict[str, float]:
        """Returns a run's seconds by part, evaluation apart from them under "evaluation"."""
        rate = self.tflops * 1e12 * self.count * self.mfu
        flops = run_flops(work, model.shape, lengths)
        parts = {part: value / rate for part, value in flops.items()}
        parts["update"] = parts.pop("forward") + parts.pop("backward")
        parts["evaluation"] = evaluation_flops(work, model.shape, lengths) / rate
        if self.gb_per_s is not None:
            rounds = {"never": 0, "once": -(-lengths.pool * work.samples // (MOST * self.count))}
            read = model.weights * itemsize / (self.gb_per_s * 1e9)
            draws = rounds.get(work.sampled, work.steps * self._rounds(work.queries * work.samples))
            steps = (draws + self._rounds(lengths.pool * work.measured)) * lengths.longest
            answers = sum(min(limit, lengths.answer) for limit in work.evaluations) * self._rounds(lengths.questions)
            parts["rollout"] = max(parts["rollout"], steps * read)
            parts["evaluation"] = max(parts["evaluation"], answers * read)
        return parts

    def _rounds(self, rows: int) -> int:
        return math.ceil(rows / (MOST * self.count))


def _ratio(work: Work, shape: Shape) -> float:
    """Returns the reward models' weights as a multiple of the policy's."""
    return sum(judge.body for judge in work.judges) / shape.body

"""What this machine takes: the engine itself, timed for a few seconds on random weights of the recipe's model.

Products, caches, the interpreter's share and whatever the engine does are then in the figures as they are in a run.
Models that would take long are cut to fewer layers, and what belongs to layers is scaled up.
"""

import copy
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from rlft.base import Batch, Processes, Sampling
from rlft.models.adapter import merged
from rlft.models.decode import choose
from rlft.models.flops import Way
from rlft.models.optimizer import MasterAdamW
from rlft.models.policy import CHUNK_NUMBERS, Policy
from rlft.models.sampler import ROWS, decoder_of
from rlft.ops.logprob import linear_logp
from rlft.theory.lengths import Lengths
from rlft.theory.model import Model, build, cut
from rlft.theory.seconds import Line, Rates
from rlft.theory.work import Work

WEIGHTS = 60e6  # of the layers that are timed, at most: more than a cache holds, and few enough to be quick
POSITIONS = 400  # that a timed pass has, about
STEPS = 5  # of decoding that are timed
TIMES = 3  # that each thing is timed: on a machine with other users any one may be half as long again


def calibrate(work: Work, model: Model, lengths: Lengths, dtype: torch.dtype, device: torch.device) -> Rates:
    """Returns this machine's rates for a recipe's model.

    Args:
        work, model: the run. lengths: prompts and completions as long as these are timed.
        dtype, device: of the run.
    """
    bench = _Bench.of(model, work.recompute, dtype, device)
    score, update, optimizer = bench.passes(work, lengths)
    prefill, decode, merge = bench.sampling(work, lengths)
    head, head_update = bench.head()
    return Rates(score, update, head, head_update, prefill, decode, merge, optimizer)


@dataclass
class _Bench:
    """A model to be timed. `scale` is the number of its layers over that of those timed."""

    policy: Policy
    scale: float

    @classmethod
    def of(cls, model: Model, recompute: bool, dtype: torch.dtype, device: torch.device) -> "_Bench":
        layers = min(model.layers, max(1, int(WEIGHTS * model.layers / model.shape.body)))
        config = copy.deepcopy(model.config)
        cut(config, layers)
        built = build(config, model.settings, device, dtype).eval()
        fill(built)
        policy = Policy(built, _silent)
        policy.checkpoint(recompute)
        return cls(policy, model.layers / layers)

    def passes(self, work: Work, lengths: Lengths) -> tuple[Line, Line, float]:
        """Returns the rates of scoring and of an update, without the head, and the seconds of an optimiser step."""
        rows = min(8, work.rows)
        opening, prompt = _prompt(lengths)
        completion = max(2, min(64, round(lengths.completion)))
        group = prompt + rows * (completion - 1)
        small = equal_rows(1, 1, prompt, completion, self.policy.device)
        large = equal_rows(max(2, POSITIONS // group), rows, prompt, completion, self.policy.device, opening)
        way = Way(shared=self.policy.trains_shared, opens=self.policy.flat, at_once=10 * POSITIONS)
        optimizer = MasterAdamW([p for p in self.policy.model.parameters() if p.requires_grad], 0.0, (0.9, 0.999), 0.0)
        self._update(large)  # the first touch of fresh memory is slow, and a run does it once
        update = _line(self._update, small, large, self.scale, lambda batch: way.read(batch, learns=True).positions)
        score = _line(self._score, small, large, self.scale, lambda batch: way.read(batch).positions)
        optimizer.step(1.0, Processes())  # the first step makes the moments
        return score, update, self.scale * _seconds(lambda: optimizer.step(1.0, Processes()), self.policy.device)

    @torch.no_grad()
    def sampling(self, work: Work, lengths: Lengths) -> tuple[float, Line, float]:
        """Returns the seconds of a prompt's token, the rate of a decoding step by rows, and the seconds of a merge."""
        policy = self.policy
        wide = max(8, min(ROWS, work.queries * max(1, work.samples)))
        opening, length = _prompt(lengths)
        prompts = [[0] * opening + [own] * (length - opening) for own in range(max(1, POSITIONS // 2 // length))]
        read = len(prompts) * length + Way(opens=policy.flat).saved(opening, len(prompts), 1).positions
        layers, heads = {}, {}
        with nullcontext() if policy.native is not None else merged(policy.model):
            began = time.perf_counter()
            decoder = decoder_of(policy)
            merge = time.perf_counter() - began
            prefill = _seconds(lambda: decoder.start(prompts, 1, STEPS), policy.device) / read
            for rows in (wide // 4, wide):
                hidden = decoder.start(prompts[:1], rows, 2 * STEPS)
                token, draw = (torch.full((rows,), v, device=policy.device) for v in (1, 0.5))
                layers[rows] = _seconds(lambda t=token: _repeat(decoder.advance, t), policy.device) / STEPS
                heads[rows] = _seconds(
                    lambda h=hidden, d=draw: choose(decoder.logits(h), d, Sampling(1)), policy.device
                )
        step = {rows: self.scale * layers[rows] + heads[rows] for rows in layers}
        unit = max(0.0, (step[wide] - step[wide // 4]) / (wide - wide // 4))
        return self.scale * prefill, Line(step[wide] - unit * wide, unit), self.scale * merge

    def head(self) -> tuple[float, float]:
        """Returns the seconds of scoring one token, without and with the gradient of its hidden state."""
        weight, count = self.policy.base.get_output_embeddings().weight.detach(), 256
        target = torch.zeros(count, dtype=torch.long, device=weight.device)
        hidden = torch.ones(count, weight.shape[1], dtype=weight.dtype, device=weight.device)
        chunk = max(16, CHUNK_NUMBERS // len(weight))

        def score(hidden: Tensor) -> float:
            run = partial(linear_logp, hidden, weight, target, chunk, return_entropy=True)
            return _seconds(run, weight.device) / count

        return score(hidden), score(hidden.clone().requires_grad_())

    def _update(self, batch: Batch) -> None:
        hidden = self.policy.hidden(batch)
        hidden.backward(torch.ones_like(hidden))

    @torch.no_grad()
    def _score(self, batch: Batch) -> None:
        self.policy.hidden(batch)


def _repeat(advance: Callable[[Tensor], Tensor], token: Tensor) -> None:
    for _ in range(STEPS):
        advance(token)


def fill(model: nn.Module) -> None:
    """Gives weights that have none small numbers: products take no longer for others."""
    noise = 0.02 * torch.randn(2**16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for p in model.parameters():
            flat = noise.to(device=p.device, dtype=p.dtype)
            p.copy_(flat.repeat(-(-p.numel() // len(flat)))[: p.numel()].view(p.shape))
            if p.ndim == 1:
                p.fill_(1)


def _prompt(lengths: Lengths) -> tuple[int, int]:
    """Returns what all prompts that are timed begin with, and their whole length, tokens."""
    prompt = min(128, round(lengths.prompt))
    return min(round(lengths.opening), prompt - 1), prompt


def equal_rows(queries: int, rows: int, prompt: int, completion: int, device: torch.device, opening: int = 0) -> Batch:
    """Returns queries with equally long completions, all tokens trained; prompts have an `opening` in common."""
    total = queries * rows
    tokens = torch.ones(total, completion, dtype=torch.long)
    return Batch(
        prompt_ids=torch.arange(queries)[:, None] * (torch.arange(prompt) >= opening),
        prompt_mask=torch.ones(queries, prompt, dtype=torch.bool),
        completion_ids=tokens,
        attention=tokens.bool(),
        mask=tokens.bool(),
        group=torch.arange(queries).repeat_interleave(rows),
        finished=torch.ones(total, dtype=torch.bool),
        reward=torch.zeros(total),
    ).to(device)


def _line(
    run: Callable[[Batch], None], small: Batch, large: Batch, scale: float, positions: Callable[[Batch], float]
) -> Line:
    """Returns the line through two passes, by positions."""
    device = small.group.device
    first, second = (_seconds(lambda b=b: run(b), device) for b in (small, large))
    few, many = positions(small), positions(large)
    unit = (second - first) / (many - few)
    return Line(scale * max(0.0, first - unit * few), scale * unit)


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    """Returns the seconds of a run, the median of several."""
    took: list[float] = []
    for _ in range(TIMES):
        start = time.perf_counter()
        run()
        if device.type != "cpu":
            torch.accelerator.synchronize()
        took.append(time.perf_counter() - start)
    return median(took)


def _silent(line: str) -> None:
    del line

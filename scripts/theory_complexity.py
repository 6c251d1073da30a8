"""What docs/theory/complexity.md counts: the closed formulas of `rlft cost` at other sizes, and their plot.

Usage: python scripts/theory_complexity.py [docs/theory]
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from theory_figure import COLOURS, figure

from rlft.models.flops import Shape
from rlft.theory import Device, Lengths, Live, Work
from rlft.theory.flops import run_flops

SIZES = {
    "135M": (30, 576, 1536, 9, 3, 49152),
    "7B": (32, 4096, 11008, 32, 32, 32000),
    "70B": (80, 8192, 28672, 64, 8, 32000),
}
"""Layers, width, feed-forward width, heads of queries and of keys, vocabulary: SmolLM2-135M and Llama 2."""
RANK = 16
QUESTIONS, PROMPT, COMPLETION, SAMPLES = 100_000, 128, 1024, 16  # of the run at scale
DEVICES = Device(tflops=989, count=64, mfu=0.4)
GROUPS = (2, 4, 8, 16, 32, 64)


def shape_of(layers: int, width: int, inner: int, heads: int, groups: int, vocabulary: int) -> Shape:
    """Returns what costs arithmetic of a Llama with an adapter on each of its seven matrices a layer."""
    narrow = width * groups // heads
    matrices = [(width, width)] * 2 + [(width, narrow)] * 2 + [(width, inner)] * 3
    body = layers * sum(a * b for a, b in matrices)
    adapter = layers * RANK * sum(a + b for a, b in matrices)
    return Shape(body, vocabulary * width, adapter, 2.0 * RANK * body, layers * width, whole=False)


def works(samples: int = 8, queries: int = 8, steps: int = 45) -> dict[str, Work]:
    """Returns the portions of the `*_math` recipes, by method."""
    grpo = Work(
        method="grpo", steps=steps, queries=queries, rows=samples, sampled="each step", samples=samples, pool=None,
        kept="all", live=Live(), roles=frozenset({"reference"}), epochs=1, mini_batches=1, frozen=0, tokens=2048,
        max_prompt=512, max_completion=24, questions=0, evaluations=(),
    )  # fmt: skip
    once = replace(grpo, sampled="once", most=samples)
    return {
        "sft": replace(grpo, method="sft", sampled="never", samples=0, rows=1, kept="right", roles=frozenset()),
        "rft": replace(once, method="rft", rows=1, kept="right", roles=frozenset(), live=Live(all_wrong=0, wrong=0)),
        "dpo": replace(once, method="dpo", rows=2, kept="pairs"),
        "ppo": replace(grpo, method="ppo", roles=frozenset({"old", "reference", "critic"})),
        "grpo": grpo,
    }


def lengths_of(prompt: float, completion: float, pool: int) -> Lengths:
    """Returns lengths that are known, half of the answers being right."""
    return Lengths(
        prompt, completion, sampled=completion, longest=completion, answer=0, acceptance=0.5, questions=0, pool=pool
    )


def per_question(work: Work, shape: Shape, prompt: float, completion: float) -> float:
    """Returns the FLOPs of a run whose pool is as large as what it trains on, by question."""
    questions = work.steps * work.queries
    return sum(run_flops(work, shape, lengths_of(prompt, completion, questions)).values()) / questions


def hours_at_scale(name: str) -> dict[str, float]:
    """Returns the hours of compute by method, for a size of `SIZES` on the devices."""
    shape = shape_of(*SIZES[name])
    rate = DEVICES.tflops * 1e12 * DEVICES.count * DEVICES.mfu
    return {
        method: QUESTIONS * per_question(work, shape, PROMPT, COMPLETION) / rate / 3600
        for method, work in works(SAMPLES).items()
    }


def mean_keys(shape: Shape, forward: float, weights: float) -> float:
    """Returns the keys that a token attends to on average where attention costs as much as the weights do.

    Args:
        shape: of the model. forward: attention's operations per key and unit of width. weights: operations per weight.
    """
    return weights * shape.body / (forward * shape.attention)


def draw(path: Path) -> None:
    """Draws FLOPs per question against the samples, and attention's share against the length."""
    shape = shape_of(*SIZES["135M"])
    with figure(path, 2) as (left, right):
        for colour, method in zip(COLOURS, works(), strict=True):
            each = [per_question(works(g)[method], shape, 64, 16) for g in GROUPS]
            left.loglog(GROUPS, each, color=colour, label=method)
        left.set_xticks(GROUPS, [str(g) for g in GROUPS])
        left.minorticks_off()
        left.set_xlabel("G, samples per question (P = 64, C = 16)")
        left.set_ylabel("FLOPs per question, 135M")
        left.legend(frameon=False)
        lengths = [2**n for n in range(7, 18)]
        for colour, (name, size) in zip(COLOURS, SIZES.items(), strict=False):
            whole, flat = shape_of(*size), replace(shape_of(*size), attention=0)
            work = works(1)["grpo"]
            shares = [1 - per_question(work, flat, 1, c) / per_question(work, whole, 1, c) for c in lengths]
            right.semilogx(lengths, shares, color=colour, label=name)
        right.set_xlabel("C, tokens of a completion")
        right.set_ylabel("attention's share of GRPO's FLOPs")
        right.legend(frameon=False)


def main(words: Sequence[str]) -> None:
    """Draws into the folder that is named."""
    if len(words) > 1:
        raise SystemExit(__doc__)
    draw(Path(words[0] if words else "docs/theory") / "complexity.svg")


if __name__ == "__main__":
    main(sys.argv[1:])

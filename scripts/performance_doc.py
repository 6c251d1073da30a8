"""Writes docs/performance.md and its plots from the measurements of `scripts/bench.py`: no number in it is typed.

Usage: python scripts/performance_doc.py docs/performance.json
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.report import METHODS, tables
from performance_plots import AXES, draw

HEAD = """# Performance

`scripts/bench.py` measures rlft beside [TRL](https://github.com/huggingface/trl), and its rollouts beside
transformers' and vLLM's. Everything under "Results" is made from `performance.json` by
`scripts/performance_doc.py`.

    pip install -c constraints.txt -e '.[bench]'
    python scripts/bench.py grpo grpo_short dpo sft --replay --out docs/performance.json
    python scripts/bench.py rollout scaling --out docs/performance.json
    python scripts/performance_doc.py docs/performance.json

`--data FILE` and `--pairs FILE` take GSM8K's questions and pairs of solutions, `--short-data FILE` questions or
instructions that are answered briefly; without them the material is made by reasoning-gym (GSM8K's questions with
other names and numbers, and sums). `--quick` shows in a minute or so whether it runs.

## What is compared

The work of a step is the same on both sides: the same model (SmolLM2-135M-Instruct), the same adapter (LoRA of
rank 16, α 32, on every linear layer but the head), the same tokens in the same order, one AdamW step a batch,
gradients clipped at norm 1. Weights are bfloat16 on both sides.

- **GRPO**: 4 questions, 8 samples each, at most 128 tokens, temperature 1, β = 0.04, one update a batch. Each
  side draws its own completions. `grpo` has questions whose completions are nearly all cut at the limit,
  `grpo_short` questions that are answered briefly, so that most completions end by themselves: batched
  generation goes on for its longest row, and padding is computed like anything else. In `grpo_replay` both train
  on the same completions, drawn once: the update and its reference pass.
- **DPO**: 16 pairs a step, β = 0.1, log π_ref computed in the step.
- **SFT**: 32 rows a step, the tokens of the answers trained.

rlft runs as `rlft train` does: a recipe is composed and set up, and a step is the same five calls. TRL runs its
own trainer with `bf16=True` (its default: autocast, with adapters in float32) over bfloat16 weights. Its
rollouts draw all 32 completions together. The variants tried are listed below: micro-batches, and with them TRL's
default gradient checkpointing (less memory, more seconds), the rows of a step sorted by length, rows laid end to
end without padding, or transformers' continuous batching. The comparison is with the one that trains the most
tokens per second, in speed and in memory.

The reward is a number made of each completion's hash, and costs nothing. β > 0 keeps every completion in the
update, whatever the rewards of its group: neither side leaves one out.

Each contender is a process of its own, with the same number of threads. They take their steps in turn, one
works at a time; steps after the warm-up count, and the figures are medians over them. **tokens/s** is trained
tokens per second of the whole step, counted alike: tokens that the objective scores. Where both sides are given
the same completions the script stops if their counts differ. **Peak** is the most resident memory of the
process and its children (VmHWM), with interpreter, libraries and loading.

**GEMM share** is the FLOPs that rlft's update must compute, over its seconds, over the best rate of bfloat16
matrix products measured in the same run:

    (4·N + 6·A)·tokens + 4·D·V·trained

N frozen weights of the linear layers (2 operations per weight and token forward, 2 for the gradient of the
activations), A adapter weights (2 more for their own gradient), D·V the head, at trained positions; tokens:
each prompt once per query, what all prompts of a step begin with once, each completion without its last token.
Attention's own products are not counted, nor is the reference pass.

**Rollouts** draw a fixed number of tokens, the end token suppressed. rlft's figure includes merging the adapter
and the log-probabilities of the sampled tokens. transformers and vLLM run the bare model, without an adapter
and without log-probabilities. Loading and compiling is apart, as start-up.

## What is not

- Other models, longer sequences, GPUs, several processes. Shares and ratios there are others.
- TRL with vLLM rollouts, with kernels made for GPUs, or with packing: a packed batch has another number of
  rows.
- Evaluation, checkpoints, logging and reading rows: they stand outside the steps of both.
- What is learned. The learning rate is 1e-6, so that completions keep their lengths while the clock runs.

Timings on a shared machine move by tens of percent from run to run: compare ratios taken in one run.
"""


def page(result: Mapping[str, Any]) -> str:
    """Returns the page as Markdown. Raises SystemExit for a section that was measured with --quick."""
    quick = [name for name, section in result.items() if isinstance(section, dict) and section.get("quick")]
    if quick:
        raise SystemExit(f"{', '.join(quick)}: measured with --quick; measure again without it")
    parts = [HEAD]
    if "machine" in result:
        parts.append(_machine(result["machine"]))
    if methods := [name for name in METHODS if name in result]:
        parts.append(_summary({name: result[name] for name in methods}))
    for title, columns, rows in tables(result):
        parts.append(f"### {title[0].upper()}{title[1:]}\n\n{_table(columns, rows)}\n")
    if "scaling" in result:
        parts.append(_scaling(result["scaling"]))
    return "\n".join(parts)


def _machine(found: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    half, full = found["gemm_bfloat16"] / 1e9, found["gemm_float32"] / 1e9
    return (
        f"## Results\n\n{found['cpu']}, {found['threads']} threads on {found['cores']} cores, "
        f"{found['memory_bytes'] / 2**30:.0f} GiB; {versions}; {found['date']}. Matrix products: {half:.0f} GFLOP/s in "
        f"bfloat16, {full:.0f} in float32.\n"
    )


def _summary(sections: Mapping[str, Any]) -> str:
    columns = [
        "",
        "rlft, tokens/s",
        "TRL, tokens/s",
        "faster by",
        "round by round",
        "peak memory, rlft / TRL",
        "GEMM share",
    ]
    rows = [
        [
            name,
            f"{one['rlft_tokens_per_s']:.0f}",
            f"{one['trl_tokens_per_s']:.0f}",
            f"{one['speedup']:.2f}x",
            f"{min(one['speedup_by_round']):.2f} to {max(one['speedup_by_round']):.2f}",
            f"{one['memory_ratio']:.2f}",
            f"{one['gemm_share']:.0%}",
        ]
        for name, one in sections.items()
    ]
    return f"{_table(columns, rows)}\n"


def _scaling(section: Mapping[str, Any]) -> str:
    held = section["held"]
    plots = "\n".join(f"![a step's seconds by {AXES[axis]}](performance-{axis}.svg)" for axis in section["axes"])
    return (
        f"While one of them doubles the others are held: {held['prompts']} prompts of {held['prompt']} tokens (real "
        f"text, cut by words), {held['samples']} samples, completions of {held['completion']} tokens, none of which "
        "ends early.\n\n"
        f"{plots}\n"
    )


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(arguments: list[str]) -> None:
    """Writes the page and the plots beside the measurements."""
    if len(arguments) != 1:
        raise SystemExit(__doc__)
    source = Path(arguments[0])
    result = json.loads(source.read_text(encoding="utf-8"))
    source.with_suffix(".md").write_text(page(result), encoding="utf-8")
    draw(result, source.parent)


if __name__ == "__main__":
    main(sys.argv[1:])

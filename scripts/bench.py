"""Measures rlft beside TRL on the same work: training steps, rollouts, memory, the share of the machine's GEMM rate.

Usage: python scripts/bench.py grpo dpo sft --out docs/performance.json
       python scripts/bench.py grpo --replay             the update alone too, on the same completions for both
       python scripts/bench.py rollout --vllm-python ENV/bin/python
       python scripts/bench.py scaling                   what doubling samples, completions or prompts costs
       python scripts/bench.py grpo dpo sft rollout scaling --quick     a minute or so each: does it run?

Needs the extra `bench`. Every contender is a process of its own; they take their steps in turn. Nothing else should run
on the machine meanwhile. docs/performance.md says what is compared and what is not.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import report
from bench.contender import Contender, Ended, alternate
from bench.kinds import AXES, KINDS, OPTIONS, QUICK_AXES, Setting, variant
from bench.worker import Record

VERSIONS = ("rlft", "torch", "transformers", "peft", "trl")
QUICK = {
    "prompts": 1, "samples": 4, "limit": 16, "pairs": 2, "rows": 4, "steps": 1, "tune_steps": 1, "rollout_rows": (4,),
}  # fmt: skip
FULL = {
    "prompts": 4, "samples": 8, "limit": 128, "pairs": 16, "rows": 32, "steps": 3, "tune_steps": 1,
    "rollout_rows": (8, 32, 64),
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    text, _, more = (__doc__ or "").partition("\n\n")
    found = argparse.ArgumentParser(description=text, epilog=more, formatter_class=argparse.RawTextHelpFormatter)
    kinds = [kind for kind in KINDS if kind != "grpo_replay"]
    found.add_argument("kinds", nargs="+", choices=kinds, help="what to measure")
    found.add_argument("--replay", action="store_true", help="with grpo: the update alone too")
    found.add_argument("--quick", action="store_true", help="a step of almost nothing, of one TRL variant")
    found.add_argument("--steps", type=int, help="measured steps of each side (3)")
    found.add_argument("--warmup", type=int, default=1, help="steps of each side before those (1)")
    found.add_argument("--tune-steps", type=int, help="measured steps of each TRL variant before the best is taken (1)")
    found.add_argument(
        "--micro-batches",
        nargs="+",
        type=variant,
        metavar="N[+OPTION]",
        help=f"TRL's contenders in place of all that are tried; options: {', '.join(OPTIONS)}",
    )
    found.add_argument("--rollout-rows", nargs="+", type=int, metavar="N", help="rows drawn together (8 32 64)")
    found.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of every process (all cores)")
    found.add_argument("--model", default="embedded", help="a folder with a model (the embedded SmolLM2-135M-Instruct)")
    found.add_argument("--data", metavar="FILE", help="questions with answers, e.g. GSM8K's (generated ones)")
    found.add_argument("--short-data", metavar="FILE", help="questions answered briefly, for grpo_short (generated)")
    found.add_argument("--pairs", metavar="FILE", help="questions with right and wrong answers, for dpo (generated)")
    found.add_argument("--vllm-python", metavar="PYTHON", help="an interpreter that has vLLM, for rollout (left out)")
    found.add_argument("--out", type=Path, metavar="FILE", help="JSON; sections of it that are not measured now stay")
    return found


def setting(options: argparse.Namespace, work: Path, gemm: float) -> Setting:
    """Returns what the command line comes to."""
    import torch

    from rlft.models import load
    from rlft.models.config import ModelConfig

    loaded = load.load(ModelConfig(path=options.model, dtype="bfloat16"), 0, torch.device("cpu"), say)
    sizes: dict[str, Any] = dict(QUICK if options.quick else FULL)
    for name in ("steps", "tune_steps", "rollout_rows"):
        sizes[name] = getattr(options, name) or sizes[name]
    return Setting(
        model=loaded.source,
        chat=loaded.chat,
        work=work,
        warmup=options.warmup,
        threads=options.threads,
        variants=options.micro_batches or (["2"] if options.quick else None),
        data=options.data,
        short_data=options.short_data,
        pair_data=options.pairs,
        vllm_python=options.vllm_python,
        axes=QUICK_AXES if options.quick else AXES,
        gemm=gemm,
        say=say,
        **sizes,
    )


def machine(threads: int, gemm: Record) -> Record:
    """Returns what was measured on: processor, memory, versions, and the rates of matrix products, FLOP/s."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in VERSIONS},
        "gemm_bfloat16": gemm["bfloat16"],
        "gemm_float32": gemm["float32"],
        "date": date.today().isoformat(),
    }


def products(threads: int) -> Record:
    """Returns the machine's rates of matrix products, FLOP/s."""
    [record] = alternate([Contender("GEMM", "gemm", {}, threads)], 0, 1, lambda _: None)["GEMM"]
    say(f"GEMM: {record['bfloat16'] / 1e9:.0f} GFLOP/s in bfloat16, {record['float32'] / 1e9:.0f} in float32")
    return record


def show(result: Record) -> None:
    """Prints the tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for title, columns, rows in report.tables(result):
        table = Table(title=title, title_justify="left")
        for number, column in enumerate(columns):
            table.add_column(column, justify="left" if number < 2 else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def say(line: str) -> None:
    """Prints a line of progress."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measures, prints, and writes."""
    command = parser()
    options = command.parse_args()
    if options.replay and "grpo" not in options.kinds:
        command.error("--replay goes with grpo: it replays the completions of a GRPO step")
    samples = (QUICK if options.quick else FULL)["samples"]
    if any(rows < 1 or rows % samples for rows in options.rollout_rows or ()):
        command.error(f"--rollout-rows: each a multiple of {samples}, the samples of a question")
    from rlft.base import UserError

    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    kinds = [kind for kind in KINDS if kind in options.kinds or (kind == "grpo_replay" and options.replay)]
    gemm = products(options.threads)
    result: Record = {"machine": machine(options.threads, gemm)}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            told = setting(options, Path(folder), gemm["bfloat16"])
            for kind in kinds:
                result[kind] = {**KINDS[kind](told), "quick": options.quick}
                if options.out:
                    write(options.out, result)
        except UserError as error:
            command.error(str(error))
        except Ended as error:
            raise SystemExit(str(error)) from error
    show(result)


def write(path: Path, result: Record) -> None:
    """Writes the result; sections that an earlier run wrote and this one did not measure stay."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**before, **result}, indent=1) + "\n", encoding="utf-8")


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []


if __name__ == "__main__":
    main()

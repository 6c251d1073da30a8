"""A run in several processes of this machine: the recipe is frozen once, and every process reads the frozen file."""

import subprocess
import sys
from typing import Any

from rlft.base import RunError
from rlft.cli.options import Arguments
from rlft.train import Plan, read_summary


def command(plan: Plan, arguments: Arguments, *, resume: bool) -> list[str]:
    """Returns the words that start a plan's processes."""
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        "--nproc-per-node", str(plan.trainer.processes), "-m", "rlft", "resume", str(plan.run_dir),
        f"trainer.stop_after={plan.trainer.stop_after}", "--worker", "resumed" if resume else "fresh",
        *arguments.of_a_run(),
    ]  # fmt: skip


def launch(plan: Plan, arguments: Arguments, *, resume: bool) -> dict[str, Any]:
    """Runs a plan in `trainer.processes` processes and returns its summary.

    Raises:
        RunError: they ended with an error; their own messages stand above it.
    """
    # With --json this command's stdout is for its one object: the processes write to stderr.
    process = subprocess.Popen(command(plan, arguments, resume=resume), stdout=sys.stderr if arguments.json else None)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.wait()  # the terminal sends the interruption to the processes as well, and they save
        raise
    summary = read_summary(plan.run_dir)
    if status != 0 or summary is None:
        raise RunError(f"the {plan.trainer.processes} processes of {plan.run_dir} ended with status {status}")
    return summary

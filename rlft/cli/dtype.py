"""One dtype for all runs of a comparison: what `model.dtype=auto` stands for is not measured anew in each of them."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlft.cli.sweep import Job

HERE = ("hydra/launcher=basic", "hydra/launcher=joblib")  # launchers whose runs are on this machine


def one_dtype(jobs: "Sequence[Job]", launcher: Sequence[str]) -> "list[Job]":
    """Returns the jobs, those of dtype "auto" with the word for what it stands for: the dtype that a run which is there
    already was frozen with, else the one that is faster here. Two runs that measured near the threshold might differ.

    A run's directory stays the one of "auto", so that what was run before is found. Runs on other machines, by their
    launcher, measure for themselves.

    Raises:
        RunError: nothing could be measured.
    """
    from rlft.report.files import Files

    auto = [job for job in jobs if job.config["model"]["dtype"] == "auto"]
    if not auto or any(word.startswith("hydra/launcher=") and word not in HERE for word in launcher):
        return list(jobs)
    frozen = (Files(job.run_dir).config.get("model", {}).get("dtype", "auto") for job in auto)
    known = next((dtype for dtype in frozen if dtype != "auto"), None)
    dtype = known or measured(auto[0].config["trainer"]["device"] == "cpu")
    why = "as in the runs that there are" if known else "which is faster here"
    print(f"model.dtype=auto: {dtype} in all runs, {why}")
    word = f"model.dtype={dtype}"
    return [replace(job, words=[*job.words, word]) if job.config["model"]["dtype"] == "auto" else job for job in jobs]


@cache
def measured(cpu: bool) -> str:
    """Returns the dtype that is faster on this machine's accelerator, or on its `cpu`. It is measured in a process of
    its own: this one waits for the runs, and must not hold an accelerator that they need."""
    from rlft.base import RunError

    code = f"from rlft.cli.dtype import faster; print(faster({cpu}))"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RunError("model.dtype=auto could not be measured here; type model.dtype=float32, or bfloat16")
    return done.stdout.split()[-1]


def faster(cpu: bool) -> str:
    """Returns what "auto" stands for in this process."""
    from accelerate import Accelerator

    from rlft.models.dtype import resolve_dtype

    return str(resolve_dtype("auto", Accelerator(cpu=cpu).device)).removeprefix("torch.")

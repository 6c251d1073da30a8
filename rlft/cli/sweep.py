"""`rlft train -m`: every combination of a sweep's values, with one table at the end."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rlft.base import Trained, UserError
from rlft.cli.options import Arguments, launcher_words
from rlft.cli.train import accuracies, finished, has_checkpoint, require_place, warn_of_changed_files
from rlft.recipe import build, compose, overrides, recipe_hash, run_directory
from rlft.recipe.launcher import launch


@dataclass(frozen=True)
class Job:
    """One combination.

    Attributes:
        words: what is typed for it. varied: its values of the sweep alone.
        run_dir: where it runs. config: its recipe. trains: what of the model its algorithm teaches.
        place: e.g. "[2/6]". apart: whether others may run beside it, so that what it says goes to log.txt.
    """

    words: list[str]
    varied: str
    run_dir: Path
    config: dict[str, Any]
    trains: Trained
    place: str = ""
    apart: bool = False


def sweep(arguments: Arguments) -> tuple[int, dict[str, object]]:
    """Runs all jobs, whatever becomes of one of them; a finished one is not run again. Returns status 1 if any failed.

    Every job is composed before the first one runs, so that a mistake costs nothing. Words such as
    hydra/launcher=joblib choose who runs them; basic is one after the other.
    """
    launcher, words = launcher_words(arguments.overrides)
    return run_jobs(plan_jobs(arguments, words), arguments, launcher)


def run_jobs(jobs: list[Job], arguments: Arguments, launcher: list[str]) -> tuple[int, dict[str, object]]:
    """Runs jobs and prints their table; see `sweep`."""
    apart = any(word.startswith("hydra/launcher=") and word != "hydra/launcher=basic" for word in launcher)
    jobs = [replace(job, place=f"[{number}/{len(jobs)}]", apart=apart) for number, job in enumerate(jobs, 1)]
    rows = launch(partial(_run, arguments=arguments), jobs, launcher, jobs[0].run_dir.parent)
    _table(rows)
    failed = sum(row["status"] == "failed" for row in rows)
    return (1 if failed else 0), {"status": "failed" if failed else "finished", "failed": failed, "runs": rows}


def plan_jobs(arguments: Arguments, overridden: list[str], fixed: set[str] | None = None) -> list[Job]:
    """Returns the jobs of a sweep; words that are `fixed`, all that are no sweep unless given, are not repeated in a
    job's name. Raises UserError for a mistake in any of them."""
    fixed = set(overridden) if fixed is None else fixed
    jobs: dict[Path, Job] = {}
    for words in overrides.sweep(overridden):
        config = compose(words, arguments.config_dir, arguments.plugins).config
        run_dir = run_directory(config)
        trains = build(config, run_dir, arguments.plugins).algorithm.trains
        varied = " ".join(word for word in words if word not in fixed) or " ".join(words)
        if config["output_dir"] is not None and not any(word.startswith("output_dir=") for word in varied.split()):
            # One directory was given for all: each takes a folder in it.
            run_dir = run_dir / f"{config['recipe']}-{recipe_hash(config)}"
        kept = [word for word in words if not word.startswith("output_dir=")]
        job = Job([*kept, f"output_dir={_quoted(run_dir)}"], varied, run_dir, config, trains)
        if run_dir in jobs and jobs[run_dir].varied != varied:
            raise UserError(f"{varied} and {jobs[run_dir].varied} would both write to {run_dir}")
        require_place(config, run_dir)
        jobs[run_dir] = job
    return list(jobs.values())


def _quoted(path: Path) -> str:
    """Returns a path as Hydra's grammar takes any text."""
    return '"' + str(path).replace('"', '\\"') + '"'


def _run(job: Job, arguments: Arguments) -> dict[str, Any]:
    # A launcher's process does not know that stdout is for the JSON.
    with redirect_stdout(sys.stderr) if arguments.json else nullcontext():
        return _ran(job, arguments)


def _ran(job: Job, arguments: Arguments) -> dict[str, Any]:
    print(f"{job.place} {job.varied} · {job.run_dir}", flush=True)
    row: dict[str, Any] = {"overrides": job.varied, "run_dir": str(job.run_dir)}
    summary = finished(job.run_dir)
    if summary is not None:
        warn_of_changed_files(job.config, job.run_dir)
        return row | {"status": "finished", "skipped": True, "eval": summary.get("eval")}
    going_on = has_checkpoint(job.run_dir)
    words = ["resume", str(job.run_dir)] if going_on else ["train", *job.words]
    options = arguments.of_a_run() if going_on else arguments.repeated()
    command = [sys.executable, "-m", "rlft", *words, "--json", *options]
    if job.apart:
        job.run_dir.mkdir(parents=True, exist_ok=True)
    with open(job.run_dir / "log.txt", "a", encoding="utf-8") if job.apart else nullcontext() as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=_environment(job), text=True)
    try:
        output = process.communicate()[0]
    except KeyboardInterrupt:
        process.wait()  # the terminal sends the interruption to the run as well, and it saves
        raise KeyboardInterrupt(f"interrupted in {job.run_dir}; the same command goes on with the sweep") from None
    try:
        result = json.loads(output)
    except ValueError:
        result = {}
    if process.returncode == 130:
        raise KeyboardInterrupt(f"interrupted in {job.run_dir}; the same command goes on with the sweep")
    if process.returncode != 0:
        return row | {"status": "failed", "error": result.get("error", f"status {process.returncode}")}
    return row | {"status": result.get("status"), "skipped": False, "eval": result.get("eval")}


def _environment(job: Job) -> dict[str, str]:
    """Returns the environment of a run. Runs side by side on a machine of several GPUs take turns with them."""
    alone = not job.apart or job.config["trainer"]["processes"] > 1 or "CUDA_VISIBLE_DEVICES" in os.environ
    if alone:
        return dict(os.environ)
    import torch

    devices = torch.cuda.device_count()
    number = int(job.place.strip("[").partition("/")[0]) - 1
    return {**os.environ, **({"CUDA_VISIBLE_DEVICES": str(number % devices)} if devices > 1 else {})}


def _table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("values", "run directory", "status", "accuracy before", "after", "difference (95%)")
    for row in rows:
        status = row["status"] + (" before" if row.get("skipped") else "")
        status += f": {row['error']}" if "error" in row else ""
        table.add_row(row["overrides"], row["run_dir"], status, *accuracies(row.get("eval")))
    Console().print(table)

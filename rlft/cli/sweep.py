"""`rlft train -m`: every combination of a sweep's values, one after the other, with one table at the end."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlft.base import UserError
from rlft.cli.options import Arguments
from rlft.cli.train import finished, has_checkpoint
from rlft.recipe import compose, overrides, recipe_hash, run_directory


@dataclass(frozen=True)
class Job:
    """One combination: what is typed for it, its values of the sweep alone, and where it runs."""

    words: list[str]
    varied: str
    run_dir: Path


def sweep(arguments: Arguments) -> tuple[int, dict[str, object]]:
    """Runs all jobs, whatever becomes of one of them; a finished one is not run again. Returns status 1 if any failed.

    Every job is composed before the first one runs, so that a mistake costs nothing.
    """
    jobs = plan_jobs(arguments)
    rows: list[dict[str, Any]] = []
    for number, job in enumerate(jobs, 1):
        print(f"[{number}/{len(jobs)}] {job.varied} · {job.run_dir}")
        rows.append(_run(job, arguments))
    _table(rows)
    failed = sum(row["status"] == "failed" for row in rows)
    return (1 if failed else 0), {"status": "failed" if failed else "finished", "failed": failed, "runs": rows}


def plan_jobs(arguments: Arguments) -> list[Job]:
    """Returns the jobs of a sweep. Raises UserError for a mistake in any of them."""
    fixed = set(arguments.overrides)
    jobs: dict[Path, Job] = {}
    for words in overrides.sweep(arguments.overrides):
        config = compose(words, arguments.config_dir, arguments.plugins).config
        run_dir = run_directory(config)
        varied = " ".join(word for word in words if word not in fixed) or " ".join(words)
        if config["output_dir"] is not None and not any(word.startswith("output_dir=") for word in varied.split()):
            # One directory was given for all: each takes a folder in it.
            run_dir = run_dir / f"{config['recipe']}-{recipe_hash(config)}"
        kept = [word for word in words if not word.startswith("output_dir=")]
        job = Job([*kept, f"output_dir={_quoted(run_dir)}"], varied, run_dir)
        if run_dir in jobs and jobs[run_dir].varied != varied:
            raise UserError(f"{varied} and {jobs[run_dir].varied} would both write to {run_dir}")
        jobs[run_dir] = job
    return list(jobs.values())


def _quoted(path: Path) -> str:
    """Returns a path as Hydra's grammar takes any text."""
    return '"' + str(path).replace('"', '\\"') + '"'


def _run(job: Job, arguments: Arguments) -> dict[str, Any]:
    row: dict[str, Any] = {"overrides": job.varied, "run_dir": str(job.run_dir)}
    summary = finished(job.run_dir)
    if summary is not None:
        return row | {"status": "finished", "skipped": True, "eval": summary.get("eval")}
    going_on = has_checkpoint(job.run_dir)
    words = ["resume", str(job.run_dir)] if going_on else ["train", *job.words]
    options = arguments.of_a_run() if going_on else arguments.repeated()
    command = [sys.executable, "-m", "rlft", *words, "--json", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
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


def _table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("values", "run directory", "status", "accuracy before", "after", "difference (95%)")
    for row in rows:
        accuracy = row.get("eval") or {}
        status = row["status"] + (" before" if row.get("skipped") else "")
        status += f": {row['error']}" if "error" in row else ""
        cells = [row["overrides"], row["run_dir"], status]
        if accuracy.get("interval"):
            low, high = accuracy["interval"]
            cells += [f"{accuracy['accuracy_before']:.1%}", f"{accuracy['accuracy_after']:.1%}"]
            cells += [f"{accuracy['difference']:+.1%} ({low:+.1%} to {high:+.1%})"]
        table.add_row(*cells)
    Console().print(table)

"""A program: kills a run at random moments until it has been killed often enough, going on with it each time.

    python crashes.py MODEL FOLDER METHOD KILLS

FOLDER/whole gets a run that is never killed, FOLDER/killed-0 and on the others; prints what happened as JSON. A run is
a fork of this process, which has imported everything and computed nothing, so that starting one costs no time.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import peft.tuners.lora
import reasoning_gym
import transformers.models.llama.modeling_llama
from runs import lines, make_plan, run

import rlft.train.run

IMPORTED = (peft, reasoning_gym, transformers)  # once, here, and not in every fork
STEPS = ["trainer.steps=4", "trainer.save_every=1", "trainer.epochs=1", "trainer.prompts_per_step=2"]


def start(model: Path, run_dir: Path, method: str) -> int:
    """Starts a run, or goes on with it, in a fork; returns its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        rlft.train.run.plot_run = lambda *_: None
        run(make_plan(model, run_dir, method, *STEPS), resume=True)
        status = 0
    finally:
        os._exit(status)


def ended(child: int) -> bool:
    """Returns whether a run is over by itself, leaving it to be waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def steps(run_dir: Path) -> int:
    """Returns how many steps a run's metrics have, 0 while there are none."""
    try:
        return (run_dir / "metrics.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def main(model: Path, folder: Path, method: str, kills: int) -> None:
    draw = random.Random(0)
    began = time.monotonic()
    assert os.waitpid(start(model, folder / "whole", method), 0)[1] == 0, "the run that is not killed failed"
    seconds = [record["time/step_s"] for record in lines(folder / "whole" / "metrics.jsonl")]
    latest = time.monotonic() - began
    runs, done = 1, 0
    while done < kills:
        run_dir = folder / f"killed-{runs - 1}"
        child = start(model, run_dir, method)
        if done % 2:  # once a step is done: while its checkpoint is written, in the next step, or at the end
            before = steps(run_dir)
            while steps(run_dir) <= before and not ended(child):
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 1.5 * min(seconds)))
        else:
            time.sleep(draw.uniform(0, latest))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            done += 1
        else:
            assert os.WEXITSTATUS(status) == 0, "a resumed run failed"
            runs += 1
    assert os.waitpid(start(model, folder / f"killed-{runs - 1}", method), 0)[1] == 0, "the last resume failed"
    print(json.dumps({"kills": done, "runs": runs}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))

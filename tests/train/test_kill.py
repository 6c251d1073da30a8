"""SIGKILL at random moments: while setting up, sampling, learning, writing a checkpoint, finishing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from runs import assert_same_run, lines

CRASHES = Path(__file__).parents[1] / "crashes.py"


@pytest.mark.parametrize(("method", "kills"), [("ppo", 20), ("rft", 6)])
def test_a_run_killed_again_and_again_ends_as_one_that_was_not(
    method: str, kills: int, tiny_dir: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-W", "ignore", str(CRASHES), str(tiny_dir), str(tmp_path), method, str(kills)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["kills"] == kills
    for number in range(result["runs"]):
        run_dir = tmp_path / f"killed-{number}"
        assert_same_run(run_dir, tmp_path / "whole")
        assert [record["step"] for record in lines(run_dir / "metrics.jsonl")] == [1, 2, 3, 4]
        assert json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))["status"] == "finished"
        assert not list(run_dir.rglob(".partial-*")), "what a killed run left half written is gone"

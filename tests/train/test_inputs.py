"""What a run read from files: written down, and held against the files when its result is taken again."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from runs import SHORT

from rlft.cli.main import main

ROWS = "".join(json.dumps({"question": f"{n} + 1?", "answer": f"#### {n + 1}"}) + "\n" for n in range(40))


@pytest.fixture
def words(tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text(ROWS, encoding="utf-8")
    Path("mine.py").write_text("def reward(query, text):\n    return 1.0\n", encoding="utf-8")
    short = [word for word in SHORT if not word.startswith(("data.task_size", "trainer.eval_size"))]
    own = ["data.train_file=rows.jsonl", "reward=python", "reward.function='mine.py:reward'", "output_dir=run"]
    own += ["trainer.steps=1", "trainer.eval_size=0", f"model.path={tiny_dir}", "--plugin", "mine.py"]
    return ["recipe=grpo_gsm8k", *short, "data.samples_per_prompt=2", *own]


def test_a_finished_run_whose_files_changed_says_so(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    def said(*verb: str) -> str:
        assert main([*verb, *words]) == 0
        return capsys.readouterr().out

    assert "changed since" not in said("train")
    found: dict[str, Any] = json.loads(Path("run/environment.json").read_text(encoding="utf-8"))["files"]
    assert {Path(path).name for path in found} == {"rows.jsonl", "mine.py"}
    assert found["rows.jsonl"] == {"bytes": len(ROWS), "sha256": hashlib.sha256(ROWS.encode()).hexdigest()}
    again = said("train")
    assert "nothing is run again" in again and "changed since" not in again
    Path("rows.jsonl").write_text(ROWS.replace("1?", "2?"), encoding="utf-8")
    line = "rows.jsonl changed since run read it; to run it again, type first: mv run run-before\n"
    assert line in said("train")
    words[words.index("output_dir=run")] = "output_dir=run,run"
    assert line in said("train", "-m")
    Path("mine.py").write_text("def reward(query, text):\n    return 0.0\n", encoding="utf-8")
    Path("rows.jsonl").write_text(ROWS, encoding="utf-8")
    assert "mine.py changed since run read it" in said("train", "-m")

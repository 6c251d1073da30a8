"""What is handed to lm_eval and what is kept of its results, with a stand-in for the package itself."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from runs import make_plan, run

from rlft.base import RunError, UserError
from rlft.train import harness
from rlft.train.harness import require_harness, run_harness


@pytest.fixture
def lm_eval(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Puts a package in the place of lm_eval that answers with the first logit of a prompt; what it was called with."""
    calls: list[dict[str, Any]] = []

    def simple_evaluate(**asked: Any) -> dict[str, Any]:
        calls.append(asked)
        if asked["tasks"] == ["broken"]:
            raise ConnectionError("no hub\nat all")
        with torch.no_grad():
            logit = asked["model"].pretrained(torch.tensor([[5, 6]])).logits[0, -1, 0]
        result = {"logit,none": float(logit), "logit_stderr,none": np.float64(0.5)}
        samples = {"t": [{"doc_id": np.int64(0), "target": torch.float32}]}
        return {"results": {"t": result}, "n-samples": {"t": {"effective": 1}}, "samples": samples}

    package, models, hf = (ModuleType(name) for name in ("lm_eval", "lm_eval.models", "lm_eval.models.huggingface"))
    package.simple_evaluate = simple_evaluate  # type: ignore[attr-defined]
    hf.HFLM = lambda **given: SimpleNamespace(**given)  # type: ignore[attr-defined]
    for module in (package, models, hf):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(harness, "find_spec", lambda name: object())
    return calls


def test_without_the_package_the_message_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'rlft\[lm_eval\]'"):
        require_harness()


def test_base_and_adapter_are_asked_and_the_results_kept(
    tiny_dir: Path, tmp_path: Path, lm_eval: list[dict[str, Any]]
) -> None:
    plan = make_plan(tiny_dir, tmp_path, "sft", "trainer.steps=1", "trainer.eval_size=0", "seed=3")
    run(plan)
    said: list[str] = []
    (base,) = run_harness(plan, ["a", "b"], limit=7, say=said.append)
    (trained,) = run_harness(plan, ["a"], "trained", str(tmp_path / "adapter"), say=said.append)
    assert (base.task, base.metric, base.stderr, base.n) == ("t", "logit", 0.5, 1)
    assert base.value != trained.value, "the adapter changes nothing"
    first, second = lm_eval
    assert (first["tasks"], first["limit"], first["apply_chat_template"]) == (["a", "b"], 7, True)
    assert {first[key] for key in first if key.endswith("_seed")} == {3} and second["limit"] is None
    kept = json.loads((tmp_path / "harness_trained.json").read_text(encoding="utf-8"))
    assert kept["results"]["t"] == {"logit,none": trained.value, "logit_stderr,none": 0.5} and "samples" not in kept
    (line,) = (tmp_path / "harness_base_samples.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {"task": "t", "doc_id": 0, "target": "torch.float32"}


def test_what_fails_in_the_harness_is_one_message(
    tiny_dir: Path, tmp_path: Path, lm_eval: list[dict[str, Any]]
) -> None:
    plan = make_plan(tiny_dir, tmp_path, "sft")
    with pytest.raises(RunError, match=r"^lm_eval could not run broken: ConnectionError: no hub$"):
        run_harness(plan, ["broken"], say=lambda text: None)

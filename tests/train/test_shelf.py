"""Every recipe on sums trains: a step of a tiny model, with the roles, the data and the reward that it asks for."""

import json
from pathlib import Path

import pytest
from runs import MANY, REWARD, SHORT, lines, run, said

from rlft.data import Offline, Online
from rlft.recipe import build, compose
from rlft.recipe.groups import options

NAMES = sorted(name for name in options("recipe") if name.endswith("_math"))


@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_every_recipe(name: str, tiny_dir: Path, tmp_path: Path) -> None:
    words = [f"recipe={name}", *SHORT, f"model.path={tiny_dir}", "trainer.steps=2", "trainer.eval_size=0"]
    source = type(build(compose(words).config, tmp_path / "plan").source)
    words += [*REWARD, *MANY] if source in (Offline, Online) else []
    words += ["data.pool=8"] if source is Offline else []
    summary = run(build(compose(words).config, tmp_path / "run"))
    assert summary["status"] == "finished" and summary["steps"] == 2
    measured = lines(tmp_path / "run" / "metrics.jsonl")
    assert all(line["grad_norm"] >= 0 for line in measured) and measured[-1]["gc/mean_abs"] is not None
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").exists()
    roles = {"kto_math": "mismatched", "grpo_note_math": "kl_full", "ppo_note_math": "critic", "dpo_math": "reference"}
    roles["distill_math"] = "teacher"
    assert roles.get(name, "forward") in summary["totals"]["flops_by_part"]


@pytest.mark.parametrize(("good", "warned"), [(1.0, True), (3.5, False)])
def test_what_a_method_makes_of_labels_is_said_as_the_run_begins(
    good: float, warned: bool, tiny_dir: Path, tmp_path: Path
) -> None:
    rows = [{"prompt": f"{i}?", "completion": f"{i}", "label": i % 4 == 0} for i in range(12)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words = ["recipe=kto_gsm8k", "data.held_out_share=0", f"data.train_file={tmp_path / 'rows.jsonl'}"]
    words += [word for word in SHORT if not word.startswith("data.")]
    words += [f"model.path={tiny_dir}", "trainer.steps=1", "trainer.eval_size=0", f"algorithm.good={good}"]
    text = said(build(compose(words).config, tmp_path / "run"))
    assert ("times 3 good completions is 0.33 of algorithm.bad=1 times 9 bad ones" in text) == warned

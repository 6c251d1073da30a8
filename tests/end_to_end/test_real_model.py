"""The shipped recipes on the pretrained model, a step or two each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlft.data.formats import MODELS

pytestmark = pytest.mark.real
SHORT = ["trainer.prompts_per_step=2", "trainer.eval_long_tokens=12", "model.rank=4"]
DRAWS = ["data.samples_per_prompt=4", "data.max_completion_tokens=8"]

Rlft = Callable[..., dict[str, Any]]


def rows(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return f"data.train_file={path.name}"


def question(n: int) -> str:
    return f"Tom has {n} apples and buys {n + 2} more. How many apples has he?"


def worked(n: int) -> str:
    return f"He has {n} + {n + 2} = <<{n}+{n + 2}={2 * n + 2}>>{2 * n + 2} apples.\n#### {2 * n + 2}"


def gsm8k(path: Path) -> str:
    """Twelve rows as GSM8K has them."""
    return rows(path, [{"question": question(n), "answer": worked(n)} for n in range(12)])


def test_grpo_math_trains_and_measures(rlft: Rlft, tmp_path: Path) -> None:
    words = ["trainer.steps=2", "trainer.eval_size=8", "data.task_size=400", "output_dir=run", *SHORT, *DRAWS]
    summary = rlft("train", "recipe=grpo_math", *words)
    assert (summary["status"], summary["steps"]) == ("finished", 2)
    assert summary["model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert summary["eval"]["n"] == 8 and summary["totals"]["trained_tokens"] > 16
    assert summary == json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").split("\n")[0])
    assert first["kl"] == 0 and 0 < first["entropy"] < 5, "the adapter starts as π_ref, the model is no random one"
    assert first["sampler_gap"] < 0.05
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("recipe", ["grpo_gsm8k", "sft_gsm8k"])
def test_a_recipe_for_gsm8k_takes_a_file_in_its_format(recipe: str, rlft: Rlft, tmp_path: Path) -> None:
    words = [gsm8k(tmp_path / "train.jsonl"), "model=smollm2_135m", "trainer.steps=1", "data.held_out_share=0.3"]
    words += [*SHORT, "trainer.eval_size=2", *(DRAWS if recipe == "grpo_gsm8k" else ["data.max_completion_tokens=60"])]
    summary = rlft("train", f"recipe={recipe}", *words, "output_dir=run")
    assert (summary["status"], summary["recipe"], summary["steps"]) == ("finished", recipe, 1)
    assert summary["eval"]["n"] == 2
    sample = json.loads((tmp_path / "run" / "samples.jsonl").read_text(encoding="utf-8").split("\n")[0])
    assert "Reason step by step" in sample["prompt"] and int(sample["answer"]) % 2 == 0
    assert (sample["text"].endswith(f"#### {sample['answer']}")) is (recipe == "sft_gsm8k")


def test_dpo_takes_the_example_solutions_of_gsm8k(rlft: Rlft, tmp_path: Path) -> None:
    """Four models answered each question, one of them rightly: three pairs."""
    wrong = {"is_correct": False, "solution": "He has no apples.\nA: 0"}
    right = [{"is_correct": True, "solution": worked(n).replace("####", "A:")} for n in range(12)]
    judged = [
        {"question": question(n), "ground_truth": answer["solution"], **dict.fromkeys(MODELS, wrong), MODELS[3]: answer}
        for n, answer in enumerate(right)
    ]
    words = [rows(tmp_path / "solutions.jsonl", judged), "model=smollm2_135m", "trainer.steps=1", "output_dir=run"]
    summary = rlft("train", "recipe=dpo_gsm8k", *words, "data.max_completion_tokens=60", "trainer.eval_size=0", *SHORT)
    assert (summary["status"], summary["method"], summary["totals"]["prompts"]) == ("finished", "dpo", 2)
    metrics = json.loads((tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").split("\n")[0])
    # At π = π_ref the margin is 0: half of the tokens' coefficients are β/2 and the others -β/2.
    assert metrics["gc/mean_abs"] == pytest.approx(0.05, rel=1e-3)
    assert metrics["gc/share_positive"] > 0 and metrics["gc/share_negative"] > 0

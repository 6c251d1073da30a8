"""A run directory: every file, every key, and an adapter that others can load."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from runs import lines, make_plan, run
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlft import __version__
from rlft.base import UserError
from rlft.train import checkpoint, read_summary

METRICS = {
    "step", "reward/mean", "reward/std", "kl", "entropy", "ratio/clip_low", "ratio/clip_high", "gc/mean_abs",
    "gc/share_zero", "grad_norm", "completion_length/mean", "completion_length/cut_share", "group/all_right",
    "group/all_wrong", "tokens/generated", "tokens/trained", "flops", "time/step_s", "time/rollout_s", "time/reward_s",
    "time/annotate_s", "time/update_s", "memory/peak_bytes",
}  # fmt: skip
LOOKED_AT = {
    "ratio/min", "ratio/max", "gc/share_positive", "gc/share_negative", "completion_length/max",
    "completion_length/right", "completion_length/wrong", "sampler_gap", "learning_rate", "reward/errors",
    "mismatch/mean", "mismatch/cut_share", "grad_cosine", "grad_snr", "grad_signal", "grad_noise_floor",
    "noise_floor_since", "ess", "acceptance", "kl/beta", "kl_teacher", "reward/share_right",
    "log_ratio",
}  # fmt: skip
EVAL = ["n", "accuracy_before", "accuracy_before_long", "accuracy_after", "difference", "interval"]
TOTALS = [
    "generated_tokens", "prefilled_tokens", "trained_tokens", "prompts", "prompt_tokens", "reference_rows",
    "reward_calls", "flops", "seconds",
]  # fmt: skip


@pytest.fixture(scope="module")
def done(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run."""
    run_dir = tmp_path_factory.mktemp("run") / "deep" / "run"
    run(make_plan(tiny_dir, run_dir, "grpo", "trainer.steps=2", "trainer.tokens_per_micro_batch=auto"))
    return run_dir


@pytest.fixture
def summary(done: Path) -> dict[str, Any]:
    found = read_summary(done)
    assert found is not None
    return found


def test_every_file_is_there(done: Path) -> None:
    assert {path.name for path in done.iterdir()} == {
        "README.md", "adapter", "checkpoints", "config.yaml", "environment.json", "eval_after.jsonl",
        "eval_before.jsonl", "eval_before_long.jsonl", "metrics.jsonl", "plots", "samples.jsonl", "summary.json",
    }  # fmt: skip
    pictures = list((done / "plots").glob("*.png"))
    assert pictures and all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    assert {path.name for path in (done / "adapter").iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    shared = [done, *done.iterdir(), *(done / "adapter").iterdir()]
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in shared), "readable for others too"


def test_the_summary_has_the_keys_that_programs_read(summary: dict[str, Any], tiny_dir: Path) -> None:
    expected = {
        "method": "grpo",
        "recipe": "grpo_math",
        "model": str(tiny_dir),
        "steps": 2,
        "seed": 0,
        "status": "finished",
    }
    assert {key: summary[key] for key in expected} == expected
    assert set(EVAL) <= set(summary["eval"]) and set(summary["totals"]) == {*TOTALS, "flops_by_part", "warm_start"}
    assert summary["peak_memory_bytes"] > 0 and summary["eval"]["n"] == 3
    low, high = summary["eval"]["interval"]
    assert low <= summary["eval"]["difference"] <= high
    assert all(summary["totals"][key] > 0 for key in TOTALS)
    assert (summary["totals"]["prompts"], summary["totals"]["reward_calls"]) == (2 * 3, 2 * 3 * 3)


def test_a_line_of_metrics_has_the_keys_that_programs_read(done: Path) -> None:
    records = lines(done / "metrics.jsonl")
    assert [record["step"] for record in records] == [1, 2]
    for record in records:
        assert METRICS | LOOKED_AT | {"reward/part/format"} == set(record)
        assert record["reward/part/format"] == pytest.approx(record["reward/mean"])
        parts = sum(record[f"time/{part}_s"] for part in ("rollout", "reward", "annotate", "update"))
        assert 0 < parts <= record["time/step_s"]


def test_a_sample_has_what_it_takes_to_judge_it(done: Path) -> None:
    records = lines(done / "samples.jsonl")
    assert len(records) == 2 * 3 * 3
    for record in records:
        assert set(record) == {
            "step", "prompt_id", "prompt", "text", "reward", "parts", "steps", "extracted", "answer", "finished",
            "tokens", "error", "seed",
        }  # fmt: skip
        assert record["prompt"].endswith("Answer with the number only.") and record["seed"] == 0
        assert record["parts"] == {"format": record["reward"]} and record["reward"] == float("u" in record["text"])
        assert 1 <= record["tokens"] <= 4


def test_the_held_out_questions_are_never_trained_on(done: Path) -> None:
    held = {record["id"] for record in lines(done / "eval_after.jsonl")}
    assert held == {record["id"] for record in lines(done / "eval_before.jsonl")}
    assert len(held) == 3 and not held & {record["prompt_id"] for record in lines(done / "samples.jsonl")}


def test_what_was_automatic_is_frozen_into_the_recipe(done: Path) -> None:
    config = yaml.safe_load((done / "config.yaml").read_text(encoding="utf-8"))
    assert config["trainer"]["tokens_per_micro_batch"] > 0 and config["model"]["dtype"] == "float32"
    assert config["recipe"] == "grpo_math" and config["algorithm"]["beta"] == 0.04


def test_the_environment_says_what_a_repetition_must_match(done: Path) -> None:
    found = json.loads((done / "environment.json").read_text(encoding="utf-8"))
    assert set(found) == {
        "versions", "python", "machine", "git_commit", "command", "seed", "dtype", "base_model_hash",
        "adapter_hash_step_0", "teacher_hash", "files",
    }  # fmt: skip
    assert found["versions"]["torch"] == torch.__version__ and found["dtype"] == "float32"
    assert found["versions"]["rlft"] == __version__ and found["machine"]["device"] == "cpu"
    assert len(found["adapter_hash_step_0"]) == len(found["base_model_hash"]) == 16
    assert found["teacher_hash"] is None


def test_the_adapter_hash_is_that_of_the_seed(tiny_dir: Path, tmp_path: Path, done: Path) -> None:
    def drawn(run_dir: Path) -> str:
        return json.loads((run_dir / "environment.json").read_text(encoding="utf-8"))["adapter_hash_step_0"]

    words = ["trainer.steps=1", "trainer.eval_size=0"]
    for seed in (0, 1):
        run(make_plan(tiny_dir, tmp_path / str(seed), "sft", *words, f"seed={seed}"))
    assert drawn(done) == drawn(tmp_path / "0") != drawn(tmp_path / "1")


def test_the_model_card_says_how_to_use_it_and_its_code_works(done: Path, tiny_dir: Path) -> None:
    card = (done / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: peft\n") and f"base_model: {tiny_dir}\n" in card
    assert "grpo_math, finished after 2 steps" in card and "GC = Â·ρ·live(ρ)" in card
    assert "Held-out accuracy on 3 questions" in card
    code = card.split("```python")[1].split("```")[0].replace('"adapter"', repr(str(done / "adapter")))
    scope: dict[str, Any] = {}
    exec(code, scope)
    assert scope["model"].peft_config["default"].r == 2


def test_the_adapter_in_plain_peft_is_the_trained_policy(done: Path, tiny_dir: Path) -> None:
    """Its greedy answers to the held-out questions are those in eval_after.jsonl."""
    from peft import PeftModel

    base = AutoModelForCausalLM.from_pretrained(tiny_dir)
    tokenizer = AutoTokenizer.from_pretrained(done / "adapter")
    model = PeftModel.from_pretrained(base, str(done / "adapter")).eval()
    differs = False
    for record in lines(done / "eval_after.jsonl"):
        turn = [{"role": "user", "content": record["question"]}]
        prompt = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        new = model.generate(**prompt, do_sample=False, max_new_tokens=4)[0, prompt["input_ids"].shape[1] :]
        assert tokenizer.decode(new, skip_special_tokens=True) == record["text"]
        with torch.no_grad(), model.disable_adapter():
            plain = model(**prompt).logits
        differs = differs or not torch.equal(plain, model(**prompt).logits)
    assert differs, "an adapter that does nothing"


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"is not a checkpoint of rlft"):
        checkpoint.read(tmp_path)


def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash while the second one is written leaves the first; what was begun goes at the next start."""
    checkpoint.save(tmp_path, 1, {"a": torch.ones(2), "b": [1, {"c": None}]}, keep=1)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", crash)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path, 2, {"a": torch.zeros(2)}, keep=1)
    newest = checkpoint.latest(tmp_path)
    assert newest is not None and newest.name == "step-000001"
    state = checkpoint.load(newest)
    assert torch.equal(state["a"], torch.ones(2)) and state["b"] == [1, {"c": None}]
    assert list((tmp_path / "checkpoints").glob(".partial-*"))
    checkpoint.sweep_partial(tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]

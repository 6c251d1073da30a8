"""The files of a run directory."""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml

from rlft.base import Group, Trained, UserError
from rlft.evaluation.accuracy import Answer
from rlft.evaluation.pairs import Compared, sentence
from rlft.evaluation.sampled import record
from rlft.models.load import Loaded
from rlft.models.policy import Policy
from rlft.train.inputs import digests
from rlft.train.plan import Plan

if TYPE_CHECKING:
    from rlft.train.session import Session

AUTO: dict[Trained, tuple[str, str]] = {
    "log_probs": ("AutoModelForCausalLM", ""),
    "scores": ("AutoModelForSequenceClassification", ", num_labels=1"),
    "token_scores": ("AutoModelForTokenClassification", ", num_labels=1"),
}
"""The class of transformers that reads what a run trained, and what else it has to be told of a base model."""
NODES = ("data", "reward", "algorithm", "model", "trainer")
LOGS = (".*", "log.txt", "*.log", "*.out", "*.err", "trackers", "wandb", "mlruns", "lost+found")
"""What may be there before a run is, since none writes over it: logs, hidden files, trackers, what a volume has."""
MEASURED = [
    f"{kind}_{model}{end}"
    for kind in ("eval", "harness")
    for model in ("base", "adapter")
    for end in (".json", ".jsonl", "_samples.jsonl")
]
"""What `rlft eval` leaves in the directory of a recipe that has not run."""
VERSIONS = ("rlft", "torch", "transformers", "peft", "accelerate", "datasets", "hydra-core", "omegaconf", "tokenizers")


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(prefix=".partial-", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(scratch, 0o644)
    os.replace(scratch, path)


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def require_own(run_dir: Path) -> None:
    """Raises UserError for a directory with somebody else's files, which a run would overwrite or remove. A run's own
    has its recipe, which is written before anything else, so that one killed at any moment can start again."""
    if run_dir.exists() and not run_dir.is_dir():
        raise UserError(f"output_dir={run_dir} is a file: give a directory, e.g. output_dir={run_dir}-run")
    if not run_dir.exists() or _is_recipe(run_dir / "config.yaml"):
        return
    names = sorted(path.name for path in run_dir.iterdir())
    if foreign := [name for name in names if not any(fnmatch(name, known) for known in (*LOGS, *MEASURED))]:
        some = ", ".join(foreign[:3]) + ", …" * (len(foreign) > 3)
        raise UserError(
            f"output_dir={run_dir} holds files that are no run's ({some}), and a run might overwrite them: give a new "
            f"or an empty directory, e.g. output_dir={run_dir / 'run'}"
        )


def clear(run_dir: Path) -> None:
    """Removes the results of an earlier run from a directory in which a new one starts."""
    for stale in (*run_dir.glob("eval_*.json*"), *run_dir.glob("harness_*.json*"), run_dir / "summary.json"):
        stale.unlink(missing_ok=True)
    shutil.rmtree(run_dir / "checkpoints", ignore_errors=True)


def write_config(run_dir: Path, config: dict[str, Any]) -> None:
    """Writes the frozen recipe, config.yaml."""
    write_text(run_dir / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def split_lines(path: Path) -> list[str]:
    """Returns the lines of a jsonl file. JSON strings may hold U+2028 and its like, where `splitlines` would split."""
    return [text for text in path.read_text(encoding="utf-8").split("\n") if text]


class Lines:
    """A jsonl file that a resumed run goes on with from the step it resumes at."""

    def __init__(self, path: Path, before: int):
        """Opens the file for appending, having dropped the lines of steps after `before` and a torn last line."""
        self.path = path
        kept = []
        if path.exists():
            for text in split_lines(path):
                try:
                    record = json.loads(text)
                except json.JSONDecodeError:
                    break  # torn by a crash: nothing after it was written
                if record["step"] <= before:
                    kept.append(text)
        write_text(path, "".join(text + "\n" for text in kept))

    def add(self, *records: dict[str, Any]) -> None:
        """Appends records, one line each."""
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(r, ensure_ascii=False) + "\n" for r in records)


def sample_records(groups: list[Group], step: int, seed: int) -> list[dict[str, Any]]:
    """Returns the lines of samples.jsonl: every sampled completion; of recorded ones, which the data file holds, the
    first group of a batch."""
    sampled = [g for g in groups if any(c.logps is not None for c in g.completions)]
    return [
        {
            "step": step,
            "prompt_id": g.query.id,
            "prompt": g.query.messages[-1]["content"],
            "text": c.text,
            "reward": r.value,
            "parts": r.parts,
            "steps": r.steps,
            "extracted": r.extracted,
            "answer": g.query.answer,
            "finished": c.finished,
            "tokens": len(c.token_ids),
            "error": r.error,
            "seed": seed,
        }
        for g in sampled or groups[:1]
        for c, r in zip(g.completions, g.rewards, strict=True)
    ]


def write_answers(path: Path, answers: list[Answer]) -> None:
    """Writes one line per held-out question."""
    write_text(path, "".join(json.dumps(a.as_dict(), ensure_ascii=False) + "\n" for a in answers))


def write_pairs(path: Path, pairs: list[Compared]) -> None:
    """Writes one line per pair of answers to held-out questions."""
    write_text(path, "".join(json.dumps(pair.as_dict(), ensure_ascii=False) + "\n" for pair in pairs))


def write_drawn(path: Path, rows: list[list[Answer]]) -> None:
    """Writes one line per question, with all the answers that were drawn for it."""
    write_text(path, "".join(json.dumps(record(row), ensure_ascii=False) + "\n" for row in rows))


def read_answers(path: Path) -> list[Answer]:
    """Returns what `write_answers` wrote."""
    return [Answer(**json.loads(text)) for text in split_lines(path)]


def environment(session: "Session") -> dict[str, Any]:
    """Returns what a repetition would have to match: versions, machine, commit, seed, weight hashes and files."""
    loaded, device = session.loaded, session.accelerator.device
    versions = {}
    for name in VERSIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "versions": versions,
        "python": platform.python_version(),
        "machine": {
            "platform": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": str(device),
            "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        },
        "git_commit": _git_commit(),
        "command": sys.argv,
        "seed": session.plan.seed,
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "base_model_hash": loaded.base_hash,
        "adapter_hash_step_0": loaded.adapter_hash,
        "teacher_hash": session.teacher.hash if session.teacher else None,
        "files": digests(session.plan.config),
    }


def export(policy: Policy, loaded: Loaded, target: Path) -> Path:
    """Writes the trained adapter in PEFT format (the whole model where all weights are trained) with its tokenizer."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    policy.save_pretrained(scratch)
    loaded.chat.tokenizer.save_pretrained(scratch)
    (scratch / "README.md").unlink(missing_ok=True)  # PEFT's template; the run directory has a model card of its own
    scratch.chmod(0o755)
    for file in scratch.iterdir():  # safetensors writes for the owner alone; a server may be someone else
        file.chmod(0o644)
    if target.exists():
        shutil.rmtree(target)
    scratch.rename(target)
    return target


def model_card(plan: Plan, loaded: Loaded, summary: dict[str, Any]) -> str:
    """Returns README.md of the run directory."""
    result = summary["eval"]
    lines = [
        "---",
        f"library_name: {'peft' if plan.model.adapter == 'lora' else 'transformers'}",
        f"base_model: {plan.model.hub_id or plan.model.path}",
        "tags: [rlft]",
        "---",
        "",
        f"# {plan.recipe}, {summary['status']} after {summary['steps']} steps",
        "",
        f"Trained with rlft: {plan.triple()}",
        "",
    ]
    if result and "pair_accuracy" in result:
        lines += [f"{_capital(sentence(result))}.", ""]
    elif result and result["accuracy_after"] is not None:
        low, high = result["interval"]
        lines += [
            f"Held-out accuracy on {result['n']} questions, greedy, at most {result['max_completion_tokens']} tokens: "
            f"{result['accuracy_before']:.1%} before, {result['accuracy_after']:.1%} after; "
            f"{100 * result['difference']:+.1f} points [{100 * low:.1f}, {100 * high:.1f}] against the better of the "
            f"base at that limit and at {result['long_tokens']} tokens ({result['accuracy_before_long']:.1%}).",
            "",
        ]
    folder = "adapter" if plan.model.adapter == "lora" else "model"
    auto, labels = AUTO[plan.algorithm.trains]
    lines += [
        "## Use",
        "",
        "```python",
        f"from transformers import {auto}",
        "",
        *(
            [
                "from peft import PeftModel",
                "",
                f'model = {auto}.from_pretrained("{plan.model.hub_id or plan.model.path}"{labels})',
                f'model = PeftModel.from_pretrained(model, "{folder}")',
            ]
            if folder == "adapter"
            else [f'model = {auto}.from_pretrained("{folder}")']
        ),
        "```",
        "",
        "## Repeat",
        "",
        "`config.yaml` is the whole recipe, `environment.json` the versions and the machine.",
        "",
    ]
    return "\n".join(lines)


def _is_recipe(path: Path) -> bool:
    """Returns whether a file is a frozen recipe: other programs have a config.yaml, too."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    if not isinstance(config, dict) or "recipe" not in config:
        return False
    return all(isinstance(config.get(node), dict) and "_target_" in config[node] for node in NODES)


def _git_commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

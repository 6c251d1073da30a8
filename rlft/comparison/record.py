"""What a comparison reads from a run directory."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlft.base import UserError
from rlft.base.nested import flat

APART = (
    "seed", "output_dir", "trainer.stop_after", "trainer.tokens_per_micro_batch", "trainer.gradient_checkpointing",
)  # fmt: skip
"""Keys of a recipe in which two runs of one method may differ: what is drawn, and what does not change what is computed
(the latter two are frozen as the machine's free memory had them)."""


@dataclass(frozen=True)
class Record:
    """One finished run.

    Attributes:
        path: the run directory.
        summary: summary.json.
        config: config.yaml flattened, e.g. {"algorithm.beta": 0.04}.
        asked: question id → the question as the model read it, its prompt around it.
        earlier: question id → the turns before that, as one text; empty for a run from before they were kept.
        correct: question id → whether its greedy answer after training was right.
        base: the same before training, at the recipe's limit or at 128 tokens, whichever went better; empty if the run
            directory has those answers no more.
        cut: held-out answers after training that were cut off at the limit.
    """

    path: Path
    summary: dict[str, Any]
    config: dict[str, Any]
    asked: dict[str, str]
    earlier: dict[str, str]
    correct: dict[str, bool]
    base: dict[str, bool]
    cut: int

    @property
    def setting(self) -> dict[str, Any]:
        """What two runs share that differ in their seed alone."""
        return {key: value for key, value in self.config.items() if key not in APART}


def read_record(path: Path) -> Record | None:
    """Reads a run directory; returns None for a run that has not finished.

    Raises:
        UserError: there is no such directory, it is no run directory, the run measured no held-out accuracy, or a file
            is malformed (file and line named).
    """
    if not path.is_dir():
        raise UserError(
            f"{path}: no such run directory; `rlft compare RUN_DIR RUN_DIR …` expects those of finished runs"
        )
    if not (path / "config.yaml").is_file():
        raise UserError(f"{path}: not a run directory (it has no config.yaml)")
    if not (path / "summary.json").is_file():
        return None
    summary = _object((path / "summary.json").read_text(encoding="utf-8"), str(path / "summary.json"))
    if summary.get("status") != "finished":
        return None
    if "pair_accuracy" in (summary.get("eval") or {}):
        raise UserError(
            f"{path}: this run trained what scores completions, which answers no questions; leave it out, and compare "
            "policies that were trained with it"
        )
    after, before, long = (_answers(path / f"eval_{name}.jsonl") for name in ("after", "before", "before_long"))
    if not after or not summary.get("eval"):
        raise UserError(
            f"{path}: this run measured no held-out accuracy, so there is nothing to compare; "
            "train it with trainer.eval_size above 0"
        )
    correct, cut = _correct(after), sum(row.get("finished") is False for row in after.values())
    known = [_correct(rows) for rows in (before, long) if rows]
    base = max(known, key=lambda judged: sum(judged.values()), default={})
    if base and base.keys() != correct.keys():
        raise UserError(
            f"{path}: the questions of eval_before.jsonl and eval_after.jsonl are not the same; leave it out"
        )
    asked = {question: str(row.get("question", "")) for question, row in after.items()}
    earlier = {question: _turns(row["earlier"]) for question, row in after.items() if row.get("earlier") is not None}
    return Record(path, summary, _config(path / "config.yaml"), asked, earlier, correct, base, cut)


def _turns(turns: list[dict[str, str]]) -> str:
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns) or "none"


def _answers(path: Path) -> dict[str, dict[str, Any]]:
    """Returns the rows of a file of answers by question; none if there is no such file."""
    # Not splitlines(): JSON strings may hold U+2028 and its like.
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate([line for line in text.split("\n") if line], start=1):
        where = f"{path}, line {number}"
        row = _object(line, where)
        if not isinstance(row.get("id"), str) or not isinstance(row.get("correct"), bool):
            raise UserError(f'{where}: expected "id" (text) and "correct" (true or false), found {line[:80]!r}')
        if row["id"] in rows:
            raise UserError(f"{where}: question {row['id']} stands there twice")
        rows[row["id"]] = row
    return rows


def _correct(rows: dict[str, dict[str, Any]]) -> dict[str, bool]:
    return {question: row["correct"] for question, row in rows.items()}


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise UserError(f"{where}: expected a JSON object, found {text[:60]!r}")
    return value


def _config(path: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        return flat(OmegaConf.to_container(OmegaConf.load(path), resolve=True))
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: not a run's frozen recipe ({error})") from error


def label_runs(records: list[Record]) -> list[str]:
    """Returns a short name per run: its method if no other run has it (the recipe where that says more), else its
    recipe if no other has that, else the recipe with the settings that tell its runs apart, else its directory too."""
    methods = [str(record.summary.get("method", record.path.name)) for record in records]
    recipes = [str(record.summary.get("recipe", record.path.name)) for record in records]
    labels: list[str] = []
    for record, method, recipe in zip(records, methods, recipes, strict=True):
        if methods.count(method) == 1:
            # Online RFT and RFT are one method with other data: the recipe's name says which.
            labels.append(recipe if method in recipe and not recipe.startswith(method) else method)
            continue
        peers = [p for p, *names in zip(records, methods, recipes, strict=True) if names == [method, recipe]]
        told = [
            f"{key.rsplit('.', 1)[-1]}={record.config.get(key)}"
            for key in sorted(set().union(*(peer.setting for peer in peers)))
            if any(peer.config.get(key) != record.config.get(key) for peer in peers)
        ]
        labels.append(f"{recipe} {' '.join(told)}" if 0 < len(told) <= 3 else recipe)
    return [
        label if labels.count(label) == 1 else f"{label} ({record.path.name})"
        for label, record in zip(labels, records, strict=True)
    ]

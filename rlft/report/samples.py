"""What a run's model wrote, at several steps."""

from typing import Any

from rlft.report.files import Files
from rlft.report.flips import clipped
from rlft.report.frame import folded, texts
from rlft.report.markup import Html, el, join
from rlft.report.scale import si

STEPS, PROMPTS = 5, 3


def samples(run: Files) -> Html | None:
    """Returns completions at the first step, the last and some between: of a step's first prompts the best and the
    worst. None where there are none."""
    steps = spread(run.steps_with_samples(), STEPS)
    rows = run.samples(set(steps))
    by_step = {step: [row for row in rows if row["step"] == step] for step in steps}
    last = steps[-1] if steps else None
    return join(*(_step(step, by_step[step], step == last) for step in steps)) if rows else None


def spread(steps: list[int], most: int) -> list[int]:
    """Returns at most so many of the steps, evenly spread, the first and the last among them.

    >>> spread(list(range(1, 46)), 5), spread([3, 4], 5)
    ([1, 12, 23, 34, 45], [3, 4])
    """
    if len(steps) <= most:
        return steps
    return [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]


def _step(step: int, rows: list[dict[str, Any]], is_open: bool) -> Html:
    by_prompt: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_prompt.setdefault(row["prompt_id"], []).append(row)
    mean = sum(row["reward"] for row in rows) / len(rows)
    title = f"step {step}: {len(rows)} completions of {len(by_prompt)} prompts, mean reward {si(mean)}"
    return folded(title, *(_prompt(group) for group in list(by_prompt.values())[:PROMPTS]), is_open=is_open)


def _prompt(group: list[dict[str, Any]]) -> Html:
    best, worst = max(group, key=lambda row: row["reward"]), min(group, key=lambda row: row["reward"])
    shown = [best] if best["reward"] == worst["reward"] else [best, worst]
    prompt = str(group[0]["prompt"])
    return join(
        el("h3", clipped(prompt, 200)),
        texts(*((_told(row), clipped(row["text"])) for row in shown)),
    )


def _told(row: dict[str, Any]) -> str:
    parts = [f"reward {si(row['reward'])}"]
    if len(row.get("parts") or {}) > 1:
        parts.append("(" + ", ".join(f"{name} {si(value)}" for name, value in row["parts"].items()) + ")")
    if row.get("extracted") is not None:
        parts.append(f"read as {clipped(str(row['extracted']), 40)}")
    if row.get("answer") is not None:
        parts.append(f"the answer is {clipped(str(row['answer']), 40)}")
    parts.append(f"{row['tokens']} tokens" + ("" if row["finished"] else ", cut off"))
    return " · ".join(parts)

"""The questions, answers and pairs that both sides are given: text for rlft, the very same tokens for TRL."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.worker import Record
from rlft.base import Chat, UserError
from rlft.data.files import read_file
from rlft.data.formats import detect
from rlft.data.pairs import combine
from rlft.data.tasks import generate

TASK = "gsm_symbolic"
"""The reasoning-gym task of the generated material: GSM8K's questions with other names and numbers, and their steps."""
SHORT_TASK = "basic_arithmetic"
"""The task of generated questions that are answered briefly."""


@dataclass(frozen=True)
class Row:
    """A question with an answer worked out, and a wrong one where there is one."""

    question: str
    right: str
    wrong: str = ""

    @property
    def messages(self) -> tuple[dict[str, str], ...]:
        """The conversation that asks it."""
        return ({"role": "user", "content": self.question},)

    @property
    def answers(self) -> tuple[str, ...]:
        """The recorded answers, the right one first."""
        return (self.right, self.wrong) if self.wrong else (self.right,)


def generated(count: int, task: str = TASK) -> list[Row]:
    """Returns questions of a task, no two alike, with the answer worked out where the task does so; the wrong answer is
    the right one with every number raised by one."""
    rows = []
    for example in generate(task, {}, 2 * count)[:count]:
        entry = example.metadata["entry"]
        worked = entry["metadata"].get("answer_cot", entry["answer"])
        rows.append(Row(example.question, worked, raised(worked)))
    return rows


def raised(text: str) -> str:
    """Returns a text with every whole number in it raised by one.

    >>> raised("6 * 9 = 54")
    '7 * 10 = 55'
    """
    return re.sub(r"\d+", lambda number: str(int(number[0]) + 1), text)


def read(path: str, pairs: bool) -> list[Row]:
    """Returns the rows of a json, jsonl or parquet file in a format that rlft's data sources know.

    Args:
        path: the file.
        pairs: whether a right and a wrong answer are wanted (one pair of each row), or one recorded answer.

    Raises:
        UserError: the file cannot be read, or has no such answers.
    """
    from rlft.data.examples import parse

    lines = read_file(path)
    format = detect(lines, {})
    rows = []
    for line in lines:
        example = parse(line, format, {})
        if pairs:
            rows += [Row(example.question, *pair) for pair in combine(example.right, example.wrong, 1)]
        elif example.solution is not None:
            rows.append(Row(example.question, example.solution))
    if not rows:
        raise UserError(f"{path}: no row has {'a right and a wrong answer' if pairs else 'a recorded answer'}")
    return rows


def enough(rows: list[Row], count: int) -> list[Row]:
    """Returns the first `count` rows. Raises UserError if there are fewer."""
    if len(rows) < count:
        raise UserError(f"{len(rows)} rows of material, {count} are needed: give fewer --steps, or a larger file")
    return rows[:count]


def write(rows: Sequence[Row], chat: Chat, folder: Path) -> Record:
    """Writes the rows as text and as tokens; returns where: `text` is a jsonl file for a data source of rlft, `tokens`
    one with messages, prompt_ids and the token ids of the answers."""
    folder.mkdir(parents=True, exist_ok=True)
    text, tokens = [], []
    for row in rows:
        names = ("chosen", "rejected") if row.wrong else ("completion",)
        text.append({"prompt": row.question, **dict(zip(names, row.answers, strict=True))})
        tokens.append(
            {
                "messages": list(row.messages),
                "prompt_ids": chat.prompt(row.messages),
                "answers": [list(chat.completion(row.messages, answer).token_ids) for answer in row.answers],
            }
        )
    return {"text": _jsonl(folder / "text.jsonl", text), "tokens": _jsonl(folder / "tokens.jsonl", tokens)}


def lines(path: str) -> list[Any]:
    """Returns the records of a jsonl file."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").split("\n") if line]


def fitted(text: str, chat: Chat, length: int) -> str:
    """Returns the longest beginning of a text, by words, whose prompt has at most `length` tokens (template included).
    Raises UserError if none has."""
    words = text.split()
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if len(chat.prompt(Row(" ".join(words[:middle]), "").messages)) <= length:
            low = middle
        else:
            high = middle - 1
    if low == 0:
        raise UserError(f"no prompt of {length} tokens: the chat template alone takes as many")
    return " ".join(words[:low])


def _jsonl(path: Path, records: Sequence[Record]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)

"""Rows of every format as one kind of example: a question, its answer, and completions known to be right or wrong."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rlft.base import Message, UserError
from rlft.data.choices import options, render, right_option
from rlft.data.files import Row
from rlft.data.formats import ASKED, FINAL_ANSWER, MODELS, rename

_ROLES = {"system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}
_LAST_LINE = re.compile(r"^A:[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """What a row says.

    Attributes:
        where, number: its place, as in `Row`.
        turns: the conversation up to and including the last user turn, before any template.
        answer: the reference answer: GSM8K's number, otherwise the recorded text.
        solution: the recorded answer in full; GSM8K's with its steps and "#### 72".
        right, wrong: completions that are preferred, and those that are not.
        writers: who wrote each of these texts, where it is known.
        metadata: goes into the query.
    """

    where: str
    number: int
    turns: tuple[Message, ...]
    answer: str | None = None
    solution: str | None = None
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    writers: Mapping[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The text that names the question: what was said so far, without the system turn."""
        return "\n".join(turn["content"] for turn in self.turns if turn["role"] != "system")


def final_answer(text: str, line: re.Pattern[str] = FINAL_ANSWER) -> str | None:
    """Returns what the last line begun by "####" holds, without thousands separators; None where there is no such line.

    >>> final_answer("48+24 = 72 clips\\n#### 1,072")
    '1072'
    """
    found = line.findall(text)
    return found[-1].replace(",", "") if found else None


def parse(row: Row, format: str, columns: Mapping[str, str]) -> Example:
    """Returns a row of the named format as an example.

    Raises:
        UserError: if the row is malformed, naming its file and line, and what was expected.
    """
    return _PARSERS[format](Row(row.where, row.number, rename(row, columns)))


def _text(row: Row, column: str) -> str:
    value = row.values.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        found = f"found {value!r}"[:80] if column in row.values else f"the columns are {', '.join(row.values)}"
        raise UserError(f"{row.where}: expected text in column {column}; {found}")
    return _written(row, column, str(value))


def _written(row: Row, column: str, text: str) -> str:
    """Returns the text. Raises UserError for half a surrogate pair, which JSON can hold and no file of text can."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UserError(f"{row.where}: the text in column {column} has half a surrogate pair (\\ud800 to \\udfff)")
    return text


def _turns(row: Row, column: str) -> tuple[Message, ...]:
    value = row.values.get(column)
    turns: list[Message] = []
    for turn in value if isinstance(value, list) else [None]:
        role = turn.get("role", turn.get("from")) if isinstance(turn, dict) else None
        content = turn.get("content", turn.get("value")) if isinstance(turn, dict) else None
        if not isinstance(role, str) or role not in _ROLES or not isinstance(content, str):
            raise UserError(
                f'{row.where}: column {column} expects a list of turns like {{"role": "user", "content": "…"}} with '
                f"roles {', '.join(_ROLES)}; found {turn if isinstance(value, list) else value!r}"[:300]
            )
        turns.append({"role": _ROLES[role], "content": _written(row, column, content)})
    if not turns:
        raise UserError(f"{row.where}: column {column} is an empty list; expected at least a user turn")
    return tuple(turns)


def _asked(row: Row) -> tuple[Message, ...]:
    column = next((name for name in ASKED if name in row.values), ASKED[0])
    if isinstance(row.values.get(column), list):
        turns = _turns(row, column)
        _ends_with_user(row, column, turns)
        return turns
    text = _text(row, column)
    if column == "instruction" and row.values.get("input"):
        text = f"{text}\n\n{_text(row, 'input')}"
    return ({"role": "user", "content": text},)


def _ends_with_user(row: Row, column: str, turns: tuple[Message, ...]) -> None:
    if not turns or turns[-1]["role"] != "user":
        raise UserError(f"{row.where}: in column {column} a user turn is expected before the last assistant turn")


def _reply(row: Row, column: str, prompt: tuple[Message, ...]) -> str:
    """The answer in a column that holds text, or turns that may repeat the prompt."""
    if not isinstance(row.values.get(column), list):
        return _text(row, column)
    turns = _turns(row, column)
    if turns[-1]["role"] != "assistant" or turns[:-1] not in ((), prompt):
        raise UserError(f"{row.where}: column {column} expects one assistant turn, after the prompt's turns")
    return turns[-1]["content"]


def _recorded(row: Row, turns: tuple[Message, ...], text: str | None) -> Example:
    return Example(row.where, row.number, turns, answer=text, solution=text)


def _conversation(column: str) -> Callable[[Row], Example]:
    def read(row: Row) -> Example:
        turns = _turns(row, column)
        answered = turns[-1]["role"] == "assistant"
        prompt = turns[:-1] if answered else turns
        _ends_with_user(row, column, prompt)
        return _recorded(row, prompt, turns[-1]["content"] if answered else None)

    return read


def _question_answer(row: Row) -> Example:
    solution = _text(row, "solution" if "solution" in row.values else "answer")
    answer = _text(row, "answer" if "answer" in row.values else "solution")
    return Example(row.where, row.number, _asked(row), answer=answer, solution=solution)


def _gsm8k(row: Row) -> Example:
    solution = _text(row, "answer")
    answer = final_answer(solution)
    if answer is None:
        raise UserError(
            f'{row.where}: expected the answer to end in a line "#### 72", found "…{solution[-60:]}". '
            "For answers without it: data.format=question_answer"
        )
    return Example(row.where, row.number, _asked(row), answer=answer, solution=solution)


def _completion(column: str) -> Callable[[Row], Example]:
    def read(row: Row) -> Example:
        turns = _asked(row)
        return _recorded(row, turns, _reply(row, column, turns))

    return read


def _labelled(row: Row) -> Example:
    turns = _asked(row)
    text, label = _reply(row, "completion", turns), row.values.get("label")
    if label not in (0, 1):
        raise UserError(f"{row.where}: column label expects true or false (or 1 or 0); found {label!r}")
    if label:
        return Example(row.where, row.number, turns, solution=text, right=(text,))
    return Example(row.where, row.number, turns, wrong=(text,))


def _preference(row: Row) -> Example:
    if any(name in row.values for name in ASKED):
        turns = _asked(row)
    elif isinstance(row.values.get("chosen"), list):
        turns = _turns(row, "chosen")[:-1]
        _ends_with_user(row, "chosen", turns)
    else:
        raise UserError(
            f"{row.where}: chosen and rejected are text, so a column with the question is needed "
            f"({', '.join(ASKED)}); the columns are {', '.join(row.values)}. "
            "Say which it is: data.columns='{prompt: COLUMN}'"
        )
    chosen, rejected = _reply(row, "chosen", turns), _reply(row, "rejected", turns)
    answer = _text(row, "answer") if row.values.get("answer") is not None else None
    return Example(
        row.where,
        row.number,
        turns,
        answer=answer,
        solution=chosen,
        right=(chosen,),
        wrong=(rejected,),
    )


def _gsm8k_solutions(row: Row) -> Example:
    right: list[str] = []
    wrong: list[str] = []
    writers: dict[str, str] = {}
    for model in MODELS:
        entry = row.values.get(model)
        correct = entry.get("is_correct") if isinstance(entry, dict) else None
        text = entry.get("solution") if isinstance(entry, dict) else None
        if not isinstance(correct, bool) or not isinstance(text, str) or not text.strip():
            raise UserError(
                f'{row.where}: column {model} expects {{"is_correct": true or false, "solution": "…"}}; '
                f"found {entry!r}"[:300]
            )
        (right if correct else wrong).append(text)
        writers.setdefault(text, model)
    truth = _text(row, "ground_truth")
    return Example(
        row.where,
        row.number,
        _asked(Row(row.where, row.number, {"question": row.values.get("question")})),
        answer=final_answer(truth, _LAST_LINE) or final_answer(truth) or truth,
        solution=truth,
        right=tuple(dict.fromkeys(right)),
        wrong=tuple(dict.fromkeys(wrong)),
        writers=writers,
    )


def _multiple_choice(row: Row) -> Example:
    *before, last = _asked(row)
    texts = options(row)
    turns = (*before, {"role": "user", "content": render(last["content"], texts)})
    right = right_option(row, texts)
    solution = _text(row, "solution") if row.values.get("solution") else right
    return Example(row.where, row.number, turns, answer=right, solution=solution, metadata={"choices": texts})


def _question(row: Row) -> Example:
    return Example(row.where, row.number, _asked(row))


_PARSERS: dict[str, Callable[[Row], Example]] = {
    "gsm8k_solutions": _gsm8k_solutions,
    "preference": _preference,
    "labelled": _labelled,
    "messages": _conversation("messages"),
    "conversations": _conversation("conversations"),
    "instruction": _completion("output"),
    "multiple_choice": _multiple_choice,
    "gsm8k": _gsm8k,
    "question_answer": _question_answer,
    "prompt_completion": _completion("completion"),
    "question": _question,
}

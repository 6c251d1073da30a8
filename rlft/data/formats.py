"""Which format a row has: detected from its columns, or mapped by the user."""

import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

from rlft.base import UserError
from rlft.data.choices import ANSWERS, LETTERS, LISTS
from rlft.data.errors import did_you_mean
from rlft.data.files import Row

MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
"""The columns of the GSM8K model-solution files, one per model."""

ASKED = ("prompt", "question", "problem", "instruction")
_QUESTION = ASKED[:3]

FORMATS: dict[str, tuple[tuple[str, ...], ...]] = {
    "input_ids": (("input_ids",),),
    "gsm8k_solutions": (("question",), ("ground_truth",), *((model,) for model in MODELS)),
    "preference": (("chosen",), ("rejected",)),
    "labelled": (("prompt",), ("completion",), ("label",)),
    "messages": (("messages",),),
    "conversations": (("conversations",),),
    "instruction": (("instruction",), ("output",)),
    "multiple_choice": (_QUESTION, (*LISTS, "A"), ANSWERS),
    "gsm8k": (_QUESTION, ("answer",)),
    "question_answer": (_QUESTION, ("answer", "solution")),
    "prompt_completion": (("prompt",), ("completion",)),
    "text": (("text",),),
    "question": (_QUESTION,),
}
"""Format to the columns it needs (one of each tuple), in the order in which formats are tried. "gsm8k" is detected only
where the answer also has its "#### 72"."""

FINAL_ANSWER = re.compile(r"^####[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)
"""The line of a GSM8K solution that holds the number."""

CONTEXT = ("body", "context", "passage", "story", "background", "premise", "scenario", "paragraph")
"""Columns, in any case, that a question may refer to; a mapping that is proposed puts them before it."""

UNSUPPORTED = {
    "input_ids": "rows of token ids are not read: the model's own chat template must render the question",
    "text": "rows of plain text have no question to answer",
}

COLUMNS = tuple(
    dict.fromkeys([*(name for needs in FORMATS.values() for need in needs for name in need), "input", *LETTERS[:10]])
)
"""Every column name that a format knows, and hence every key that `data.columns` may have."""


def describe(name: str) -> str:
    """Returns a format's columns as text.

    >>> describe("question_answer")
    'prompt|question|problem + answer|solution'
    """
    return " + ".join("|".join(need) for need in FORMATS[name])


def detect(rows: list[Row], columns: Mapping[str, str], wanted: str = "auto") -> str:
    """Returns the format of the rows, judged by the first of them.

    Args:
        rows: as read, one at least.
        columns: the user's mapping; formats that the mapped names alone make up go before all others.
        wanted: a format's name, or "auto" to detect it.

    Raises:
        UserError: if no format fits; it lists the columns found, the nearest format and a mapping to paste.
    """
    mapped = rename(rows[0], columns)
    if wanted == "auto":
        only = {name: mapped[name] for name in columns}
        fitting = [name for present in (only, mapped) for name in FORMATS if _fits(name, present)]
        if not FINAL_ANSWER.search(str(mapped.get("answer"))):
            fitting = [name for name in fitting if name != "gsm8k"]
        found = next(iter(fitting), None)
    else:
        found = wanted if _fits(wanted, mapped) else None
    if found is None:
        raise UserError(_no_format(rows[0], columns, wanted))
    if found in UNSUPPORTED:
        raise UserError(
            f"{rows[0].where}: {UNSUPPORTED[found]}. Give columns with a question and an answer, e.g. "
            "data.columns='{prompt: COLUMN, completion: COLUMN}'"
        )
    return found


def rename(row: Row, columns: Mapping[str, str]) -> dict[str, Any]:
    """Returns the row's values with mapped columns added under the names that formats know.

    A mapped value of several columns ("Body+Question") is their text joined by spaces.

    Raises:
        UserError: for a name no format knows, or a column the row does not have.
    """
    values = dict(row.values)
    for name, source in columns.items():
        if name not in COLUMNS:
            raise UserError(
                f"data.columns: {name} is not a name that a format reads; expected one of {', '.join(COLUMNS)}."
                f"{did_you_mean(name, COLUMNS)}"
            )
        parts = [source] if source in row.values else [part.strip() for part in str(source).split("+")]
        for part in parts:
            if part not in row.values:
                raise UserError(
                    f"{row.where}: data.columns maps {name} to {part}, but the row's columns are "
                    f"{', '.join(row.values)}.{did_you_mean(part, row.values)}"
                )
        values[name] = row.values[parts[0]] if len(parts) == 1 else " ".join(str(row.values[p]) for p in parts)
    return values


def _fits(name: str, columns: Mapping[str, Any]) -> bool:
    return all(any(option in columns for option in need) for need in FORMATS[name])


def _with_context(row: Row, mapping: Mapping[str, str]) -> dict[str, str]:
    """Returns the mapping with what the question refers to, where that stands in a column of its own, before it."""
    asked = next((name for name in ASKED if name in mapping), None)
    taken = set(mapping.values())
    before = [
        c for c, value in row.values.items() if c.casefold() in CONTEXT and c not in taken and isinstance(value, str)
    ]
    if asked is None or mapping[asked] == "COLUMN" or not before:
        return dict(mapping)
    return {**mapping, asked: "+".join([*before, mapping[asked]])}


def _likeness(column: str, name: str) -> float:
    return 1.0 if name in column.lower() else SequenceMatcher(None, column.lower(), name).ratio()


def _no_format(row: Row, columns: Mapping[str, str], wanted: str) -> str:
    present = [column for column in row.values if column not in columns.values()]

    def closeness(name: str) -> float:
        needs = [need for need in FORMATS[name] if not any(option in columns for option in need)]
        return sum(max((_likeness(c, o) for c in present for o in need), default=0.0) for need in needs) / max(
            1, len(needs)
        )

    supported = [name for name in FORMATS if name not in UNSUPPORTED and name != "gsm8k"]
    nearest = max(supported, key=closeness) if wanted == "auto" else wanted
    mapping = dict(columns)
    for need in FORMATS[nearest]:
        if any(option in mapping for option in need):
            continue
        free = [column for column in present if column not in mapping.values()]
        scored = max(((_likeness(c, o), c, o) for c in free for o in need), default=(0.0, "COLUMN", need[0]))
        mapping[scored[2]] = scored[1] if scored[0] > 0.5 else "COLUMN"
    paste = ", ".join(f"{name}: {column}" for name, column in _with_context(row, mapping).items())
    problem = "no known format fits" if wanted == "auto" else f"data.format={wanted} does not fit"
    return (
        f"{row.where}: {problem} the columns {', '.join(row.values) or '(none)'}. "
        f"{'Nearest is' if wanted == 'auto' else 'It needs'} {nearest}: {describe(nearest)}. "
        f"Say which column is which: data.columns='{{{paste}}}'"
    )

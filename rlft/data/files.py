"""Rows from local files and from the hub, each with the place it came from."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlft.base import UserError
from rlft.data.errors import did_you_mean

SUFFIXES = (".json", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Row:
    """One record of a file or dataset.

    Attributes:
        where: file and line (or row), for messages, e.g. "train.jsonl line 12".
        number: that line or row, counted from 1.
        values: column name to value.
    """

    where: str
    number: int
    values: dict[str, Any]


def read_file(path: str) -> list[Row]:
    """Returns the rows of a json (an array of objects), jsonl or parquet file.

    Args:
        path: relative to the working directory; `~` is the home directory.

    Raises:
        UserError: if the file is missing, of another kind, empty or malformed; the line is named.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(_missing(file))
    if file.suffix not in SUFFIXES:
        raise UserError(f"{path}: expected a {', '.join(SUFFIXES)} file, found '{file.suffix or file.name}'")
    rows = list(_parquet(file) if file.suffix == ".parquet" else _json(file))
    if not rows:
        raise UserError(f"{path}: the file has no rows")
    return rows


def read_hub(hub_id: str, config: str | None, split: str) -> list[Row]:
    """Returns the rows of a dataset on the Hugging Face hub, or in a local folder that `datasets` can load.

    Raises:
        UserError: if it cannot be loaded, with the reason that `datasets` gives.
    """
    try:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        raise UserError("data.hub_id needs the package datasets: pip install datasets") from error
    try:
        loaded = load_dataset(hub_id, config, split=split)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"data.hub_id={hub_id} data.hub_config={config} data.hub_split={split} could not be loaded: {reason}. "
            "Without a connection to the hub, give a local file: data.hub_id=null data.train_file=PATH"
        ) from error
    if len(loaded) == 0:
        raise UserError(f"data.hub_id={hub_id}: the split {split} has no rows")
    return [Row(f"{hub_id} {split} row {i}", i, dict(values)) for i, values in enumerate(loaded, 1)]


def _missing(file: Path) -> str:
    if file.is_dir():
        found = sorted(p.name for p in file.iterdir() if p.suffix in SUFFIXES)
        return f"{file} is a folder; expected a file, e.g. one of: {', '.join(found[:8]) or 'none in there'}"
    if not file.parent.is_dir():
        return f"{file} does not exist: there is no folder {file.parent} (paths are relative to {Path.cwd()})"
    names = sorted(p.name for p in file.parent.iterdir() if p.suffix in SUFFIXES)
    near = did_you_mean(file.name, names) or (f" That folder has: {', '.join(names[:8])}." if names else "")
    return f"{file} does not exist (paths are relative to {Path.cwd()}).{near}"


def _json(file: Path) -> Iterator[Row]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: expected UTF-8 text; byte {error.start} is not ({error.reason})") from error
    # The content decides, not the suffix: files named .json often hold one object per line.
    pairs = _array(file, text) if text.lstrip().startswith("[") else _lines(file, text)
    for line, values in pairs:
        where = f"{file} line {line}"
        if not isinstance(values, dict):
            raise UserError(f'{where}: expected an object like {{"question": …}}, found {json.dumps(values)[:60]}')
        yield Row(where, line, values)


def _lines(file: Path, text: str) -> Iterator[tuple[int, Any]]:
    # split("\n"), not splitlines(): JSON strings may hold U+2028 and its like unescaped.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(
                    f"{file} line {number}: not JSON ({error.msg} at column {error.colno}); expected one object per "
                    f"line, or one array of objects. The line begins: {line.strip()[:60]}"
                ) from error


def _array(file: Path, text: str) -> Iterator[tuple[int, Any]]:
    decoder, position, line = json.JSONDecoder(), text.index("[") + 1, 1
    line += text.count("\n", 0, position)

    def skip(until: int) -> int:
        while until < len(text) and text[until].isspace():
            until += 1
        return until

    def fail(at: int, message: str) -> UserError:
        return UserError(f"{file} line {1 + text.count(chr(10), 0, at)}: not JSON ({message}) in an array of objects")

    start = skip(position)
    if text[start : start + 1] == "]":
        return
    while True:
        start = skip(start)
        line += text.count("\n", position, start)
        try:
            value, end = decoder.raw_decode(text, start)
        except json.JSONDecodeError as error:
            raise fail(error.pos, error.msg) from error
        yield line, value
        line, position = line + text.count("\n", start, end), end
        start = skip(end)
        if text[start : start + 1] == "]":
            return
        if text[start : start + 1] != ",":
            raise fail(start, "expected , or ]")
        start += 1


def _parquet(file: Path) -> Iterator[Row]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ImportError as error:
        raise UserError(f"{file}: parquet files need the package pyarrow: pip install pyarrow") from error
    try:
        records = read_table(file).to_pylist()
    except (ArrowException, OSError) as error:
        raise UserError(f"{file}: not a parquet file that can be read: {error}") from error
    for number, values in enumerate(records, 1):
        yield Row(f"{file} row {number}", number, values)

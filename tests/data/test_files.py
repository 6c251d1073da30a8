"""Reading local files, parquet and what `datasets` can load."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlft.base import UserError
from rlft.data.files import read_file, read_hub

ROWS = [{"question": "one\u2028two", "answer": "1"}, {"question": "b", "answer": "2"}]


def test_jsonl_numbers_lines_and_skips_blank_ones(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    # ensure_ascii=False leaves U+2028 in the string, which str.splitlines would take for the end of a line.
    text = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    file.write_text("\ufeff" + text + "\n", encoding="utf-8")
    rows = read_file(str(file))
    assert [(row.number, row.values) for row in rows] == [(1, ROWS[0]), (3, ROWS[1])]
    assert rows[1].where == f"{file} line 3"


@pytest.mark.parametrize("indent", [None, 2])
def test_json_array_has_the_lines_of_its_objects(tmp_path: Path, indent: int | None) -> None:
    file = tmp_path / "a.json"
    file.write_text("\n" + json.dumps(ROWS, indent=indent) + "\n", encoding="utf-8")
    rows = read_file(str(file))
    assert [row.values for row in rows] == ROWS
    # Indented: a line for "[", then four lines for each object.
    assert [row.number for row in rows] == ([2, 2] if indent is None else [3, 7])


def test_a_json_file_with_an_object_per_line(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    assert [row.values for row in read_file(str(file))] == ROWS


def test_parquet(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    file = tmp_path / "a.parquet"
    write_table(pyarrow.Table.from_pylist(ROWS), file)
    rows = read_file(str(file))
    assert [row.values for row in rows] == ROWS
    assert rows[1].where == f"{file} row 2"
    file.write_bytes(b"not parquet")
    with pytest.raises(UserError, match=r"a\.parquet: not a parquet file"):
        read_file(str(file))


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "gsm8k_train.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"gsm8k_trian\.jsonl does not exist .*Did you mean gsm8k_train\.jsonl\?"):
        read_file(str(tmp_path / "gsm8k_trian.jsonl"))
    with pytest.raises(UserError, match=r"That folder has: gsm8k_train\.jsonl"):
        read_file(str(tmp_path / "zzz.json"))
    with pytest.raises(UserError, match=r"there is no folder .*nowhere"):
        read_file(str(tmp_path / "nowhere" / "a.jsonl"))
    with pytest.raises(UserError, match=r"is a folder; .*gsm8k_train\.jsonl"):
        read_file(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": 2\n', r"a\.jsonl line 2: not JSON"),
        ("a.jsonl", '{"a": 1}\n\n"text"\n', r'a\.jsonl line 3: expected an object .* found "text"'),
        ("a.json", '[{"a": 1},\n {"a": }]', r"a\.json line 2: not JSON"),
        ("a.json", '[{"a": 1}\n\n {"a": 2}]', r"a\.json line 3: not JSON \(expected , or \]\)"),
        ("a.json", '[{"a": 1},\n 7]', r"a\.json line 2: expected an object .* found 7"),
        ("a.json", "[ ]", r"a\.json: the file has no rows"),
        ("a.jsonl", "\n", r"a\.jsonl: the file has no rows"),
        ("a.csv", "a,b\n", r"expected a \.json, \.jsonl, \.parquet file, found '\.csv'"),
    ],
)
def test_malformed_files_are_named_with_the_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_file(str(file))


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(UserError, match="expected UTF-8 text; byte 7"):
        read_file(str(file))


def test_a_local_folder_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub_cache")
    folder = tmp_path / "my_data"
    folder.mkdir()
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    rows = read_hub(str(folder), None, "train")
    assert [row.values for row in rows] == ROWS
    assert rows[1].where.endswith("my_data train row 2")
    with pytest.raises(UserError, match=r"data\.hub_split=validation could not be loaded: .*validation"):
        read_hub(str(folder), None, "validation")


def test_a_hub_dataset_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def unreachable(*args: object, **kwargs: object) -> SimpleNamespace:
        raise ConnectionError("Couldn't reach the hub\nmore")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(UserError, match=r"data\.hub_id=a/b .*Couldn't reach the hub\. .*data\.train_file=PATH"):
        read_hub("a/b", None, "train")

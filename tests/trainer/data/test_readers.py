"""Readers: every kind by its first bytes, broken records with their place, damage refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from trainer.data import readers
from trainer.data.readers import Broken
from trainer.data.refusal import DataError

RECORDS = [{"text": f"line {n}", "n": n, "nested": {"a": ["1", "},{", "]"]}} for n in range(300)]


def read(path: Path) -> list[tuple[int, object]]:
    return [(place.row, record) for place, record in readers.records(path)]


def written(tmp_path: Path, text: str, name: str = "data") -> Path:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("kind", ["lines", "array", "indented", "one line", "gzip lines", "gzip array", "byte order mark"])
def test_json_of_every_kind_whatever_its_name(kind: str, tmp_path: Path) -> None:
    lines = "".join(json.dumps(one) + "\n" for one in RECORDS)
    text = {
        "lines": lines, "array": json.dumps(RECORDS), "indented": "\n\n " + json.dumps(RECORDS, indent=3) + "\n", "one line": json.dumps(RECORDS, separators=(",", ":")),
        "gzip lines": lines, "gzip array": json.dumps(RECORDS), "byte order mark": "\ufeff" + lines}[kind]
    path = tmp_path / "data.bin"
    path.write_bytes(gzip.compress(text.encode()) if kind.startswith("gzip") else text.encode())
    assert [record for _, record in read(path)] == RECORDS


@pytest.mark.parametrize("piece", [1, 2, 7, 64])
def test_an_array_read_in_small_pieces(piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "PIECE", piece)
    several = [{"a": 12345, "text": "é\\\" ]}"}, {"b": [1.5e10, True, None]}, {}]
    path = written(tmp_path, json.dumps(several, indent=1))
    assert read(path) == [(2, several[0]), (6, several[1]), (13, several[2])]


def test_lines_that_are_no_records_have_their_place_and_reason(tmp_path: Path) -> None:
    path = written(tmp_path, '{"text": "a"}\n\n{"text": \n[1]\n{"text": "b"}\n')
    found = read(path)
    assert [row for row, _ in found] == [1, 3, 4, 5]
    assert isinstance(found[1][1], Broken) and "not JSON" in found[1][1].why
    assert found[2][1] == Broken("an array instead of an object")
    assert str(next(iter(readers.records(path)))[0]) == f"{path}, line 1"


@pytest.mark.parametrize(("line", "why"), [('{"text": "cut', "Unterminated string starting at column 10"), ('{"text" "a"}', "Expecting ':' delimiter at column 9")])
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_line_that_is_no_json_is_told_by_what_is_wrong_with_it(line: str, why: str, end: str, tmp_path: Path) -> None:
    assert read(written(tmp_path, '{"text": "a"}\n' + line + end)) == [(1, {"text": "a"}), (2, Broken(f"not JSON: {why}"))]


def test_elements_of_one_line_are_told_apart(tmp_path: Path) -> None:
    path = written(tmp_path, '[{"a": 1}, 7,\n{"a": 2}]')
    assert [str(place) for place, _ in readers.records(path)] == [f"{path}, line 1, element 1", f"{path}, line 1, element 2", f"{path}, line 2, element 3"]


def test_elements_of_an_array_that_are_no_records(tmp_path: Path) -> None:
    assert read(written(tmp_path, '[{"a": 1},\n 7, "x",\n null]')) == [
        (1, {"a": 1}), (2, Broken("a number instead of an object")), (2, Broken("a text instead of an object")), (3, Broken("null instead of an object"))]


@pytest.mark.parametrize(("text", "row"), [('[{"a": 1}\n{"a": 2}]', 2), ('[{"a": 1},\n\n{"a": ', 3), ('[{"a": 1}', 1), ("[", 1), ('[{"a": 1},]', 1)])
def test_a_broken_array_is_refused_with_its_line(text: str, row: int, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=f"{path}, line {row}: the JSON array is broken"):
        read(path)


def test_an_empty_array_has_no_records(tmp_path: Path) -> None:
    assert read(written(tmp_path, " [ \n ] ")) == []


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8bnot gzip", b"\xff\xfe\x00\x01abc"])
def test_what_is_no_data_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match="JSON, JSON Lines"):
        read(path)


def test_a_cut_archive_is_refused_behind_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "data.json.gz"
    whole = gzip.compress("".join(json.dumps({"n": n, "text": str(n * n)}) + "\n" for n in range(50000)).encode())
    path.write_bytes(whole[: len(whole) * 3 // 4])
    seen = 0
    with pytest.raises(DataError, match=r"behind line \d+: the file breaks off"):
        for _ in readers.records(path):
            seen += 1
    assert seen > 1000


def test_how_much_was_read_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, "".join(json.dumps(one) + "\n" for one in RECORDS))
    told: list[int] = []
    list(readers.records(path, told=told.append))
    assert sum(told) == path.stat().st_size


def test_inputs_are_in_order_and_once(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", ".hidden", "_SUCCESS"):
        written(tmp_path, "[]", name)
    assert [path.name for path in readers.inputs([str(tmp_path / "b.json"), str(tmp_path), str(tmp_path / "*.json")])] == ["b.json", "a.json"]
    with pytest.raises(DataError, match="there is no input"):
        readers.inputs([str(tmp_path / "*.parquet")])


@pytest.mark.parametrize("kind", ["parquet", "arrow file", "arrow stream"])
def test_tables(kind: str, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    table = arrow.Table.from_pylist(RECORDS)
    path = tmp_path / "table"
    if kind == "parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, path, row_group_size=70)
    else:
        with path.open("wb") as stream, (arrow.ipc.new_file if kind == "arrow file" else arrow.ipc.new_stream)(stream, table.schema) as writer:
            writer.write_table(table)
    assert read(path) == list(enumerate(RECORDS, start=1))
    assert str(next(iter(readers.records(path)))[0]) == f"{path}, row 1"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match="cannot be read"):
        read(path)


def test_a_missing_library_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / "table"
    path.write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(DataError, match="Run: pip install pyarrow"):
        read(path)

"""Records of JSON, JSON Lines, gzip of either, parquet and arrow files, one by one, with their place.

What a file is, its first bytes say; the ending of its name is not looked at. A record that is none comes as
``Broken`` where reading can go on behind it (a line); where it cannot (a cut archive, a broken array) the
reader raises DataError. JSON is read in pieces: a file need not fit into memory.
"""

from __future__ import annotations

import glob
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trainer.data.refusal import DataError, needed

PIECE = 1 << 16
"""Characters of a JSON array that are read at a time."""

_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands. ``row`` counts lines of text files (1 is the first), rows of tables (likewise)."""

    file: str
    row: int
    table: bool = False
    element: int = 0
    """Of a JSON array, whose elements may all stand in one line; 1 is the first."""

    def __str__(self) -> str:
        return f"{self.file}, {'row' if self.table else 'line'} {self.row}" + (f", element {self.element}" if self.element else "")


@dataclass(frozen=True, slots=True)
class Broken:
    """Instead of a record: why there is none."""

    why: str


Record = tuple[Place, Any]
"""The place, and a mapping or ``Broken``."""


def inputs(words: list[str]) -> list[Path]:
    """The files that words name: files, directories (all files in them) and patterns; each once, a word's in order of name.

    Raises DataError for a word that names nothing, and for hidden or empty directories.
    """
    found: dict[Path, None] = {}
    for word in words:
        path = Path(word).expanduser()
        if path.is_dir():
            several = sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith((".", "_")))
        elif path.exists():
            several = [path]
        else:
            several = sorted(Path(one) for one in glob.glob(str(path), recursive=True) if Path(one).is_file())
        if not several:
            raise DataError("there is no input", where=word, got="no file", expected="a file, a directory with files, or a pattern", fix="Check --input")
        found.update(dict.fromkeys(several))
    return list(found)


def kind_of(path: Path) -> str:
    """json-array, json-lines, parquet, arrow-file or arrow-stream; with ``gzip:`` before it for compressed text.

    Raises DataError for an empty file and one that is none of these.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
        packed = head[:2] == b"\x1f\x8b"
        if head[:4] == b"PAR1":
            return "parquet"
        if head[:6] == b"ARROW1":
            return "arrow-file"
        if head[:4] == b"\xff\xff\xff\xff":
            return "arrow-stream"
        with _text(path, packed) as text:
            first = _first_sign(text)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError("the file cannot be read", where=str(path), got=_why(error), expected="JSON, JSON Lines, gzip of either, parquet or arrow", fix="Check --input") from error
    if first not in ("[", "{"):
        raise DataError(
            "this is no data that is known here", where=str(path), got=f"a file that begins with {first!r}" if first else "an empty file",
            expected="JSON, JSON Lines, gzip of either, parquet or arrow", fix="Check --input")
    return ("gzip:" if packed else "") + ("json-array" if first == "[" else "json-lines")


def records(path: Path, *, told: Callable[[int], None] = lambda size: None) -> Iterator[Record]:
    """The records of a file in its order. ``told`` hears how many bytes of the file have been read since the last time.

    Raises DataError where reading cannot go on.
    """
    kind = kind_of(path)
    if kind == "parquet":
        yield from _parquet(path, told)
    elif kind.startswith("arrow"):
        yield from _arrow(path, kind == "arrow-stream", told)
    else:
        packed = kind.startswith("gzip:")
        read = _array if kind.endswith("array") else _lines
        place = [0]
        try:
            with _Counted(path, told) as raw, io.TextIOWrapper(gzip.GzipFile(fileobj=raw) if packed else raw, encoding="utf-8-sig", newline="\n") as text:  # type: ignore[type-var]
                for number, (row, record) in enumerate(read(text, place), start=1):
                    yield Place(str(path), row, element=number if read is _array else 0), record
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise DataError("the file breaks off or is damaged", where=f"{path}, behind line {place[0]}", got=_why(error), expected="a whole file", fix="Fetch it anew") from error


def _lines(text: IO[str], place: list[int]) -> Iterator[tuple[int, Any]]:
    for row, line in enumerate(text, start=1):
        place[0] = row
        if not line.strip():
            continue
        try:
            # A text that is cut off would otherwise be blamed on the end of the line.
            record = json.loads(line.rstrip("\r\n"))
        except ValueError as error:
            # Python's own text counts lines within the line, and now and then ends with this word.
            why = str(getattr(error, "msg", error)).removesuffix(" at")
            yield row, Broken(f"not JSON: {why} at column {getattr(error, 'colno', 0)}")
            continue
        yield row, record if isinstance(record, dict) else Broken(f"{_named(record)} instead of an object")


def _array(text: IO[str], place: list[int]) -> Iterator[tuple[int, Any]]:
    decoder = json.JSONDecoder()
    # A piece may end within a number or a word, which would be taken for a shorter one: an element counts
    # only once the comma or bracket behind it has been seen.
    buffer, at, row, ended, first = "", 0, 1, False, True

    def more() -> None:
        nonlocal buffer, at, ended
        piece = text.read(PIECE)
        ended = not piece
        buffer, at = buffer[at:] + piece, 0

    def sign() -> str:
        nonlocal at, row
        while True:
            while at < len(buffer) and buffer[at] in _SPACE:
                row += buffer[at] == "\n"
                at += 1
            if at < len(buffer) or ended:
                place[0] = row
                return buffer[at : at + 1]
            more()

    def refuse(got: str) -> DataError:
        return DataError("the JSON array is broken", where=f"{text_name(text)}line {row}", got=got, expected="objects with commas between them", fix="Mend the file, or make it JSON Lines, of which broken ones can be skipped")

    sign()
    at += 1  # the bracket that the kind was told by
    while True:
        found = sign()
        if found == "]" and first:
            return
        if not found:
            raise refuse("the end of the file")
        while True:
            try:
                record, end = decoder.raw_decode(buffer, at)
            except ValueError as error:
                if ended:
                    raise refuse(str(getattr(error, "msg", error))) from error
                end = -1
            if end >= 0 and (end < len(buffer) or ended):
                break
            size = len(buffer)
            # Twice as much each time, so that a long element is not decoded once a piece.
            while not ended and len(buffer) < 2 * size:
                more()
        started = row
        row += buffer.count("\n", at, end)
        at, first = end, False
        yield started, record if isinstance(record, dict) else Broken(f"{_named(record)} instead of an object")
        found = sign()
        if found == "]":
            return
        if found != ",":
            raise refuse(repr(found) if found else "the end of the file")
        at += 1


def _parquet(path: Path, told: Callable[[int], None]) -> Iterator[Record]:
    parquet = needed("pyarrow.parquet", why=f"{path}: parquet", install="pyarrow")
    arrow = needed("pyarrow", why="parquet", install="pyarrow")
    try:
        with parquet.ParquetFile(path) as file:
            size, rows = path.stat().st_size, max(1, file.metadata.num_rows)
            yield from _rows(path, file.iter_batches(batch_size=256), lambda number: told(number * size // rows))
    except (arrow.ArrowException, OSError) as error:
        raise DataError("the parquet file cannot be read", where=str(path), got=_why(error), expected="a whole file", fix="Fetch it anew") from error


def _arrow(path: Path, stream: bool, told: Callable[[int], None]) -> Iterator[Record]:
    arrow = needed("pyarrow", why=f"{path}: arrow", install="pyarrow")
    try:
        with _Counted(path, told) as raw:
            if stream:
                with arrow.ipc.open_stream(raw) as reader:
                    yield from _rows(path, reader, lambda number: None)
            else:
                with arrow.ipc.open_file(raw) as reader:
                    yield from _rows(path, (reader.get_batch(n) for n in range(reader.num_record_batches)), lambda number: None)
    except (arrow.ArrowException, OSError) as error:
        raise DataError("the arrow file cannot be read", where=str(path), got=_why(error), expected="a whole file", fix="Fetch it anew") from error


def _rows(path: Path, batches: Any, told: Callable[[int], None]) -> Iterator[Record]:
    row = 0
    for batch in batches:
        # In slices: a batch of an arrow file can be the whole file.
        for start in range(0, batch.num_rows, 256):
            for record in batch.slice(start, 256).to_pylist():
                row += 1
                yield Place(str(path), row, table=True), record
        told(batch.num_rows)


class _Counted(io.RawIOBase):
    """A file that tells how much of it has been read."""

    def __init__(self, path: Path, told: Callable[[int], None]) -> None:
        self._file, self._told, self.name = path.open("rb", buffering=1 << 16), told, str(path)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int | None = -1) -> bytes:
        found = self._file.read(size)
        self._told(len(found))
        return found

    read1 = read

    def readinto(self, buffer: Any) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        self._file.close()
        super().close()


def text_name(text: IO[str]) -> str:
    """``PATH, `` of a text that has a name."""
    name = getattr(text, "name", "")
    return f"{name}, " if isinstance(name, str) and name else ""


def _text(path: Path, packed: bool) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8-sig") if packed else path.open(encoding="utf-8-sig")


def _first_sign(text: IO[str]) -> str:
    while piece := text.read(256):
        if found := piece.lstrip(_SPACE):
            return found[0]
    return ""


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _named(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")

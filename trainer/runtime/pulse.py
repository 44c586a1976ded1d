"""What a run leaves beside its log: a heartbeat for whoever watches for hangs, TensorBoard events, the
count of starts that led nowhere.

The heartbeat is the one file of an attempt that is written again and again; it says where this rank is.
Events are TensorBoard's own format (TFRecord frames of Event protobufs), written by hand: its package is
slow to import and is not on the nodes. Source of both formats: tensorflow/core/lib/io/record_writer.h and
tensorflow/core/util/event.proto, summary.proto.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from pathlib import Path
from typing import Any

from trainer.runtime import report
from trainer.runtime.errors import TrainerError

HEARTBEAT_S = 1.0
"""Least time between two heartbeats of a rank."""

STARTS_NAME = "rankdeck-starts.json"


class Heartbeat:
    """``heartbeat-rank-N.json`` in the round's or attempt's directory; nothing where there is none.

    {"rank", "iteration", "phase": "loading | training | validating | saving | ended", "time" (seconds since 1970), "pid"}
    """

    def __init__(self, rank: int) -> None:
        directory, number = os.environ.get("RANKDECK_DIR"), os.environ.get("RANKDECK_ROUND", "")
        self._rank, self._last, self._phase = rank, 0.0, ""
        self._path: Path | None = None
        if directory:
            inside = Path(directory) / f"round-{number.zfill(2)}"
            self._path = (inside if number and inside.is_dir() else Path(directory)) / f"heartbeat-rank-{rank}.json"

    def beat(self, iteration: int, phase: str) -> None:
        """Say where this rank is; at most once in HEARTBEAT_S, but every change of phase. One that cannot be written
        is left out: who watches sees an old one, and a full disk ends no training."""
        now = time.monotonic()
        if self._path is None or (phase == self._phase and now - self._last < HEARTBEAT_S):
            return
        self._last, self._phase = now, phase
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._write(beside, iteration, phase)

    def _write(self, beside: Path, iteration: int, phase: str) -> None:
        assert self._path is not None
        beside.write_text(json.dumps({"rank": self._rank, "iteration": iteration, "phase": phase, "time": time.time(), "pid": os.getpid()}))  # noqa: TID251 - an edge
        os.replace(beside, self._path)


class Starts:
    """Counts starts from one checkpoint, and refuses the one that would be the next of too many. Rank 0 alone."""

    def __init__(self, directory: Path, limit: int) -> None:
        self._path, self._limit = directory / STARTS_NAME, limit

    def count(self, iteration: int) -> None:
        """Note a start from ``iteration`` (0: from scratch). Raises TrainerError after ``limit`` from the same one."""
        try:
            before = json.loads(self._path.read_text("utf-8"))
            starts = int(before["starts"]) if before["iteration"] == iteration else 0
        except (OSError, ValueError, KeyError, TypeError):
            starts = 0
        if self._limit > 0 and starts >= self._limit:
            raise TrainerError(
                f"{starts} starts went no further than their checkpoint", where=str(self._path.parent),
                got=f"iteration {iteration} again", expected="a newer checkpoint after each start",
                fix=f"See why in the logs of the last rounds; then delete {self._path.name} there to try again",
            )
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        beside.write_text(json.dumps({"iteration": iteration, "starts": starts + 1}))
        os.replace(beside, self._path)

    def forget(self) -> None:
        """The run ended well."""
        self._path.unlink(missing_ok=True)


class Events:
    """Scalars for TensorBoard, in a file of its own for every start."""

    def __init__(self, directory: Path) -> None:
        """Raises TrainerError for a directory that cannot be written to."""
        path = directory / f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"  # noqa: TID251 - an edge
        self._path, self._lost = path, False
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("ab")
        except OSError as error:
            raise TrainerError(
                "the events for TensorBoard cannot be written", where=str(directory), got=error.strerror or str(error),
                fix="Check logging.tensorboard_dir, its owner and its space, or leave logging.tensorboard out") from error
        self._record(_double(1, time.time()) + _bytes(3, b"brain.Event:2"))  # noqa: TID251 - an edge

    def add(self, step: int, values: dict[str, float]) -> None:
        """One event with all of the values (name -> number)."""
        summary = b"".join(_bytes(1, _bytes(1, name.encode()) + _float(2, value)) for name, value in values.items())
        self._record(_double(1, time.time()) + _integer(2, step) + _bytes(5, summary))  # noqa: TID251 - an edge

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.close()

    def _record(self, event: bytes) -> None:
        if self._lost:
            return
        length = struct.pack("<Q", len(event))
        try:
            self._stream.write(length + _masked_crc(length) + event + _masked_crc(event))
            self._stream.flush()
        except OSError as error:
            # Half a record would spoil those behind it, and a picture is no reason to end a training.
            self._lost = True
            report.say(f" no more events for TensorBoard in {self._path}: {error.strerror or error}")


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _crc_table() -> list[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    return table


_CRC: Any = _crc_table()


def _masked_crc(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

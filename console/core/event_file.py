"""TensorBoard's event files, written by hand: records of TFRecord framing, each an ``Event`` message. Pure; reads them back as well.

Format: https://github.com/tensorflow/tensorboard, ``compat/proto/event.proto`` and ``summary.proto``; framing as
in TensorFlow's ``record_writer``: length (8 bytes, little endian), masked CRC-32C of it, data, masked CRC-32C of
the data. Only scalars, as ``simple_value`` (32-bit floats: TensorBoard shows seven digits); the CSV has all digits.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

FILE_VERSION = "brain.Event:2"
_MASK_DELTA = 0xA282EAD8
# Castagnoli, reflected (RFC 3720).
_POLYNOMIAL = 0x82F63B78


def _table() -> tuple[int, ...]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        found.append(value)
    return tuple(found)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of the bytes; of b"123456789" it is 0xE3069283."""
    value = 0xFFFFFFFF
    table = _TABLE
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """The CRC as it is stored: rotated and offset, so that one of data that holds CRCs is no trivial one."""
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def framed(data: bytes) -> bytes:
    """One record of a file."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(crc32c(length))) + data + struct.pack("<I", masked(crc32c(data)))


def header(time_s: float) -> bytes:
    """The record that every file begins with."""
    return framed(b"\x09" + struct.pack("<d", time_s) + _text(3, FILE_VERSION))


def scalars(time_s: float, step: int, values: Mapping[str, float]) -> bytes:
    """One record: tags and their values at a step. Values too large for 32 bits become infinite."""
    summary = b"".join(_bytes(1, _text(1, tag) + b"\x15" + _float(value)) for tag, value in values.items())
    return framed(b"\x09" + struct.pack("<d", time_s) + b"\x10" + _varint(step) + _bytes(5, summary))


def read(data: bytes) -> Iterator[tuple[float, int, dict[str, float]]]:
    """(time, step, tag -> value) of each record of scalars in a file. Raises ValueError where a check sum is wrong or it is cut off."""
    at = 0
    while at < len(data):
        if len(data) < at + 12:
            raise ValueError("cut off")
        (length,), (check,) = struct.unpack_from("<Q", data, at), struct.unpack_from("<I", data, at + 8)
        if masked(crc32c(data[at:at + 8])) != check or len(data) < at + 16 + length:
            raise ValueError("a length is wrong, or cut off")
        body = data[at + 12:at + 12 + length]
        if masked(crc32c(body)) != struct.unpack_from("<I", data, at + 12 + length)[0]:
            raise ValueError("a check sum is wrong")
        at += 16 + length
        event = dict(_fields(body))
        if 5 in event:
            values = {}
            for number, value in _fields(event[5]):
                if number == 1:
                    inner = dict(_fields(value))
                    values[inner[1].decode("utf-8")] = struct.unpack("<f", inner[2])[0]
            yield struct.unpack("<d", event[1])[0], event.get(2, 0), values


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _read_varint(data, at)
            yield number, value
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            yield number, data[at:at + size]
            at += size
        else:
            length, at = _read_varint(data, at)
            yield number, data[at:at + length]
            at += length


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode("utf-8"))


def _float(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", float("inf") if value > 0 else float("-inf"))

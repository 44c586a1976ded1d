"""``rankdeck inspect``: what captured files say, offline. Files in, one document or a report out.

Owns reading the files in bounded memory, packed ones and UTF-16 too. Refuses to parse (``agent.parse`` does, the same code as on the
nodes) and to connect to anything.
"""

from __future__ import annotations

import argparse
import codecs
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from agent.parse import outputs, scan
from console.cli.desk import put, put_json, say, speak
from console.core import i18n, log_report
from console.core.errors import FileError

BLOCK_BYTES = 1 << 20
LINE_LIMIT = 4 << 20
"""A line without an end is cut here: memory stays bounded."""
NPU_LIMIT = 16 << 20
"""No npu-smi output is longer."""
_BINARY_SHARE = 0.03
"""A text has no more control characters than this, of its first block."""
_CONTROLS = bytes(byte for byte in (*range(1, 32), 127) if byte not in b"\t\n\r\x08\x0b\x0c\x1b")
_PACKED = ((b"\x1f\x8b", "gzip"), (b"BZh", "bz2"), (b"\xfd7zXZ\0", "lzma"))


def log(args: argparse.Namespace) -> int:
    """Training, plog and system logs. Exit status 1 when there is a fault that may start an incident."""
    speak(args)
    scanner = scan.Scanner()
    reports = []
    for name in args.files:
        report, tuned = log_report.FileReport(name, scanner), False
        for block in blocks(name):
            if not tuned and len(block) >= BLOCK_BYTES:
                report = log_report.FileReport(name, scanner.tuned(block))
            tuned = True
            report.feed(block)
        report.close()
        reports.append(report)
    found = log_report.document(reports)
    if args.json:
        put(log_report.encoded(found))
    else:
        put(log_report.text(reports))
    for report in reports:
        for rule, count in sorted(report.untold.items()):
            say("rankdeck: " + i18n.say("{name}: {n} more faults of the rule {rule}; the first {most} are told", name=report.name, n=count, rule=rule, most=log_report.FAULT_LIMIT))
    return 1 if any(fault["role"] == "root" for fault in found["faults"]) else 0


def npu(args: argparse.Namespace) -> int:
    """npu-smi and hccn_tool output. Exit status 1 when it is not complete or reports an error, 2 when it is neither tool's."""
    speak(args)
    with opened(args.file) as stream:
        raw = stream.read(NPU_LIMIT + 1)
    if len(raw) > NPU_LIMIT:
        raise FileError("this is too long for the output of npu-smi", where=_where(args.file), got=f"more than {NPU_LIMIT >> 20} MiB",
                        fix="Give the output of one run")
    found = outputs.document(raw.decode("utf-8", "replace"))
    if found is None:
        first = next((line.strip() for line in raw.decode("utf-8", "replace").splitlines() if line.strip()), "")
        raise FileError("this is not output of npu-smi or hccn_tool", where=_where(args.file), got=repr(first[:80]) if first else "nothing",
                        expected="a table or key : value lines as these tools print them", fix="Capture it with: npu-smi info > FILE")
    if found.get("output") == "table":    # the promised shape, nothing beside it
        found = {name: value for name, value in found.items() if name != "output"}
    if args.json:
        put_json(found)
    else:
        put(_npu_text(found))
    return 0 if found["complete"] and not found["errors"] else 1


def blocks(name: str) -> Iterator[bytes]:
    """The file in blocks of whole lines (the last may lack its end); a line over LINE_LIMIT is cut. Raises FileError."""
    rest, begun = b"", False
    with opened(name) as stream:
        while True:
            more = stream.read(BLOCK_BYTES)
            if not more:
                break
            if not begun and _binary(more):
                raise FileError("this is no log", where=_where(name), got="bytes that no text has", expected="text, or text packed by gzip, bzip2 or xz",
                                fix="Unpack it, or name the log itself")
            begun = True
            rest += more
            end = rest.rfind(b"\n") + 1
            if not end and len(rest) >= LINE_LIMIT:
                end = len(rest)
            if end:
                yield rest[:end]
                rest = rest[end:]
    if rest:
        yield rest


@contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    """The named file, or standard input for ``-``, unpacked and as UTF-8. Raises FileError for what cannot be read."""
    from lzma import LZMAError

    try:
        if name == "-":
            yield _text_of(sys.stdin.buffer)
        else:
            with Path(name).open("rb") as stream:
                yield _text_of(stream)
    except (EOFError, zlib.error, LZMAError) as error:
        raise FileError("cannot be unpacked", where=_where(name), got=str(error), expected="a whole archive", fix="Copy it again") from error
    except OSError as error:
        raise FileError("cannot be read", where=_where(name), got=error.strerror or str(error), expected="a readable file",
                        fix="Check the path, or give - for standard input") from error


def _text_of(stream: Any) -> Any:
    """What is packed in the stream, and of UTF-16 (which Windows' shells write) the same in UTF-8."""
    stream = stream if hasattr(stream, "peek") else io.BufferedReader(stream)
    head = stream.peek(8)[:8]
    for magic, module in _PACKED:
        if head.startswith(magic):
            import importlib

            stream = io.BufferedReader(importlib.import_module(module).open(stream))
            head = stream.peek(8)[:8]
    return codecs.EncodedFile(stream, "utf-8", "utf-16", "replace") if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else stream


def _binary(block: bytes) -> bool:
    """Whether no text begins so. Holes of zeros, as a crash leaves them in logs, do not count."""
    head = block[:1 << 16].replace(b"\0", b"")
    return len(head) - len(head.translate(None, _CONTROLS)) > max(16, len(head) * _BINARY_SHARE)


def _where(name: str) -> str:
    return "standard input" if name == "-" else name


def _npu_text(found: dict[str, Any]) -> str:
    from console.core.launch.report import table

    def shown(value: Any, unit: str = "") -> str:
        return "-" if value is None else f"{value:g}{unit}" if isinstance(value, float) else f"{value}{unit}"

    head = i18n.say("{output}: {n} devices, {processes} processes", output=found.get("output") or "npu-smi info", n=len(found["devices"]), processes=len(found["processes"]))
    head += i18n.say(", npu-smi {version}", version=found["tool_version"]) if found["tool_version"] else ""
    rows = [("NPU", "CHIP", i18n.say("name").upper(), i18n.say("health").upper(), i18n.say("power").upper(), i18n.say("temp").upper(), "AICORE", "HBM MB", "BUS")]
    rows += [(shown(row["npu_id"]), shown(row["chip_id"]), shown(row["name"]), shown(row["health"]), shown(row["power_w"], " W"),
              shown(row["temperature_c"], " C"), shown(row["aicore_pct"], " %"), f"{shown(row['hbm_used_mb'])}/{shown(row['hbm_total_mb'])}",
              shown(row["bus_id"])) for row in found["devices"]]
    lines = [head, *(table(rows) if found["devices"] else ())]
    if str(found.get("output")).startswith("hccn-"):
        lines = [_network_text(one) for one in found["details"].get("outputs", [found["details"]])] if found["output"] != "hccn-error" else [i18n.say("hccn_tool: no output")]
    lines += [i18n.say("process {pid} on NPU {npu} chip {chip}: {name}, {mb} MB", pid=shown(row["pid"]), npu=shown(row["npu_id"]), chip=shown(row["chip_id"]),
                       name=shown(row["name"]), mb=shown(row["memory_mb"])) for row in found["processes"]]
    lines += [i18n.say("error {code}: {text}", code=shown(error["code"]), text=error["text"]) for error in found["errors"]]
    if not found["complete"]:
        lines.append(i18n.say("not complete: rows are missing, the text is cut, or the tool reported an error"))
    return "\n".join(lines)


def _network_text(reading: dict[str, Any]) -> str:
    """One output of hccn_tool on a line: the device, and what is one value, by the tool's own names."""
    place = i18n.say("device {n}", n=reading["device"]) if reading["device"] is not None else i18n.say("a device")
    told = [f"{name.replace('_', ' ')} {value}" for name, value in reading.items()
            if name not in ("kind", "device", "complete") and isinstance(value, str | int | float)]
    counted = [f"{len(value)} {name}" for name, value in reading.items() if isinstance(value, list | dict) and value]
    return f"{place}: {reading['kind'] or i18n.say('not readable')}: {', '.join(told + counted) or i18n.say('no value')}"

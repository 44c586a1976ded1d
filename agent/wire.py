"""The wire between console and agent: JSON lines, message shapes, record kinds. Pure; Python 3.7.

One JSON object a line, UTF-8, newline-terminated, at most ``MAX_LINE_BYTES`` bytes, both directions.
``t`` names the message. Unknown message types, unknown keys and unknown record kinds are ignored or
carried along, never an error, so that protocols N and N-1 understand each other.

Console to agent::

    hello   proto, min_proto, operator, console, after: {"spool_id", "seq"} | null
    credit  stream, n                     n more items may be sent on that stream (added up); an item is
                                          a record on "records", a line on "log:<n>"
    ping    id
    req     id, op, args                  ops: OPS
    bye     why

Agent to console::

    hello   proto, min_proto, agent (content hash), revision, node_time, boot_id, spool_id,
            oldest_seq, newest_seq, pid, user, hostname
    rec     seq, kind, time, mono, key | null, v, data      stream "records", seq ascending
    waiting stream, n                     n items are held back for want of credit
    lines   stream, path, file_id, offset, next_offset, size, lines      stream "log:<n>"
    pong    id, node_time, mono
    res     id, ok, result | error: {"what", "where", "got", "expected", "next"}
    bye     why

Each side sends its hello first and nothing else before it has read the other's. Records flow after the
console's first ``credit`` on stream ``records``; they start behind ``after.seq`` when ``after.spool_id``
is the spool's own id, and at ``oldest_seq`` otherwise (another spool: nothing of it has been seen).

``seq`` numbers the spool's records, ascending, never reused. A record with a ``key`` replaces the record
of that key: a rescan that finds the same data writes nothing, one that finds other data writes a new
``seq`` under the same key. What the size cap evicted is itself a record, kind ``gap``.

``time`` is the node's wall clock when the agent took the record in (seconds since the epoch), ``mono``
its monotonic clock (seconds since an arbitrary start, comparable within one ``boot_id``). ``v`` is the
version of the parser that made the record.

The shapes of the records are in ``RECORD_FIELDS``; ``tests/agent/test_wire.py`` holds them.
"""

from __future__ import annotations

import json
from typing import Any

PROTOCOL = 1
MIN_PROTOCOL = 1
MAX_LINE_BYTES = 1 << 20
RECORDS = "records"

NUMBER: tuple[type, ...] = (int, float)
TEXT: tuple[type, ...] = (str,)
WHOLE: tuple[type, ...] = (int,)
FLAG: tuple[type, ...] = (bool,)
TABLE: tuple[type, ...] = (dict,)
LIST: tuple[type, ...] = (list,)

# Why a value is not there. A missing value carries one of these, never a zero.
ABSENT_REASONS = ("missing", "denied", "timeout", "unparseable", "unsupported", "error")

# Where a record was read from; every record that comes out of a file carries all of these.
# file_id: device, inode and head hash as one string; offset: of the line's first byte.
_FILE: dict[str, tuple[type, ...]] = {"job": TEXT, "attempt": TEXT, "round": WHOLE, "rank": WHOLE, "local_rank": WHOLE,
         "file": TEXT, "file_id": TEXT, "offset": WHOLE}

# kind -> field -> accepted JSON types. None (null) is accepted everywhere: not known.
RECORD_FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    # One look at all NPUs, as columns: columns[name][i] belongs to device i. Column names as in
    # DESIGN section 8 ("devices"). absent: column name (or "*" for all) -> reason.
    "sample": {"source": TEXT, "tool_version": TEXT, "driver_version": TEXT, "complete": FLAG,
               "columns": TABLE, "processes": TABLE, "errors": LIST, "absent": TABLE, "took_s": NUMBER},
    # The machine itself. cpu_pct is of all cores together, 0 to 100.
    "host": {"cpu_pct": NUMBER, "load1": NUMBER, "cores": WHOLE, "memory_used_mb": NUMBER,
             "memory_total_mb": NUMBER, "disk_used_mb": NUMBER, "disk_total_mb": NUMBER,
             "shm_used_mb": NUMBER, "shm_total_mb": NUMBER, "absent": TABLE},
    # The NPUs' own network ports: columns device, link, net_health, address, netmask, tls, link_up_count,
    # link_down_count, optical_present.
    "network": {"source": TEXT, "columns": TABLE, "absent": TABLE, "took_s": NUMBER},
    # The container engine. daemon: up | down | denied | timeout. containers: [{id, name, image, image_id,
    # status, pid, started, privileged, network, npus, visible, labels, mounts}].
    "containers": {"engine": TEXT, "version": TEXT, "daemon": TEXT, "root_dir": TEXT, "complete": FLAG, "containers": LIST,
                   "absent": TABLE, "took_s": NUMBER},
    # Who holds which NPU. devices: numbers of /dev/davinciN. holders: [{device, npu_id, chip_id, pid, name,
    # uid, user, since, container, job, attempt, source}].
    "occupancy": {"devices": LIST, "holders": LIST, "complete": FLAG, "absent": TABLE, "took_s": NUMBER},
    # Why devices are not OK: [{npu_id, chip_id, health, codes: [{code, known, level, action, meaning, ...}], texts, why}].
    "health": {"devices": LIST, "release": TEXT, "took_s": NUMBER},
    # Life of an attempt on this node. state: JOB_STATES.
    "job": {"job": TEXT, "attempt": TEXT, "epoch": WHOLE, "state": TEXT, "node_index": WHOLE,
            "dir": TEXT, "operator": TEXT, "why": TEXT},
    # Who is which rank, read from the workers' own environment. ranks: columns rank, local_rank,
    # group_rank, pid, start_ticks. round: the node's n-th start of its worker group, from 0.
    "rank_map": {"job": TEXT, "attempt": TEXT, "round": WHOLE, "restart_count": WHOLE,
                 "world_size": WHOLE, "complete": FLAG, "ranks": TABLE},
    # The end of a process we parented. scope "command": the ranked command; "rank": one worker.
    # code: exit status, null when signalled; signal: its number, null when it exited.
    # started, ended: node wall clock, s.
    "exit": {"job": TEXT, "attempt": TEXT, "round": WHOLE, "scope": TEXT, "rank": WHOLE,
             "local_rank": WHOLE, "pid": WHOLE, "code": WHOLE, "signal": WHOLE,
             "started": NUMBER, "ended": NUMBER, "asked": FLAG},
    # One training log line each; the metric fields are those of DESIGN section 8 ("iterations", ...).
    "iteration": dict(_FILE, iteration=WHOLE, total=WHOLE, lm_loss=NUMBER + TEXT, learning_rate=NUMBER + TEXT,
                      elapsed_ms=NUMBER, grad_norm=NUMBER + TEXT, consumed_samples=WHOLE,
                      global_batch_size=WHOLE, loss_scale=NUMBER + TEXT, skipped=WHOLE, nan=WHOLE,
                      tflops=NUMBER, tokens_per_s_per_device=NUMBER, extra=TABLE, time=TEXT),
    "validation": dict(_FILE, iteration=WHOLE, lm_loss=NUMBER + TEXT, ppl=NUMBER + TEXT, time=TEXT),
    # event: started | saved | loaded | failed.
    "checkpoint": dict(_FILE, iteration=WHOLE, event=TEXT, path=TEXT, seconds=NUMBER, bytes=NUMBER, time=TEXT),
    # What an attempt's checkpoint directory holds (agent.parse.checkpoint). iterations: columns iteration,
    # format, complete, why, resumable, bytes, seconds, saved_at, path, the newest ones; count: of all. storage: as the
    # job says, shared | per-node | ""; per-node adds holds, absent, sound: names within the save, null where too many.
    "saves": {"job": TEXT, "attempt": TEXT, "dir": TEXT, "storage": TEXT, "why": TEXT, "iterations": TABLE, "layout": TABLE, "count": WHOLE,
              "tracker": WHOLE, "tracker_state": TEXT, "resume_from": WHOLE, "problems": LIST, "save_seconds": NUMBER,
              "next_bytes": WHOLE, "free_bytes": WHOLE, "fits": FLAG},
    # role, category, action: the closed lists of DESIGN section 8.
    "fault": dict(_FILE, code=TEXT, rule=TEXT, role=TEXT, category=TEXT, action=TEXT, device=WHOLE,
                  pid=WHOLE, text=TEXT, time=TEXT),
    # What a trainer timed beside an iteration, least and most of its ranks: ms: {name: [least, most]}.
    "timers": dict(_FILE, iteration=WHOLE, ms=TABLE, time=TEXT),
    # A process's device memory, as its allocator tells (Megatron's "(after N iterations) memory (MB)").
    "memory": dict(_FILE, iteration=WHOLE, allocated_mb=NUMBER, max_allocated_mb=NUMBER, reserved_mb=NUMBER, max_reserved_mb=NUMBER, time=TEXT),
    # Who did what on this node. peer_uid: of the attach process.
    "audit": {"operator": TEXT, "peer_uid": WHOLE, "op": TEXT, "args": TABLE, "ok": FLAG, "why": TEXT},
    # Which consoles are attached: [{operator, console, uid, since, armed_until}], times of the node's clock.
    "presence": {"consoles": LIST},
    # What an operator says to the others. what: REMARKS; subject: an alarm's key or a pattern of keys, empty for a note.
    "remark": {"id": TEXT, "what": TEXT, "subject": TEXT, "text": TEXT, "operator": TEXT, "peer_uid": WHOLE, "until": NUMBER},
    # The resident's own life. state: started | upgrading | stopping.
    "resident": {"state": TEXT, "agent": TEXT, "revision": WHOLE, "pid": WHOLE, "why": TEXT},
    # What the size cap evicted, one record per kind, growing.
    "gap": {"kind": TEXT, "from_seq": WHOLE, "to_seq": WHOLE, "count": WHOLE},
}

REMARKS = ("note", "acknowledge", "mute", "unmute")
ARMED_MOST_S = 24 * 3600.0

JOB_STATES = ("prepared", "committed", "running", "exited", "aborted", "expired", "stopping", "stopped", "adopted")

# Evicted from the spool in this order; what is not named goes last, oldest first.
EVICTION_ORDER = ("presence", "host", "sample", "occupancy", "containers", "network", "health", "audit", "resident")

# op -> (access, what it takes, what it returns). access "write" changes something on the node and lands
# in the audit trail; the console refuses to send it unless armed.
OPS: dict[str, tuple[str, dict[str, tuple[type, ...]], str]] = {
    "facts": ("read", {}, "hostname, python, cores, addresses: {nic: [ip]}, npu_count; asked with dir: dir_trouble, a text or null"),
    "jobs": ("read", {}, "attempts: [{job, attempt, epoch, node_index, state, dir, pid, exit}]"),
    "files": ("read", {"attempt": TEXT}, "files: [{path, local_rank, round, size, file_id, plog}]"),
    "read": ("read", {"path": TEXT, "offset": WHOLE, "length": WHOLE}, "text, offset, next_offset, size"),
    # Lines around a place; also line (from 1) or offset, before, after: how many.
    "window": ("read", {"path": TEXT}, "path, file_id, size, lines, offsets, offset, next_offset, line"),
    # A literal or an expression, in bytes; also from (offset), before, after, most, ignore_case, limit_s.
    "search": ("read", {"path": TEXT, "pattern": TEXT, "regex": FLAG},
               "hits: [{offset, line, text, before, after}], next_offset, searched, size, done"),
    "bytes": ("read", {"path": TEXT, "offset": WHOLE, "length": WHOLE}, "data (base64), offset, next_offset, size, file_id"),
    "tail": ("read", {"path": TEXT, "lines": WHOLE}, "stream: lines then flow on it, by credit"),
    "untail": ("read", {"stream": TEXT}, "nothing"),
    "checkpoints": ("read", {"dir": TEXT}, "iterations: [{iteration, complete, why, bytes, path}], tracker, resume_from"),
    "stats": ("read", {}, "pid, rss_bytes, cpu_s, uptime_s, spool_bytes, clients, records"),
    "check_facts": ("read", {"ask": TABLE}, "time, mono, took_s, parts: {name: facts}, absent: {name: reason} (agent.facts)"),
    "npu_ping": ("read", {"pairs": LIST, "limit_s": NUMBER}, "pings: [{device, address, sent, received, why}]; pairs: [[device, address]]"),
    # Neither changes anything but what consoles know of each other.
    "armed": ("read", {"left_s": NUMBER}, "nothing; every console is told (record presence)"),
    "remark": ("read", {"id": TEXT, "what": TEXT, "subject": TEXT, "text": TEXT}, "nothing; every console is told (record remark). Also until, s since the epoch"),
    "nonce": ("write", {"dir": TEXT, "name": TEXT, "text": TEXT}, "path of the proof file; text empty: it is removed"),
    "write_speed": ("write", {"dir": TEXT, "name": TEXT, "mb": WHOLE}, "mb, seconds, mb_s; the file is gone again"),
    "remedy": ("write", {"name": TEXT, "subject": TEXT, "argv": LIST}, "command, status, output; argv: as confirmed, held against the agent's own"),
    "lock": ("write", {"job": TEXT, "attempt": TEXT, "epoch": WHOLE, "devices": LIST, "ttl_s": NUMBER},
             "locked: [device]; refused when another live attempt or a newer epoch holds one"),
    "prepare": ("write", {"job": TEXT, "attempt": TEXT, "epoch": WHOLE, "node": TEXT, "node_index": WHOLE,
                          "dir": TEXT, "files": TABLE, "script": TEXT, "ttl_s": NUMBER},
                "dir; cleaned up by itself when no commit comes within ttl_s"),
    "container": ("write", {"attempt": TEXT, "epoch": WHOLE, "script": TEXT, "undo": TEXT, "keep": FLAG, "limit_s": NUMBER},
                  "said; bash scripts that make a prepared attempt's container and that take it away, both safe to repeat"),
    "adopt": ("write", {"job": TEXT, "attempt": TEXT, "epoch": WHOLE, "node": TEXT, "node_index": WHOLE, "what": TABLE},
              "dir, kind, logs, processes; what: logs: [path], pid or container, checkpoint_dir; it is only watched, until abort"),
    "left": ("read", {"attempt": TEXT}, "processes: [pid], container: bool, holders of the given devices, complete"),
    # With settle_s, the attempt ends by itself when no commit with settled: true follows so soon, or so soon after
    # the last one with hold_s.
    "commit": ("write", {"attempt": TEXT, "epoch": WHOLE}, "pid of the shim; saying it twice is harmless"),
    "abort": ("write", {"attempt": TEXT, "why": TEXT}, "released: [device]; left: why its container could not be taken away yet, where so"),
    "stop": ("write", {"attempt": TEXT, "grace_s": NUMBER, "why": TEXT},
             "state: stopping (the end comes as an exit record)"),
    "note": ("write", {"what": TEXT, "text": TEXT}, "nothing: what a console does here by other means stands in the audit trail"),
    "retire": ("write", {"revision": WHOLE}, "the resident leaves for a newer one; jobs go on"),
}


class WireError(ValueError):
    """A line that is not a message: too long, not JSON, not an object, or without ``t``."""


def encode(message: dict[str, Any]) -> bytes:
    """The message as one line of UTF-8 bytes, newline included.

    Raises WireError when the line is longer than MAX_LINE_BYTES. NaN and infinities are refused by the
    encoder (ValueError): records carry them as the strings "nan", "inf", "-inf".
    """
    line = json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise WireError("message of %d bytes, at most %d allowed" % (len(line), MAX_LINE_BYTES))
    return line


def decode(line: bytes) -> dict[str, Any]:
    """The message in one line (bytes, with or without its newline), as a dict with a string ``t``.

    Raises WireError for anything else; the text names the first 80 bytes.
    """
    if len(line) > MAX_LINE_BYTES:
        raise WireError("line of %d bytes, at most %d allowed" % (len(line), MAX_LINE_BYTES))
    try:
        message = json.loads(line.decode("utf-8", "replace"))
    except ValueError:
        raise WireError("not JSON: %r" % line[:80])
    if not isinstance(message, dict) or not isinstance(message.get("t"), str):
        raise WireError("not a message: %r" % line[:80])
    return message


def record(kind: str, time: float, mono: float, data: dict[str, Any], key: str | None = None, version: int = 1) -> dict[str, Any]:
    """A record as it enters the spool: the dict of a ``rec`` message without ``seq``."""
    return {"t": "rec", "kind": kind, "time": time, "mono": mono, "key": key, "v": version, "data": data}


def problems_in(kind: str, data: dict[str, Any]) -> list[str]:
    """What is wrong with a record's data, as a list of texts; empty when it fits RECORD_FIELDS.

    Unknown kinds and extra fields are fine (a newer agent's); a missing field is not, null is.
    """
    fields = RECORD_FIELDS.get(kind)
    if fields is None:
        return []
    found = []
    for name in sorted(fields):
        if name not in data:
            found.append("%s: field %r is missing" % (kind, name))
            continue
        value = data[name]
        if value is None:
            continue
        wrong = isinstance(value, bool) and bool not in fields[name]
        if wrong or not isinstance(value, fields[name]):
            found.append("%s: field %r is %s" % (kind, name, type(value).__name__))
    return found

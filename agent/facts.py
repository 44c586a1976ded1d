"""What preflight needs to know of this node, gathered at once, every part with its own time limit.

Owns the parts (``PARTS``) and their threads: one that hangs (a dead file system, a stuck driver) costs its
own part, which is then absent with "timeout", and is not started a second time while it hangs. Refuses to
judge (``console.core.preflight`` does), to change anything, and to raise.
"""

from __future__ import annotations

import ctypes
import glob
import json
import os
import platform
import pwd
import re
import threading
import time
from typing import Any, Callable

from agent import clock, requests
from agent.parse import proc
from agent.probe import command, containers, health, network, npu, occupancy

LIMIT_S = 12.0
LIMIT_MAX_S = 120.0
PATHS_MAX = 64
SAMPLE_FRESH_S = 15.0
NETWORK_FRESH_S = 120.0
FIRST_SAMPLE_S = 11.0
"""A little longer than the resident lets npu-smi run."""
ASCEND = "/usr/local/Ascend"
_TIME_ERROR = 5
"""What adjtimex(2) returns when nothing disciplines the clock."""

# Says what an interpreter has. torch is really imported: a wheel can be there and not load. Its back ends are
# not loaded with it, for that would open the NPUs.
_LOOK = """
import json, os, sys
os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
found = {"version": "%d.%d.%d" % sys.version_info[:3], "modules": {}, "errors": {}}
from importlib import util
try:
    from importlib import metadata
except ImportError:
    metadata = None
for name in sys.argv[1:]:
    module, _, package = name.partition("=")
    try:
        if module == "torch":
            import torch
            found["modules"][module] = torch.__version__
        elif util.find_spec(module) is None:
            found["modules"][module] = None
        else:
            found["modules"][module] = "of unknown version"
            if metadata:
                try:
                    found["modules"][module] = metadata.version(package or module)
                except metadata.PackageNotFoundError:
                    pass
    except ImportError as error:
        if error.name and (module + ".").startswith(error.name + "."):
            found["modules"][module] = None
        else:
            found["errors"][module] = "%s: %s" % (type(error).__name__, error)
    except BaseException as error:
        found["errors"][module] = "%s: %s" % (type(error).__name__, error)
print("RANKDECK " + json.dumps(found))
"""

_hanging: set[str] = set()
_guard = threading.Lock()


def gather(ask: dict[str, Any], samplers: Any = None) -> dict[str, Any]:
    """{time, mono, took_s, parts: {name: facts}, absent: {name: reason}}.

    ``ask``: level (quick, standard, deep), paths, image, engine, python, modules, in_image, mounts, limit_s,
    imports_s. Unknown keys are ignored; whatever is not asked for is not looked at.
    """
    started = clock.mono_s()
    limit_s = min(LIMIT_MAX_S, float(ask.get("limit_s") or LIMIT_S))
    parts: dict[str, Callable[[], Any]] = {
        "host": _host, "versions": _versions, "nics": _nics, "ports": _ports, "clock": _clock,
        "npu": lambda: _npu(samplers), "occupancy": lambda: _occupancy(samplers),
    }
    for path in [each for each in ask.get("paths") or () if isinstance(each, str)][:PATHS_MAX]:
        parts["path:" + path] = _bound(_path, path)
    if ask.get("level") != "quick":
        parts["network"] = lambda: _network(samplers)
        parts["containers"] = lambda: _containers(str(ask.get("engine") or ""))
        image = ask.get("image")
        if image:
            parts["image"] = lambda: containers.image(str(image), engine=ask.get("engine") or None)
        if ask.get("python"):
            parts["runner"] = lambda: _runner(ask)
    jobs = {name: _Part(name, work) for name, work in parts.items()}
    ends = {name: started + (max(limit_s, float(ask.get("imports_s") or 0.0)) if name == "runner" else limit_s) for name in jobs}
    found: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for name in sorted(jobs, key=lambda name: ends[name]):
        reason = jobs[name].wait(max(0.0, ends[name] - clock.mono_s()))
        if reason:
            absent[name] = reason
        else:
            found[name] = jobs[name].result
    return {"time": clock.wall_s(), "mono": clock.mono_s(), "took_s": round(clock.mono_s() - started, 3), "parts": found, "absent": absent}


def _bound(work: Callable[[str], Any], argument: str) -> Callable[[], Any]:
    return lambda: work(argument)


class _Part:
    """One part in its own thread; what hangs is left behind and not begun again before it has ended."""

    def __init__(self, name: str, work: Callable[[], Any]) -> None:
        self.result: Any = None
        self._reason = ""
        self._done = threading.Event()
        with _guard:
            if name in _hanging:
                self._reason = "timeout"
                self._done.set()
                return
            _hanging.add(name)
        threading.Thread(target=self._run, args=(name, work), name="facts " + name, daemon=True).start()

    def _run(self, name: str, work: Callable[[], Any]) -> None:
        try:
            self.result = work()
        except PermissionError:
            self._reason = "denied"
        except FileNotFoundError:
            self._reason = "missing"
        except Exception:  # noqa: BLE001  one part's fault is that part's
            self._reason = "error"
        finally:
            with _guard:
                _hanging.discard(name)
            self._done.set()

    def wait(self, timeout_s: float) -> str:
        """"" when the result is there; else why not."""
        return self._reason if self._done.wait(timeout_s) else "timeout"


def _host() -> dict[str, Any]:
    uid = os.getuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = None
    used_mb, total_mb = proc.memory_mb(_text("/proc/meminfo") or "")
    forward = _text("/proc/sys/net/ipv4/ip_forward")
    return {"hostname": platform.node(), "kernel": platform.release(), "os": proc.os_release(_text("/etc/os-release") or ""),
            "arch": platform.machine(), "python": platform.python_version(), "cores": os.cpu_count(), "memory_total_mb": total_mb,
            "memory_used_mb": used_mb, "uid": uid, "user": user, "limits": proc.limits(_text("/proc/self/limits") or ""),
            "ip_forward": int(forward) if forward is not None and forward.strip().isdigit() else None, "shm": _space("/dev/shm")}


def _versions() -> dict[str, Any]:
    base = proc.version_info(_text("/etc/ascend_install.info") or "").get("driver_install_path_param") or ASCEND
    driver = proc.version_info(_text(os.path.join(base, "driver", "version.info")) or "")
    firmware = proc.version_info(_text(os.path.join(base, "firmware", "version.info")) or "")
    cann = []
    for pattern in ("ascend-toolkit/latest/*/ascend_toolkit_install.info", "nnae/latest/*/ascend_nnae_install.info", "cann/*/ascend_toolkit_install.info"):
        for path in sorted(glob.glob(os.path.join(base, pattern)))[:4]:
            version = proc.version_info(_text(path) or "").get("version")
            if version and version not in cann:
                cann.append(version)
    return {"driver": driver.get("version"), "firmware": firmware.get("version"), "cann": cann}


def _npu(samplers: Any) -> dict[str, Any]:
    sample = _sample(samplers)
    asked = health.suspects(sample)
    return {"sample": sample, "health": health.read(asked) if asked else {"devices": []},
            "files": {name: os.path.exists("/dev/" + name) for name in ("davinci_manager", "devmm_svm", "hisi_hdc")}}


def _sample(samplers: Any) -> dict[str, Any]:
    """The resident's newest sample when it is fresh; its first one is waited for, so that the tool is not run twice at once."""
    end = clock.mono_s() + FIRST_SAMPLE_S
    while samplers is not None:
        found, age_s = samplers.latest("sample")
        if found:
            if age_s <= SAMPLE_FRESH_S:
                return dict(found)
            break
        if clock.mono_s() >= end:
            break
        time.sleep(0.05)
    return npu.read(8.0)


def _occupancy(samplers: Any) -> dict[str, Any]:
    # Apart from the sample: a tool that hangs does not keep /proc from being read.
    found = {} if samplers is None else samplers.latest("sample")[0]
    return occupancy.read(found.get("processes"))


def _network(samplers: Any) -> dict[str, Any]:
    data, age_s = ({}, None) if samplers is None else samplers.latest("network")
    if data and age_s <= NETWORK_FRESH_S:
        return dict(data)
    devices = occupancy.device_numbers() if samplers is None else samplers.devices()
    if not devices:
        devices = list(range(len((_sample(samplers).get("columns") or {}).get("npu_id") or ())))
    return network.read(devices, budget_s=10.0)


def _containers(engine: str) -> dict[str, Any]:
    data = containers.read(engine=engine)
    return dict(data, root_space=_path(data["root_dir"])["space"] if data["root_dir"] else None)


def _nics() -> dict[str, Any]:
    addresses = requests.addresses()
    found = {}
    for name in sorted(os.listdir("/sys/class/net")):
        base = os.path.join("/sys/class/net", name)
        mtu, speed = _text(base + "/mtu"), _text(base + "/speed")
        found[name] = {"mtu": int(mtu) if mtu and mtu.strip().isdigit() else None, "state": (_text(base + "/operstate") or "").strip() or None,
                       "speed_mb_s": int(speed) if speed and speed.strip().isdigit() else None, "addresses": addresses.get(name, [])}
    return found


def _ports() -> dict[str, Any]:
    listening: set[int] = set()
    for name in ("tcp", "tcp6"):
        listening.update(proc.listening_ports(_text("/proc/net/" + name) or ""))
    reserved = (_text("/proc/sys/net/ipv4/ip_local_port_range") or "").split()
    return {"listening": sorted(listening), "local_range": [int(each) for each in reserved if each.isdigit()],
            "reserved": (_text("/proc/sys/net/ipv4/ip_local_reserved_ports") or "").strip()}


def _clock() -> dict[str, Any]:
    """Whether something disciplines the clock: adjtimex(2), asked with nothing to set."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        state = -1
    return {"synchronised": None if state < 0 else state != _TIME_ERROR, "time": clock.wall_s()}


def _path(path: str) -> dict[str, Any]:
    full = os.path.abspath(os.path.expanduser(path))
    nearest = full
    while not os.path.exists(nearest) and nearest != "/":
        nearest = os.path.dirname(nearest)
    exists = nearest == full
    found: dict[str, Any] = {"full": full, "exists": exists, "nearest": nearest, "kind": None, "readable": None, "owner": None,
                             "writable": os.access(nearest, os.W_OK | (os.X_OK if os.path.isdir(nearest) else 0))}
    if exists:
        state = os.stat(full)
        found.update(kind="dir" if os.path.isdir(full) else "file", owner=state.st_uid, size=state.st_size,
                     readable=os.access(full, os.R_OK | (os.X_OK if os.path.isdir(full) else 0)))
    mount = proc.mount_of(os.path.realpath(nearest), proc.mounts(_text("/proc/mounts") or ""))
    return dict(found, space=_space(nearest), file_system=mount["type"] if mount else None, mount=mount["path"] if mount else None,
                source=mount["device"] if mount else None)


def _space(path: str) -> dict[str, Any] | None:
    try:
        space = os.statvfs(path)
    except OSError:
        return None
    unit = space.f_frsize / float(1 << 20)
    return {"total_mb": round(space.f_blocks * unit, 1), "free_mb": round(space.f_bavail * unit, 1),
            # A file system that makes them as needed (btrfs, some network ones) says 0.
            "inodes_total": space.f_files or None, "inodes_free": space.f_favail if space.f_files else None}


def _runner(ask: dict[str, Any]) -> dict[str, Any]:
    """What the job's interpreter has: {python, version, modules, errors, why}."""
    python = str(ask["python"])
    modules = [str(each) for each in ask.get("modules") or () if re.match(r"^[A-Za-z_][\w.]*(=[\w.-]+)?$", str(each))]
    if ask.get("in_image"):
        engine = command.find(str(ask.get("engine") or "docker"))
        image = containers.image(str(ask.get("image") or ""), engine=ask.get("engine") or None)
        if engine is None or not image["present"]:
            return {"python": python, "version": None, "modules": {}, "errors": {}, "why": "missing"}
        argv = [engine, "run", "--rm", "--network", "none"] + _mounts(ask.get("mounts")) + ["--entrypoint", python, str(ask["image"]), "-c", _LOOK] + modules
    else:
        argv = [os.path.expanduser(python), "-c", _LOOK] + modules
    result = command.run(argv, float(ask.get("imports_s") or LIMIT_S))
    for line in result.out.splitlines():
        if line.startswith("RANKDECK {"):
            try:
                return dict(json.loads(line[len("RANKDECK "):]), python=python, why="")
            except ValueError:
                break
    return {"python": python, "version": None, "modules": {}, "errors": {}, "why": result.reason or "error", "out": result.out[-500:]}


def _mounts(asked: Any) -> list[str]:
    """The job's mounts for a look at what its interpreter has: read-only, and only what is there, for an engine would make the rest."""
    words = []
    for mount in [each for each in asked or () if isinstance(each, str)][:PATHS_MAX]:
        source, _, rest = mount.partition(":")
        source, target = os.path.expanduser(source), rest.partition(":")[0]
        if target.startswith("/") and os.path.isabs(source) and os.path.exists(source) and "," not in mount:
            words += ["--mount", "type=bind,source=%s,target=%s,readonly" % (source, target)]
    return words


def _text(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20).decode("utf-8", "replace")
    except OSError:
        return None

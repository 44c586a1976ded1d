"""Checks of what is installed: driver, engine, image, interpreter, and whether it is the same everywhere. Pure.

Sources: S3 "Step1" (docker, its install command, image) and "Step3" (mounts); the trainer's own needs
(Python 3.10, torch 2.6).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from console.core.i18n import joined, phrase
from console.core.preflight.facts import Case, NodeFacts, rows
from console.core.preflight.finding import Finding, Found, Remedy, Severity, differing, unknown

DOCKER_INSTALL = "yum install -y docker-engine.aarch64 docker-engine-selinux.noarch docker-runc.aarch64"
"""As S3 gives it for the nodes' own system. Shown, never run."""
HOME_MA_USER = "/home/ma-user"
TRAINER_PYTHON, TRAINER_TORCH = (3, 10), (2, 6)


def engine(node: NodeFacts, case: Case) -> Found:
    """A container engine, of the kind that the job asks for."""
    if case.job and not case.engine:
        return
    found = node.part("containers").get("engine")
    severity: Severity = "error" if case.engine else "warning"
    if node.lacks("containers"):
        yield unknown(node, phrase("the container engine"), node.lacks("containers"), command="docker -v")
    elif found is None:
        yield Finding(node=node.name, severity=severity, what="no container engine is installed", got="neither docker nor podman", expected=case.engine or "docker",
                      fix="Install it (shown, never run from here)", command=DOCKER_INSTALL)
    elif case.engine and found != case.engine:
        yield Finding(node=node.name, where="container.runtime", what="another container engine is installed", got=str(found), expected=case.engine,
                      fix=phrase("Set container.runtime to {found}, or install {wanted}", found=found, wanted=case.engine), command=DOCKER_INSTALL if case.engine == "docker" else "")


def daemon(node: NodeFacts, case: Case) -> Found:
    """The engine answers this user."""
    known = node.part("containers")
    state = known.get("daemon")
    if (case.job and not case.engine) or known.get("engine") is None or state == "up":
        return
    severity: Severity = "error" if case.engine else "warning"
    if state == "denied":
        yield Finding(node=node.name, severity=severity, what=phrase("this user may not use {engine}", engine=known["engine"]), got="permission denied", expected="an answer",
                      fix="Add the user to the group docker, or log in as another", command="sudo usermod -aG docker $USER")
    else:
        yield Finding(node=node.name, severity=severity, what=phrase("{engine} does not answer", engine=known["engine"]), got="no answer in time" if state == "timeout" else "its daemon is down",
                      expected="a running daemon", fix="Start it", command="systemctl status docker; sudo systemctl start docker")


def image(node: NodeFacts, case: Case) -> Found:
    """The job's image is on the node."""
    if not case.engine or not case.job or not case.job.container.image:
        return
    name = case.job.container.image
    known = node.part("image")
    if node.lacks("image") or known.get("present") is None:
        if node.part("containers").get("daemon") == "up":
            yield unknown(node, phrase("whether the image is there"), node.lacks("image") or str(known.get("why") or "error"), where=name, command=f"{case.engine} images")
    elif not known["present"]:
        remedy = Remedy(name="image-pull", subject=f"{case.engine} {name}")
        yield Finding(node=node.name, where=name, what="the image is not on the node", got="nothing", expected="the image", remedy=remedy, command=remedy.command,
                      fix="Pull it, or without a registry ship it with rankdeck stage")


def same_image(case: Case) -> Found:
    """The same image on all nodes, by its id."""
    found = {node.name: str(node.part("image")["id"]).removeprefix("sha256:")[:12] for node in case.reached if node.part("image").get("id")}
    yield from differing(case, phrase("the image"), found, fix="A tag can mean another image on each node: pull it anew, or name it by digest",
                         command=f"{case.engine or 'docker'} image inspect --format {{{{.Id}}}} {case.job.container.image if case.job else 'IMAGE'}")


def mounts(case: Case) -> Found:
    """What is mounted into the container: never over /home/ma-user, and only what is there."""
    if not case.engine or not case.job:
        return
    spec = case.job.container
    for mount in spec.mounts:
        source, target, *_ = [*mount.split(":"), ""]
        if covers(target, HOME_MA_USER):
            yield Finding(where=f"container.mounts: {mount}", what=phrase("the mount hides {path}", path=HOME_MA_USER), got=target, expected=phrase("a place below {path}, or elsewhere", path=HOME_MA_USER),
                          fix="The image's own user lives there; without its files the image does not start (S3)")
    if spec.device_access == "devices" and case.uses_npus:
        inside = " ".join(mount.split(":")[1] for mount in (*spec.driver_mounts, *spec.mounts) if ":" in mount)
        missing = [name for name in ("npu-smi", "dcmi", "driver") if name not in inside]
        if missing:
            yield Finding(where="container.driver_mounts", what="the container lacks a part of the driver", got=joined(", ", (phrase("no {name}", name=name) for name in missing)),
                          expected="npu-smi, dcmi and driver together (S3)", fix="Add the mounts, or leave container.driver_mounts as it is by default")
    wanted = [mount.split(":")[0] for mount in (*spec.mounts, *(spec.driver_mounts if spec.device_access == "devices" else ()))]
    for node in case.reached:
        for source in wanted:
            known = node.path(source)
            if known and known.get("exists") is False:
                yield Finding(node=node.name, where=source, what="what is to be mounted is not there", got="nothing", expected="a file or directory",
                              fix="npu-smi lies in /usr/local/bin on newer hosts: correct container.driver_mounts" if "npu-smi" in source else "Correct container.mounts, or create it",
                              command=f"ls -ld {source}")
        if spec.device_access == "devices":
            files = node.part("npu").get("files") or {}
            for name, there in files.items():
                if there is False and f"/dev/{name}" in spec.manager_devices:
                    yield Finding(node=node.name, where=f"/dev/{name}", what="a device that the container needs is not there", got="nothing", expected="a device file",
                                  fix="Load the NPU driver", command="ls -l /dev/davinci_manager /dev/devmm_svm /dev/hisi_hdc")


def container_name(node: NodeFacts, case: Case) -> Found:
    """No foreign container has the name that the job's will get."""
    if not case.engine or not case.job or case.job.container.reuse != "refuse":
        return
    name = case.job.container.name or f"rankdeck-{case.job.run.name}"
    for one in node.part("containers").get("containers") or ():
        if one.get("engine") not in (None, case.engine):
            continue    # names are an engine's own
        if one.get("name") == name and (one.get("labels") or {}).get("rankdeck.job") != case.job.run.name:
            yield Finding(node=node.name, where=name, what="a container of this name runs already", got=phrase("{image}, since {time}", image=one.get("image"), time=one.get("started")), expected="none",
                          fix="Choose another container.name, or say container.reuse", command=f"{case.engine} inspect {name}")


def runner(node: NodeFacts, case: Case) -> Found:
    """The job's interpreter is there and has what the runner needs."""
    if not case.job:
        return
    where = phrase("{file} in {image}", file=case.job.runner.python, image=case.job.container.image) if case.engine else case.job.runner.python
    if node.lacks("runner"):
        yield unknown(node, phrase("what the job's interpreter has"), node.lacks("runner"), where=where, fix="Importing torch can take a minute on a cold disk; look again",
                      command=f"{case.job.runner.python} -c 'import torch'")
        return
    known = node.part("runner")
    if known.get("why"):
        severity: Severity | None = "unknown" if known["why"] in ("timeout", "denied") or (case.engine and known["why"] == "missing") else None
        yield Finding(node=node.name, where=where, severity=severity, what="the job's interpreter does not run", got=str(known.get("out") or known["why"]).strip()[-200:],
                      expected="a Python", fix="Set runner.python", command=f"{case.job.runner.python} --version")
        return
    ours = _is_ours(case)
    version = str(known.get("version") or "")
    if ours and numbers(version) < TRAINER_PYTHON:
        yield Finding(node=node.name, where=where, what="the interpreter is too old for the project's trainer", got=version, expected="3.10 or later",
                      fix="Use another image, or a vendor runner")
    for module, found in (known.get("modules") or {}).items():
        needed = module == "torch" or (ours and module == "megatron.core") or (module == "torch_npu" and case.job.fleet.hardware.startswith("ascend"))
        if found is None and (needed or module == "torch_npu"):
            yield Finding(node=node.name, where=where, severity=None if needed else "info", what=phrase("{module} is not installed", module=module), got="nothing", expected=module,
                          fix="Install it there, or name the interpreter that has it in runner.python", command=f"{case.job.runner.python} -m pip list")
        elif found is not None and module == "torch" and ours and numbers(str(found)) < TRAINER_TORCH:
            yield Finding(node=node.name, where=where, what="torch is too old for the project's trainer", got=str(found), expected="2.6 or later",
                          fix="Use another image, or a vendor runner")
    for module, error in (known.get("errors") or {}).items():
        yield Finding(node=node.name, where=where, what=phrase("{module} cannot be imported", module=module), got=str(error)[:300], expected="an import without error",
                      fix="A wheel of another Python or a missing library; run the import by hand", command=f"{case.job.runner.python} -c 'import {module}'")


def same_modules(case: Case) -> Found:
    """The same versions of what the runner imports."""
    seen: dict[str, dict[str, str]] = {}
    for node in case.reached:
        for module, found in (node.part("runner").get("modules") or {}).items():
            if found is not None:
                seen.setdefault(module, {})[node.name] = str(found)
    for module, values in seen.items():
        yield from differing(case, phrase("the version of {what}", what=module), values, fix="Install the same on all nodes", command=f"python3 -m pip show {module}")


def same_version(name: str, words: str) -> Callable[[Case], Found]:
    """A check that a version of ``versions`` is the same everywhere; the driver's falls back to npu-smi's word."""
    file = "/usr/local/Ascend/ascend-toolkit/latest/*/ascend_toolkit_install.info" if name == "cann" else f"/usr/local/Ascend/{name}/version.info"

    def run(case: Case) -> Found:
        found = {}
        for node in case.reached:
            value = node.part("versions").get(name) or (node.sample.get("driver_version") if name == "driver" else None)
            if isinstance(value, list):
                value = ", ".join(value)
            if value:
                found[node.name] = str(value)
            elif node.node.npus and not (name == "cann" and case.engine):
                yield unknown(node, phrase("the version of {what}", what=phrase(words)), node.lacks("versions") or "missing", where=file, command=f"cat {file}")
        yield from differing(case, phrase(words), found, fix="Install the same on all nodes; unlike ones fail in the middle of a collective", command=f"cat {file}",
                             severity="warning" if name == "cann" and case.engine else None)
    return run


def same_chip(case: Case) -> Found:
    """The same kind of NPU on all nodes."""
    found = {}
    for node in case.reached if case.uses_npus else ():
        kinds = sorted({str(device["name"]) for device in node.devices() if device.get("name")})
        if kinds:
            found[node.name] = " and ".join(kinds)
    yield from differing(case, phrase("the kind of NPU"), found, fix="The slowest sets the pace; leave the odd ones out", command="npu-smi info -m")


def same_tls(case: Case) -> Found:
    """The TLS switch of all NPUs is the same, else their links do not come up (EI0006)."""
    found: dict[str, str] = {}
    for node in case.reached if case.uses_npus else ():
        states = {bool(row["tls"]) for row in rows(node.part("network").get("columns")) if row.get("tls") is not None}
        if len(states) > 1:
            yield Finding(node=node.name, what="the TLS switch is not the same on all NPUs of the node", got="on and off", expected="one for all",
                          fix="Set it alike on every device", command="for i in $(seq 0 7); do hccn_tool -i $i -tls -g; done")
        elif states:
            found[node.name] = "on" if True in states else "off"
    yield from differing(case, phrase("the TLS switch of the NPUs"), found, fix="Set it alike on every device", command="hccn_tool -i 0 -tls -g")


def covers(target: str, place: str) -> bool:
    """Whether something mounted at ``target`` hides ``place`` itself: the place, or anything above it."""
    parts = [part for part in re.split(r"/+", target.strip()) if part not in ("", ".")]
    clean: list[str] = []
    for part in parts:
        if part == "..":
            clean = clean[:-1]
        else:
            clean.append(part)
    whole = [part for part in place.split("/") if part]
    return whole[:len(clean)] == clean


def numbers(version: str) -> tuple[int, ...]:
    """``2.13.0+cpu`` -> (2, 13)."""
    return tuple(int(found) for found in re.findall(r"[0-9]+", version.partition("+")[0])[:2])


def modules_for(job: Any) -> list[str]:
    """What the probe asks the job's interpreter for: module, or module=package where the two differ."""
    found = ["torch"] if job.runner.kind != "script" else []
    if job.runner.kind == "torchrun" and not job.runner.entry:
        found.append("megatron.core=megatron-core")
    if job.fleet.hardware != "cpu" and job.runner.kind != "script":
        found.append("torch_npu")
    return found


def _is_ours(case: Case) -> bool:
    return case.job is not None and case.job.runner.kind == "torchrun" and not case.job.runner.entry


def mapped(job: Any, path: str) -> str | None:
    """Where a path of the container lies on the host; None when it is inside the image."""
    if job.container.runtime == "process":
        return path
    pairs = [(job.paths.work, job.paths.work)] + [(parts[1], parts[0]) for mount in job.container.mounts if len(parts := mount.split(":")) > 1]
    best: Mapping[str, str] = {target.rstrip("/"): source for target, source in pairs}
    for target in sorted(best, key=len, reverse=True):
        if path == target or path.startswith(target + "/"):
            return best[target].rstrip("/") + path[len(target):]
    return None

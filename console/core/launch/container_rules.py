"""What a container must be given to train in, and must not (rules C). Pure.

Source: S3 "Step3" (devices, driver mounts, never over ma-user's home), Docker's reference for names and mounts,
Ascend Docker Runtime's guide (not together with --device).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from trainer.spec.finding import Finding, error, warning
from trainer.spec.job import JobSpec
from trainer.spec.trainer_rules import own_trainer

HOME_OF_IMAGE = "/home/ma-user"
"""C1: the home of the images' user; a mount over it hides what the image needs."""
MANAGERS = ("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc")
DRIVER = ("npu-smi", "dcmi", "driver")
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
SIZE = re.compile(r"[1-9][0-9]*[bkmgBKMG]?")
IMAGE = re.compile(r"[a-zA-Z0-9][^\s]*")


def container_name(spec: JobSpec) -> str:
    """The name of the job's container on each node."""
    return spec.container.name or f"rankdeck-{spec.run.name}"


def all_mounts(spec: JobSpec) -> tuple[str, ...]:
    """The job's mounts, and the work directory at its own path when none of them brings it."""
    work = posixpath.normpath(spec.paths.work)
    for mount in spec.container.mounts:
        host, _, inside = mount.partition(":")
        target = posixpath.normpath(inside.split(":")[0])
        # The attempt's directory is told to the processes by its path, so that has to be the same on both sides.
        if posixpath.normpath(host) == target and (work == target or work.startswith(target.rstrip("/") + "/")) and ":ro" not in inside:
            return spec.container.mounts
    return (f"{spec.paths.work}:{spec.paths.work}", *spec.container.mounts)


def check(spec: JobSpec) -> Iterator[Finding]:
    """All findings of the container; nothing for a job that runs on the node itself."""
    if spec.container.runtime == "process":
        return
    yield from _image(spec)
    yield from _mounts(spec)
    yield from _devices(spec)
    yield from _limits(spec)
    yield from _paths(spec)


def _image(spec: JobSpec) -> Iterator[Finding]:
    image = spec.container.image
    if not image.strip():
        yield error("C4", ("container", "image"), "no image is named", repr(image) if image else "nothing", "an image reference or id", "set container.image")
    elif image != image.strip():
        yield error("C4", ("container", "image"), "there are blanks round the image's name", repr(image), repr(image.strip()), "take them out")
    elif IMAGE.fullmatch(image) is None:
        yield error("C4", ("container", "image"), "not an image reference", repr(image), "a reference or id without blanks, beginning with a letter or digit")
    name = container_name(spec)
    if NAME.fullmatch(name) is None:
        yield error("C10", ("container", "name"), "not a container's name", repr(name), "letters, digits, dot, dash and underscore, beginning with a letter or digit",
                    "set container.name")


def _mounts(spec: JobSpec) -> Iterator[Finding]:
    for key in ("mounts", "driver_mounts"):
        for at, mount in enumerate(getattr(spec.container, key)):
            path = ("container", key, str(at))
            parts = mount.split(":")
            if len(parts) not in (2, 3) or not parts[0].startswith("/") or not parts[1].startswith("/") or (len(parts) == 3 and parts[2] not in ("ro", "rw", "z", "Z")):
                yield error("C9", path, "not a mount", repr(mount), "/host:/inside or /host:/inside:ro", "write both paths in full")
    for mount in all_mounts(spec):
        inside = mount.split(":")[1] if ":" in mount else ""
        target = posixpath.normpath(inside) if inside.startswith("/") else ""
        # normpath keeps two leading slashes, as POSIX allows them to mean something.
        if target and (target := "/" + target.lstrip("/")) and (target == HOME_OF_IMAGE or HOME_OF_IMAGE.startswith(target.rstrip("/") + "/")):
            own = mount in spec.container.mounts
            yield error("C1", ("container", "mounts", str(list(spec.container.mounts).index(mount))) if own else ("paths", "work"),
                        f"a mount on {target} hides the image's own {HOME_OF_IMAGE}", inside, f"a directory inside, e.g. {HOME_OF_IMAGE}/ws",
                        "mount a directory further down")
    if spec.container.device_access == "devices":
        targets = " ".join(mount.split(":")[1] if ":" in mount else "" for mount in spec.container.driver_mounts)
        missing = [name for name in DRIVER if name not in targets]
        if missing:
            yield error("C2", ("container", "driver_mounts"), f"without {', '.join(missing)} the NPUs cannot be used inside", ", ".join(spec.container.driver_mounts) or "nothing",
                        "npu-smi, dcmi and the driver", "leave driver_mounts out for the usual ones")


def _devices(spec: JobSpec) -> Iterator[Finding]:
    container = spec.container
    if container.device_access == "devices":
        missing = [name for name in MANAGERS if name not in container.manager_devices]
        if missing:
            yield error("C3", ("container", "manager_devices"), f"without {', '.join(missing)} no NPU can be opened", ", ".join(container.manager_devices) or "nothing",
                        ", ".join(MANAGERS), "leave manager_devices out for the usual ones")
        for at, device in enumerate(container.manager_devices):
            if not device.startswith("/dev/"):
                yield error("C3", ("container", "manager_devices", str(at)), "not a device", repr(device), "/dev/...", "mend the path")
    if container.device_access == "ascend-docker-runtime" and any(word.startswith("--device") for word in container.args):
        yield warning("C11", ("container", "args"), "the Ascend Docker Runtime and --device do not go together", "--device", "one of the two",
                      "take --device out, or set device_access to devices")
    if any(word.startswith("--privileged") for word in container.args):
        yield warning("C8", ("container", "args"), "a privileged container has every device of the host", "--privileged", "the NPUs one by one",
                      "take it out if the job runs without")


def _limits(spec: JobSpec) -> Iterator[Finding]:
    container = spec.container
    for key, value in (("shm_size", container.shm_size), ("memory", container.memory)):
        if value and SIZE.fullmatch(value) is None:
            yield error("C5", ("container", key), "not a size", repr(value), "a number with b, k, m or g, e.g. 200g")
    if not container.shm_size:
        yield warning("C5", ("container", "shm_size"), "without it docker gives 64 MB of shared memory, too little to load data with", "nothing", "e.g. 200g",
                      "set container.shm_size")
    if container.cpus < 0:
        yield error("C5", ("container", "cpus"), "not a number of processors", str(container.cpus), "0 (no limit) or more")
    if container.network != "host" and len(spec.fleet.nodes) > 1:
        yield warning("C5", ("container", "network"), "ranks on other nodes cannot be reached through a container network", container.network, "host",
                      "set container.network to host")


def _paths(spec: JobSpec) -> Iterator[Finding]:
    """C7: a leading ~ is one directory on the node and another inside."""
    runner, checkpoint = spec.runner, spec.checkpoint
    for path, value in {
        ("paths", "work"): spec.paths.work, ("checkpoint", "dir"): checkpoint.dir, ("checkpoint", "load_dir"): checkpoint.load_dir,
        ("runner", "workdir"): runner.workdir, ("runner", "trainer_dir"): runner.trainer_dir if own_trainer(spec) else "", ("runner", "entry"): runner.entry,
        ("runner", "python"): runner.python,
    }.items():
        if value.startswith("~"):
            yield error("C7", path, "a path with ~ means another home inside the container", value, "a path that begins with /", "write it in full")

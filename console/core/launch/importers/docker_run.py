"""A ``docker run`` (or ``podman run``) line as a job file's ``container`` block.

Source: S3 "Step3"; option names are those of ``docker run --help`` (27.x). Variables set before the line
(``work_dir=...``) are put in. What Rankdeck adds itself (devices, driver mounts, labels, -itd) is taken off.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from console.core.launch.importers.imported import FILL_IN, Findings, Imported, JobMapping, Source, escape, safe_env
from console.core.launch.importers.shell_words import Command, Word, parse

MANAGERS = ("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc")
DRIVER = ("/usr/local/sbin/npu-smi", "/usr/local/bin/npu-smi", "/usr/local/dcmi", "/usr/local/Ascend/driver")

_FLAGS = ("--privileged", "--rm", "--init", "--read-only", "--tty", "--interactive", "--detach", "--oom-kill-disable", "--no-healthcheck")
"""Options without a value."""
_VALUED_SHORT = "vepuwhmlac"
"""Short options with a value: -v -e -p -u -w -h -m -l -a -c."""
_LONG = {"v": "--volume", "e": "--env", "p": "--publish", "u": "--user", "w": "--workdir", "h": "--hostname", "m": "--memory", "l": "--label",
         "a": "--attach", "c": "--cpu-shares"}


def find(source: Source) -> list[Command]:
    """The ``docker run`` commands in a text; prose before them is cut off."""
    found = []
    for command in parse(source.text, source.name):
        words = [word.text for word in command.words]
        for at in range(len(words) - 1):
            if words[at] in ("docker", "podman") and (words[at + 1] == "run" or words[at + 1:at + 3] == ["container", "run"]):
                skip = 2 if words[at + 1] == "run" else 3
                found.append(Command(words=[Word(text=words[at], where=command.words[at].where), *command.words[at + skip:]]))
                break
    return found


def read(sources: Sequence[Source]) -> list[Imported]:
    """A job file for each line: its container block, the rest to be filled in."""
    found = []
    for source in sources:
        for command in find(source):
            findings, job = Findings(), JobMapping()
            fill(job, command, source, findings)
            job.put("run.name", re.sub(r"[^\w.+@=-]", "-", job.get("container.name") or "imported"))
            job.put("paths.work", _work(job) or FILL_IN)
            job.put("fleet.nodes", ["n0"])
            job.put("runner.kind", "env-script")
            for path in ("runner.entry", "runner.workdir", "checkpoint.dir", "train.iterations"):
                job.put(path, FILL_IN)
            findings.leave(command.words[0].where, "the training command", "a docker run line has none; give it in a file beside this one, "
                           "or fill runner, train, data and checkpoint in")
            found.append(Imported(kind="docker-run", job=job.mapping(), problems=tuple(findings.problems), left=tuple(findings.left)))
    return found


def fill(job: JobMapping, command: Command, source: Source, findings: Findings) -> None:
    """Put the line's container into ``job``."""
    options, image = _options(command, findings)
    job.put("container.runtime", command.words[0].text)
    _image(job, image, source, command, findings)
    devices, managers, mounts, env, extra = [], [], [], {}, []
    for name, value, where in options:
        if name in ("--detach", "--interactive", "--tty", "--label"):
            continue
        if name == "--device":
            path = value.split(":")[0]
            if match := re.fullmatch(r"/dev/davinci(\d+)", path):
                devices.append(int(match[1]))
            elif path in MANAGERS:
                managers.append(path)
            else:
                extra += [f"--device={value}"]
        elif name in ("--volume", "--mount") and name == "--volume":
            if value.split(":")[0] not in DRIVER:
                mounts.append(value)
            else:
                job.put("container.driver_mounts", [*job.get("container.driver_mounts", []), escape(value)])
        elif name in ("--shm-size", "--memory", "--user", "--name"):
            job.put({"--shm-size": "container.shm_size", "--memory": "container.memory", "--user": "container.user",
                     "--name": "container.name"}[name], escape(value))
        elif name in ("--net", "--network"):
            job.put("container.network", escape(value))
        elif name == "--cpus":
            if re.fullmatch(r"\d+(\.0+)?", value):
                job.put("container.cpus", int(float(value)))
            else:
                extra.append(f"--cpus={value}")
        elif name == "--env":
            key, _, text = value.partition("=")
            env[key] = text
        elif name == "--rm":
            findings.leave(where, "--rm", "the launcher removes its containers itself, and keeps them while something has to be looked at")
        elif name in ("--workdir", "--entrypoint", "--restart"):
            why = {"--workdir": "runner.workdir says where the command starts", "--entrypoint": "the container is kept open with bash",
                   "--restart": "a container that docker restarts would come back without its ranks"}[name]
            findings.leave(where, f"{name} {value}", why)
        else:
            extra.append(f"{name}={value}" if value else name)
            if name == "--privileged":
                findings.report("C8", where, "a privileged container has every device of the host", got="--privileged",
                                expected="the NPUs one by one", fix="Take container.args out if it works without", warning=True)
    visible = env.pop("ASCEND_VISIBLE_DEVICES", None)
    if visible is not None:
        job.put("container.device_access", "ascend-docker-runtime")
        devices = _visible(visible)
        if "--runtime=ascend" in extra:
            extra.remove("--runtime=ascend")
    if devices:
        job.put("fleet.npus_per_node", len(devices))
        if sorted(devices) != list(range(len(devices))):
            findings.leave(command.words[0].where, f"devices {', '.join(map(str, sorted(devices)))}",
                           f"a job takes the first NPUs of a node: 0 to {len(devices) - 1}")
    elif visible is None:
        job.put("container.device_access", "none")
    if managers and set(managers) != set(MANAGERS):
        job.put("container.manager_devices", managers)
    for path, words in (("container.mounts", mounts), ("container.args", extra)):
        if words:
            job.put(path, escape(words))
    if env:
        job.put("env", {**job.get("env", {}), **safe_env(env, command.words[0].where, findings)})
    job.put("container.reuse", "refuse")


def _options(command: Command, findings: Findings) -> tuple[list[tuple[str, str, str]], Word | None]:
    """(long name, value, where) each, and the image."""
    found: list[tuple[str, str, str]] = []
    words = command.words[1:]
    at = 0
    while at < len(words):
        word = words[at]
        text = word.text
        at += 1
        if text.startswith("--"):
            name, equals, value = text.partition("=")
            if not equals and name not in _FLAGS:
                value = words[at].text if at < len(words) else ""
                at += 1
            found.append((name, value, word.where))
        elif text.startswith("-") and len(text) > 1:
            for place, letter in enumerate(text[1:], 2):
                if letter in _VALUED_SHORT:
                    value = text[place:].lstrip("=")
                    if not value:
                        value = words[at].text if at < len(words) else ""
                        at += 1
                    found.append((_LONG[letter], value, word.where))
                    break
                found.append(({"i": "--interactive", "t": "--tty", "d": "--detach"}.get(letter, f"-{letter}"), "", word.where))
        else:
            rest = [one.text for one in words[at:]]
            if rest and rest[0].isascii() and rest[0].split("/")[-1] not in ("bash", "sh"):
                findings.leave(words[at].where, rest[0], "the container is kept open with bash; the training command is run in it")
            return found, word
    return found, None


def _image(job: JobMapping, image: Word | None, source: Source, command: Command, findings: Findings) -> None:
    if image is None or not image.text.strip():
        findings.report("C4", command.words[0].where, "the line names no image", expected="an image reference or id", fix="Set container.image")
        job.put("container.image", FILL_IN)
        return
    for other in parse(source.text, source.name):
        for one in other.assignments:
            if one.value.strip() == image.text.strip() and one.value != one.value.strip():
                findings.report("C4", one.where, f"there is a blank at the end of {one.key}", got=repr(one.value),
                                expected=repr(one.value.strip()), fix="The job file has it without")
    if image.text.strip() == job.get("container.name") or image.text.startswith("$"):
        findings.leave(image.where, f"image {image.text.strip()}", "this looks like a placeholder; put the image's reference or id in")
    if image.text != image.text.strip():
        findings.report("C4", image.where, "there is a blank in the image's name", got=repr(image.text), expected=repr(image.text.strip()),
                        fix="The job file has it without")
    job.put("container.image", escape(image.text.strip()))


def _visible(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        if match := re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part):
            found += range(int(match[1]), min(int(match[2] or match[1]), int(match[1]) + 64) + 1)
    return found


def _work(job: JobMapping) -> str:
    """The directory that is mounted at its own path, if there is one."""
    for mount in job.get("container.mounts", []):
        host, _, inside = str(mount).partition(":")
        if host == inside.split(":")[0]:
            return host
    return ""

"""The container of a job on one node: made, prepared, entered, taken away. Pure: texts of bash.

Source: S3 "Step3", word for word and in its order, with labels added; Ascend Docker Runtime's guide for the
alternative. The ranks run under ``docker exec`` in a session of their own; a signal that the shim gets is
handed on to it, because the engine does not (moby/moby#9098).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from console.core.launch.container_rules import all_mounts, container_name
from console.core.launch.words import DIR, Place, path_word, quote, words
from trainer.spec.job import JobSpec

LABELS = ("rankdeck.job", "rankdeck.attempt", "rankdeck.node_index")
MARKERS = "/var/tmp/rankdeck-setup"
RANKED = "ranked.sh"
"""Name in the attempt's directory of what is run inside."""


def devices(spec: JobSpec) -> tuple[str, ...]:
    """Device files that have to be on the node."""
    container = spec.container
    if container.device_access == "none":
        return ()
    return (*(f"/dev/davinci{at}" for at in range(spec.fleet.npus_per_node)), *container.manager_devices)


def run_argv(spec: JobSpec, place: Place) -> list[str]:
    """The line that makes the container."""
    container = spec.container
    argv = [container.runtime, "run", "-itd"]
    if container.device_access == "devices":
        argv += [f"--device={device}" for device in devices(spec)]
        argv += [word for mount in container.driver_mounts for word in ("-v", mount)]
    elif container.device_access == "ascend-docker-runtime":
        argv += ["--runtime=ascend", "-e", f"ASCEND_VISIBLE_DEVICES=0-{spec.fleet.npus_per_node - 1}"]
    if container.cpus:
        argv += ["--cpus", str(container.cpus)]
    if container.memory:
        argv += ["--memory", container.memory]
    if container.shm_size:
        argv += ["--shm-size", container.shm_size]
    argv.append(f"--net={container.network}")
    argv += [word for mount in all_mounts(spec) for word in ("-v", mount)]
    if container.user:
        argv += ["--user", container.user]
    argv += ["--name", container_name(spec)]
    for label, value in zip(LABELS, (spec.run.name, place.attempt, str(place.node_index)), strict=True):
        argv += ["--label", f"{label}={value}"]
    return [*argv, *container.args, container.image, "/bin/bash"]


def make_script(spec: JobSpec, place: Place) -> str:
    """The container phase: looks at what is needed, makes or takes the container, runs the setup steps once.

    Safe to repeat: a container of this very attempt is taken as it is.
    """
    engine, name = spec.container.runtime, quote(container_name(spec))
    lines = _head()
    if devices(spec):
        lines.append(f"for device in {words(devices(spec))}; do [ -e \"$device\" ] || fail \"$device is not on this node\"; done")
    if spec.container.device_access == "devices":
        for mount in spec.container.driver_mounts:
            host = mount.split(":")[0]
            hint = "; newer drivers have it in /usr/local/bin: set container.driver_mounts" if host == "/usr/local/sbin/npu-smi" else ""
            lines.append(f"[ -e {quote(host)} ] || fail {quote(f'{host} is not on this node' + hint)}")
    for mount in all_mounts(spec):
        # The engine would make it, as root's.
        host = mount.split(":")[0]
        lines.append(f"[ -e {quote(host)} ] || fail {quote(f'{host} is not on this node, so it cannot be mounted')}")
    lines += [
        f"{engine} ps -q >/dev/null || fail {quote(f'{engine} does not answer on this node')}",
        f"found=$({engine} inspect --type container --format "
        "'{{.State.Running}}|{{index .Config.Labels \"rankdeck.job\"}}|{{index .Config.Labels \"rankdeck.attempt\"}}' "
        f"{name} 2>/dev/null) || found=''",
        "made=no",
        'case "$found" in',
        "  '') made=yes ;;",
        f"  *{quote(f'|{spec.run.name}|{place.attempt}')}) ;;",
        # One of this job's earlier attempts; the locks on the devices say that nothing of it runs any more.
        f"  *{quote(f'|{spec.run.name}|')}*) {engine} rm -f {name} >/dev/null; made=yes ;;",
    ]
    lines.append({
        "refuse": f"  *) fail {quote(f'there is a container {container_name(spec)} already, and it is not of this job; set container.reuse')} ;;",
        "replace": f"  *) {engine} rm -f {name} >/dev/null; made=yes ;;",
        "reuse": f'  true*) ;;\n  *) {engine} start {name} >/dev/null ;;',
    }[spec.container.reuse])
    lines += ["esac", 'if [ "$made" = yes ]; then', f"  {words(run_argv(spec, place))}", "fi"]
    steps = list(_steps(spec))
    if steps:
        lines += [
            "# Each step once a container; what it said is in the attempt's directory.",
            f"dir={path_word(place.dir)}",
            'mkdir -p -- "$dir"',
            "step() {",
            f"  {engine} exec --user \"$2\" {name} bash -c '[ -e \"$1\" ] || {{ bash -o pipefail -c \"$2\" && mkdir -p -- \"${{1%/*}}\" && : > \"$1\"; }}' "
            "rankdeck \"$3\" \"$4\" >>\"$dir/setup-$1.log\" 2>&1 || { tail -n 20 -- \"$dir/setup-$1.log\" >&2; fail \"setup step $1 failed: $4\"; }",
            "}",
        ]
        for at, (user, step) in enumerate(steps, 1):
            marker = f"{MARKERS}/{hashlib.sha256(step.encode()).hexdigest()[:16]}"
            if not user:
                # No --user is not the same as --user with the image's default.
                lines.append(f"step {at:02d} \"$({engine} inspect --type container --format '{{{{.Config.User}}}}' {name})\" {marker} {quote(step)}")
            else:
                lines.append(f"step {at:02d} {quote(user)} {marker} {quote(step)}")
    return "\n".join(lines) + "\n"


def remove_script(spec: JobSpec, place: Place) -> str:
    """Undoes the container phase: removes the container if it is this attempt's, and nothing else. Safe to repeat.

    An engine that does not answer is a failure, not an absent container.
    """
    engine = spec.container.runtime
    ours = " ".join(f"--filter {quote(f'label={label}={value}')}" for label, value in zip(LABELS, (spec.run.name, place.attempt, str(place.node_index)), strict=True))
    return "\n".join([
        *_head(),
        f"found=$({engine} ps -aq {ours})",
        '[ -z "$found" ] || ' + f'{engine} rm -f $found >/dev/null',
    ]) + "\n"


def enter_lines(spec: JobSpec, names: Iterable[str]) -> list[str]:
    """The end of command.sh: run the ranked command inside, hand signals on, end as it ends.

    ``names`` are the variables to take along; their values come from this shell, so that no secret is in argv.
    """
    engine, name = spec.container.runtime, quote(container_name(spec))
    user = ["--user", quote(spec.container.user)] if spec.container.user else []
    options = " ".join([*user, *(f"--env {variable}" for variable in names)])
    return [
        f"{engine} inspect --type container {name} >/dev/null || {{ echo {quote(f'rankdeck: container {container_name(spec)} is not there')} >&2; exit 125; }}",
        "asked=",
        "forward() {",
        "  asked=$asked+",
        f"  {engine} exec {' '.join(user)} {name} bash -c 'kill -s \"$1\" -- \"-$(cat -- \"$2\")\"' rankdeck \"$1\" {DIR}/ranked.pid || true".replace("exec  ", "exec "),
        "}",
        "trap 'forward TERM' TERM",
        "trap 'forward INT' INT",
        # In a group of its own the client is not hit by what is meant for the ranks, and tells how they ended.
        "set -m",
        f"{engine} exec {options} {name} bash {DIR}/{RANKED} </dev/null &",
        "client=$!",
        "code=0",
        # A wait that a signal cut short tells of the signal; the next one tells how the client ended.
        'while :; do before=$asked; wait "$client" && code=0 || code=$?; [ "$asked" != "$before" ] || break; done',
        'exit "$code"',
    ]


def _steps(spec: JobSpec) -> Iterable[tuple[str, str]]:
    """(user, command): the owner of the work directory first, then the job's own steps."""
    if spec.container.chown:
        yield "root", words(["chown", "-R", spec.container.chown, "--", spec.paths.work])
    for step in spec.container.setup:
        yield spec.container.user, step


def _head() -> list[str]:
    return ["#!/usr/bin/env bash", "# Written by Rankdeck and executed as it stands.", "set -euo pipefail",
            'fail() { printf \'rankdeck: %s\\n\' "$*" >&2; exit 1; }']

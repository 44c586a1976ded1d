"""Checks of one job's own places: work directory, data, weights, checkpoints, shared storage. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from console.core.i18n import phrase
from console.core.preflight.facts import Case, NodeFacts
from console.core.preflight.finding import Finding, Found, Remedy, names, unknown
from console.core.preflight.software_checks import mapped
from trainer.spec.job import JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A path of the job: which field names it, and what must be possible."""

    field: str
    path: str
    write: bool = False


def wanted_paths(job: JobSpec) -> list[Wanted]:
    """Every path of the job that must be on every node, as it lies on the host; those inside an image are left out."""
    ours = job.runner.kind == "torchrun" and not job.runner.entry
    script = job.runner.entry if job.runner.entry.startswith(("/", "~")) else ""
    fields = [("runner.entry", script, False), ("runner.workdir", job.runner.workdir, False),
              ("runner.trainer_dir", job.runner.trainer_dir if ours else "", False), ("checkpoint.dir", job.checkpoint.dir, True),
              ("checkpoint.load_dir", job.checkpoint.load_dir, False), ("model.weights", job.model.weights, False), ("model.tokenizer", job.model.tokenizer, False),
              ("data.input", job.data.input, False), ("run.results_dir", job.run.results_dir, True), ("export.dir", job.export.dir, True)]
    if job.data.format == "text":
        fields.append(("data.prefix", job.data.prefix, False))
    elif job.data.format == "megatron-bin" and ours:
        fields += [("data.prefix", job.data.prefix + end, False) for end in (".bin", ".idx") if job.data.prefix]
        fields += [("data.valid_prefix", job.data.valid_prefix + end, False) for end in (".bin", ".idx") if job.data.valid_prefix]
    found = []
    for field, path, write in fields:
        place = mapped(job, path) if path else None
        if place:
            found.append(Wanted(field=field, path=place, write=write))
    return found


def asked_paths(job: JobSpec | None) -> list[str]:
    """The paths that ``check_facts`` is to look at."""
    if job is None:
        return ["~/"]
    found = [job.paths.work, *(wanted.path for wanted in wanted_paths(job)), job.checkpoint.dir]
    if job.container.runtime != "process":
        extra = job.container.driver_mounts if job.container.device_access == "devices" else ()
        found += [mount.split(":")[0] for mount in (*job.container.mounts, *extra)]
    return list(dict.fromkeys(found))


def work_dir(node: NodeFacts, case: Case) -> Found:
    """The work directory is there and can be written."""
    if not case.job:
        return
    path = case.job.paths.work
    known = node.path(path)
    if not known:
        yield unknown(node, phrase("the work directory"), node.lacks(f"path:{path}"), where=path, fix="A file system that does not answer hangs the job as well",
                      command=f"timeout 10 ls -ld {path}")
    elif not known["exists"]:
        remedy = Remedy(name="mkdir", subject=path) if known.get("writable") and path.startswith(("/", "~/")) else None
        yield Finding(node=node.name, where=path, what="the work directory is not there", got=phrase("nothing below {path}", path=known["nearest"]), expected="a directory",
                      fix="Create it" if remedy else phrase("{path} cannot be written by this user; create it as root and give it to the login user", path=known["nearest"]),
                      remedy=remedy, command=remedy.command if remedy else f"sudo mkdir -p {path}")
    elif known.get("kind") != "dir" or not known.get("writable"):
        yield Finding(node=node.name, where=path, what="the work directory cannot be written", got=phrase("a {kind} of uid {uid}", kind=known.get("kind"), uid=known.get("owner")),
                      expected="a directory that the login user may write", fix="Give it to the login user, or set paths.work to another", command=f"ls -ld {path}")


def paths(node: NodeFacts, case: Case) -> Found:
    """What the job reads is there and readable; what it writes can be made."""
    for wanted in wanted_paths(case.job) if case.job else ():
        known = node.path(wanted.path)
        if not known:
            yield unknown(node, wanted.field, node.lacks(f"path:{wanted.path}"), where=wanted.path, command=f"timeout 10 ls -ld {wanted.path}")
        elif wanted.write and not known.get("writable"):
            yield Finding(node=node.name, where=f"{wanted.field}: {wanted.path}", what="the directory cannot be written", got=phrase("{path} is not writable", path=known.get("nearest")),
                          expected="a directory that the login user may write", fix="Give it to the login user, or name another", command=f"ls -ld {known.get('nearest')}")
        elif not wanted.write and not known["exists"]:
            yield Finding(node=node.name, where=f"{wanted.field}: {wanted.path}", what="a path of the job is not there", got=phrase("nothing below {path}", path=known.get("nearest")),
                          expected="a file or directory", fix="Copy or mount it there (rankdeck stage), or correct the job file", command=f"ls -ld {wanted.path}")
        elif not wanted.write and known.get("readable") is False:
            yield Finding(node=node.name, where=f"{wanted.field}: {wanted.path}", what="a path of the job cannot be read", got=phrase("owner uid {uid}", uid=known.get("owner")),
                          expected="readable by the login user", fix="Change its owner or mode (S3: chown -R ma-user:ma-group)", command=f"ls -ld {wanted.path}")


def storage(case: Case) -> Found:
    """``checkpoint.storage`` is what the nodes really have, proved by a nonce."""
    if not case.job:
        return
    says = case.job.checkpoint.storage
    for proof in case.proofs:
        if not proof.written:
            yield Finding(node=proof.writer, where=proof.dir, severity="unknown", what="whether the storage is shared is not known", got=proof.why,
                          expected="a proof file that can be written", fix="Mend the directory first")
            continue
        without = [node for node, state in proof.readers.items() if state == "not there"]
        untold = [node for node, state in proof.readers.items() if state not in ("seen", "not there")]
        if says == "shared" and without:
            yield Finding(where=proof.dir, what="the checkpoint directory is not shared", got=phrase("written on {writer}, not there on {nodes}", writer=proof.writer, nodes=names(without)),
                          expected="the same directory on all nodes (checkpoint.storage: shared)",
                          fix="Mount it everywhere, or say checkpoint.storage: per-node", command=f"findmnt -T {proof.dir}")
        elif says == "per-node" and proof.readers and not without and not untold:
            yield Finding(where=proof.dir, severity="warning", what="the checkpoint directory is shared after all", got=phrase("written on {writer}, read on all", writer=proof.writer),
                          expected="one of each node's own (checkpoint.storage: per-node)", fix="Say checkpoint.storage: shared; a swap to a spare is possible then")
        if untold:
            yield Finding(where=proof.dir, severity="unknown", what="whether the storage is shared is not known everywhere", got=phrase("no word from {nodes}", nodes=names(untold)),
                          fix="Look at these nodes first")

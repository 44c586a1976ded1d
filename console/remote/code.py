"""A job's code, packed on the bastion: a directory as it is, or what git has at a commit, as one archive with a digest.

The archive lies in ``$XDG_CACHE_HOME/rankdeck/code`` under its digest, for as long as it may still be launched from a
plan; the newest ones are kept. A repository elsewhere is mirrored beside it by the user's own git, which asks nobody
anything; ``code.token`` is read from here for https and handed to git in its environment, never in argv.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from console.core.errors import FileError
from console.core.launch.plan import Shipment
from console.remote import parcels
from console.remote.parcels import Parcel
from trainer.spec.job import Code, Secret

KEPT = 8
FETCH_S = 600.0


def pack(code: Code, base: Path) -> Shipment:
    """The shipment of a job whose file lies in ``base``. Raises FileError."""
    folder = _cache()
    target = code.to.rstrip("/")
    name = target.rpartition("/")[2]
    if code.repo:
        repo, wanted = _repository(code, base, folder), code.commit or code.branch or "HEAD"
    else:
        repo, wanted = base / os.path.expanduser(code.path), code.commit or code.branch
    with tempfile.TemporaryDirectory(dir=folder, prefix=".packing-") as room:
        made = parcels.of_commit(repo, wanted, Path(room), name) if wanted else parcels.of_tree(repo, Path(room), name)
        archive = folder / f"{made.digest}.tar"
        os.replace(made.path, archive)
    _prune(folder)
    source = code.repo or str(repo)
    return Shipment(source=f"{source}@{wanted}" if wanted else source, name=name, to=code.to, digest=made.digest, size_bytes=made.size_bytes, archive=str(archive))


def parcel_of(code: Shipment) -> Parcel:
    """What is sent, as ``stage`` wants it."""
    return Parcel(name=code.name, kind="tree", path=Path(code.archive), digest=code.digest, size_bytes=code.size_bytes)


def folder_of(code: Shipment) -> str:
    """The directory on the nodes in which it gets its name."""
    return code.to.rstrip("/").rpartition("/")[0] or "/"


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rankdeck" / "code"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise FileError("there is no place to pack the code", where=str(folder), got=str(error.strerror), fix="Set XDG_CACHE_HOME")
    return folder


def _prune(folder: Path) -> None:
    archives = sorted(folder.glob("*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in archives[KEPT:]:
        old.unlink(missing_ok=True)


def _repository(code: Code, base: Path, folder: Path) -> Path:
    """A repository with the commit in it: the one named, where it is a directory here, else a mirror of it."""
    here = base / os.path.expanduser(code.repo)
    if here.is_dir():
        return here
    mirror = folder / f"{hashlib.sha256(code.repo.encode()).hexdigest()[:16]}.git"
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", **_token(code)}
    if mirror.is_dir() and code.commit and _git(["-C", str(mirror), "cat-file", "-e", f"{code.commit}^{{commit}}"], env) == "":
        return mirror
    if mirror.is_dir():
        said = _git(["-C", str(mirror), "fetch", "--quiet", "--prune", "origin"], env)
    else:
        said = _git(["clone", "--quiet", "--mirror", "--", code.repo, str(mirror)], env)
        if said:
            shutil.rmtree(mirror, ignore_errors=True)
    if said:
        raise FileError("the repository cannot be fetched", where=code.repo, got=said, expected="a repository that git can read without asking",
                        fix="Clone it here and name the directory in code.path")
    return mirror


def _git(words: list[str], env: dict[str, str]) -> str:
    """What git complained of; "" when it did not."""
    try:
        done = subprocess.run(["git", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_S, check=False, env=env)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip()[-300:] or f"exit status {done.returncode}"


def _token(code: Code) -> dict[str, str]:
    """The token for git, in variables of its process alone. Raises FileError where it is named and not there."""
    if code.token is None or not code.repo.startswith("https://"):
        return {}
    login = base64.b64encode(f"git:{_secret(code.token)}".encode()).decode()
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.extraHeader", "GIT_CONFIG_VALUE_0": f"Authorization: Basic {login}"}


def _secret(secret: Secret) -> str:
    if secret.from_env:
        value = os.environ.get(secret.from_env, "")
    else:
        try:
            value = Path(os.path.expanduser(secret.from_file)).read_text("utf-8").rstrip("\n")
        except OSError:
            value = ""
    if not value:
        raise FileError("the repository's token is not here", where="code.token", got=f"nothing in {secret.from_env or secret.from_file}", expected="a token",
                        fix="Set it on this machine, or clone the repository and name the directory in code.path")
    return value

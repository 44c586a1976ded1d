"""What is sent to nodes, as single files with a digest: a tree, a commit, the trainer, a file, an image's archive.

Owns the making of archives whose bytes depend on their contents alone, so that the same tree has the same
digest tomorrow and on another bastion. Refuses links that lead out of a tree, and to send anything.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from console.core.errors import FileError

Kind = Literal["tree", "file", "image"]
LEFT_OUT = (".git", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".venv", ".DS_Store")
GIT_S = 600.0
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,120}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One file that is sent."""

    name: str
    """What it is called on the node."""
    kind: Kind
    path: Path
    """The file on the bastion."""
    digest: str
    """SHA-256, 64 hex digits."""
    size_bytes: int


def of_file(path: Path, kind: Kind = "file", name: str = "") -> Parcel:
    """A file as it is; ``kind`` image: an archive of ``docker save``. Raises FileError."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
            size = file.tell()
    except OSError as error:
        raise FileError("the file cannot be read", where=str(path), got=str(error.strerror))
    return Parcel(name=_name(name or path.name), kind=kind, path=path, digest=digest.hexdigest(), size_bytes=size)


def of_tree(folder: Path, into: Path, name: str = "", more: dict[str, Path] | None = None) -> Parcel:
    """A directory, less version control and caches, packed into a file below ``into``. ``more``: name inside -> a further directory.

    Raises FileError.
    """
    if not folder.is_dir():
        raise FileError("not a directory", where=str(folder), expected="a directory to send")
    called = _name(name or folder.resolve().name)
    target = into / f"{called}.tar"
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        _pack(archive, folder.resolve(), "")
        for inside, other in sorted((more or {}).items()):
            _pack(archive, other.resolve(), inside)
    return of_file(target, "tree", called)


def of_commit(repo: Path, commit: str, into: Path, name: str = "") -> Parcel:
    """The tree of one commit, as ``git archive`` has it. Raises FileError."""
    if commit.startswith("-"):
        raise FileError("not a commit", where=str(repo), got=commit)
    called = _name(name or repo.resolve().name)
    target = into / f"{called}.tar"
    try:
        done = subprocess.run(["git", "-C", str(repo), "archive", "--format=tar", f"--output={target}", commit, "--"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=GIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FileError("git cannot pack the commit", where=str(repo), got=str(error))
    if done.returncode != 0:
        raise FileError("git cannot pack the commit", where=f"{repo}@{commit}", got=done.stderr.strip()[-300:], expected="a commit of that repository")
    return of_file(target, "tree", called)


def of_trainer(into: Path, wheels: Path | None = None) -> Parcel:
    """The project's own trainer as ``runner.trainer_dir`` wants it, with a directory of wheels beside it. Raises FileError."""
    import trainer

    root = into / "trainer-root"
    root.mkdir()
    package = Path(next(iter(trainer.__path__)))
    return of_tree(root, into, "rankdeck-trainer", {"trainer": package, **({"wheels": wheels} if wheels is not None else {})})


def _name(text: str) -> str:
    if NAME.fullmatch(text) is None:
        raise FileError("not a name for something on a node", where=text, expected="letters, digits, '.', '_', '+' and '-'", fix="Rename it")
    return text


def _pack(archive: tarfile.TarFile, root: Path, inside: str) -> None:
    for at, folders, names in os.walk(root):
        folders[:] = sorted(folder for folder in folders if folder not in LEFT_OUT)
        here = Path(at)
        for name in sorted([*names, *folders]):
            path = here / name
            if name in LEFT_OUT or name.endswith(".pyc"):
                continue
            relative = path.relative_to(root).as_posix()
            entry = tarfile.TarInfo(f"{inside}/{relative}" if inside else relative)
            status = path.lstat()
            # Neither owner nor time: they are not what is in it.
            entry.mode = 0o755 if status.st_mode & 0o111 else 0o644
            if path.is_symlink():
                leads = os.readlink(path)
                if leads.startswith("/") or not (path.parent / leads).resolve().is_relative_to(root):
                    raise FileError("a link leads out of the directory", where=str(path), got=leads, expected="links inside it", fix="Replace it by what it leads to")
                entry.type, entry.linkname = tarfile.SYMTYPE, leads
                archive.addfile(entry)
            elif path.is_dir():
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            elif path.is_file():
                data = path.read_bytes()
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))

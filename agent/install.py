"""Puts the uploaded archive in its place: unpacked, compiled, under its content hash. Refuses to touch another's.

Runs from the archive itself (``python3 -I ARCHIVE install AGENT_DIR HASH``). The directory appears whole,
by one rename; the newest three are kept. A resident that runs from one that was pruned goes on: it has
loaded what it needs.
"""

from __future__ import annotations

import compileall
import os
import re
import shutil
import sys
import time
import zipfile
import zlib

KEPT = 3
_HASH = re.compile(r"[0-9a-f]{16}\Z")
_STALE_S = 3600.0


def install(archive: str, agent_dir: str, content_hash: str) -> int:
    """Install the archive as ``agent_dir/content_hash`` and remove it; 0, or 2 with one line on stderr."""
    folder = os.path.abspath(os.path.expanduser(agent_dir))
    if not _HASH.match(content_hash) or not zipfile.is_zipfile(archive):
        sys.stderr.write("rankdeck agent: install wants an archive and its content hash, got %r and %r\n" % (archive, content_hash))
        return 2
    place = os.path.join(folder, content_hash)
    try:
        if not os.path.isfile(os.path.join(place, "__main__.py")):
            _unpack(archive, folder, place)
        os.utime(place)
        _prune(folder, place)
        os.unlink(archive)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        sys.stderr.write("rankdeck agent: %s could not be installed: %s\n" % (place, error))
        return 2
    sys.stdout.write(place + "\n")
    return 0


def _unpack(archive: str, folder: str, place: str) -> None:
    beside = os.path.join(folder, ".%s.%s" % (os.path.basename(place), os.urandom(4).hex()))
    try:
        with zipfile.ZipFile(archive) as packed:
            for name in packed.namelist():
                if name.startswith("/") or ".." in name.split("/"):
                    raise OSError("%r in the archive leads out of it" % name)
            packed.extractall(beside)
        compileall.compile_dir(beside, quiet=2)
        try:
            os.rename(beside, place)
        except OSError:
            # Somebody else installed the same thing meanwhile; it has the same content.
            if not os.path.isfile(os.path.join(place, "__main__.py")):
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _prune(folder: str, own: str) -> None:
    found = []
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        try:
            age_s = time.time() - os.lstat(path).st_mtime  # noqa: TID251  # compared with a file's time
        except OSError:
            continue
        if _HASH.match(name) and path != own:
            found.append((age_s, path))
        elif name.startswith(".") and _HASH.match(name[1:17]) and age_s > _STALE_S:
            # Left by an upload or an unpacking that was cut off.
            shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.unlink(path)
    for _, path in sorted(found)[KEPT - 1 :]:
        shutil.rmtree(path, ignore_errors=True)

"""install, from the archive itself: the whole directory or none, the newest three, and a running agent left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.agent.conftest import ROOT

HASH = "0123456789abcdef"
MAIN = "import sys\nfrom agent.__main__ import main\nsys.exit(main())\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "home" / "agent"
    made.mkdir(parents=True)
    return made


def archive(folder: Path, content_hash: str = HASH) -> Path:
    path = folder / (".%s.zip.1234" % content_hash)
    with zipfile.ZipFile(str(path), "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("__main__.py", MAIN)
        for source in Path(ROOT, "agent").rglob("*"):
            if source.suffix in (".py", ".json"):
                packed.write(str(source), "agent/%s" % source.relative_to(Path(ROOT, "agent")))
    return path


def install(path: Path, folder: Path, content_hash: str = HASH) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-I", str(path), "install", str(folder), content_hash],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def test_it_unpacks_compiles_and_cleans_up(folder: Path) -> None:
    done = install(archive(folder), folder)
    assert (done.returncode, done.stdout.decode()) == (0, "%s/%s\n" % (folder, HASH)), done.stderr
    assert os.listdir(str(folder)) == [HASH]
    assert list((folder / HASH / "agent" / "__pycache__").glob("resident.*.pyc"))
    run = subprocess.run([sys.executable, "-I", str(folder / HASH), "dance"], stderr=subprocess.PIPE, check=False)
    assert run.returncode == 2 and run.stderr.startswith(b"usage:")


def test_again_is_harmless(folder: Path) -> None:
    install(archive(folder), folder)
    before = (folder / HASH / "__main__.py").stat().st_ino
    assert install(archive(folder), folder).returncode == 0
    assert (folder / HASH / "__main__.py").stat().st_ino == before and os.listdir(str(folder)) == [HASH]


def test_the_newest_three_stay_and_what_was_cut_off_goes(folder: Path) -> None:
    for place in range(5):
        old = folder / ("%016x" % place)
        old.mkdir()
        os.utime(str(old), (1000.0 + place, 1000.0 + place))
    for name in (".%s.left" % HASH, "mine", ".hidden"):
        (folder / name).mkdir()
        os.utime(str(folder / name), (1000.0, 1000.0))
    (folder / (".%s.zip.now" % HASH)).write_text("an upload that is going on")
    assert install(archive(folder), folder).returncode == 0
    assert sorted(os.listdir(str(folder))) == sorted(["%016x" % 3, "%016x" % 4, HASH, "mine", ".hidden", ".%s.zip.now" % HASH])


def test_a_broken_archive_leaves_nothing(folder: Path) -> None:
    path = archive(folder)
    data = bytearray(path.read_bytes())
    place = data.find(b"agent/resident.py") + 400
    data[place : place + 50] = bytes(50)
    path.write_bytes(bytes(data))
    done = install(path, folder)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1
    assert [name for name in os.listdir(str(folder)) if not name.startswith(".%s.zip" % HASH)] == []


def test_a_name_that_leads_out_of_it_is_refused(folder: Path) -> None:
    path = archive(folder)
    with zipfile.ZipFile(str(path), "a") as packed:
        packed.writestr("../../escaped", "x")
    assert install(path, folder).returncode == 2
    assert not (folder.parent / "escaped").exists() and not (folder.parent.parent / "escaped").exists()


@pytest.mark.parametrize("content_hash", ["short", "../0123456789abc", "0123456789ABCDEF"])
def test_a_hash_that_is_none_is_refused(folder: Path, content_hash: str) -> None:
    assert install(archive(folder), folder, content_hash).returncode == 2

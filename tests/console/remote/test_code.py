"""A job's code packed on the bastion: directories, commits, mirrors; hostile values; the token stays out of argv and files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.core.errors import FileError
from console.core.launch.inventory import Node
from console.remote import code as packing
from console.remote.code import folder_of, pack, parcel_of
from console.remote.stage import give_name, stage
from tests.console.core.launch.test_commands import HOSTILE
from trainer.spec.job import Code, Secret

GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rankdeck" / "code"


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True, env={**os.environ, **GIT}).stdout.strip()


def repository(folder: Path) -> tuple[str, str]:
    """Two commits of a file x, and the branch ``next`` on the second."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    commits = []
    for text in ("first", "second"):
        (folder / "x").write_text(text)
        git(folder, "add", ".")
        git(folder, "commit", "-qm", text)
        commits.append(git(folder, "rev-parse", "HEAD"))
    git(folder, "branch", "next")
    (folder / "x").write_text("as it lies")
    return commits[0], commits[1]


def inside(archive: str) -> str:
    with tarfile.open(archive) as found:
        member = found.extractfile("x")
        assert member is not None
        return member.read().decode()


def test_what_is_packed(tmp_path: Path) -> None:
    first, _ = repository(tmp_path / "repo")
    for code, text in ((Code(path="repo", to="/w/c"), "as it lies"), (Code(path="repo", commit=first, to="/w/c"), "first"), (Code(path="repo", branch="next", to="/w/c"), "second"),
                       (Code(repo="repo", to="/w/c"), "second"), (Code(repo=f"file://{tmp_path}/repo", commit=first, to="/w/c"), "first"),
                       (Code(repo=f"file://{tmp_path}/repo", branch="next", to="/w/c/"), "second")):
        made = pack(code, tmp_path)
        assert inside(made.archive) == text and (made.name, folder_of(made)) == ("c", "/w") and parcel_of(made).digest == made.digest


def test_the_same_contents_have_the_same_digest_and_few_are_kept(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "c").mkdir()
    digests = set()
    for at in range(packing.KEPT + 3):
        (tmp_path / "c" / "x").write_text(str(at))
        digests.add(pack(Code(path="c", to="/w/c"), tmp_path).digest)
        assert pack(Code(path="c", to="/elsewhere/d"), tmp_path).digest in digests
    assert len(digests) == packing.KEPT + 3 and len(list(cache.glob("*.tar"))) == packing.KEPT and not list(cache.glob(".packing*"))


def test_a_mirror_follows_its_repository(tmp_path: Path) -> None:
    repository(tmp_path / "repo")
    code = Code(repo=f"file://{tmp_path}/repo", branch="next", to="/w/c")
    assert inside(pack(code, tmp_path).archive) == "second"
    git(tmp_path / "repo", "checkout", "-qf", "next")
    (tmp_path / "repo" / "x").write_text("third")
    git(tmp_path / "repo", "commit", "-qam", "third")
    assert inside(pack(code, tmp_path).archive) == "third"


def test_a_repository_that_cannot_be_read_is_said_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(FileError, match="cannot be fetched"):
        pack(Code(repo=f"file://{tmp_path}/none", to="/w/c"), tmp_path)
    assert not list(cache.glob("*.git"))


STUB = """#!{python}
import json, os, sys
with open({book!r}, "a") as book:
    book.write(json.dumps([sys.argv[1:], {{name: value for name, value in os.environ.items() if name.startswith("GIT_")}}]) + "\\n")
sys.exit(1)
"""


def test_the_token_is_in_gits_environment_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(STUB.format(python=sys.executable, book=str(tmp_path / "book")))
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("MY_TOKEN", "hunter2")
    code = Code(repo="https://git.example.invalid/x.git", to="/w/c", token=Secret(from_env="MY_TOKEN"))
    with pytest.raises(FileError) as caught:
        pack(code, tmp_path)
    (argv, env), = [json.loads(line) for line in (tmp_path / "book").read_text().splitlines()]
    assert "hunter2" not in json.dumps(argv) and "hunter2" not in str(caught.value) and env["GIT_CONFIG_KEY_0"] == "http.extraHeader" and env["GIT_TERMINAL_PROMPT"] == "0"
    assert env["GIT_CONFIG_VALUE_0"] == "Authorization: Basic Z2l0Omh1bnRlcjI="
    monkeypatch.delenv("MY_TOKEN")
    with pytest.raises(FileError, match="token is not here"):
        pack(code, tmp_path)


@pytest.mark.parametrize("text", [text for text in HOSTILE if text])
def test_hostile_values_are_names_of_things_that_are_not_there(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    repository(tmp_path / "repo")
    for code in (Code(path="repo", commit=text, to="/w/c"), Code(path="repo", branch=text, to="/w/c"), Code(path=f"no/{text}", to="/w/c"),
                 Code(repo=f"no/{text}", to="/w/c"), Code(repo=f"ext::sh -c {text}", to="/w/c"), Code(repo=f"--upload-pack={text}", to="/w/c")):
        with pytest.raises(FileError):
            pack(code, tmp_path)
    assert not list(tmp_path.rglob("owned")) and not Path("/owned").exists()


class Here:
    """A connection to this machine, with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 30.0) -> tuple[int, bytes, bytes]:
        done = subprocess.run(["sh", "-c", command], input=stdin, env={"PATH": os.environ["PATH"], "HOME": str(self.home)}, cwd=self.home, capture_output=True,
                              timeout=timeout_s, check=False)
        return done.returncode, done.stdout, done.stderr


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.sampled_from(HOSTILE), st.text(alphabet=st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), max_size=20)))
def test_any_directory_takes_the_code(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    tmp = tmp_path_factory.mktemp("any")
    (tmp / "src").mkdir()
    (tmp / "src" / "x").write_text("here")
    inner = text.replace("/", "_").replace("\0", "") or "x"
    if inner in (".", "..") or len(inner.encode()) > 200:
        inner = "x"
    to = f"~/{inner}/code"
    shipment = pack(Code(path="src", to=to), tmp)
    node, here = Node(name="n1", host="h"), Here(tmp)

    def connect(name: str) -> Any:
        return here

    done, failed = stage([node], [parcel_of(shipment)], folder_of(shipment), connect, named=False)
    assert not failed and not (tmp / inner / "code").exists() and done[0].path.endswith(shipment.digest[:12])
    give_name(node, parcel_of(shipment), folder_of(shipment), connect)
    assert (tmp / inner / "code" / "x").read_text() == "here" and not list(tmp.rglob("owned"))

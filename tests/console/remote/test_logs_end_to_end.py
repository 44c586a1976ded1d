"""``rankdeck logs`` against a real agent behind a real SSH server: the end, windows, searches, copies, following."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from console.cli import main
from console.core.events import RecordArrived
from console.remote.ssh_backend import SshBackend
from tests.console.remote.fakes import RealClock
from tests.console.remote.sshd import Loop
from tests.console.remote.test_end_to_end import Site, plan, until

SCRIPT = r"""
mkdir -p "$RANKDECK_DIR/round-00"
for i in $(seq 1 500); do echo " [2026-11-22 05:10:$((10 + i % 40)).0] line $i"; done >> "$RANKDECK_DIR/round-00/local_rank-0.log"
printf '\033]52;c;aGVsbG8=\007 evil\n' >> "$RANKDECK_DIR/round-00/local_rank-0.log"
for i in $(seq 1 20); do echo "other $i"; done > "$RANKDECK_DIR/round-00/local_rank-1.log"
"""
# The first rank prints the loss, as under LLaMA-Factory, and CANN a log of its own.
FIRST_RANK = r"""
mkdir -p "$RANKDECK_DIR/round-00" "$RANKDECK_DIR/plog/debug/plog"
for i in 1 2 3; do echo " iteration $i/3 | lm loss: $i.5E+00 | grad norm: 1.0 |"; done > "$RANKDECK_DIR/round-00/local_rank-0.log"
echo "nothing of interest" > "$RANKDECK_DIR/round-00/local_rank-1.log"
echo "[ERROR] HCCL(77,python):2026-11-22-05:10:01.516.606 [x.cc:11]EI0002: notify wait timeout" > "$RANKDECK_DIR/plog/debug/plog/plog-77_20261122051001.log"
"""


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """``rankdeck logs job ARGS`` of a job with two logs: (exit status, standard output, standard error)."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    loop = Loop()
    site = Site(tmp_path, loop)
    try:
        console, clock = site.console(), RealClock()
        site.resident(console)
        SshBackend(console, clock).submit(plan("job", "20260101T000000Z-abcd", site, getattr(request, "param", SCRIPT)), lambda event: None)
        until(lambda: [event for event in site.store.of(RecordArrived) if event.kind == "exit"], "the end of the job")
        fleet = tmp_path / "fleet.yaml"
        node: dict[str, Any] = {"name": "n1", "host": "127.0.0.1", "port": site.node.port, "user": "ops", "key": site.node.key, "python": site.node.python,
                                "state_dir": site.node.state_dir}
        fleet.write_text(yaml.safe_dump({"name": "f", "known_hosts": str(tmp_path / "known_hosts"), "nodes": [node]}))

        def run(*argv: str) -> tuple[int, str, str]:
            capsys.readouterr()
            status = main(["logs", "job", "-i", str(fleet), "--timeout", "30", *argv])
            return (status, *capsys.readouterr())

        yield run
    finally:
        site.close()
        loop.close()


def test_the_end_a_search_a_copy_and_following(logs: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    status, out, err = logs("--merge", "--lines", "3")
    assert status == 0 and sorted(line.split()[-1] for line in out.splitlines()) == ["18", "19", "20", "499", "500", "evil"]
    assert "are not shown" in err

    status, out, _ = logs("--merge", "--grep", "line 49", "--context", "1", "--json")
    found = json.loads(out)
    assert status == 0 and [hit["line"] for hit in found["hits"]] == [49, *range(490, 500)]
    assert found["hits"][0]["before"][0].endswith("line 48") and found["hits"][0]["after"][0].endswith("line 50")
    status, out, _ = logs("--merge", "--grep", "l.ne [0-9]+0$", "--regex", "--most", "7")
    assert status == 0 and len(out.splitlines()) == 7
    assert logs("--merge", "--grep", "nothing like it")[0] == 1

    status, _, err = logs("--download", str(tmp_path / "copy"))
    copied = tmp_path / "copy" / "n1" / "round-00" / "local_rank-0.log"
    (original,) = (tmp_path / "node").rglob("round-00/local_rank-0.log")
    assert status == 0 and copied.read_bytes() == original.read_bytes() and (tmp_path / "copy" / "n1" / "launcher.log").exists()
    assert "3 files" in err

    status, out, _ = logs("--merge", "--follow", "--limit", "3", "--lines", "5")
    assert status == 0 and sum("other" in line for line in out.splitlines()) == 5

    status, out, err = logs("--rank", "5")
    assert status == 1 and "no such log" in err


@pytest.mark.parametrize("logs", [FIRST_RANK], indirect=True)
def test_the_log_that_carries_the_loss_is_the_one_that_is_shown(logs: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    status, out, err = logs()
    assert status == 0 and [line.split()[1] for line in out.splitlines()] == ["1/3", "2/3", "3/3"]
    assert "carries the loss: no other log prints iterations" in err
    assert logs("--download", str(tmp_path / "copy"))[0] == 0
    assert "EI0002" in (tmp_path / "copy" / "n1" / "plog" / "debug" / "plog" / "plog-77_20261122051001.log").read_text()

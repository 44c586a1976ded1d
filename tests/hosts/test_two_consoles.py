"""Two consoles that want the same at the same moment: one gets it, the other hears who has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.site import Site

pytestmark = pytest.mark.ssh


def race(site: Site, jobs: tuple[Path, Path]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Documents of the one that got it and of the one that did not; operators are ann and bob."""
    # On a bastion home of its own each, as two people have.
    both = [site.start("launch", "--json", str(job), "--operator", operator, home=operator) for job, operator in zip(jobs, ("ann", "bob"), strict=True)]
    (first, one, said), (second, other, said_too) = (site.end_of(process) for process in both)
    assert sorted((first, second)) == [0, 1], json.dumps([one, other], indent=1) + said + said_too
    return ({**one, "operator": "ann"}, other) if first == 0 else ({**other, "operator": "bob"}, one)


@pytest.mark.parametrize("names", [("same", "same"), ("mine", "yours")])
def test_of_two_launches_at_once_one_is_refused_and_told_who_is_there(site: Site, names: tuple[str, str]) -> None:
    jobs = [site.job(name, train={"iterations": 100000}) for name in names]
    for _ in range(2):
        won, lost = race(site, (jobs[0], jobs[1]))
        error = lost["error"]
        assert any(word in error["what"] for word in ("already there", "in use", "newer launch")), error
        text = json.dumps(error)
        assert won["attempt"] in text and f"by {won['operator']}" in text, (error, won["attempt"])
        assert "n1" in text or "n2" in text
        assert sorted(site.containers()) == [f"rankdeck-{won['job']} on n1", f"rankdeck-{won['job']} on n2"]
        assert len(site.locks()) == 16
        status, document, err = site.run("stop", won["job"], "--grace", "5", "--yes-i-mean", won["job"])
        assert status == 0, json.dumps(document, indent=1) + err
        site.wait_clean()

from __future__ import annotations

import json
from typing import Any, Dict

import pytest

from agent.parse import containers

PS = ("CONTAINER ID   IMAGE              COMMAND                  CREATED        STATUS                    PORTS     NAMES\n"
      "7b98e3cefba3   train:24.1         \"/bin/bash -c 'sleep…\"   2 hours ago    Up 2 hours                          train-0\n"
      "0c11aa22bb33   registry/a/b:c     \"python x.py\"            3 days ago     Exited (137) 2 days ago   80/tcp    old_one\n")


def inspect(**changes: Any) -> Dict[str, Any]:
    base: Dict[str, Any] = {
        "Id": "7b98", "Name": "/train-0", "Image": "sha256:1234", "State": {"Running": True, "Status": "running", "Pid": 4242, "StartedAt": "2026-02-03T10:00:00Z"},
        "Config": {"Image": "train:24.1", "Env": ["PATH=/bin", "ASCEND_VISIBLE_DEVICES=0-3"], "Labels": {"rankdeck.job": "gpt"}},
        "HostConfig": {"Privileged": False, "NetworkMode": "host", "ShmSize": 67108864,
                       "Devices": [{"PathOnHost": "/dev/davinci10"}, {"PathOnHost": "/dev/davinci2"}, {"PathOnHost": "/dev/davinci_manager"}]},
        "Mounts": [{"Source": "/data", "Destination": "/data", "RW": False}]}
    base.update(changes)
    return base


def test_ps_as_a_table() -> None:
    parsed = containers.parse_ps(PS)
    assert parsed["complete"] is True
    assert [(row["id"], row["image"], row["status"], row["ports"], row["name"]) for row in parsed["containers"]] == [
        ("7b98e3cefba3", "train:24.1", "Up 2 hours", None, "train-0"), ("0c11aa22bb33", "registry/a/b:c", "Exited (137) 2 days ago", "80/tcp", "old_one")]


def test_ps_as_json_lines() -> None:
    text = json.dumps({"ID": "7b98", "Image": "train:24.1", "Names": "train-0", "Status": "Up"}) + "\n" + json.dumps({"ID": "1", "Names": ["podman_name"]}) + "\n"
    parsed = containers.parse_ps(text)
    assert [(row["id"], row["name"], row["ports"]) for row in parsed["containers"]] == [("7b98", "train-0", None), ("1", "podman_name", None)]
    assert parsed["complete"] is True
    assert containers.parse_ps(text[:-5])["complete"] is False


def test_no_container_is_an_answer_and_no_output_is_none() -> None:
    assert containers.parse_ps(PS.splitlines()[0]) == {"complete": True, "containers": []}
    assert containers.parse_ps("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.\n")["complete"] is False


def test_a_line_without_its_end_tells_no_half_cell() -> None:
    whole = containers.parse_ps(PS)["containers"]
    for end in range(PS.index("\n") + 1, len(PS)):
        cut = containers.parse_ps(PS[:end])
        assert cut["complete"] is (PS[end - 1] == "\n")
        for row, want in zip(cut["containers"], whole):
            assert all(value in (None, want[field]) for field, value in row.items()), PS[:end][-30:]


def test_what_stands_around_a_table_is_no_container() -> None:
    for text in ("[root@n1 ~]# docker ps -a\n" + PS + "[root@n1 ~]# ", "Emulate Docker CLI using podman.\n" + PS, PS.replace("\n", "\r\n")):
        assert containers.parse_ps(text)["containers"] == containers.parse_ps(PS)["containers"]
    assert containers.parse_ps("NAMES     STATUS\ntrain-0   Up 2 hours\n")["containers"][0]["status"] == "Up 2 hours"


@pytest.mark.parametrize("text, version", [("Docker version 24.0.7, build afdd53b\n", "24.0.7"), ("Emulate Docker CLI using podman.\npodman version 4.9.4-rhel\n", "4.9.4-rhel"),
                                           ("Client: Docker Engine - Community\n Version:           24.0.7\n API version:       1.43\n", "24.0.7"), ("docker: command not found\n", None)])
def test_version(text: str, version: Any) -> None:
    assert containers.parse_version(text) == version


def test_inspect() -> None:
    parsed = containers.parse_inspect(json.dumps([inspect()]))
    assert parsed["complete"] is True
    [one] = parsed["containers"]
    assert (one["name"], one["image"], one["running"], one["pid"], one["privileged"], one["network"]) == ("train-0", "train:24.1", True, 4242, False, "host")
    assert (one["npus"], one["visible"]) == ([2, 10], "0-3")
    assert one["devices"][2] == "/dev/davinci_manager"
    assert one["mounts"] == [{"source": "/data", "target": "/data", "writable": False}]
    assert one["labels"] == {"rankdeck.job": "gpt"}


@pytest.mark.parametrize("changes", [{"HostConfig": None}, {"State": []}, {"Config": {"Env": None, "Labels": None}}, {"Mounts": [None, 3]}, {"Name": 7},
                                     {"State": {"Pid": 0, "Running": "yes"}}])
def test_inspect_with_parts_missing(changes: Dict[str, Any]) -> None:
    parsed = containers.parse_inspect(json.dumps([inspect(**changes)]))
    assert len(parsed["containers"]) == 1
    assert containers.parse_inspect("[{}]")["complete"] is False


def test_inspect_that_is_cut_or_nonsense() -> None:
    text = json.dumps([inspect()])
    for end in range(len(text)):
        assert containers.parse_inspect(text[:end]) == {"complete": False, "containers": []}
    assert containers.parse_inspect("[" * 100000)["containers"] == []
    assert containers.parse_inspect("[3]") == {"complete": False, "containers": []}

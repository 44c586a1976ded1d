"""Every check, on facts that are well but for one thing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.catalogue import npu_codes
from console.core.errors import FileError
from console.core.preflight import table
from console.core.preflight.asking import ask_for, ping_pairs, proof_places
from console.core.preflight.facts import LEVELS, Case, NodeFacts, Proof
from console.core.preflight.finding import Finding
from console.core.preflight.software_checks import DOCKER_INSTALL, covers
from tests.console.core.preflight.facts import HEX, case, job, node, parts, path, process_job

GUIDE = Path(__file__).parents[4] / "docs" / "guide" / "check.md"


def found(what: Case, ident: str) -> list[Finding]:
    return [finding for finding in table.judge(what).findings if finding.id == ident]


def only(what: Case) -> Finding:
    """The one finding, all checks taken together."""
    (finding,) = table.judge(what).findings
    return finding


def spoilt(name: str, part: str, change: Callable[[dict[str, Any]], object]) -> NodeFacts:
    """A node whose one part is changed."""
    made = node(name)
    change(made.parts[part])
    return made


def test_a_fit_fleet_is_fit() -> None:
    for what in (case(), case(job=None), case(job=process_job())):
        report = table.judge(what)
        assert report.findings == () and report.ok
    assert table.report_text(table.judge(case()), "lab").startswith("Fit: job tiny on fleet lab, 2 of 2 nodes")


# One row a fault: part, what happens to it, check, severity, words of the finding.
SPOILT: list[tuple[str, Callable[[dict[str, Any]], object], str, str, str]] = [
    ("npu", lambda p: p["sample"].update(columns={}, complete=False, absent={"*": "missing"}), "npu-tool", "error", "npu-smi is not on the node"),
    ("npu", lambda p: p["sample"].update(columns={}, complete=False, absent={"*": "timeout"}), "npu-tool", "error", "no answer in time"),
    ("npu", lambda p: p["sample"].update(columns={}, errors=[{"code": -8020, "text": "... ret is -8020"}]), "npu-tool", "error", "another container holds the devices"),
    ("npu", lambda p: p["sample"].update(complete=False), "npu-tool", "warning", "table is not whole"),
    ("npu", lambda p: p["sample"].update(columns={"npu_id": [0], "chip_id": [0], "name": ["910B3"], "health": ["OK"]}),
     "npu-count", "error", "1 listed"),
    ("occupancy", lambda p: p.update(devices=[0, 1, 2]), "npu-count", "warning", "3 of /dev/davinci*"),
    ("npu", lambda p: p["sample"]["columns"].update(health=["OK", "Warning"]), "npu-health", "warning", "health is Warning"),
    ("npu", lambda p: p["sample"]["columns"].update(health=["OK", None]), "npu-health", "unknown", "health of a device"),
    ("npu", lambda p: p["sample"]["columns"].update(health=["OK", None], npu_id=[0, None]), "npu-health", "error", "cannot get a device's health"),
    ("npu", lambda p: p["sample"]["columns"].update(health=["OK", "Offline"]), "npu-health", "error", "health is Offline"),
    ("occupancy", lambda p: p.update(absent={"holders": "denied"}), "npu-occupied", "unknown", "who holds the NPUs"),
    ("npu", lambda p: p["files"].update(hisi_hdc=False), "container-mounts", "error", "a device that the container needs"),
    ("host", lambda p: p.update(ip_forward=0), "ip-forward", "error", "IP forwarding is off"),
    ("host", lambda p: p.update(ip_forward=None), "ip-forward", "unknown", "net.ipv4.ip_forward"),
    ("host", lambda p: p.update(python="3.6.8"), "agent-python", "error", "too old for the agent"),
    ("host", lambda p: p.update(memory_total_mb=1e5), "shm-size", "warning", "larger than the node's memory"),
    ("containers", lambda p: p.update(engine=None, daemon=None, root_dir=None), "engine", "error", "no container engine"),
    ("containers", lambda p: p.update(engine="podman"), "engine", "error", "another container engine"),
    ("containers", lambda p: p.update(daemon="down"), "engine-daemon", "error", "its daemon is down"),
    ("containers", lambda p: p.update(daemon="denied"), "engine-daemon", "error", "may not use docker"),
    ("containers", lambda p: p["root_space"].update(free_mb=500.0), "disk-space", "error", "the container engine's directory has little room"),
    ("containers", lambda p: p["containers"].append({"name": "rankdeck-tiny", "image": "other", "started": "then", "npus": [], "labels": {}}),
     "container-name", "error", "a container of this name"),
    ("containers", lambda p: p["containers"].append({"id": "c", "name": "theirs", "status": "running", "image": "i", "started": "then", "npus": [1], "labels": {}}),
     "npu-occupied", "warning", "given to another container"),
    ("image", lambda p: p.update(present=False, id=None), "image", "error", "the image is not on the node"),
    ("image", lambda p: p.update(present=None, id=None, why="timeout"), "image", "unknown", "whether the image is there"),
    ("runner", lambda p: p["modules"].update(torch=None), "runner", "error", "torch is not installed"),
    ("runner", lambda p: p["errors"].update(torch="ImportError: libhccl.so"), "runner", "error", "torch cannot be imported"),
    ("network", lambda p: p["columns"].update(link=["UP", "DOWN"]), "npu-link", "error", "the network link is down"),
    ("network", lambda p: p["columns"].update(net_health=["Success", "Init"]), "npu-link", "warning", "no detection address"),
    ("network", lambda p: p["columns"].update(net_health=["Success", "Fault"]), "npu-link", "error", "the network check of the device fails"),
    ("network", lambda p: p.update(columns={}, absent={"*": "denied"}), "npu-link", "unknown", "the NPUs' network"),
    ("network", lambda p: p["columns"].update(tls=[True, False]), "npu-tls", "error", "not the same on all NPUs of the node"),
    ("network", lambda p: p["columns"].update(address=["29.0.1.1", "29.0.1.1"]), "npu-address", "error", "two devices have the same address"),
    ("network", lambda p: p["columns"].update(address=["29.0.1.1", None]), "npu-address", "warning", "the device has no address"),
    ("clock", lambda p: p.update(synchronised=False), "clock-kept", "warning", "nothing keeps the clock right"),
    ("nics", lambda p: p["bond0"].update(mtu=1400), "nic", "warning", "the MTU is small"),
    ("path:/w", lambda p: p.update(writable=False), "work-dir", "error", "cannot be written"),
    ("path:/w", lambda p: p["space"].update(free_mb=10_000.0), "disk-space", "warning", "the work directory has little room"),
    ("path:/w", lambda p: p["space"].update(inodes_free=10), "disk-space", "error", "runs out of inodes"),
    ("path:/w/rankdeck", lambda p: p.update(exists=False, nearest="/w"), "job-paths", "error", "a path of the job is not there"),
    ("path:/w/rankdeck", lambda p: p.update(readable=False), "job-paths", "error", "cannot be read"),
    ("path:/w/ckpt", lambda p: p.update(writable=False), "job-paths", "error", "the directory cannot be written"),
    ("path:/usr/local/sbin/npu-smi", lambda p: p.update(exists=False, nearest="/usr/local/sbin"), "container-mounts", "error", "what is to be mounted is not there"),
]


@pytest.mark.parametrize(("part", "change", "ident", "severity", "words"), SPOILT, ids=[f"{row[2]}-{at}" for at, row in enumerate(SPOILT)])
def test_one_fault_on_one_node_is_found_there(part: str, change: Callable[[dict[str, Any]], object], ident: str, severity: str, words: str) -> None:
    report = table.judge(case(node("n0"), spoilt("n1", part, change)))
    mine = [finding for finding in report.findings if finding.id == ident]
    assert mine, [finding.id for finding in report.findings]
    assert any(finding.severity == severity for finding in mine) and all(finding.node in ("n1", "") for finding in mine)
    assert any(words in finding.what or words in finding.got for finding in mine), mine
    assert report.ok == (severity != "error")
    # What else is said must be of the same node: nothing is blamed on the healthy one.
    assert not [finding for finding in report.findings if finding.node == "n0"]


def test_codes_of_a_sick_device_are_explained_and_unknown_ones_kept() -> None:
    codes = npu_codes.load()

    def sick(part: dict[str, Any]) -> None:
        part["sample"]["columns"]["health"] = ["OK", "Alarm"]
        part["health"]["devices"] = [{"npu_id": 1, "chip_id": 0, "health": "Alarm", "codes": [codes.look_up("80E01801"), codes.look_up("DEADBEEF")], "texts": [], "why": ""}]

    (finding,) = found(case(spoilt("n0", "npu", sick)), "npu-health")
    assert finding.where == "NPU 1" and "80E01801 RestartBusiness" in finding.got and "DEADBEEF (not in the catalogue)" in finding.got
    assert finding.command == "npu-smi info -t health -i 1 -c 0" and finding.severity == "error"


def holder(**how: Any) -> dict[str, Any]:
    return {"device": 1, "npu_id": None, "chip_id": None, "pid": 4711, "name": "python", "uid": 1000, "user": "li", "since": 1795329277.0, "container": HEX,
            "job": None, "attempt": None, "source": "fd", **how}


def test_who_holds_a_device_is_told_and_nobody_is_ended() -> None:
    def held(part: dict[str, Any]) -> None:
        part["holders"] = [holder()]

    taken = spoilt("n0", "occupancy", held)
    taken.parts["containers"]["containers"] = [{"id": HEX, "name": "theirs", "status": "running", "image": "i:1", "npus": [1], "labels": {}}]
    (finding,) = found(case(taken), "npu-occupied")
    assert finding.where == "davinci1" and finding.severity == "error"
    assert finding.got == "python (pid 4711) of li in container theirs, since 2026-11-22T06:34:37Z"
    assert finding.remedy is None and "kill" not in finding.command and "stop" not in finding.command
    assert found(case(taken, job=job(fleet={"npus_per_node": 1})), "npu-occupied") == []  # not a device that is wanted
    assert found(case(taken, job=None), "npu-occupied")[0].severity == "warning"
    taken.parts["occupancy"]["holders"] = [holder(job="tiny")]
    assert found(case(taken), "npu-occupied") == []  # our own job, in whatever container


def test_an_occupied_driver_names_the_containers() -> None:
    def occupied(part: dict[str, Any]) -> None:
        part["sample"].update(columns={}, complete=False, errors=[{"code": -8005, "text": "ret is -8005"}], absent={"*": "error"})

    stuck = spoilt("n0", "npu", occupied)
    stuck.parts["containers"]["containers"] = [{"id": HEX, "name": "theirs", "status": "running", "image": "i:1", "npus": [0, 1], "labels": {}}]
    (finding,) = found(case(stuck), "npu-tool")
    assert "theirs (i:1, devices 0,1)" in finding.fix and "nothing is ended" in finding.fix and "inner error" in finding.what


@pytest.mark.parametrize(("ident", "change", "words"), [
    ("driver-same", lambda p: p["versions"].update(driver="24.1.0"), "24.1.0 on n1"),
    ("firmware-same", lambda p: p["versions"].update(firmware="7.1"), "7.1 on n1"),
    ("cann-same", lambda p: p["versions"].update(cann=["8.0.RC3"]), "8.0.RC3 on n1"),
    ("image-same", lambda p: p["image"].update(id="sha256:" + "cd" * 32), "cdcdcdcdcdcd on n1"),
    ("npu-tls", lambda p: p["network"]["columns"].update(tls=[True, True]), "on on n1"),
    ("npu-same", lambda p: p["npu"]["sample"]["columns"].update(name=["910B4"] * 2), "910B4 on n1"),
    ("mtu-same", lambda p: p["nics"]["bond0"].update(mtu=9000), "9000 on n1"),
    ("nic-same", lambda p: p["nics"].update(eth7=p["nics"].pop("bond0")), "eth7 on n1"),
    ("runner-same", lambda p: p["runner"]["modules"].update(torch="2.6.0"), "2.6.0 on n1"),
])
def test_what_differs_between_nodes_is_found(ident: str, change: Callable[[dict[str, Any]], object], words: str) -> None:
    odd = node("n1")
    change(odd.parts)  # type: ignore[arg-type]
    (finding,) = found(case(node("n0"), odd), ident)
    assert finding.node == "" and words in finding.got


def test_clocks_are_compared_no_finer_than_the_round_trip_allows() -> None:
    apart = dataclasses.replace(node("n1"), clock_offset_s=0.8, clock_error_s=0.1)
    assert found(case(node("n0"), apart), "clock-offset")[0].severity == "warning"
    assert found(case(node("n0"), dataclasses.replace(apart, clock_error_s=0.5)), "clock-offset") == []
    assert found(case(node("n0"), dataclasses.replace(apart, clock_offset_s=-30.0)), "clock-offset")[0].severity == "error"


def test_ports_matter_where_they_will_be_used() -> None:
    def listens(port: int) -> Callable[[dict[str, Any]], object]:
        return lambda part: part.update(listening=[port])

    assert only(case(spoilt("n0", "ports", listens(29500)), node("n1"))).where == "port 29500"
    assert table.judge(case(node("n0"), spoilt("n1", "ports", listens(29500)))).findings == ()  # the rendezvous is on the first node
    assert only(case(node("n0"), spoilt("n1", "ports", listens(60007)))).severity == "error"
    moved = job(env={"HCCL_IF_BASE_PORT": "61000"})
    assert table.judge(case(node("n0"), spoilt("n1", "ports", listens(60007)), job=moved)).findings == ()  # above the kernel's range as well
    assert only(case(node("n0"), spoilt("n1", "ports", listens(61007)), job=moved)).where == "ports 61000-61015"
    loose = job(env={"HCCL_HOST_SOCKET_PORT_RANGE": "auto"})
    assert only(case(node("n0"), spoilt("n1", "ports", listens(60007)), job=loose)).severity == "warning"


@pytest.mark.parametrize(("reserved", "job_port", "subject"), [
    ("", 29500, "60000-60015"), ("60000-60009,60011", 29500, "60000-60015"), ("8080,9148-9150", 29500, "8080,9148-9150,60000-60015"),
    ("60000-60015", 40000, "40000,60000-60015"), ("garbage", 29500, "60000-60015")])
def test_needed_ports_that_the_kernel_gives_away(reserved: str, job_port: int, subject: str) -> None:
    what = case(spoilt("n0", "ports", lambda part: part.update(reserved=reserved)), node("n1"), job=job(fleet={"master_port": job_port}))
    finding = only(what)
    assert (finding.id, finding.severity, finding.node) == ("ports-reserved", "warning", "n0")
    assert finding.remedy is not None and finding.remedy.argv == ("sysctl", "-w", f"net.ipv4.ip_local_reserved_ports={subject}")
    assert finding.command == f"sysctl -w net.ipv4.ip_local_reserved_ports={subject}"
    elsewhere = case(spoilt("n0", "ports", lambda part: part.update(reserved=reserved, local_range=[1024, 20000])), node("n1"), job=job(fleet={"master_port": job_port}))
    assert table.judge(elsewhere).findings == ()


def test_a_range_that_cannot_be_read_is_unknown() -> None:
    assert only(case(spoilt("n0", "ports", lambda part: part.update(local_range=[])))).severity == "unknown"


def test_docker_that_is_not_there_shows_the_install_command_and_no_remedy() -> None:
    def gone(part: dict[str, Any]) -> None:
        part.update(engine=None, daemon=None, root_dir=None)

    for what, severity in ((case(spoilt("n0", "containers", gone)), "error"), (case(spoilt("n0", "containers", gone), job=None), "warning")):
        finding = only(what) if severity == "warning" else found(what, "engine")[0]
        assert (finding.severity, finding.command, finding.remedy) == (severity, DOCKER_INSTALL, None)
    assert table.judge(case(spoilt("n0", "containers", gone), job=process_job())).findings == ()


@pytest.mark.parametrize(("target", "hides"), [
    ("/home/ma-user", True), ("/home/ma-user/", True), ("/home//ma-user/.", True), ("/home", True), ("/", True), ("/home/x/../ma-user", True),
    ("/home/ma-user/ws", False), ("/home/ma-user2", False), ("/data", False)])
def test_a_mount_over_the_images_home_is_found_however_it_is_written(target: str, hides: bool) -> None:
    assert covers(target, "/home/ma-user") == hides
    what = case(node("n0", **{"path:/data": path("/data")}), job=job(container={"mounts": [f"/data:{target}"]}))
    assert bool(found(what, "container-mounts")) == hides


def test_the_drivers_parts_are_mounted_together() -> None:
    few = job(container={"driver_mounts": ["/usr/local/sbin/npu-smi:/usr/local/sbin/npu-smi"]})
    assert only(case(job=few)).got == "no dcmi, no driver"


@pytest.mark.parametrize(("says", "readers", "severity"), [
    ("shared", {"n1": "seen"}, None), ("shared", {"n1": "not there"}, "error"), ("per-node", {"n1": "seen"}, "warning"), ("per-node", {"n1": "not there"}, None),
    ("shared", {"n1": "the link was lost"}, "unknown")])
def test_storage_is_what_the_job_says(says: str, readers: dict[str, str], severity: str | None) -> None:
    proof = Proof(dir="/w/ckpt", writer="n0", written=True, readers=readers)
    findings = found(case(proofs=(proof,), job=job(checkpoint={"storage": says})), "storage")
    assert [finding.severity for finding in findings] == ([severity] if severity else [])


def test_what_only_a_deep_check_measures() -> None:
    lost = {"n0": ({"device": 0, "address": "29.0.1.1", "sent": 3, "received": 0, "why": ""}, {"device": 1, "address": "29.0.1.2", "sent": 3, "received": 3, "why": ""})}
    assert "1 of 2 pairs fail: davinci0 to 29.0.1.1" in only(case(pings=lost)).got
    assert only(case(pings={"n0": ({"device": 0, "address": "29.0.1.1", "sent": None, "received": None, "why": "timeout"},)})).severity == "unknown"
    assert only(case(speeds={"n0": {"mb": 256, "mb_s": 100.0}})).severity == "warning"
    assert only(case(speeds={"n0": {"mb": 256, "mb_s": 10.0}})).severity == "error"
    assert table.judge(case(level="standard", pings=lost)).findings == ()


def test_a_dead_node_is_an_error_and_the_others_are_judged() -> None:
    dead = NodeFacts(node=node("n1").node, reached=False, why="no answer from 10.0.0.2 port 22", fix="Is the machine up?")
    report = table.judge(case(spoilt("n0", "host", lambda part: part.update(ip_forward=0)), dead))
    assert [(finding.id, finding.node) for finding in report.findings] == [("node-reachable", "n1"), ("ip-forward", "n0")]
    assert not report.ok
    mapping = table.report_mapping(report, "lab")
    assert {check["id"]: check["nodes"]["n1"] for check in mapping["checks"]}["ip-forward"] == "-"


def test_devices_that_the_job_does_not_use_are_not_in_its_way() -> None:
    def sick(which: int) -> Case:
        return case(spoilt("n0", "npu", lambda part: part["sample"]["columns"]["health"].__setitem__(which, "Alarm")), node("n1"),
                    job=process_job(fleet={"npus_per_node": 1}))

    assert only(sick(0)).severity == "error" and only(sick(1)).severity == "warning"
    gone = spoilt("n0", "npu", lambda part: [column.pop() for column in part["sample"]["columns"].values()])
    assert [finding.severity for finding in found(case(gone, node("n1"), job=process_job(fleet={"npus_per_node": 1})), "npu-count")][:1] == ["warning"]


def test_a_waived_error_is_shown_and_does_not_count() -> None:
    what = case(spoilt("n0", "host", lambda part: part.update(ip_forward=0)))
    report = table.judge(what, {"ip-forward": "host network only"})
    assert report.ok and report.remediable == () and report.findings[0].waived == "host network only"
    assert "Waived:" in table.report_text(report, "lab") and "host network only" in table.report_text(report, "lab")
    for waivers in ({"ip-forwad": "typo"}, {"ip-forward": " "}):
        with pytest.raises(FileError):
            table.checked_waivers(waivers, "--waive")


def test_remedies_have_their_exact_command() -> None:
    off = spoilt("n0", "host", lambda part: part.update(ip_forward=0))
    assert only(case(off)).remedy.argv == ("sysctl", "-w", "net.ipv4.ip_forward=1")  # type: ignore[union-attr]
    bare = node("n0", image={"present": False, "id": None})
    assert only(case(bare)).command == "docker pull train:1"
    new = node("n0", **{"path:/w": path("/w", exists=False, nearest="/", kind=None, readable=None)})
    assert found(case(new), "work-dir")[0].command == "mkdir -p -- /w"
    new.parts["path:/w"]["writable"] = False
    assert found(case(new), "work-dir")[0].remedy is None


def test_parts_that_did_not_come_are_unknown_and_no_faults() -> None:
    silent = NodeFacts(node=node("n1").node, parts={"host": parts()["host"]}, absent=dict.fromkeys(("network", "containers", "runner", "ports", "path:/w", "path:/w/ckpt"), "timeout"))
    report = table.judge(case(node("n0"), silent))
    severities = {finding.id: finding.severity for finding in report.findings if finding.node == "n1"}
    assert severities.pop("npu-tool") == "error"  # NPUs that do not answer are a fault
    assert set(severities.values()) == {"unknown"} and {"node-answer", "work-dir", "npu-link", "engine", "runner", "ports-free"} <= set(severities)
    assert "runner (no answer in time)" in found(case(node("n0"), silent), "node-answer")[0].got


def test_alike_findings_are_told_once_with_their_nodes() -> None:
    names = [f"n{number}" for number in range(9)]
    off = [dataclasses.replace(spoilt(name, "host", lambda part: part.update(ip_forward=0)), node=dataclasses.replace(node().node, name=name)) for name in names]
    text = table.report_text(table.judge(case(*off, level="quick")), "lab")
    assert text.count("IP forwarding is off") == 1 and "n0, n1, n2, n3, n4, n5 and 3 more" in text and "9 errors" in text


def test_what_is_asked_for_depends_on_level_and_job() -> None:
    quick = ask_for(None, "quick", 20.0)
    assert quick["paths"] == ["~/"] and "python" not in quick
    asked = ask_for(job(container={"mounts": ["/data:/data:ro"]}), "standard", 30.0)
    assert asked["image"] == "train:1" and asked["in_image"] and {"/w", "/w/ckpt", "/data", "/usr/local/dcmi"} <= set(asked["paths"])
    assert asked["modules"] == ["torch", "megatron.core=megatron-core", "torch_npu"] and asked["limit_s"] < asked["imports_s"] < 30.0
    assert "image" not in ask_for(process_job(), "standard", 30.0)


def test_all_pairs_of_devices_of_different_nodes_are_pinged() -> None:
    assert ping_pairs(case()) == {"n0": [[0, "29.0.1.1"], [1, "29.0.1.2"], [0, "29.0.1.2"], [1, "29.0.1.1"]],
                                  "n1": [[0, "29.0.0.1"], [1, "29.0.0.2"], [0, "29.0.0.2"], [1, "29.0.0.1"]]}


def test_the_proof_is_written_where_the_directory_will_be() -> None:
    def at(name: str, full: str, nearest: str, **how: Any) -> NodeFacts:
        return node(name, **{"path:/w/ckpt": path(full, exists=full == nearest, nearest=nearest, **how)})

    assert proof_places(case(at("n0", "/w/ckpt", "/w"), at("n1", "/w/ckpt", "/w/ckpt"))) == {"n0": "/w", "n1": "/w"}
    assert proof_places(case(at("n0", "/w/ckpt", "/w", writable=False), at("n1", "/w/ckpt", "/w"))) == {"n1": "/w", "n0": "/w"}
    assert proof_places(case(at("n0", "/w/ckpt", "/"), at("n1", "/w/ckpt", "/"))) == {}
    # Below the login's home each node has its own.
    home = job(checkpoint={"dir": "~/ckpt"})
    pair = [node(name, **{"path:~/ckpt": path(f"/home/{name}/ckpt", exists=False, nearest=f"/home/{name}")}) for name in ("n0", "n1")]
    places = proof_places(case(*pair, job=dataclasses.replace(home, container=process_job().container)))
    assert places == {"n0": "/home/n0", "n1": "/home/n1"}


def test_every_check_is_in_the_guide() -> None:
    rows = [[cell.strip() for cell in line.split("|")] for line in GUIDE.read_text(encoding="utf-8").splitlines()]
    listed = [(row[1].strip("`"), row[2]) for row in rows if len(row) == 5 and row[2] in LEVELS]
    assert listed == [(check.id, check.level) for check in table.CHECKS]
    assert len({ident for ident, _ in listed}) == len(listed)

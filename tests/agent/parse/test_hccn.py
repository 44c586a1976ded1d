from __future__ import annotations

from typing import Any, Dict, List

import pytest

from agent.parse import hccn, hccn_many
from tests.agent.hccn_950 import dev_info

CASES: Dict[str, Any] = {
    "ipaddr:192.0.2.10\nnetmask:255.255.255.0\n": {"kind": "ip", "address": "192.0.2.10", "netmask": "255.255.255.0"},
    "link status: DOWN\n": {"kind": "link", "status": "DOWN"},
    "net health status: Socket failed\n": {"kind": "net_health", "status": "Socket failed"},
    "fec mode: no FEC mode\n": {"kind": "fec", "mode": "no FEC mode"},
    "Speed: 200000 Mb/s\n": {"kind": "speed", "speed_mb_s": 200000},
    "Speed: Unknown!\n": {"kind": "speed", "speed_mb_s": None},
    "Bandwidth TX: 0.00 MB/sec\nBandwidth RX: 266.84 MB/sec\n": {"kind": "bandwidth", "tx_mb_s": 0.0, "rx_mb_s": 266.84},
    "default gateway:192.0.2.1, Iface:eth3\n": {"kind": "gateway", "address": "192.0.2.1", "interface": "eth3"},
    "netdetect address: 192.0.2.9\n": {"kind": "netdetect", "address": "192.0.2.9"},
    "netdetect addr: 192.0.2.9\n": {"kind": "netdetect", "address": "192.0.2.9"},
    "Optical module is not present.\n": {"kind": "optical", "present": False, "readings": {}},
    "packet statistics:\nmac_tx_mac_pause_num:0\nroce_rx_err_pkt_num:11\n": {
        "kind": "stat", "complete": True, "counters": {"mac_tx_mac_pause_num": 0, "roce_rx_err_pkt_num": 11}},
    "dev_id:3, tls switch[1](0:disable, 1:enable), tls preconfigured[1](0:non-preset, 1:preset), tls alarm time threshold[60]days\n": {
        "kind": "tls", "device": 3, "enabled": True, "alarm_days": 60, "preconfigured": True, "certificates": []},
    "device 3, tls switch[0](0:disable, 1:enable), tls preconfigured[0](0:non-preset, 1:preset), tls alarm time threshold[90]days\n"
    "device 3, [pub cert] info:\n\t subject[/C=CN/O=x]\n\t issuer[]\n\t start_time[Sat Jan 31 03:10:27 2026 GMT]\n\t end_time[Mon Mar  2 03:10:27 2026 GMT]\n"
    "\t tls expiration status[2](0:normal, 1:near expiration, 2:has expired)\n": {
        "kind": "tls", "device": 3, "enabled": False, "alarm_days": 90, "preconfigured": False, "certificates": [
            {"name": "pub cert", "subject": "/C=CN/O=x", "issuer": None, "starts": "Sat Jan 31 03:10:27 2026 GMT", "ends": "Mon Mar  2 03:10:27 2026 GMT", "expiry": 2}]},
    "[devid 2]current time        : Wed Aug  2 03:36:43 2023\n[devid 2]link up count       : 2\n[devid 2]link change records :\n"
    "[devid 2]    Tue Aug  1 14:44:40 2023    LINK DOWN\n[devid 2]    Tue Aug  1 14:43:26 2023    LINK UP\n": {
        "kind": "link_stat", "device": 2, "current_time": "Wed Aug 2 03:36:43 2023", "link_up_count": 2, "link_down_count": None,
        "changes": [{"time": "Tue Aug 1 14:44:40 2023", "status": "DOWN"}, {"time": "Tue Aug 1 14:43:26 2023", "status": "UP"}]},
    "link up count :    2\nlink down count :  1\n+-----+------+------+-------------+-------------------------+\n| NPU | UDie | Port | Link_Status | Time_Stamp              |\n"
    "|  0  |  0   |  4   |  LINK_UP    | Mon Feb 9 21:45:51 2026 |\n": {
        "kind": "link_stat", "device": None, "link_up_count": 2, "link_down_count": 1, "changes": [{"time": "Mon Feb 9 21:45:51 2026", "status": "UP"}]},
    "device 3 PING 192.0.2.5\nrecv seq=0,time=1.418000ms\nrecv seq=1,time=0.034000ms\n3 packets transmitted, 2 received, 33.33% packet loss\n": {
        "kind": "ping", "device": 3, "address": "192.0.2.5", "sent": 3, "received": 2, "loss_pct": 33.33,
        "replies": [{"seq": 0, "time_ms": 1.418}, {"seq": 1, "time_ms": 0.034}]},
    "device 3 PING 192.0.2.5\nrecv time out seq=0\n1 packets transmitted, 0 received, 100.00% packet loss\n": {
        "kind": "ping", "sent": 1, "received": 0, "loss_pct": 100.0, "replies": []},
    "device 0 dev eth0 PING 192.0.2.4 to 192.0.2.5\nrecv seq=0,time=0.097000ms\n1 packets transmitted, 1 received, 0.00% packet loss\n": {
        "kind": "ping", "device": 0, "address": "192.0.2.5", "received": 1},
    "device 1 PING6 fe80::1\nDestination Host Unreachable\n": {"kind": "ping", "device": 1, "address": "fe80::1", "received": None, "replies": []},
    "Chassis ID TLV\n        MAC: 00:11\nPort ID TLV\n        Ifname: 400GE1/1/20:2\nEnd of LLDPDU TLV\n": {
        "kind": "lldp", "port": "400GE1/1/20:2", "complete": True},
    "Netdev status:Settings for eth3:\n        Speed: 200000Mb/s\n        Link detected: yes\n": {
        "kind": "status", "settings": {"speed": "200000Mb/s", "link_detected": "yes"}},
}


@pytest.mark.parametrize("text", sorted(CASES))
def test_each_option_is_told_by_its_text(text: str) -> None:
    parsed = hccn.parse(text)
    assert {name: parsed[name] for name in CASES[text]} == CASES[text]
    assert hccn.recognised(parsed)


def test_optical() -> None:
    parsed = hccn.parse("optical info:\npresent              : not present\ntemperature          : 47 C\nvendor name          : ACME\nTx Power0            : 4.4035 mW\n"
                        "Rx Power0            : not supported\nRx Los Flag          : 0xff\n")
    assert (parsed["kind"], parsed["present"]) == ("optical", False)
    assert parsed["readings"]["temperature"] == {"value": 47, "unit": "C"}
    assert parsed["readings"]["tx_power0"] == {"value": 4.4035, "unit": "mW"}
    assert parsed["readings"]["rx_power0"] == {"value": None, "unit": None}
    assert parsed["readings"]["vendor_name"]["value"] == "ACME"
    assert parsed["readings"]["rx_los_flag"]["value"] == "0xff"


STATES = ["UP", "DOWN", "UP"]


@pytest.mark.parametrize("piece, field, values", [
    ("packet statistics:\nmac_tx_mac_pause_num:%d\n", "counters", [{"mac_tx_mac_pause_num": number} for number in range(3)]),
    ("optical info:\npresent              : present\ntemperature          : %d C\n", "readings", [{"temperature": {"value": number, "unit": "C"}} for number in range(3)]),
    ("[device 7]current time        : Wed Aug  2 03:36:43 2023\n[device 7]link up count       : %d\n[device 7]link change records :\n", "link_up_count", [0, 1, 2]),
    ("device %d PING 192.0.2.5\nrecv seq=0,time=1.0ms\n1 packets transmitted, 1 received, 0.00%% packet loss\n", "device", [0, 1, 2]),
    ("Chassis ID TLV\n\tMAC: 00:11\nPort ID TLV\n\tIfname: 10GE%d\nEnd of LLDPDU TLV\n", "port", ["10GE0", "10GE1", "10GE2"]),
    ("device %d, tls switch[1](0:disable, 1:enable)\n", "device", [0, 1, 2])])
def test_a_loop_without_commands_mixes_no_devices(piece: str, field: str, values: List[Any]) -> None:
    found = hccn_many.parse("".join(piece % number for number in range(3)))
    assert [one[field] for one in found] == values


def test_options_in_turn_are_told_apart() -> None:
    found = hccn_many.parse("".join("link status: %s\nnet health status: Fault\nipaddr:192.0.2.%d\nnetmask:255.255.255.0\n" % (state, number) for number, state in enumerate(STATES)))
    assert [one["status"] for one in found if one["kind"] == "link"] == STATES and [one["kind"] for one in found] == ["link", "net_health", "ip"] * 3
    assert [one["address"] for one in found if one["kind"] == "ip"] == ["192.0.2.0", "192.0.2.1", "192.0.2.2"]


def test_unknown_and_damaged_text() -> None:
    assert hccn.parse("Cmd executed successfully!\n") == {"kind": None, "device": None}
    for text in CASES:
        for end in range(len(text)):
            hccn.parse(text[:end])
    hccn.parse("link status:" * 100000)
    hccn.parse("packet statistics:\n" + "a" * 200000)


def test_hardware_counters_and_routes() -> None:
    found = hccn.parse("[devid 3] pd_alloc: 1\n[devid 3] qp_active: 12\n")
    assert (found["kind"], found["device"], found["counters"]) == ("hw_stats", 3, {"pd_alloc": 1, "qp_active": 12})
    found = hccn.parse("Routing table:\nDestination     Gateway         Genmask         Flags Metric Ref    Use Iface\n"
                       "default         29.1.0.1        0.0.0.0         UG    0      0        0 eth3\n"
                       "29.1.0.0        *               255.255.0.0     U     0      0        0 eth3\n")
    assert found["kind"] == "route" and [(route["destination"], route["gateway"]) for route in found["routes"]] == [("default", "29.1.0.1"), ("29.1.0.0", None)]


def test_the_ports_of_a_950() -> None:
    text = dev_info()
    found = hccn.parse(text)
    assert found["kind"] == "dev_info" and found["complete"]
    assert [(port["udie"], port["port"], port["speed_gbps"], port["link"], port["media"]) for port in found["ports"]] == [
        (0, 4, 400, "UP", "Electrical"), (1, 5, 400, "DOWN", None)]
    assert [face["name"] for face in found["interfaces"]] == ["end0v0", "ipourma0"]
    assert found["interfaces"][1]["addresses"] == ["::10:0:dfdf:51", "::10:0:dfdf:30"]
    assert found["eids"] == {"udma1": ["0000:0000:0000:0000:0010:0000:dfdf:0020", "0000:0000:0000:0000:0010:0000:dfdf:0028"]}
    assert not hccn.parse(text.rpartition("+--")[0])["complete"]
    assert not hccn.parse(text.replace("| 1       | 5       | 400                 | UB        | DOWN        | NA         |", "| 1       | 5       | 40"))["complete"]


def test_the_other_boxes_and_lines_of_a_950() -> None:
    speed = hccn.parse("+-----+------+------+---------+-----+-------+-----------+\n| NPU | UDie | Port | Speed   | Cap | Width | Status    |\n"
                       "+-----+------+------+---------+-----+-------+-----------+\n| 0   | 0    | 4    | 400 G   | X4  | X4    | normal    |\n"
                       "+-----+------+------+---------+-----+-------+-----------+\n")
    assert speed["kind"] == "speed" and speed["speed_mb_s"] == 400000 and speed["ports"][0]["status"] == "normal" and speed["complete"]
    fec = hccn.parse("+-----+------+------+---------+------------------+------------+\n| NPU | UDie | Port | rs_mode | auto_change_mode | itlv_mode  |\n"
                     "+-----+------+------+---------+------------------+------------+\n| 0   | 0    | 4    | 128 T4  | Static           | Interweave |\n"
                     "+-----+------+------+---------+------------------+------------+\n")
    assert fec["kind"] == "fec" and fec["mode"] == "128 T4"
    joined = hccn.parse("link status : PARTIAL LINK\nport 4 : UP\nport 5 : DOWN\nport 6 : PARTIAL UP\n")
    assert joined["kind"] == "ub_connect" and joined["status"] == "PARTIAL LINK" and joined["ports"] == {4: "UP", 5: "DOWN", 6: "PARTIAL UP"}
    assert hccn.parse("link status: UP\n")["kind"] == "link" and hccn.parse("link status : UP\n")["status"] == "UP"
    vnic = hccn.parse("vnic link status: UP\nvnic ipaddr: 192.168.2.199\nvnic netmask: 255.255.255.0\n")
    assert (vnic["kind"], vnic["status"], vnic["address"]) == ("vnic", "UP", "192.168.2.199")
    assert hccn.parse("Network Driver Version:    25.7.rc1\nNetwork Firmware Version:  B0202_1053\n")["driver"] == "25.7.rc1"


def test_a_line_of_many_options_is_read_as_quickly_as_a_short_one() -> None:
    line = "hccn_tool" + " -i 0 -t" * 200 + " ,\n"    # the comma is in no option: every way to read the rest used to be tried
    assert hccn_many.parse(line) == []

"""The NPUs' network ports: what is asked, and what a card that does not answer costs."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from agent import wire
from agent.probe import network
from agent.probe.command import Result
from tests.agent.hccn_950 import dev_info

SAID = {"link": "link status: UP\n", "net_health": "net health status: Success\n", "ip": "ipaddr:29.0.0.%d\nnetmask:255.255.0.0\n",
        "tls": "dev_id:0, tls switch[1](0:disable, 1:enable), tls alarm time threshold[60]days\n",
        "link_stat": "[device 0]current time        : Mon Aug 4 18:33:50 2025\n[device 0]link up count       : 2\n[device 0]link change records :\n"
                     "[device 0]    Tue Jul  8 14:41:10 2025    LINK UP\n",
        "optical": "optical info:\npresent : present\nTx Power0 : 1.0 mW\n"}


class Tool:
    """A hccn_tool that remembers what it was asked."""

    def __init__(self, answer: Callable[[int, str], Result] | None = None) -> None:
        self.asked: list[list[str]] = []
        self._answer = answer

    def __call__(self, argv: list[str], timeout_s: float) -> Result:
        self.asked.append(argv[1:])
        if argv[1] != "-i":
            return Result(1, "hccn_tool -i <device> -link -g\n", 0.01, "")
        device, option = int(argv[2]), argv[3][1:]
        special = self._answer(device, option) if self._answer else None
        return special or Result(0, SAID[option] % device if "%d" in SAID[option] else SAID[option], 0.01, "")


def read(tool: Tool, devices: Any = (0, 1), **how: Any) -> dict[str, Any]:
    return network.read(devices, runner=tool, finder=lambda name: "/usr/local/bin/" + name, **how)


def test_every_device_is_asked_and_nothing_is_set() -> None:
    tool = Tool()
    data = read(tool)
    assert wire.problems_in("network", data) == [] and data["absent"] == {}
    columns = data["columns"]
    assert columns["device"] == [0, 1] and columns["link"] == ["UP", "UP"] and columns["address"] == ["29.0.0.0", "29.0.0.1"]
    assert columns["tls"] == [True, True] and columns["net_health"] == ["Success"] * 2 and columns["link_up_count"] == [2, 2]
    assert set(columns) == set(network.COLUMNS)
    assert all(words[-1] == "-g" and "-s" not in words and "-cfg" not in words for words in tool.asked)


def test_a_device_that_does_not_answer_is_asked_once() -> None:
    tool = Tool(lambda device, option: Result(None, "", 3.0, "timeout") if device == 0 else None)
    data = read(tool)
    assert data["columns"]["link"] == [None, "UP"] and data["absent"]["link"] == "timeout"
    assert len([words for words in tool.asked if words[1] == "0"]) == 1


def test_what_is_denied_is_not_asked_of_the_other_devices() -> None:
    tool = Tool(lambda device, option: Result(1, "hccn_tool: Operation not permitted\n", 0.01, "") if option == "tls" else None)
    data = read(tool, devices=range(16))
    assert data["absent"] == {"tls": "denied"} and len([words for words in tool.asked if words[2] == "-tls"]) == 1


def test_nothing_that_was_not_printed_is_told() -> None:
    for text, why in (("", "unparseable"), ("link status:\n", "unparseable"), ("This device does not support it\n", "unsupported")):
        data = read(Tool(lambda device, option, text=text: Result(0, text, 0.01, "")), options=("link",))  # type: ignore[misc]
        assert data["columns"]["link"] == [None, None] and data["absent"] == {"link": why}


def test_a_tool_that_is_busy_is_asked_again_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "BUSY_S", 0.0)
    busy = Result(1, "hccn_tool is busy, please try again.\n", 0.01, "")
    asked: list[int] = []

    def answer(device: int, option: str) -> Result | None:
        asked.append(device)
        return busy if device == 1 or len(asked) == 1 else None

    data = read(Tool(answer), options=("link",))
    assert data["columns"]["link"] == ["UP", None] and data["absent"] == {"link": "error"} and asked == [0, 0, 1, 1]


def test_a_device_without_an_address_has_none_and_that_is_known() -> None:
    data = read(Tool(lambda device, option: Result(1, "Get ipconf failed, because no ip was preset there!\n", 0.01, "") if device == 1 else None), options=("ip",))
    assert data["columns"]["address"] == ["29.0.0.0", None] and data["absent"] == {}


def test_there_is_an_end_to_it() -> None:
    tool = Tool()
    data = read(tool, devices=range(16), budget_s=-1.0)
    assert tool.asked == [] and set(data["absent"].values()) == {"timeout"}


def test_without_the_tool() -> None:
    assert network.read([0], finder=lambda name: None)["absent"] == {"*": "missing"}


PING = "device 0 PING 29.0.1.5\nrecv seq=0,time=1.418000ms\nrecv seq=1,time=0.034000ms\nrecv seq=2,time=0.040000ms\n3 packets transmitted, 3 received, 0.00% packet loss\n"


def test_pings_tell_answer_loss_and_silence_apart() -> None:
    texts = {"29.0.1.5": Result(0, PING, 0.1, ""), "29.0.1.6": Result(1, PING.replace("3 received", "0 received").replace("recv", "lost"), 3.0, ""),
             "29.0.1.7": Result(None, "", 8.0, "timeout"), "29.0.1.8": Result(1, "device 0 PING 29.0.1.8\nDestination Host Unreachable\n", 3.0, "")}
    tool = lambda argv, timeout_s: texts[argv[-1]]  # noqa: E731
    rows = network.ping([(0, address) for address in sorted(texts)], 60.0, runner=tool, finder=lambda name: name)
    assert [(row["received"], row["why"]) for row in rows] == [(3, ""), (0, ""), (None, "timeout"), (0, "")]
    late = network.ping([(0, "29.0.1.5")], -1.0, runner=tool, finder=lambda name: name)
    assert late[0]["why"] == "timeout" and late[0]["sent"] is None


USAGE = "Usage\n        hccn_tool -mode -cmd -npu_info [-options]\n"
STAT = """\
link up count :    2
link down count :  1
+-----+------+------+-------------+-------------------------+
| NPU | UDie | Port | Link_Status | Time_Stamp              |
+-----+------+------+-------------+-------------------------+
|  0  |  0   |  4   |  LINK_UP    | Mon Feb 9 21:45:51 2026 |
+-----+------+------+-------------+-------------------------+
"""


class Tool950:
    """A 950's hccn_tool: it answers its own form, and with its usage any other."""

    def __init__(self, state: str = "UP") -> None:
        self.asked: list[list[str]] = []
        self.state = state

    def __call__(self, argv: list[str], timeout_s: float) -> Result:
        words = argv[1:]
        self.asked.append(words)
        if words[:1] != ["-g"] or words[2:3] != ["-i"]:
            return Result(1, USAGE, 0.01, "")
        if words[1] == "-dev_info":
            return Result(0, dev_info(self.state, "Electrical", "::10:0:dfdf:5" + words[3]), 0.01, "")
        if words[1] == "-link_stat" and words[4:] in (["-u", "0", "-p", "4"], ["-u", "1", "-p", "5"]):
            return Result(0, STAT, 0.01, "")
        if words[1] == "-tls":
            return Result(0, "dev_id:%s, tls switch[0](0:disable, 1:enable), tls alarm time threshold[60]days\n" % words[3], 0.01, "")
        return Result(1, USAGE, 0.01, "")


@pytest.fixture
def fresh() -> Any:
    network._own_form.clear()
    yield
    network._own_form.clear()


def test_a_950_is_asked_in_its_own_form(fresh: None) -> None:
    tool = Tool950()
    data = read(tool)
    assert wire.problems_in("network", data) == []
    columns = data["columns"]
    assert columns["link"] == ["UP", "UP"] and columns["tls"] == [False, False]
    assert columns["address"] == ["::10:0:dfdf:50", "::10:0:dfdf:51"] and columns["netmask"] == ["ffff:ffff:ffff:ffff::"] * 2
    assert columns["link_up_count"] == [4, 4] and columns["link_down_count"] == [2, 2]  # of both ports together
    assert data["absent"] == dict.fromkeys(("net_health", "optical_present"), "unsupported")
    assert not any(word in ("-s", "-t", "-cfg") for words in tool.asked for word in words)
    tool.asked.clear()
    assert read(tool)["columns"] == columns and all(words[0] == "-g" for words in tool.asked)  # it is known by now


@pytest.mark.parametrize(("state", "link"), [("DOWN", "PARTIAL"), ("", None)])
def test_ports_that_differ_are_not_called_up(fresh: None, state: str, link: str | None) -> None:
    data = read(Tool950(state))
    assert data["columns"]["link"] == [link, link] and data["absent"].get("link") == (None if link else "unparseable")


def test_another_tool_in_the_same_place_is_found_out(fresh: None) -> None:
    read(Tool950())
    older = Tool()
    assert read(older)["columns"]["net_health"] == ["Success"] * 2
    assert read(older)["columns"]["link"] == ["UP"] * 2 and older.asked[-1][0] == "-i"
    assert read(Tool950())["columns"]["link_up_count"] == [4, 4]


def test_a_950_that_hangs_or_refuses_says_so(fresh: None) -> None:
    tool = Tool950()
    read(tool)
    hung = read(lambda argv, timeout_s: Result(None, "", 3.0, "timeout"))  # type: ignore[arg-type]
    assert set(hung["absent"].values()) == {"timeout", "unsupported"} and hung["columns"]["link"] == [None, None]
    denied = read(lambda argv, timeout_s: Result(1, "Operation not permitted\n", 0.1, ""))  # type: ignore[arg-type]
    assert denied["absent"]["link"] == denied["absent"]["tls"] == "denied"

"""Who is attached and what they say, over the resident's socket."""

from __future__ import annotations

from tests.agent.conftest import Console, Node


def present(console: Console) -> list:
    """The consoles of the newest presence record: (operator, armed)."""
    told = console.records("presence")
    return [(each["operator"], each["armed_until"] is not None) for each in told[-1]["data"]["consoles"]] if told else []


def test_everybody_learns_who_comes_arms_and_goes(node: Node) -> None:
    node.start()
    ann = node.console(operator="ann")
    ann.wait(lambda m: present(ann) == [("ann", False)])
    bob = node.console(operator="bob")
    bob.wait(lambda m: present(bob) == [("ann", False), ("bob", False)])
    assert bob.do("armed", left_s=600) == {}
    ann.wait(lambda m: present(ann) == [("ann", False), ("bob", True)])
    bob.do("armed", left_s=0)
    ann.wait(lambda m: present(ann) == [("ann", False), ("bob", False)] and len(ann.records("presence")) >= 4)
    bob.close()
    ann.wait(lambda m: present(ann) == [("ann", False)] and len(ann.records("presence")) >= 5)


def test_arming_ends_by_itself(node: Node) -> None:
    node.start()
    ann = node.console(operator="ann")
    ann.do("armed", left_s=0.5)
    ann.wait(lambda m: present(ann) == [("ann", False)])


def test_what_one_says_reaches_who_comes_later_also_after_a_restart(node: Node) -> None:
    child = node.start()
    ann = node.console(operator="ann")
    ann.do("remark", id="r1", what="acknowledge", subject="node/n0/link", text="cable is being changed")
    ann.do("remark", id="r2", what="mute", subject="node/n0/*", text="maintenance", until=2e9)
    ann.do("remark", id="r1", what="acknowledge", subject="node/n0/link", text="said once more")
    child.kill()
    child.wait()
    node.start()
    bob = node.console(operator="bob")
    bob.record("remark", id="r2")
    bob.settle()
    said = [(m["data"]["id"], m["data"]["operator"], m["data"]["text"], m["data"]["until"]) for m in bob.records("remark")]
    assert sorted(said) == [("r1", "ann", "said once more", None), ("r2", "ann", "maintenance", 2e9)]


def test_what_is_no_remark_is_refused(node: Node) -> None:
    node.start()
    console = node.console()
    for args in ({"what": "shout", "id": "x", "subject": "", "text": ""}, {"what": "note", "id": "", "subject": "", "text": "t"},
                 {"what": "note", "id": "x", "subject": "", "text": "t" * 5000}, {"what": "note", "id": "x", "subject": ""}):
        assert not console.ask("remark", **args)["ok"]
    assert not console.ask("armed", left_s=True)["ok"]
    assert console.do("stats")["clients"] == 1 and console.records("remark") == []

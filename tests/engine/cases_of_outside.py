"""Cases of what comes from outside: children, locks, events, signals, pauses; and of variables that several write."""

from __future__ import annotations

from typing import Any

from cases import case
from recording import Recording
from ways import graph, scope

from perdure.engine import events
from perdure.errors import Failure

SUB: dict[str, Any] = {"type": "subworkflow", "workflow": "child", "input": {"n": "${ input }"}}
CHILDREN = {"children": {"child": bytes(range(32))}}


def started(nodes: dict[str, Any], input: Any = None, *, start: dict[str, Any] | None = None, **rest: Any) -> Recording:
    """A started recording of these nodes, at any depth effects where they name no type."""
    play = Recording(graph(nodes, **rest))
    play.start(input, **(start or {}))
    return play


def _ended(play: Recording, node: str, status: str, **fields: Any) -> None:
    """The node's child has ended."""
    frame = play.frame(node.rpartition(".")[0])
    instance = play.instance(node)
    assert instance.progress is not None
    play.take(events.ChildEnded(token=play.token(frame, instance), child=instance.progress.child, status=status, **fields))


@case
def children_still_awaited() -> Recording:
    """A live execution that waits for two children, one of them in a loop."""
    return started({"s": SUB, "l": {"type": "loop", "over": [1], "body": scope(c={**SUB, "timeout": "1h"})}}, 5, start=CHILDREN)


@case
def child_retried() -> Recording:
    """A retry starts another; then its failure is the node's."""
    play = started({"s": {**SUB, "retry": {"attempts": 2, "initial": "1s", "jitter": False}}, "k": {"after": "s.error"}}, 5)
    for code in ("x.first", "x.second"):
        _ended(play, "s", "failed", error=Failure(code=code, title="It broke.", node="deep.inside"))
        play.pass_time(1)
    play.succeed("k")
    return play


@case
def child_let_go() -> Recording:
    """One that does not end in the budget, and one that is abandoned at once."""
    play = started(
        {
            "s": {**SUB, "timeout": "1m"},
            "a": {**SUB, "on_cancel": "abandon", "timeout": "1m"},
            "k": {"after": ["s.timeout", "a.timeout"]},
        },
        5,
    )
    play.pass_time(60)
    play.pass_time(60)
    play.succeed("k")
    return play


@case
def child_detached() -> Recording:
    """Not waited for; what becomes of it is remembered."""
    play = started({"s": {**SUB, "wait": False, "on_parent_close": "cancel"}, "k": {"after": "s"}}, 5)
    play.take(play.result("s", output=play.encoded({"execution": "ex_1"})))
    play.succeed("k")
    return play


@case
def child_timed_out() -> Recording:
    """And one that was cancelled by somebody else: two categories."""
    play = started({"s": SUB, "c": SUB, "k": {"after": "s.timeout"}}, 5, settings={"on_failure": "isolate"})
    _ended(play, "s", "timed_out")
    _ended(play, "c", "cancelled")
    play.finish()
    return play


def _granted(play: Recording, node: str) -> None:
    instance = play.instance(node)
    play.take(events.Granted(frame=node.rpartition(".")[0], node=instance.node, visit=instance.visit, key=instance.wait_key))


@case
def lock_granted() -> Recording:
    """Held over a retry, free when the node is final."""
    play = started(
        {"a": {"lock": "${ input }", "retry": {"attempts": 2, "initial": "1s", "jitter": False}}, "b": {"after": "a"}}, "key"
    )
    _granted(play, "a")
    play.fail("a")
    play.pass_time(1)
    play.succeed("a")
    play.succeed("b")
    return play


@case
def lock_still_awaited() -> Recording:
    """A live execution: one has its lock, a container waits for the same, and one was cancelled while it waited."""
    nodes = {
        "a": {"lock": "key"}, "t": {"type": "try", "lock": "key", "deadline": "1h", "body": scope(x={})},
        "c": {"lock": "key"}, "go": {}, "stop": {"type": "cancel", "after": "go", "target": "c"},
    }  # fmt: skip
    play = started(nodes)
    _granted(play, "a")
    play.succeed("go")
    return play


@case
def events_of_the_past() -> Recording:
    """The one that fits; and one that was before, for who asks for it."""
    fits = {"type": "wait_for_event", "event": "paid", "where": "${ event.data.n == input }"}
    play = started({"now": fits, "past": {**fits, "since": "execution"}}, 5)
    for number, (n, past) in enumerate(((4, False), (5, True), (5, False))):
        play.take(events.Arrived(id=f"e{number}", type="paid", at=play.now, data=play.encoded({"n": n}), past=past))
    return play


@case
def conditions() -> Recording:
    """By a variable, by a node, and now and then."""
    nodes = {
        "w": {"type": "wait_for_condition", "condition": "${ vars.n > 1 }"}, "a": {}, "b": {"after": "a"},
        "v": {"type": "wait_for_condition", "condition": "${ nodes.b == 'b' }", "every": "1m", "timeout": "1h"},
        "s": {"type": "set_variable", "after": "a", "set": {"n": 2}},
    }  # fmt: skip
    play = started(nodes, vars={"n": 1})
    play.pass_time(150)
    play.succeed("a")
    play.succeed("b", "b")
    return play


@case
def times_and_signals_still_awaited() -> Recording:
    """A live execution: a moment of the calendar, an event, a condition, a wait with a key; kept signals."""
    play = started(
        {
            "u": {"type": "wait_until", "time": "2030-01-01T00:00:00Z"}, "e": {"type": "wait_for_event", "event": "paid"},
            "c": {"type": "wait_for_condition", "condition": "${ vars.n }", "every": "1h"},
            "s": {"type": "wait_for_signal", "signal": "ok", "key": "k", "timeout": "30d", "buffer": False},
        },
        vars={"n": False},
    )  # fmt: skip
    play.signal("ok", "no key")
    play.signal("later", 1, path="x#2", ttl=3_600_000_000)
    return play


@case
def signal_to_all() -> Recording:
    """Those who wait now; nobody; and one more."""
    wait = {"type": "wait_for_signal", "signal": "ok"}
    play = started(
        {"a": wait, "l": {"type": "loop", "over": [1, 2], "concurrency": 2, "body": scope(w=wait)}, "b": {**wait, "after": "a"}}
    )
    play.signal("ok", "all", to_all=True)
    play.signal("other", to_all=True)
    play.signal("ok", "one")
    return play


@case
def waits_moved() -> Recording:
    """Skipped, put off, brought forward, by an operator."""
    play = started(
        {
            "d": {"type": "delay", "for": "1h"},
            "s": {"type": "wait_for_signal", "signal": "ok", "timeout": "1h", "on_timeout": "continue"},
            "e": {"type": "wait_for_event", "event": "paid"}, "r": {"retry": {"attempts": 2, "initial": "1h"}},
        }
    )  # fmt: skip
    play.fail("r")
    play.operate("skip", "e", reason="no use")
    play.operate("reschedule", "s", value=play.encoded(play.now + 60_000_000))
    play.operate("reschedule", "d", value=play.encoded(play.now + 7_200_000_000))
    play.operate("skip", "r")
    play.pass_time(60)
    play.succeed("r")
    play.pass_time(7_200)
    return play


def _paused() -> Recording:
    play = started(
        {
            "d": {"type": "delay", "for": "1h"}, "u": {"type": "wait_until", "time": "2023-11-14T23:30:00Z"}, "a": {},
            "b": {"after": "a"}, "t": {"type": "try", "timeout": "2h", "body": {**scope(x={}), "timeout": "3h"}},
        }
    )  # fmt: skip
    play.pass_time(600)
    play.operate("pause")
    play.pass_time(7_200)
    play.succeed("a", "in the pause")
    return play


@case
def paused_containers_still() -> Recording:
    """A live execution that is paused; a result has come meanwhile."""
    return _paused()


@case
def paused_containers_with_frozen_clocks() -> Recording:
    """Relative times are shifted, a moment of the calendar is not."""
    play = _paused()
    play.operate("resume")
    play.finish()
    return play


@case
def paused_containers_with_running_clocks() -> Recording:
    """What came due fires in due order."""
    play = _paused()
    play.operate("resume", value=play.encoded("running"))
    play.pass_time(0)
    play.finish()
    return play


@case
def merges() -> Recording:
    """Each merge, written in iterations side by side; a write that reads; one that conflicts."""
    declared = {
        "n": {"value": 0, "merge": "sum"}, "all": {"value": [], "merge": "append"}, "high": {"value": None, "merge": "max"},
        "low": {"value": None, "merge": "min"}, "last": {"value": None, "merge": "last"}, "one": {"value": 0, "merge": "error"},
    }  # fmt: skip
    wrote = {name: "${ nodes.x }" for name in declared if name != "one"}
    body = scope(
        x={}, w={"type": "set_variable", "after": "x", "set": wrote},
        o={"type": "set_variable", "after": "w", "set": {"one": "${ item }"}},
    )  # fmt: skip
    play = started(
        {"l": {"type": "loop", "over": [1, 2, 3], "concurrency": 3, "on_failure": "collect", "body": body}},
        vars=declared, output={"vars": "${ vars }", "failed": "${ nodes.l.counts.failed }"},
    )  # fmt: skip
    for index in (1, 2, 0):
        play.succeed(f"l[{index}].x", index * 10)
    return play


@case
def variables_of_named_scopes() -> Recording:
    """The nearest declaration is written, or the one of a named scope; each frame has its own."""
    inner = {**scope(
        a={"type": "set_variable", "set": {"v": "inner ${ item }"}},
        b={"type": "set_variable", "after": "a", "scope": "workflow", "set": {"v": "root ${ item }"}},
        x={"after": "b", "with": {"v": "${ vars.v }"}},
    ), "vars": {"v": "${ item }"}}  # fmt: skip
    play = started(
        {"l": {"type": "loop", "over": [1, 2], "body": inner}, "k": {"after": "l", "with": {"v": "${ vars.v }"}}},
        vars={"v": "first"},
    )
    play.succeed("l[0].x")
    play.succeed("l[1].x")
    play.succeed("k")
    return play

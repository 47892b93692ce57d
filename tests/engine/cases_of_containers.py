"""Cases of containers, joins and edges that go back, beyond those of the tables: still open, withdrawn, retried, undone."""

from __future__ import annotations

from typing import Any

from cases import case
from recording import Recording
from ways import graph, scope


def started(nodes: dict[str, Any], input: Any = None, *, start: dict[str, Any] | None = None, **rest: Any) -> Recording:
    """A started recording of these nodes, at any depth effects where they name no type."""
    play = Recording(graph(nodes, **rest))
    play.start(input, **(start or {}))
    return play


@case
def loops_still_open() -> Recording:
    """A live execution in the middle of a loop in a loop."""
    inner = {"type": "loop", "over": "${ row }", "as": "cell", "index": "c", "body": scope(x={"with": {"cell": "${ cell }"}})}
    play = started(
        {"l": {"type": "loop", "over": [[1, 2], [3]], "concurrency": 2, "as": "row", "index": "r", "body": scope(m=inner)}}
    )
    play.succeed("l[0].m[0].x", "a")
    return play


@case
def continue_of_two_loops() -> Recording:
    """`continue` of this loop and of the one around it; skipped results, unchanged carry."""
    inner = {
        "type": "loop", "over": [1, 2], "as": "part", "index": "p",
        "body": scope(
            x={}, c={"type": "continue", "after": "x", "when": "${ nodes.x == 'next' }"},
            o={"type": "continue", "loop": "l", "after": "x", "when": "${ nodes.x == 'outer' }"},
        ),
    }  # fmt: skip
    carry = {"start": 1, "next": "${ carry * 10 }"}
    play = started(
        {"l": {"type": "loop", "over": ["a", "b"], "body": scope(m=inner, s={}), "carry": carry, "result": "${ carry }"}}
    )
    play.succeed("l[0].s")
    play.succeed("l[0].m[0].x", "next")
    play.succeed("l[0].m[1].x", "value")
    play.succeed("l[1].m[0].x", "outer")
    play.stopped("l[1].s")
    return play


@case
def while_needs_two() -> Recording:
    """A quorum of a loop, with losers that are drained; a `while` of which nobody knows the number."""
    play = started(
        {
            "l": {
                "type": "loop",
                "over": [1, 2, 3, 4],
                "concurrency": 3,
                "need": "50%",
                "losers": "drain",
                "body": scope(x={}),
            },
            "w": {"type": "while", "condition": "${ index < 3 }", "need": 2, "body": scope(y={})},
        }
    )
    play.succeed("l[2].x", "c")
    play.succeed("l[0].x", "a")
    play.fail("l[1].x", "x.late")
    play.fail("w[0].y", "x.0")
    play.succeed("w[1].y", 1)
    play.succeed("w[2].y", 2)
    play.finish()
    return play


@case
def open_loop_still() -> Recording:
    """A live execution: all items are through, and more may come."""
    play = started({"l": {"type": "loop", "over": [], "open": True, "body": scope(x={})}})
    play.signal("add", [1, 2], path="l")
    play.succeed("l[0].x")
    play.succeed("l[1].x")
    return play


@case
def loop_reduces_large_values() -> Recording:
    """Folded in the order of the items, whatever ended first; a large value among them."""
    fold = {"start": [], "next": "${ carry + [[index, len(item)]] }"}
    made = {"type": "loop", "over": [1, 2, 3, 4], "concurrency": 4, "collect": "reduce", "reduce": fold, "on_failure": "ignore"}
    play = started({"l": {**made, "body": scope(x={})}})
    play.succeed("l[3].x", "d")
    play.succeed("l[1].x", "large " * 500)
    play.fail("l[0].x")
    play.succeed("l[2].x", "ccc")
    return play


@case
def loop_reduces_still() -> Recording:
    """A live execution: two results wait for those before them."""
    fold = {"start": "", "next": "${ carry + item }"}
    play = started(
        {
            "l": {
                "type": "loop",
                "over": [1, 2, 3, 4],
                "concurrency": 4,
                "collect": "reduce",
                "reduce": fold,
                "body": scope(x={}),
            }
        }
    )
    play.succeed("l[0].x", "a")
    play.succeed("l[3].x", "d")
    play.succeed("l[2].x", "c")
    return play


@case
def while_and_repeat() -> Recording:
    """Conditions before and after; until and times."""
    play = started(
        {
            "w": {"type": "while", "condition": "${ carry < 3 }", "carry": {"start": 0, "next": "${ carry + nodes.x }"},
                  "body": scope(x={})},
            "r": {"type": "repeat", "times": 5, "until": "${ last == 'end' }", "concurrency": 2, "body": scope(y={})},
        }
    )  # fmt: skip
    play.succeed("w[0].x", 1)
    play.succeed("r[1].y", "go on")
    play.succeed("r[2].y", "end")
    play.stopped("r[0].y")
    play.succeed("w[1].x", 2)
    return play


def _parallel(**more: Any) -> dict[str, Any]:
    branches = {"l": scope(x={}), "m": {**scope(y={}, y2={"after": "y"}), "output": "${ nodes.y }"}, "r": scope(z={})}
    return {
        "p": {"type": "parallel", "concurrency": 2, "branches": branches, **more},
        "k": {"after": "p", "with": {"p": "${ nodes.p }"}},
    }


@case
def parallel_deadline() -> Recording:
    """What there is, by the `timeout` edge."""
    play = started({**_parallel(deadline="1m"), "late": {"after": "p.timeout"}})
    play.succeed("p.l.x", "in time")
    play.pass_time(60)
    play.finish()
    return play


@case
def parallel_unreachable() -> Recording:
    """At once, with all causes; its edge takes it."""
    play = started({**_parallel(need=2), "few": {"after": "p.error", "with": {"error": "${ error }"}}})
    play.fail("p.l.x", "x.l")
    play.fail("p.m.y", "x.m")
    play.finish()
    return play


@case
def parallel_retried() -> Recording:
    """As a whole, in fresh frames."""
    play = started(_parallel(retry={"attempts": 2, "initial": "1s", "jitter": False}))
    play.fail("p.l.x", "x.l")
    play.stopped("p.m.y")
    play.pass_time(1)
    play.finish()
    return play


@case
def parallel_still_closing() -> Recording:
    """A live execution that closes: one branch cleans up, one has ended, one never began."""
    tried = {"type": "try", "body": scope(y={}), "finally": scope(f={})}
    branches = {"u": scope(x={}), "v": scope(t=tried), "w": scope(z={})}
    play = started({"p": {"type": "parallel", "concurrency": 2, "branches": branches}})
    play.operate("cancel")
    play.stopped("p.u.x")
    play.stopped("p.v.t.body.y")
    return play


@case
def join_counted() -> Recording:
    """A share of what can still come; an expression; finished ones counted."""
    nodes = {
        "c": {"type": "condition", "if": "${ input }"}, "t": {"after": "c.true"}, "a": {}, "b": {},
        "share": {"type": "join", "after": ["t", "a", "b"], "need": "60%", "losers": "detach"},
        "counted": {"type": "join", "after": ["a", "b"], "need": "${ join.success == 1 and join.failed == 1 }"},
        "finished": {"type": "join", "after": ["a", "b"], "count": "finished"},
    }  # fmt: skip
    play = started(nodes, False, settings={"on_failure": "isolate"})
    play.succeed("a", 1)
    play.fail("b", "x.b")
    return play


@case
def join_deadline() -> Recording:
    """From its first arrival, with what there is."""
    nodes = {"a": {}, "b": {}, "j": {"type": "join", "after": ["a", "b"], "deadline": "1m"}, "late": {"after": "j.timeout"}}
    play = started(nodes)
    play.pass_time(600)
    play.succeed("a", 1)
    play.pass_time(60)
    play.finish()
    return play


@case
def join_still_waiting() -> Recording:
    """A live execution: its deadline runs, and one branch has arrived."""
    play = started({"a": {}, "b": {}, "j": {"type": "join", "after": ["a", "b"], "deadline": "1h", "need": "all"}})
    play.succeed("b", 2)
    return play


@case
def join_unreachable() -> Recording:
    """A catch by the branch's own code, and one that is parked for its quorum."""
    nodes = {
        "far": {}, "a": {"after": "far"}, "b": {},
        "j": {"type": "join", "after": ["a", "b"], "catch": [{"on": "x.far", "to": "mend"}]},
        "m": {"after": "j.mend", "with": {"e": "${ error.node }"}}, "c": {}, "d": {},
        "q": {"type": "join", "after": ["c", "d"], "need": "any", "park": True},
    }  # fmt: skip
    play = started(nodes, settings={"on_failure": "isolate"})
    play.fail("far", "x.far")
    play.stopped("b")
    play.fail("c", "x.c")
    play.fail("d", "x.d")
    play.finish()
    return play


@case
def cleanup_of_losers() -> Recording:
    """Branches that lost have a budget as well."""
    tried = {"type": "try", "body": scope(x={}), "finally": scope(f={})}
    play = started({"p": {"type": "parallel", "need": "any", "branches": {"u": scope(y={}), "v": scope(t=tried)}}})
    play.succeed("p.u.y")
    play.stopped("p.v.t.body.x")
    play.pass_time(60)
    return play


@case
def exits_of_every_scope() -> Recording:
    """An iteration, a branch, a handler and a scope by `return`, each with its value."""
    leave = {"type": "exit", "value": "${ 'left early' }"}
    nodes = {
        "l": {"type": "loop", "over": [1, 2], "body": scope(x={}, leave={**leave, "after": "x"}, s={})},
        "p": {"type": "parallel",
              "branches": {"u": scope(e=leave), "v": scope(r={**leave, "type": "return", "from": "scope"})}},
        "t": {"type": "try", "body": scope(bad={"type": "fail", "code": "x"}), "catch": {"body": scope(leave=leave)}},
    }  # fmt: skip
    play = started(nodes)
    for index in range(2):
        play.succeed(f"l[{index}].x")
        play.stopped(f"l[{index}].s")
    return play


@case
def cancel_nodes_of_every_state() -> Recording:
    """`cancel` in both modes: what runs, waits, has not begun, has ended; a loop with what it has."""
    nodes = {
        "go": {}, "runs": {}, "waits": {"type": "delay", "for": "1h"}, "later": {"after": "runs"},
        "l": {"type": "loop", "over": [1, 2, 3], "concurrency": 2, "body": scope(x={})},
        "stop_runs": {"type": "cancel", "after": "go", "target": "runs"},
        "stop_waits": {"type": "cancel", "after": "go", "target": "waits"},
        "end_later": {"type": "cancel", "after": "go", "target": "later", "mode": "complete"},
        "end_l": {"type": "cancel", "after": "go", "target": "l", "mode": "complete"},
        "stop_go": {"type": "cancel", "after": "go", "target": "go"},
        "after_l": {"after": "l", "with": {"l": "${ nodes.l }"}},
    }  # fmt: skip
    play = started(nodes)
    play.succeed("l[1].x", "b")
    play.succeed("go")
    play.stopped("runs")
    play.stopped("l[0].x")
    play.stopped("l[2].x")
    play.finish()
    return play


def _back(source: str, visits: int = 3) -> dict[str, Any]:
    return {"from": source, "again": True, "max_visits": visits}


@case
def gone_back_and_rolled_back() -> Recording:
    """A poll that is repeated with all that follows it, and a rollback of all its visits."""
    nodes = {
        "poll": {"after": [_back("check.false")], "with": {"before": "${ previous.poll }"}, "compensate": scope(undo={})},
        "mail": {"after": "poll"}, "w": {"type": "wait_for_signal", "signal": "ok", "after": "poll"},
        "check": {"type": "condition", "after": "poll", "if": "${ nodes.poll == 2 }"},
        "r": {"type": "rollback", "after": "check.true", "of": "poll"},
    }  # fmt: skip
    play = started(nodes)
    play.succeed("poll", 1)
    play.stopped("mail")
    play.succeed("poll#2", 2)
    play.finish()
    return play


@case
def going_back_still() -> Recording:
    """A live execution that is going back: what was active has not stopped."""
    nodes = {"poll": {"after": [_back("check.false")]}, "mail": {"after": "poll"},
             "check": {"type": "condition", "after": "poll", "if": "${ false }"}}  # fmt: skip
    play = started(nodes)
    play.succeed("poll")
    return play


@case
def gone_back_by_its_own_error() -> Recording:
    """By its error edge, and then by its own."""
    nodes = {
        "poll": {"after": [_back("poll.error", 2)]},
        "t": {"type": "try", "body": scope(y={"after": [_back("y.error", 2)]}),
              "catch": {"on": "visits.exhausted", "body": scope(h={})}},
    }  # fmt: skip
    play = started(nodes)
    for path in ("t.body.y", "t.body.y#2"):
        play.fail(path, "x.again")
    play.succeed("t.catch0.h")
    play.fail("poll", "x.first")
    play.fail("poll#2", "x.second")
    return play


@case
def rolled_back_in_frames() -> Recording:
    """Nodes, iterations and a container with its own, the last first; names that were kept."""
    undo = scope(undo={"with": {"in": "${ self.input }", "out": "${ self.output }", "n": "${ vars.n }", "item": "${ item }"}})
    body = scope(
        hotel={"with": {"n": 1}, "compensate": scope(cancel={"with": {"id": "${ self.output.id }"}})},
        l={"type": "loop", "over": [1, 2], "after": "hotel", "body": scope(seat={"compensate": undo})},
        p={"type": "parallel", "after": "l", "branches": {"u": scope(a={"compensate": scope(never={})})},
           "compensate": scope(all={})},
        bad={"type": "fail", "after": "p", "code": "no"},
    )  # fmt: skip
    play = started({"t": {"type": "try", "body": body, "catch": {"body": scope(r={"type": "rollback"})}}}, vars={"n": 5})
    play.succeed("t.body.hotel", {"id": "h-1"})
    play.succeed("t.body.l[0].seat", "s-0")
    play.succeed("t.body.l[1].seat", "s-1")
    play.succeed("t.body.p.u.a", "a")
    play.finish()
    return play


@case
def rollback_still() -> Recording:
    """A live execution: one is undone, one is being undone, one is to come."""
    nodes = {name: {"compensate": scope(undo={})} for name in ("a", "b", "c")}
    body = scope({**nodes, "bad": {"type": "fail", "after": ["a", "b", "c"], "code": "no"}})
    play = started({"t": {"type": "try", "body": body, "catch": {"body": scope(r={"type": "rollback"})}}})
    for name in ("b", "a", "c"):
        play.succeed(f"t.body.{name}", name)
    play.succeed("t.body.c.compensate.undo")
    return play


@case
def compensated_if_attempted() -> Recording:
    """What may have happened is undone as well."""
    body = scope(
        a={"compensate_on": "attempted", "compensate": scope(undo={})}, b={"compensate": scope(never={})}, bad={},
    )  # fmt: skip
    play = started({"t": {"type": "try", "body": body, "catch": {"body": scope(r={"type": "rollback"})}}})
    play.fail("t.body.bad", "no")
    play.stopped("t.body.a")
    play.stopped("t.body.b")
    play.succeed("t.body.a.compensate.undo")
    return play

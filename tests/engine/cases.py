"""The cases whose journals are kept for ever: each element, each policy, each way to wait, fail, park, leave and recover."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from plays import definition, perform, table
from recording import Recording

from perdure.engine import events
from perdure.engine.elements import SPECS
from perdure.errors import Failure
from perdure.testing.rehearsal import effects

Case = Callable[[], Recording]

CASES: dict[str, Case] = {}
"""Case → the play that records it, up to its last row."""


def case(play: Case) -> Case:
    """Name a case after its function."""
    CASES[play.__name__.replace("_", "-")] = play
    return play


def started(
    nodes: dict[str, Any], input: Any = None, *, facts_max: int = 1_000, start: dict[str, Any] | None = None, **rest: Any
) -> Recording:
    """A started recording of these nodes."""
    play = Recording({**effects(**nodes), **rest}, facts_max=facts_max)
    play.start(input, **(start or {}))
    return play


def _element(name: str) -> Case:
    example = SPECS[name].examples[0]

    def play() -> Recording:
        recording = Recording(example.definition)
        recording.start(example.input)
        while not recording.status and recording.next_time():
            pass
        return recording

    return play


def _policy(row: dict[str, Any]) -> Case:
    def play() -> Recording:
        recording = Recording(definition(row))
        perform(recording, row["play"])
        return recording

    return play


CASES.update({f"element-{name.replace('_', '-')}": _element(name) for name in SPECS})
CASES.update(
    {
        f"policy-{row['row'].replace('_', '-')}": _policy(row)
        for row in table("table_13")
        if row["row"].replace("_", "").isalpha()
    }
)


# -- graphs ---------------------------------------------------------------------------------------------------------------


@case
def diamond() -> Recording:
    """Fork and meet; results in one batch; `incoming` by entry."""
    play = started(
        {"a": {}, "b": {"after": "a"}, "c": {"after": "a"}, "d": {"after": ["b", "c"], "with": {"i": "${ incoming }"}}},
        {"n": 1},
    )
    play.succeed("a", [1, 2])
    play.take(play.result("c", output=play.encoded("c")), play.result("b", output=play.encoded("b")))
    play.succeed("d", {"end": True})
    return play


@case
def choices() -> Recording:
    """A condition, a switch with several matches, `when` and `disabled`, dead edges that meet again."""
    play = started(
        {
            "c": {"type": "condition", "if": "${ input.n > 3 }"},
            "yes": {"after": "c.true"}, "no": {"after": "c.false"},
            "s": {
                "type": "switch", "match": "all",
                "cases": {"x": "${ input.n > 1 }", "y": "${ input.n > 9 }", "z": "${ true }"},
            },
            "off": {"after": "s.x", "disabled": True}, "unless": {"after": "s.z", "when": "${ input.n == 0 }"},
            "meet": {"after": ["yes", "no", "off", "s.y"]},
        },
        {"n": 5},
    )  # fmt: skip
    play.succeed("yes", "taken")
    play.succeed("meet")
    return play


@case
def strict_switch() -> Recording:
    """No case holds, and that is an error with an edge."""
    return started(
        {
            "s": {"type": "switch", "strict": True, "cases": {"x": "${ input > 1 }"}},
            "t": {"type": "transform", "after": "s.error", "to": "${ error }"},
        },
        0,
    )


@case
def expression_error() -> Recording:
    """A missing key fails the node, with its place."""
    return started({"a": {"with": {"x": "${ input.missing }"}}, "b": {}}, {})


# -- failures -------------------------------------------------------------------------------------------------------------


@case
def catch_ports() -> Recording:
    """Errors mapped to ports by code, prefix and condition."""
    catch = [
        {"on": "http.404", "to": "missing"},
        {"when": "${ error.data.again }", "to": "again"},
        {"on": "http.*", "to": "broken"},
    ]
    nodes = {node: {"catch": catch} for node in ("a", "b", "c")}
    ports = {
        f"{node}_{port}": {"after": f"{node}.{port}"} for node in nodes for port in ("missing", "again", "broken", "error")
    }
    play = started({**nodes, **ports})
    play.fail("a", "http.404")
    play.fail("b", "http.500", data={"again": True})
    play.fail("c", "http.500")
    play.finish()
    return play


@case
def retries() -> Recording:
    """Exponential backoff with jitter, `Retry-After`, success in the end."""
    play = started({"a": {"retry": {"attempts": 4, "initial": "2s"}, "with": {"at": "${ now() }"}}})
    play.fail("a", "http.503")
    play.next_time()
    play.fail("a", "http.429", retry_after=60_000_000, status=429)
    play.next_time()
    play.succeed("a", "at last")
    return play


@case
def retry_policies() -> Recording:
    """A list of policies, each with its own count, used up in the end."""
    play = started(
        {"a": {"retry": [{"on": "http.429", "attempts": 2}, {"attempts": 2, "backoff": "fixed"}]}, "b": {"after": "a.error"}}
    )
    for code in ("http.429", "x.one", "http.429"):
        play.fail("a", code)
        play.next_time()
    play.finish()
    return play


@case
def attempt_timeout() -> Recording:
    """All limits of an attempt; its timeout takes the timeout edge."""
    play = started(
        {"a": {"timeout": "10s", "queue_timeout": "1m", "heartbeat": "5s", "grace": "2s"}, "late": {"after": "a.timeout"}}
    )
    play.fail("a", "timeout", category="timeout")
    play.succeed("late")
    return play


@case
def deadline() -> Recording:
    """It stops the attempt, and the node fails in time."""
    play = started({"a": {"deadline": "1m", "retry": {"attempts": 5}}})
    play.fail("a", "x.one")
    play.next_time()
    play.pass_time(60)
    play.stopped("a")
    return play


@case
def deadline_met() -> Recording:
    """Success comes before the stop."""
    play = started({"a": {"deadline": "1m"}, "b": {"after": "a"}})
    play.pass_time(60)
    play.succeed("a", "just in time")
    play.succeed("b")
    return play


# -- parking --------------------------------------------------------------------------------------------------------------


def _parked() -> Recording:
    play = started({"a": {"park": True, "with": {"n": "${ input }"}}, "b": {"after": "a"}}, 1)
    play.fail("a", "x.first", title="It broke.")
    return play


@case
def parked_and_retried() -> Recording:
    """With the same input, and then with another one."""
    play = _parked()
    play.operate("retry", "a", reason="try again")
    play.fail("a", "x.second")
    play.operate("retry", "a", value=play.encoded({"n": 2}))
    play.succeed("a", 2)
    play.succeed("b")
    return play


@case
def parked_and_completed() -> Recording:
    """With an output by hand."""
    play = _parked()
    play.operate("complete", "a", value=play.encoded({"by": "hand"}))
    play.succeed("b")
    return play


@case
def parked_and_failed() -> Recording:
    """The policy speaks."""
    play = _parked()
    play.operate("fail", "a", reason="no use")
    return play


@case
def parked_and_cancelled() -> Recording:
    """The whole execution ends."""
    play = _parked()
    play.operate("cancel", reason="not wanted any more")
    return play


@case
def parked_still() -> Recording:
    """A live execution: nobody has answered yet."""
    return _parked()


@case
def parked_until_the_deadline() -> Recording:
    """Nobody answers in time."""
    play = started({"a": {"park": True, "deadline": "1h"}})
    play.fail("a")
    play.pass_time(3_600)
    return play


# -- waiting --------------------------------------------------------------------------------------------------------------


@case
def signal_early() -> Recording:
    """Kept, and found by key and path."""
    play = started({"go": {}, "a": {"type": "wait_for_signal", "signal": "ok", "key": "${ input }", "after": "go"}}, 17)
    play.signal("ok", "other", key="18")
    play.signal("ok", "early", key="17", path="a", by="ada")
    play.succeed("go")
    return play


@case
def signal_late() -> Recording:
    """The oldest waiter is served first."""
    play = started({"a": {"type": "wait_for_signal", "signal": "ok"}, "b": {"type": "wait_for_signal", "signal": "ok"}})
    play.signal("ok", 1)
    play.signal("ok", 2)
    play.signal("ok", 3)
    return play


@case
def signal_timeouts() -> Recording:
    """Fail, continue and route."""
    wait = {"type": "wait_for_signal", "signal": "ok", "timeout": "1m"}
    play = started(
        {
            "f": wait, "after_f": {"after": "f.timeout"}, "c": {**wait, "on_timeout": "continue"}, "after_c": {"after": "c"},
            "r": {**wait, "on_timeout": "route"}, "after_r": {"after": "r.timeout"}, "never": {"after": "r"},
        }
    )  # fmt: skip
    play.pass_time(60)
    play.finish()
    return play


@case
def waiting_still() -> Recording:
    """A live execution: a delay of a month, a signal, a backoff, a later answer."""
    play = started(
        {
            "d": {"type": "delay", "for": "30d"}, "s": {"type": "wait_for_signal", "signal": "ok", "timeout": "60d"},
            "r": {"retry": {"attempts": 9, "initial": "5m", "backoff": "fixed", "jitter": False}}, "l": {"timeout": "10d"},
        }
    )  # fmt: skip
    play.fail("r")
    play.take(play.result("l", outcome="deferred"))
    return play


@case
def deferred() -> Recording:
    """One answers by its token, the other too late."""
    play = started({"a": {}, "b": {"timeout": "1h", "retry": {"attempts": 2, "initial": "1s"}}})
    token, late = play.result("a").token, play.result("b").token
    play.take(play.result("a", outcome="deferred"), play.result("b", outcome="deferred"))
    play.take(events.Complete(token=token, output=play.encoded({"yes": True}), by="ada"))
    play.pass_time(3_600)
    play.take(events.Complete(token=late, output=play.encoded("too late")))
    play.next_time()
    play.succeed("b")
    return play


@case
def deferred_failure() -> Recording:
    """The later answer is a failure."""
    play = started({"a": {}, "b": {"after": "a.error"}})
    token = play.result("a").token
    play.take(play.result("a", outcome="deferred"))
    play.take(events.Complete(token=token, error=Failure(code="x.no", title="No.", category="business")))
    play.succeed("b")
    return play


# -- exactly once ---------------------------------------------------------------------------------------------------------


@case
def at_most_once_unknown() -> Recording:
    """A timeout leaves it open; by default the node fails."""
    play = started({"a": {"delivery": "at_most_once"}})
    play.fail("a", "timeout", category="timeout")
    return play


@case
def at_most_once_asked() -> Recording:
    """A crash asks; the old worker's result answers."""
    play = started({"a": {"delivery": "at_most_once", "on_unknown": "ask"}, "b": {"after": "a"}})
    old = play.result("a", output=play.encoded({"id": "ch_1"}))
    play.crash()
    play.take(old)
    play.succeed("b")
    return play


@case
def at_most_once_answered() -> Recording:
    """A person says that it did not happen, and then that it did."""
    play = started({"a": {"delivery": "at_most_once", "on_unknown": "ask"}, "b": {"after": "a"}})
    play.crash()
    play.operate("retry", "a")
    play.fail("a", "http.cut", ambiguous=True)
    play.operate("complete", "a", value=play.encoded({"id": "ch_2"}))
    play.succeed("b")
    return play


@case
def at_most_once_cancelled() -> Recording:
    """In flight: nobody knows."""
    play = started({"a": {"delivery": "at_most_once"}})
    play.operate("cancel")
    play.stopped("a")
    return play


@case
def crashes() -> Recording:
    """Lost and repeated, late results, and in the end a poison node."""
    play = started({"a": {}, "b": {"crashes_max": 2}, "c": {"after": "b.error"}})
    twin = play.result("a", output=play.encoded("twin"))
    play.crash()
    play.succeed("a", "first")
    play.take(twin)
    play.crash(crashed=False)
    play.crash()
    play.finish()
    return play


# -- leaving --------------------------------------------------------------------------------------------------------------


@case
def cancelled() -> Recording:
    """What runs stops, what waits ends, what has not started is skipped; one succeeds late."""
    play = started({"a": {}, "b": {}, "c": {"after": "b"}, "d": {"type": "delay", "for": "1d"}})
    play.operate("cancel", reason="changed my mind")
    play.succeed("a", "late")
    play.stopped("b")
    return play


@case
def cancelling_still() -> Recording:
    """A live execution that closes: one attempt has not stopped yet."""
    play = started({"a": {}, "b": {"after": "a"}, "d": {"type": "delay", "for": "1d"}})
    play.operate("cancel")
    return play


@case
def terminated() -> Recording:
    """At once, with a late answer after it."""
    play = started({"a": {}, "d": {"type": "delay", "for": "1d"}})
    late = play.result("a")
    play.operate("terminate")
    play.take(late)
    return play


@case
def returned() -> Recording:
    """Early, with a value, while others run."""
    play = started(
        {"a": {}, "b": {}, "leave": {"type": "return", "after": "a", "value": {"n": "${ nodes.a }"}}, "c": {"after": "b"}}
    )
    play.succeed("a", 7)
    play.stopped("b")
    return play


@case
def workflow_timeout() -> Recording:
    """It ends `timed_out`."""
    play = started({"a": {}, "b": {"after": "a"}}, settings={"timeout": "1h", "soft_timeout": "10m"})
    play.pass_time(3_600)
    play.stopped("a")
    return play


@case
def workflow_timeout_terminates() -> Recording:
    """At once."""
    play = started({"a": {}}, settings={"timeout": "1h", "on_timeout": "terminate"})
    play.pass_time(3_600)
    return play


@case
def workflow_timeout_routes() -> Recording:
    """To another workflow."""
    play = started({"a": {}}, {"id": 1}, settings={"timeout": "1h", "on_timeout": {"route": "late-orders"}})
    play.pass_time(3_600)
    play.stopped("a")
    return play


@case
def workflow_timeout_retries() -> Recording:
    """As a new execution."""
    play = started(
        {"a": {}}, {"id": 1}, settings={"timeout": "1h", "on_timeout": "retry", "retry": {"attempts": 3}}, start={"attempt": 2}
    )
    play.pass_time(3_600)
    play.stopped("a")
    return play


@case
def started_with_everything() -> Recording:
    """A key, a priority, a trigger, sources and who started it."""
    start = {
        "key": "k-1",
        "priority": 1,
        "by": "ada",
        "sources": {"geo.distance": "ab12"},
        "trigger": msgspec.Raw(msgspec.msgpack.encode({"t": 1})),
    }
    play = started({"a": {"with": {"e": "${ execution.key }", "t": "${ trigger.t }"}}}, {"n": 1}, start=start)
    play.succeed("a")
    return play


# -- data -----------------------------------------------------------------------------------------------------------------


@case
def variables() -> Recording:
    """Declared, computed, written by two, read."""
    play = started(
        {
            "a": {}, "wa": {"type": "set_variable", "after": "a", "set": {"n": "${ vars.n + 1 }", "seen": True}},
            "b": {}, "wb": {"type": "set_variable", "after": "b", "set": {"n": "${ vars.n * 10 }"}},
        },
        {"n": 1},
        vars={"n": {"value": "${ input.n }", "merge": "last"}, "seen": False},
        output={"n": "${ vars.n }", "seen": "${ vars.seen }"},
    )  # fmt: skip
    play.succeed("b")
    play.succeed("a")
    return play


@case
def emitted() -> Recording:
    """An event with the fact that says so."""
    return started(
        {"e": {"type": "emit", "event": "order.paid", "subject": "${ input.id }", "data": {"o": "${ input }"}}}, {"id": "o-1"}
    )


@case
def large_values() -> Recording:
    """Input, parameters, outputs and a variable by handle."""
    play = started(
        {
            "a": {"with": {"text": "${ input }"}},
            "t": {"type": "transform", "after": "a", "to": {"both": ["${ nodes.a }", "${ input }"]}},
            "s": {"type": "set_variable", "after": "t", "set": {"v": "${ nodes.t.both[0] }"}},
        },
        "in " * 800, vars={"v": None}, output="${ len(vars.v) }",
    )  # fmt: skip
    play.succeed("a", "out " * 900)
    return play


@case
def evaluated_outside() -> Recording:
    """A map too heavy for a step."""
    return started(
        {"m": {"type": "map", "over": "${ input }", "to": "${ sum([item * n for n in [1, 2, 3, 4, 5, 6]]) }"}},
        list(range(1_000)),
    )


@case
def values_of_every_kind() -> Recording:
    """As input, parameters and output."""
    every = {
        "int": -(2**63),
        "float": 0.1,
        "text": "äöü \u0000 𝄞",
        "null": None,
        "list": [[], {}, [True, False]],
        "big": 2**63 - 1,
    }
    play = started({"a": {"with": {"v": "${ input }"}}}, every)
    play.succeed("a", every)
    return play


@case
def cut_steps() -> Recording:
    """A chain and a wide frame, four facts a step; then a failure that leaves it in several steps."""
    chain = {
        f"t{number}": {"type": "transform", "to": "${ input }", **({"after": f"t{number - 1}"} if number else {})}
        for number in range(9)
    }
    play = started({**chain, **{f"n{number}": {"after": "t8"} for number in range(9)}}, 1, facts_max=4)
    play.fail("n4", "x.first")
    for number in (0, 1, 2, 3, 5, 6, 7, 8):
        play.stopped(f"n{number}")
    return play

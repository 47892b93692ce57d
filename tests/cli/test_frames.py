"""Frames on the command line: loops by a line that counts and the iterations in flight, parked nodes by their paths."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import pytest
from command_line import Perdure
from rich.console import Console

from perdure.cli.live import LiveView, rows
from perdure.cli.view import FRAMES_KEPT, PlainView, Watched
from perdure.ids import ExecutionId
from perdure.testing.rehearsal import Rehearsal, effects

PARKED: dict[str, Any] = {
    "orders": {
        "type": "loop",
        "over": "${ [1, 2, 3, 4] }",
        "concurrency": 2,
        "body": {
            "nodes": {
                "charge": {"type": "test.fails", "park": True},
                "ship": {"type": "log", "after": "charge", "message": "s"},
            }
        },
    },
}
"""A loop that parks in its first two iterations."""


def scope(**nodes: Any) -> dict[str, Any]:
    return {"nodes": {name: {"type": "test.effect", **given} for name, given in nodes.items()}}


def watched(play: Rehearsal) -> Watched:
    """What a view knows after what was played."""
    found = Watched(play.plan)
    for fact in play.facts:
        found.take(play.now, fact)
    return found


# -- show ------------------------------------------------------------------------------------------------------------------


def test_show_counts_a_loop_and_lists_what_is_in_flight(perdure: Perdure) -> None:
    """A line for the loop with all of its iterations, below it the nodes of those that are open, as far as they have begun."""
    execution = perdure.run(PARKED, "--no-wait").last["execution"]
    shown = perdure("show", execution).stdout
    assert re.search(r"▸ orders +running +0 of 4, 2 running\n  ! orders\[0\]\.charge +parked +It went wrong\.\n", shown)
    assert "ship" not in shown.partition("timeline")[0].partition("nodes\n")[2]


def test_show_lists_the_first_of_many_frames(perdure: Perdure) -> None:
    """A thousand iterations in flight do not bury what else there is to see."""
    gate = {"nodes": {"gate": {"type": "wait_for_signal", "signal": "go"}}}
    nodes = {
        "each": {"type": "loop", "over": "${ range(50) }", "concurrency": 50, "body": gate},
        "after": {"type": "log", "message": "x"},
    }
    shown = perdure("show", perdure.run(nodes, "--no-wait").last["execution"]).stdout.partition("timeline")[0]
    assert shown.count("].gate") == 20
    assert "… and 30 more frames of each" in shown
    assert "0 of 50, 50 running" in shown
    assert "✓ after" in shown


def test_show_tells_where_a_try_is(perdure: Perdure) -> None:
    """In its body, a handler, or cleaning up; the body that has ended is still listed."""
    nodes = {
        "pay": {
            "type": "try", "body": {"nodes": {"card": {"type": "fail", "code": "card.declined"}}},
            "catch": {"body": {"nodes": {"ask": {"type": "wait_for_signal", "signal": "go"}}}},
        },
    }  # fmt: skip
    shown = perdure("show", perdure.run(nodes, "--no-wait").last["execution"]).stdout
    lines = [re.split(r" {2,}", line.strip())[:3] for line in shown.partition("timeline")[0].splitlines()]
    pay, card, ask = (
        next(line for line in lines if line[0][2:] == path) for path in ("pay", "pay.body.card", "pay.catch0.ask")
    )
    assert (pay, card[:2], ask[:2]) == (
        ["▸ pay", "running", "in catch0"], ["✗ pay.body.card", "failed"], ["◷ pay.catch0.ask", "waiting"],
    )  # fmt: skip
    assert lines.index(pay) < lines.index(card) < lines.index(ask)


def test_show_never_tells_a_time_that_there_is_not(perdure: Perdure) -> None:
    """Each kind of wait has words of its own; 1970 was long ago."""
    perdure.flow({"ask": {"type": "wait_for_signal", "signal": "go"}}, name="child")
    nodes = {
        "sub": {"type": "subworkflow", "workflow": "child"},
        "paid": {"type": "wait_for_event", "event": "order.paid"},
        "cond": {"type": "wait_for_condition", "condition": "${ state.paid.status == 'succeeded' }"},
        "sig": {"type": "wait_for_signal", "signal": "go", "lock": "k"},
        "lock": {"type": "log", "message": "x", "lock": "k"},
        "open": {"type": "loop", "over": "${ [] }", "open": True, "body": {"nodes": {"a": {"type": "transform", "to": 1}}}},
        "ready": {"type": "join", "after": ["fine", "sig"], "deadline": "1h", "need": 2},
        "fine": {"type": "transform", "to": 1},
    }
    finished = perdure("run", perdure.flow(nodes), "--no-wait")
    execution = finished.stdout.split()[1]
    shown = perdure("show", execution).stdout
    for text in (finished.stdout, shown):
        assert "1970" not in text
    for words in (
        "for its child ex_", "for an event `order.paid`", "for its condition `state.paid.status == 'succeeded'`",
        "for the lock `k`", "0 of 0, open for more", "for more of its branches, until ",
    ):  # fmt: skip
        assert words in shown, words
    assert "paid waits for: perdure emit order.paid" in finished.stderr


# -- incidents and decisions -----------------------------------------------------------------------------------------------


def test_incidents_name_nodes_in_frames_with_what_decides_them(perdure: Perdure) -> None:
    """The path in the frame, quoted for the shell, and --store where it was given."""
    finished = perdure("run", perdure.flow(PARKED), "--no-wait", "--json", "--store", "my store.db")
    execution = finished.last["execution"]
    people = perdure("incidents", "--store", "my store.db").stdout
    for index in (0, 1):
        assert f"! {execution}  flow  orders[{index}].charge  it failed: retry, complete or fail?" in people
        wanted = (
            f"decide with: perdure retry {execution} 'orders[{index}].charge' --store 'my store.db'; or perdure complete … "
        )
        assert wanted in people
    lines = perdure("incidents", "--json", "--store", "my store.db").lines
    assert [line["node"] for line in lines] == ["orders[0].charge", "orders[1].charge"]
    assert f"perdure retry {execution} 'orders[0].charge' --store 'my store.db'" in finished.stderr


def test_rule_14_a_parked_node_in_a_frame_is_decided(perdure: Perdure) -> None:
    """Completed, retried with other parameters, left to fail: each by its path."""
    body = {"nodes": {"charge": {"type": "test.fails_first", "with": {"times": 9}, "park": True}}}
    loop = {"type": "loop", "over": "${ [1, 2, 3] }", "concurrency": 3, "body": body}
    execution = perdure.run({"orders": loop}, "--no-wait").last["execution"]
    assert perdure("complete", execution, "orders[0].charge", "--output", '"by hand"').code == 0
    assert perdure("retry", execution, "orders[1].charge", "--input", '{"times": 1}').code == 0
    resumed = perdure("resume", "--no-wait", "--json")
    assert (resumed.code, resumed.last["status"]) == (4, "parked"), resumed
    done = {line["node"]: line["output"] for line in resumed.lines if line.get("fact") == "done"}
    assert done == {"orders[0].charge": "by hand", "orders[1].charge": 2}
    assert perdure("fail", execution, "orders[2].charge", "--reason", "hopeless").code == 0
    resumed = perdure("resume", "--json")
    assert (resumed.code, resumed.last["error"]["node"]) == (1, "orders[2].charge"), resumed


def test_rule_14_a_parked_container_is_decided(perdure: Perdure) -> None:
    """Retried as a whole in fresh frames, or completed with an output; it has no parameters to replace."""
    body = {"nodes": {"work": {"type": "test.hangs_once", "with": {"file": "seen"}, "timeout": "20ms"}}}
    nodes = {"each": {"type": "loop", "over": "${ [1] }", "park": True, "body": body}}
    execution = perdure.run(nodes, "--no-wait").last["execution"]
    assert f"perdure retry {execution} each" in perdure("incidents").stdout
    refused = perdure("retry", execution, "each", "--input", "{}")
    assert (refused.code, "[control.refused]" in refused.stderr) == (2, True)
    assert "`each` is a `loop`: it has no parameters that could be replaced." in refused.stderr
    assert perdure("retry", execution, "each").code == 0
    resumed = perdure("resume", "--json")
    assert (resumed.code, resumed.last["output"]["results"]) == (0, ["done"]), resumed
    assert any(line.get("node") == "each~2[0].work" for line in resumed.lines)


def test_rule_14_a_parked_sub_workflow_is_decided(perdure: Perdure) -> None:
    """Retried with another input it is another child; completed, nobody asks the child any more."""
    perdure.flow(
        {"a": {"type": "fail", "code": "no", "when": "${ input.n < 2 }"}, "b": {"type": "log", "message": "x"}}, name="child"
    )
    nodes = {"bill": {"type": "subworkflow", "workflow": "child", "input": {"n": 1}, "park": True}}
    for decision in (["retry", "--input", '{"n": 2}'], ["complete", "--output", "{}"]):
        execution = perdure.run(nodes, "--no-wait").last["execution"]
        assert "bill  it failed: retry, complete or fail?" in perdure("incidents").stdout
        assert perdure(decision[0], execution, "bill", *decision[1:]).code == 0
        resumed = perdure("resume", execution, "--json")
        assert resumed.code == 0, resumed


# -- the live view and the memory of views -----------------------------------------------------------------------------------


def orders(count: int, **loop: Any) -> Rehearsal:
    """A loop over so many, three at a time, between two effects."""
    body = scope(charge={}, ship={"after": "charge"})
    each = {"type": "loop", "over": f"${{ range({count}) }}", "concurrency": 3, "body": body, **loop}
    play = Rehearsal(effects(first={}, orders=each, last={"after": "orders"}))
    play.start()
    return play


def picture(watched_: Watched, height: int = 20) -> list[str]:
    """The table of an execution, a line each."""
    console = Console(file=io.StringIO(), width=100, height=height, color_system=None)
    view = LiveView(console)
    with console.capture() as capture:
        console.print(view.table(watched_, height))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_live_table_shows_a_loop_with_what_is_in_flight() -> None:
    """The workflow's own nodes as they were declared, below the loop its running nodes; a line that counts."""
    play = orders(10)
    play.succeed("orders[0].charge")
    lines = picture(watched(play))
    assert [line.split()[1] for line in lines] == [
        "first",
        "orders",
        "orders[0].ship",
        "orders[1].charge",
        "orders[2].charge",
        "last",
    ]
    assert lines[1].endswith("0 of 10, 3 running")
    assert rows(watched(play), 4) == [("", "first"), ("", "orders"), ("orders[0]", "ship"), ("", "last")]
    assert rows(watched(play), 3) == [("", "first"), ("", "orders"), ("", "last")]


def test_the_live_table_shows_where_a_try_is_and_that_it_is_paused() -> None:
    """In words beside the container, and in the line of progress."""
    pay = {"type": "try", "body": scope(card={}), "catch": {"body": scope(ask={})}}
    play = Rehearsal(effects(pay=pay))
    play.start()
    play.fail("pay.body.card", "x.y")
    play.operate("pause")
    lines = picture(watched(play))
    assert lines[0].endswith("in catch0")
    assert lines[1].split()[:2] == ["▸", "pay.catch0.ask"]
    assert "(paused)" in LiveView(Console(file=io.StringIO())).progress(watched(play))


def test_a_view_forgets_what_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many iterations there were, it remembers the frames in flight, and a few more."""
    assert FRAMES_KEPT <= 1_000
    monkeypatch.setattr("perdure.cli.view.FRAMES_KEPT", 5)
    count = 60
    play = orders(count)
    seen = watched(play)
    taken = len(play.facts)
    for index in range(count):
        for node in ("charge", "ship"):
            play.succeed(f"orders[{index}].{node}")
        for fact in play.facts[taken:]:
            seen.take(play.now, fact)
        taken = len(play.facts)
        assert len(seen.times) <= 2 * len(seen.state.frames) + 5 + 3
    assert play.state("orders") == "succeeded"
    assert len(seen.recent) == 1


def test_a_long_loop_is_followed_in_little_memory(perdure: Perdure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain lines of five thousand iterations, each forgotten when it is told."""
    body = {"nodes": {"a": {"type": "transform", "to": "${ item }"}}}
    flow = perdure.flow({"each": {"type": "loop", "over": "${ range(5000) }", "collect": "count", "body": body}})
    kept: list[int] = []
    saw = PlainView.saw

    def measured(view: PlainView, execution: ExecutionId, at: int, facts: list[Any]) -> None:
        saw(view, execution, at, facts)
        found = view._watched[execution]
        kept.append(sys.getsizeof(found.times) + sum(map(sys.getsizeof, found.times.values())))

    monkeypatch.setattr(PlainView, "saw", measured)
    finished = perdure("run", flow)
    assert finished.code == 0, finished.stderr
    assert '"results": 5000' in finished.stdout
    assert max(kept) < 200_000


def test_many_iterations_in_flight_make_no_long_picture() -> None:
    """Of ten thousand at once the first are looked at; the table is as high as the terminal."""
    body = scope(charge={})
    each = {"type": "loop", "over": "${ range(3000) }", "concurrency": 3_000, "body": body}
    play = Rehearsal(effects(orders=each))
    play.start()
    lines = picture(watched(play), height=12)
    assert len(lines) == 12
    assert lines[0].endswith("0 of 3000, 3000 running")


def test_logs_of_log_nodes_in_frames_are_told(perdure: Perdure) -> None:
    """As those of the workflow's own scope are."""
    body = {"nodes": {"say": {"type": "log", "message": "number ${ item }"}}}
    finished = perdure("run", perdure.flow({"each": {"type": "loop", "over": "${ [7] }", "body": body}}))
    assert "each[0].say succeeded number 7" in finished.stdout

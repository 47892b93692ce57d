"""`why`: an explanation in lines for people and as an object for scripts, of a node, a frame, or the execution as a whole."""

from __future__ import annotations

import re
from typing import Any

import pytest
from command_line import ASK, PARKS, Perdure

ROUTE = {
    "size": {"type": "switch", "cases": {"large": "${ input.total > 100 }", "medium": "${ input.total > 10 }"}},
    "call": {"type": "transform", "after": "size.large", "to": "call"},
    "mail": {"type": "transform", "after": ["size.medium", "size.default"], "to": "mail"},
}
TIME = r"\d\d:\d\d:\d\d\.\d{3}"


def told(perdure: Perdure, *arguments: str) -> list[str]:
    """The lines of `why`, without the times at their beginning."""
    finished = perdure("why", *arguments)
    assert finished.code == 0, finished
    return [re.sub(rf"^(  ){TIME}  ", r"\1", line) for line in finished.stdout.splitlines()]


def test_why_a_node_was_skipped_is_told_in_lines(perdure: Perdure) -> None:
    """The node with its state, the reason, below it what it follows from with the values."""
    execution = perdure.run(ROUTE, "--input", '{"total": 50}').last["execution"]
    assert told(perdure, execution, "call") == [
        "– call  skipped",
        "  skipped: edge `size.large` is dead: `size` took `medium`",
        "      `size` took `medium`: input.total > 10",
        "          input.total = 50",
        "      `large` did not hold: input.total > 100",
        "          input.total = 50",
    ]
    assert told(perdure, execution, "mail")[:2] == [
        "✓ mail  succeeded",
        "  ran after: edge `size.medium` (`size` took `medium`)",
    ]


def test_why_is_an_object_for_scripts(perdure: Perdure) -> None:
    """One line: execution, node, state, and the reasons with kind, sentence, fact, time, values and what they follow from."""
    execution = perdure.run(ROUTE, "--input", '{"total": 50}').last["execution"]
    shown = perdure("why", execution, "call", "--json").last
    assert (shown["execution"], shown["node"], shown["state"]) == (execution, "call", "skipped")
    (reason,) = shown["reasons"]
    assert reason["kind"] == "skipped"
    assert reason["at"].endswith("Z")
    assert reason["because"][0]["values"] == {"input.total": 50}
    facts = [fact for step in perdure("show", execution, "--json").lines for fact in step["facts"]]
    assert (facts[reason["fact"] - 1]["fact"], facts[reason["fact"] - 1]["node"]) == ("skipped", "call")


def test_why_an_execution_failed_is_told_from_the_root_outwards(perdure: Perdure) -> None:
    """The node in its frame first, the execution last."""
    body = {"nodes": {"charge": {"type": "test.fails", "with": {"title": "Declined."}}}}
    execution = perdure.run({"orders": {"type": "loop", "over": "${ [1] }", "body": body}}).last["execution"]
    rest = "test.failed (technical): Declined (no edge for it; on_failure: cancel_siblings)"
    assert told(perdure, execution) == [
        f"✗ {execution}  failed",
        f"  `orders[0].charge` failed: {rest}",
        f"  `orders` failed: iteration 0 failed: {rest}",
        "  the execution failed",
    ]
    assert told(perdure, execution, "orders[0]")[0] == "✗ orders[0]  failed"
    assert told(perdure, execution, "orders[0].charge")[0] == "✗ orders[0].charge  failed"


def test_what_an_execution_waits_for_is_told_with_the_commands(perdure: Perdure) -> None:
    """Ready to be pasted; parked nodes first; times in RFC 3339 for scripts, by the clock for people."""
    execution = perdure.run({**PARKS, "ask": {**ASK["ask"], "key": "o-1", "timeout": "1h"}}, "--no-wait").last["execution"]
    lines = told(perdure, execution)
    assert lines[1].startswith("  `pay` is parked: test.failed (technical): It went wrong;")
    assert f"      → perdure retry {execution} pay" in lines
    assert f"      → perdure signal {execution} go --key o-1" in lines
    (waits,) = [line for line in lines if "waits for the signal `go` with key o-1" in line]
    assert re.search(r"since \d\d:\d\d:\d\d, gives up at (\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d$", waits)
    shown = perdure("why", execution, "--json").last
    assert re.search(r"gives up at \d{4}-\d\d-\d\dT[\d:.]+Z$", shown["reasons"][1]["sentence"])


def test_a_lock_is_told_with_who_holds_it(perdure: Perdure) -> None:
    """The execution and the node, in `why` and in `show`."""
    nodes = {"hold": {**ASK["ask"], "lock": "k"}}
    first = perdure.run(nodes, "--no-wait").last["execution"]
    second = perdure.run(nodes, "--no-wait", name="other")
    assert (second.code, second.last["status"]) == (4, "waiting"), second
    execution = second.last["execution"]
    assert f"hold waits for the lock `k`, which hold of {first} holds and no process runs" in second.stderr
    assert f"go on with that one: perdure resume {first}" in second.stderr
    lines = told(perdure, execution, "hold")
    assert any(f"waits for the lock `k`, held by {first} hold since " in line for line in lines)
    assert f"      → perdure why {first} hold" in lines
    assert "lock      `k`, held by hold" in perdure("show", first).stdout
    assert f"lock      `k`, wanted by hold, held by {first} hold" in perdure("show", execution).stdout


def test_no_node_type_is_needed_to_explain(perdure: Perdure) -> None:
    """The plan and the journal are enough: the code of the nodes may be gone."""
    execution = perdure.run(PARKS, "--no-wait").last["execution"]
    (perdure.folder / "nodes.py").unlink()
    assert told(perdure, execution, "after") == ["· after  pending", "  waits for `pay`, which is parked"]


def test_texts_of_workflows_cannot_drive_the_terminal(perdure: Perdure) -> None:
    """Escape sequences in titles and values are shown as question marks, each sentence in one line."""
    escape = "\x1b[2J"
    nodes = {
        "a": {"type": "condition", "if": "${ input != null }"},
        "b": {"type": "fail", "code": "x", "title": f"No{escape}\nno."},
    }
    finished = perdure.run(nodes, "--input", f'"{escape}"'.replace("\x1b", "\\u001b"))
    for path in ([], ["a"], ["b"]):
        shown = perdure("why", finished.last["execution"], *path).stdout
        assert "\x1b" not in shown
        assert "No?[2J no" in shown or path == ["a"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["why"], "ID"),
        (["why", "zzzz"], "no execution 'zzzz'"),
        (["why", "ID", "fecth"], "Did you mean `fetch`?"),
        (["why", "ID", "charge"], "Did you mean `orders[0].charge`?"),
        (["why", "ID", "--store", "gone.db"], "no store at gone.db"),
    ],
)
def test_what_is_not_there_cannot_be_explained(perdure: Perdure, arguments: list[str], said: str) -> None:
    """Exit code 2 and a sentence, with what was perhaps meant."""
    body = {"nodes": {"charge": {"type": "transform", "to": 1}}}
    nodes: dict[str, Any] = {
        "fetch": {"type": "transform", "to": 1},
        "orders": {"type": "loop", "over": "${ [1] }", "body": body},
    }
    execution = perdure.run(nodes).last["execution"]
    finished = perdure(*(execution if argument == "ID" else argument for argument in arguments))
    assert (finished.code, finished.stdout) == (2, ""), finished
    assert said in finished.stderr

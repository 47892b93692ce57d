"""Large loops and wide forks: what an iteration costs does not grow, in facts, bytes, state and work (rules 3, 24)."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import perdure.engine
from perdure.definition.plan import Plan
from perdure.engine import conditions, events, evolution
from perdure.engine.codec import decode_value, encode_row, encode_snapshot
from perdure.engine.commands import Run
from perdure.engine.execution import Execution, Progress
from perdure.engine.index import Index
from perdure.engine.machine import step
from perdure.ids import is_inside
from perdure.testing.rehearsal import BEGIN, EXECUTION, effects, plan_of

OUTPUT = events.encode("x" * 90)


class Driven:
    """An execution that is stepped as a home does it: every effect succeeds at once; nothing is checked on the way."""

    def __init__(self, plan: Plan) -> None:
        self.resident: dict[bytes, Any] = {}
        self.execution = Execution()
        self.index = Index(plan, self.resident)
        self.inputs: list[Any] = [events.Start(execution=EXECUTION)]
        self.facts = self.rows = self.bytes = self.commands = self.frames_most = 0

    def turn(self) -> None:
        done = step(self.execution, self.index, self.inputs, BEGIN)
        self.resident.update((digest, decode_value(body)) for digest, body in done.blobs.items())
        self.facts += len(done.facts)
        self.commands += len(done.commands)
        self.rows += 1
        self.bytes += len(encode_row(done.taken, done.facts, not done.at_rest))
        self.frames_most = max(self.frames_most, len(self.execution.frames) - 1)
        left = self.inputs[len(done.taken) :]
        self.inputs = left if done.at_rest else [events.Continue(), *left]
        self.inputs += [
            events.Result(token=command.token, output=OUTPUT, started=1, finished=2)
            for command in done.commands
            if isinstance(command, Run)
        ]

    def until(self, iterations: int) -> tuple[int, int, int]:
        """Go on until so many iterations have opened; the facts, the commands and the bytes of the journal by then."""
        while not self.execution.ended and self.progress().next < iterations:
            self.turn()
        return self.facts, self.commands, self.bytes

    def progress(self) -> Progress:
        root = self.execution.frames.get("")
        instance = root.instances.get("l") if root is not None else None
        return instance.progress if instance is not None and instance.progress is not None else Progress()

    def take(self, *inputs: Any) -> None:
        """Take these, and come to rest."""
        self.inputs += inputs
        while self.inputs:
            self.turn()

    def end(self) -> None:
        while not self.execution.ended:
            self.turn()


def looping(times: int, node: dict[str, Any], **loop: Any) -> Driven:
    return Driven(plan_of(effects(l={"type": "repeat", "times": times, "body": {"nodes": {"x": node}}, **loop})))


PURE = {"type": "transform", "to": "${ index }"}
EFFECT = {"type": "test.effect", "with": {"n": "${ index }"}}


@pytest.mark.parametrize("node, facts_each", [(PURE, 3), (EFFECT, 4)], ids=["pure", "effect"])
def test_an_iteration_costs_as_much_at_the_end_as_at_the_beginning(node: dict[str, Any], facts_each: int) -> None:
    """Facts, commands and bytes of the journal for each iteration, from 1,000 to 2,000 and from 11,000 to 12,000."""
    loop = looping(12_000, node)
    costs = []
    for first, last in ((1_000, 2_000), (11_000, 12_000)):
        before, begun = loop.until(first), loop.progress().next
        after = loop.until(last)
        opened = loop.progress().next - begun
        costs.append([round((end - start) / opened, 1) for start, end in zip(before, after, strict=True)])
    (early_facts, early_commands, early_bytes), (late_facts, late_commands, late_bytes) = costs
    assert early_facts == pytest.approx(facts_each, abs=0.1)
    assert late_facts == pytest.approx(early_facts, abs=0.1)
    assert early_commands == late_commands == (1 if node is EFFECT else 0)
    assert late_bytes == pytest.approx(early_bytes, rel=0.1)


@pytest.mark.parametrize(
    "loop, most",
    [({}, 150_000), ({"collect": "count"}, 2_000), ({"collect": "last 5"}, 4_000)],
    ids=["all", "count", "last"],
)
def test_the_state_of_a_loop_does_not_grow_with_its_iterations(loop: dict[str, Any], most: int) -> None:
    """At most a thousand results stand in it; the others are put away (day-one 19). Bytes of the snapshot."""
    driven = looping(20_500, EFFECT, **loop)
    sizes = []
    for iterations in (999, 5_999, 19_999):
        driven.until(iterations)
        sizes.append(len(encode_snapshot(driven.execution)))
    assert max(sizes) < most
    assert sizes[-1] < sizes[0] * 1.2
    driven.end()
    assert driven.execution.status == "succeeded"


def test_a_loop_opens_lazily() -> None:
    """Ten at a time means ten frames, however many items there are."""
    node = {"type": "test.effect", "with": {"n": "${ item }"}}
    loop = {"type": "loop", "over": "${ input }", "concurrency": 10, "collect": "none", "body": {"nodes": {"x": node}}}
    driven = Driven(plan_of(effects(l=loop)))
    driven.inputs = [events.Start(execution=EXECUTION, input=events.encode(list(range(10_000))))]
    driven.end()
    assert driven.execution.status == "succeeded"
    assert driven.frames_most == 10


@pytest.mark.parametrize("width", [200, 2_000])
def test_a_wide_join_costs_two_facts_a_branch(width: int) -> None:
    """Scheduled and done; the join looks at counters and not at its branches."""
    nodes: dict[str, Any] = {f"n{number}": {} for number in range(width)}
    nodes["j"] = {"type": "join", "after": list(nodes), "need": "all"}
    driven = Driven(plan_of(effects(**nodes)))
    driven.end()
    assert driven.execution.status == "succeeded"
    assert driven.facts == 2 * width + 3


@pytest.mark.parametrize("width", [200, 2_000])
def test_a_wide_parallel_costs_four_facts_a_branch(width: int) -> None:
    """Frame opened, scheduled, done, frame closed."""
    branches = {f"b{number}": {"nodes": {"x": {"type": "test.effect"}}} for number in range(width)}
    driven = Driven(plan_of(effects(p={"type": "parallel", "branches": branches})))
    driven.end()
    assert driven.execution.status == "succeeded"
    assert driven.facts == 4 * width + 4


# -- work ----------------------------------------------------------------------------------------------------------------

TWICE = 2.05
"""Twice as many cost twice as much, with room for what halving takes."""


def lines_of(deed: Callable[[], None]) -> int:
    """How many lines of the engine are run for a deed; each turn of a loop counts."""
    ours, lines = str(Path(perdure.engine.__file__).parent), 0

    def in_frame(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return in_frame

    before = sys.gettrace()
    sys.settrace(lambda frame, event, arg: in_frame if frame.f_code.co_filename.startswith(ours) else None)
    try:
        deed()
    finally:
        sys.settrace(before)
    return lines


class Sought(deque[Any]):
    """A queue that counts what a search in it looks at."""

    looked_at = 0

    def __contains__(self, value: object) -> bool:
        self.looked_at += len(self)
        return super().__contains__(value)

    def remove(self, value: Any) -> None:
        self.looked_at += len(self)
        super().remove(value)


class Walked(dict[Any, Any]):
    """Results that count how often one of them is looked at to find the lowest."""

    looked_at = 0

    def __iter__(self) -> Iterator[Any]:
        for key in super().__iter__():
            self.looked_at += 1
            yield key


def begun(**nodes: Any) -> Driven:
    driven = Driven(plan_of(effects(**nodes)))
    driven.take()
    return driven


def signal(name: str, **fields: Any) -> events.Signal:
    return events.Signal(id=f"{name}{fields.get('key', '')}", name=name, **fields)


def test_a_join_with_an_expression_is_not_looked_for_among_what_is_ready() -> None:
    """All its branches finish in one step, and it is asked once, after the last."""
    branches: dict[str, Any] = {f"n{number}": {"type": "transform", "to": number} for number in range(300)}
    need = "${ join.success == 300 }"
    driven = Driven(plan_of(effects(**branches, j={"type": "join", "after": list(branches), "need": need})))
    ready = driven.index.ready = Sought()
    driven.end()
    assert driven.execution.status == "succeeded"
    assert ready.looked_at == 0


def test_a_condition_is_judged_once_for_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that did not hold are not judged anew because another did."""
    judged: list[str] = []
    judge = conditions.judge
    monkeypatch.setattr(conditions, "judge", lambda step, opened, node: judged.append(node.id) or judge(step, opened, node))
    told = {"type": "wait_for_signal", "signal": "told"}
    vain = {f"v{n}": {"type": "wait_for_condition", "condition": "${ nodes.told == 'no' }"} for n in range(20)}
    true = {f"t{n}": {"type": "wait_for_condition", "condition": "${ nodes.told == 'yes' }"} for n in range(20)}
    driven = begun(told=told, **vain, **true)
    driven.take(signal("told", payload=events.encode("yes")))
    assert judged == [*vain, *true]


def test_a_container_looks_for_what_it_replaces_only_among_what_came_after_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many containers one after another, each with a compensation that replaces the one inside it."""
    looked_at: list[str] = []
    monkeypatch.setattr(evolution, "is_inside", lambda frame, at: looked_at.append(frame) or is_inside(frame, at))
    undo = {"nodes": {"u": {"type": "log", "message": "undone"}}}
    body = {"nodes": {"x": {"type": "transform", "to": 1, "compensate": undo}}}
    one = {"type": "repeat", "times": 1, "body": body, "compensate": undo}
    others = {f"c{number}": {**one, "after": f"c{number - 1}"} for number in range(1, 30)}
    driven = Driven(plan_of(effects(c0=one, **others, rest={"type": "wait_for_signal", "signal": "s", "after": "c29"})))
    driven.take()
    assert [each.node for each in driven.execution.compensations] == ["c0", *others]
    assert looked_at == [f"c{number}[0]" for number in range(30)]


def rolling_back(many: int) -> Callable[[], None]:
    """So many compensations to undo, with as many registered later that are none of this rollback's."""

    def compensated(first: str, name: str) -> dict[str, Any]:
        undo = {"nodes": {"u": {"type": "log", "message": "undone"}}}
        one = {"type": "transform", "to": 1, "compensate": undo}
        return {f"{name}{number}": {**one, "after": f"{name}{number - 1}" if number else first} for number in range(many)}

    inside = {"begin": {"type": "log", "message": "begin"}, **compensated("begin", "i")}
    gate = {"type": "wait_for_signal", "signal": "fail", "after": f"i{many - 1}"}
    body = {"nodes": {**inside, "gate": gate, "f": {"type": "fail", "after": "gate", "code": "x.y"}}}
    handled = {"type": "try", "body": body, "catch": {"body": {"nodes": {"back": {"type": "rollback"}}}}}
    later = {"later": {"type": "wait_for_signal", "signal": "later"}, **compensated("later", "o")}
    driven = begun(t=handled, **later)
    driven.take(signal("later"))
    assert len(driven.execution.compensations) == 2 * many

    def deed() -> None:
        driven.take(signal("fail"))
        assert len(driven.execution.compensations) == many

    return deed


def failing_for_one_reason(many: int) -> Callable[[], None]:
    """A join whose branches are links of one chain, broken at its beginning."""
    nodes = {f"n{number}": {"after": f"n{number - 1}"} for number in range(1, many)}
    join = {"type": "join", "after": ["n0", *nodes], "need": "any"}
    driven = begun(
        n0={"type": "transform", "to": "${ 1 / nodes.s }", "after": "s"},
        s={"type": "wait_for_signal", "signal": "s"},
        **nodes,
        j=join,
    )
    return lambda: driven.take(signal("s", payload=events.encode(0)))


def adding_items(many: int) -> Callable[[], None]:
    """A loop that is given its items one by one."""
    body = {"nodes": {"x": {"type": "transform", "to": "${ item }"}}}
    loop = {"type": "loop", "over": [], "open": True, "concurrency": 1, "collect": "none", "body": body}
    driven = begun(l=loop)
    added = [events.Signal(id=f"a{n}", name="add", path="l", payload=events.encode([n])) for n in range(many)]
    return lambda: driven.take(*added, events.Signal(id="c", name="close", path="l"))


def signalling(many: int) -> Callable[[], None]:
    """So many waits for a signal, each by its own key."""
    body = {"nodes": {"x": {"type": "wait_for_signal", "signal": "s", "key": "${ index }"}}}
    driven = begun(l={"type": "repeat", "times": many, "concurrency": many, "collect": "none", "body": body})
    return lambda: driven.take(*(signal("s", key=str(number)) for number in range(many)))


@pytest.mark.parametrize("case", [rolling_back, failing_for_one_reason, adding_items, signalling])
def test_twice_as_many_are_twice_the_work(case: Callable[[int], Callable[[], None]]) -> None:
    """Lines of the engine that are run, for so many and for twice as many."""
    once, twice = (lines_of(case(many)) for many in (40, 80))
    assert twice < TWICE * once


def test_the_last_results_are_kept_without_looking_through_them() -> None:
    """What goes is the lowest, found from where the last that went was."""
    driven = looping(1_000, PURE, collect="last 50")
    driven.until(1)
    results = driven.progress().results = Walked(driven.progress().results)
    driven.until(900)
    assert len(results) == 50
    assert results.looked_at == 0
    driven.end()
    assert driven.execution.status == "succeeded"

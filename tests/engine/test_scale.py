"""Large loops and wide forks: what an iteration costs does not grow, in facts, bytes and state (rules 3, 24)."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.definition.plan import Plan
from perdure.engine import events
from perdure.engine.codec import decode_value, encode_row, encode_snapshot
from perdure.engine.commands import Run
from perdure.engine.execution import Execution, Progress
from perdure.engine.index import Index
from perdure.engine.machine import step
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

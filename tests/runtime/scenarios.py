"""Workflows that together use every node type and every way of going on, each with what must be said to it from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from perdure.definition.spec import Example
from perdure.engine.elements import SPECS
from perdure.errors import Refused
from perdure.ids import ExecutionId
from perdure.testing.world import Process, act, pass_time, workflow_of

Conversation = Callable[[Process, ExecutionId], Awaitable[None]]


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """A workflow, its input, and what is said to it: whatever a process says is said again by the one after a crash."""

    name: str
    document: dict[str, Any]
    input: Any = None
    says: Conversation | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    example: Example | None = None  # the one it is, which says how it ends


async def tolerant(saying: Awaitable[Any]) -> None:
    """Say it; an execution that has ended meanwhile need not hear it."""
    try:
        await saying
    except Refused as refused:
        if refused.code != "execution.ended":
            raise


async def signals(process: Process, execution: ExecutionId) -> None:
    """One signal comes before anybody waits for it, the other one later."""
    await tolerant(process.executions.signal(execution, "early", {"n": 1}, id="s-early"))
    await pass_time(20)
    await tolerant(process.executions.signal(execution, "late", "x" * 3_000, key="k-1", id="s-late"))


async def answers(process: Process, execution: ExecutionId) -> None:
    """The deferred node is answered as soon as its token is out and kept."""
    while (state := process.home.state(execution)) is not None and not _waits(state, "ask"):
        await pass_time(0.5)
    if "ask" in process.world.ledger.tokens:
        await tolerant(process.executions.complete(process.world.ledger.tokens["ask"], {"answer": 42}))


async def retries(process: Process, execution: ExecutionId) -> None:
    """An operator retries what is parked, once it is."""
    while not _parked((await process.executions.show(execution)).state, "poor"):
        if (await process.executions.show(execution)).state.ended:
            return
        await pass_time(0.5)
    await tolerant(process.executions.operate(execution, "retry", path="poor", by="ann"))


async def cancels(process: Process, execution: ExecutionId) -> None:
    """Somebody cancels it while its effects run."""
    await pass_time(4)
    await tolerant(process.executions.operate(execution, "cancel", by="ann", reason="no longer needed"))


def _waits(state: Any, node: str) -> bool:
    frame = state.frames.get("")
    return frame is not None and node in frame.instances and frame.instances[node].wait == "deferred"


def _parked(state: Any, node: str) -> bool:
    frame = state.frames.get("")
    return frame is not None and node in frame.instances and frame.instances[node].question != ""


RETRY = {"attempts": 3, "initial": "1s", "backoff": "fixed", "jitter": False}

_EFFECTS = Scenario(
    "effects",
    workflow_of(
        {
            "fetch": act(seconds=2, bytes=2_000, fails=["http.503", None], node={"retry": RETRY, "timeout": "10s"}),
            "heavy": act("fetch", seconds=1, bytes=300_000),
            "weigh": {"type": "transform", "after": "heavy", "to": "${ len(nodes.heavy) + len(nodes.fetch) }"},
            "double": act("weigh", gives="${ nodes.weigh * 2 }"),
            "slow": act("fetch", seconds=60, node={"timeout": "3s", "retry": {**RETRY, "attempts": 2}}),
            "sorry": {"type": "transform", "after": "slow.timeout", "to": "${ error.code }"},
            "late": act(seconds=100, node={"deadline": "12s", "retry": {**RETRY, "attempts": 9}}),
            "caught": act(fails=["http.404"], node={"catch": [{"on": "http.404", "to": "missing"}]}),
            "missing": {"type": "transform", "after": "caught.missing", "to": "missing"},
            "after_late": {"type": "transform", "after": "late.error", "to": "${ state.late.error.code }"},
        },
        output={
            "double": "${ nodes.double }", "sorry": "${ nodes.sorry }", "missing": "${ nodes.missing }",
            "late": "${ nodes.after_late }",
        },
    ),
)  # fmt: skip

_WAITS = Scenario(
    "waits",
    workflow_of(
        {
            "pause": {"type": "delay", "for": "10s"},
            "early": {"type": "wait_for_signal", "after": "pause", "signal": "early"},
            "late": {"type": "wait_for_signal", "signal": "late", "key": "k-1"},
            "never": {"type": "wait_for_signal", "signal": "never", "timeout": "15s", "on_timeout": "route"},
            "gone": {"type": "transform", "after": "never.timeout", "to": "nobody came"},
            "then": act(["early", "late", "gone"], seconds=1, gives="${ [nodes.early, len(nodes.late), nodes.gone] }"),
        },
        output="${ nodes.then }",
    ),
    says=signals,
)

SCENARIOS: tuple[Scenario, ...] = (
    _EFFECTS,
    _WAITS,
    Scenario(
        "deferred", workflow_of({"ask": act(defers=True), "use": act("ask", gives="${ nodes.ask.answer }")}), says=answers
    ),
    Scenario(
        "parked",
        workflow_of({"poor": act(fails=["x.y", None], gives="rich", node={"park": True}), "b": act(seconds=1, gives=2)}),
        says=retries,
    ),
    Scenario("cancelled", workflow_of({"a": act(seconds=100), "b": act(gives=1), "c": act(["a", "b"])}), says=cancels),
    Scenario(
        "fan-out",
        workflow_of(
            {"split": act(gives=list(range(50)))}
            | {f"b{n}": act("split", seconds=1, gives=f"${{ nodes.split[{n}] * 2 }}") for n in range(50)}
            | {"sum": {"type": "transform", "after": [f"b{n}" for n in range(50)], "to": "${ state.b49.status }"}},
        ),
    ),
    Scenario(
        "chain",
        workflow_of({f"s{n}": act(f"s{n - 1}" if n else None, gives=n) for n in range(10)}),
    ),
    Scenario(
        "cut",
        workflow_of({f"t{n}": {"type": "transform", "after": f"t{n - 1}", "to": n} if n else act(gives=0) for n in range(30)}),
        settings={"step_facts_max": 4, "snapshot_facts": 10},
    ),
    Scenario(
        "variables",
        workflow_of(
            {
                "a": act(seconds=1, gives=5),
                "b": act(seconds=2, gives=7),
                "add_a": {"type": "set_variable", "after": "a", "set": {"total": "${ vars.total + nodes.a }"}},
                "add_b": {"type": "set_variable", "after": "b", "set": {"total": "${ vars.total + nodes.b }"}},
                "read": {"type": "get_variable", "after": ["add_a", "add_b"], "name": "total"},
                "tell": {"type": "emit", "after": "read", "event": "counted", "data": "${ nodes.read }"},
                "last": act("tell", seconds=1, gives="${ nodes.read }"),
            },
            vars={"total": {"value": 30, "merge": "last"}},
            output="${ nodes.last }",
        ),
    ),
    *(
        Scenario(
            f"on_failure {policy}",
            workflow_of(
                {
                    "bad": act(seconds=1, fails=["x.y"]),
                    "slow": act(seconds=5, gives="slow"),
                    "next": act("slow", gives="next"),
                    "hit": act("bad", gives="hit"),
                },
                settings={"on_failure": policy},
                output="${ nodes.slow }",
            ),
        )
        for policy in ("cancel_siblings", "drain", "isolate", "collect", "ignore")
    ),
    Scenario(
        "timed out",
        workflow_of({"a": act(seconds=100)}, settings={"timeout": "5s", "on_timeout": {"route": "w2"}}),
    ),
)

CONTAINERS: tuple[Scenario, ...] = (
    Scenario(
        "orders",
        workflow_of(
            {
                "lines": {
                    "type": "loop",
                    "over": "${ [3, 1, 2] }",
                    "body": {
                        "nodes": {
                            "price": act(seconds=2, fails=["x.flaky", None], gives="${ item * 10 }", node={"retry": RETRY}),
                            "book": {
                                **act("price", seconds=1, gives="${ nodes.price }"),
                                "compensate": {"nodes": {"undo": act(seconds=1, gives="${ self.output + item }")}},
                            },
                        }
                    },
                    "result": "${ nodes.book }",
                },
                "pay": {
                    "type": "try",
                    "after": "lines",
                    "body": {"nodes": {"charge": act(seconds=1, fails=["card.declined"])}},
                    "catch": [{"on": "card.*", "body": {"nodes": {"undo": {"type": "rollback", "of": "lines"}}}}],
                    "finally": {"nodes": {"note": act(seconds=1, gives="noted")}},
                },
            },
            output={"lines": "${ sorted(nodes.lines.results) }", "undone": "${ len(nodes.pay) }"},
        ),
    ),
    Scenario(
        "quorum",
        workflow_of(
            {
                "quotes": {
                    "type": "parallel",
                    "need": 2,
                    "branches": {
                        "a": {"nodes": {"ask": act(seconds=1, gives=7)}},
                        "b": {"nodes": {"ask": act(seconds=2, gives=5)}},
                        "c": {"nodes": {"ask": act(seconds=900, gives=3)}},
                    },
                },
                "x": act(seconds=2, gives="x"),
                "y": act(seconds=700, gives="y"),
                "first": {"type": "join", "after": ["x", "y"], "need": "any"},
                "end": act(["quotes", "first"], gives="${ state.quotes.winners + state.first.winners }"),
            },
            output="${ nodes.end }",
        ),
    ),
    Scenario(
        "family",
        workflow_of(
            {
                "more": {"type": "condition", "if": "${ input.depth > 0 }"},
                "children": {
                    "type": "loop",
                    "after": "more.true",
                    "over": "${ [1, 2] }",
                    "concurrency": 2,
                    "body": {
                        "nodes": {"child": {"type": "subworkflow", "workflow": "w", "input": {"depth": "${ input.depth - 1 }"}}}
                    },
                    "result": "${ nodes.child }",
                },
                "leaf": act("more.false", seconds=2, gives=1),
            },
            output="${ sum(nodes.children.results) if nodes.children != null else nodes.leaf }",
        ),
        {"depth": 2},
    ),
    Scenario(
        "again",
        workflow_of(
            {
                "poll": {**act(seconds=1, gives=1), "after": [{"from": "ready.false", "again": True, "max_visits": 5}]},
                "count": {"type": "set_variable", "after": "poll", "set": {"polls": "${ vars.polls + 1 }"}},
                "ready": {"type": "condition", "after": "count", "if": "${ vars.polls >= 3 }"},
                "done": act("ready.true", gives="${ vars.polls }"),
            },
            vars={"polls": 0},
            output="${ nodes.done }",
        ),
    ),
    Scenario(
        "one at a time",
        workflow_of(
            {
                "a": act(seconds=3, gives="a", node={"lock": "till"}),
                "b": {
                    "type": "try", "lock": "till",
                    "body": {"nodes": {"x": act(seconds=2, gives="b"), "wait": {"type": "delay", "for": "5s"}}, "output": "b"},
                },
                "tell": act("a", gives=1),
                "news": {"type": "wait_for_event", "event": "news", "since": "execution"},
                "say": {"type": "emit", "after": "tell", "event": "news", "data": {"n": 1}},
            },
            output="${ [nodes.a, nodes.b, nodes.news.data.n] }",
        ),
    ),
    Scenario(
        "cut loops",
        workflow_of(
            {
                "outer": {
                    "type": "repeat", "times": 3,
                    "body": {"nodes": {"inner": {
                        "type": "loop", "over": "${ range(8) }",
                        "body": {"nodes": {"t": {"type": "transform", "to": "${ item }"}, "e": act("t", gives="${ item }")}},
                        "result": "${ nodes.e }",
                    }}},
                    "result": "${ sum(nodes.inner.results) }",
                }
            },
            output="${ nodes.outer.results }",
        ),
        settings={"step_facts_max": 5, "snapshot_facts": 20},
    ),
    Scenario(
        "container retry",
        workflow_of(
            {
                "part": {
                    "type": "try",
                    "retry": RETRY,
                    "body": {"nodes": {"one": act(seconds=1, gives=1), "two": act("one", seconds=1, fails=["x.y"])}},
                },
                "after": {"type": "transform", "after": "part.error", "to": "${ state.part.attempts }"},
            },
            output="${ nodes.after }",
        ),
    ),
)  # fmt: skip
"""Containers around effects: loops, quorums, children, going back, locks, cut steps, retries as a whole."""

EXAMPLES: tuple[Scenario, ...] = tuple(
    Scenario(f"{name} {number}", example.definition, example.input, example=example)
    for name, spec in SPECS.items()
    for number, example in enumerate(spec.examples)
)
"""The examples of every element: between them, every node type that is built."""

"""Random graphs and random answers: graphs without containers, and what their effects, timers and operators say, by seed.

A graph has effects, pure nodes, choices and waits, joined by plain, error, timeout and catch edges, with retries, `when`,
`disabled`, deadlines, parking and every `on_failure`. Answers are a list of numbers; all chance comes from there, by name.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st
from recording import Recording

from perdure.definition import check_document
from perdure.definition.plan import Plan
from perdure.definition.spec import Catalog
from perdure.engine import events
from perdure.engine.elements import SPECS
from perdure.engine.events import AnyInput, encode
from perdure.engine.execution import WAITING, Instance
from perdure.engine.inputs import in_order
from perdure.errors import Category, Failure
from perdure.testing.rehearsal import EFFECT

POLICIES = ("cancel_siblings", "drain", "isolate", "collect", "ignore")
LARGE = 3_000  # characters: more than stands inline in the journal
TURNS_MAX = 400
CATALOG = Catalog({**SPECS, EFFECT.name: EFFECT})


class Graph:
    """A definition that the checker accepts, with its plan and an input."""

    def __init__(self, document: dict[str, Any], plan: Plan, input: dict[str, Any]) -> None:
        self.document = document
        self.plan = plan
        self.input = input

    def __repr__(self) -> str:
        return f"Graph({self.document!r}, input={str(self.input)[:80]})"


@dataclass(frozen=True)
class Answers:
    """What the world says to an execution; the same whenever it is asked for the same thing."""

    numbers: tuple[int, ...]

    def number(self, what: str) -> int:
        """The number that belongs to a name."""
        return self.numbers[zlib.crc32(what.encode()) % len(self.numbers)] + zlib.crc32(what.encode()[::-1]) % 97

    def play(self, play: Recording, graph: Graph) -> Recording:
        """Start the graph and answer until it has ended."""
        play.start(graph.input)
        for turn in range(TURNS_MAX):
            if play.execution.ended:
                return play
            play.take(*self.batch(play, turn))
        raise AssertionError(f"the execution never ends: {play.states()}")

    def batch(self, play: Recording, turn: int) -> list[AnyInput]:
        """What arrives next, as rule 2 orders it: some results, what is due, else what an operator or a signal says."""
        number = self.number(f"turn {turn}")
        given: list[AnyInput] = []
        running = play.running()
        if running:
            first = number // 7 % len(running)
            chosen = [running[(first + place) % len(running)] for place in range(1 + number % len(running))]
            given += [self.result(play, node) for node in chosen]
            if number % 4 == 0:
                given.append(given[0])  # a second delivery
        due = play.index.next_due(play.execution)
        if due is not None and (not given or number % 5 == 0):
            play.now = max(play.now, due)
            given += play.index.take_due(play.execution, play.now)
        if not given or number % 6 == 0:
            given += self.asked(play, turn)
        if number % 23 == 0 and turn:
            given.append(events.Operate(action="cancel", by="operator"))
        assert given, f"nothing can move this execution any more: {play.states()}"
        return in_order(given)

    def result(self, play: Recording, node: str) -> events.Result:
        """How the node's present attempt ends."""
        instance = play.instance(node)
        number = self.number(f"{node} {instance.attempt} {instance.crashes}")
        if instance.stopping and number % 3:
            return play.result(node, outcome="stopped")
        if number % 10 < 4:
            return play.result(node, output=encode(number))
        if number % 10 == 4:
            return play.result(node, output=play.encoded(f"{number}" * LARGE))
        if number % 10 == 5 and instance.crashes < 2:
            return play.result(node, outcome="lost", crashed=True)
        categories: tuple[Category, ...] = ("technical", "business", "timeout")
        category = categories[number % 3]
        code = ("x.first", "order.empty", "timeout")[number % 3]
        return play.result(node, outcome="failed", error=Failure(code=code, title=code, category=category))

    def asked(self, play: Recording, turn: int) -> list[AnyInput]:
        """What a person says of a parked node, or a signal for a node that waits for one."""
        for _, instance in play.execution.instances():
            if play.state(instance.node) == "parked":
                return [self.operation(play, instance)]
            if instance.state == WAITING and instance.wait == "signal":
                return [events.Signal(id=f"s{turn}", name=instance.wait_name, key=instance.wait_key, payload=encode(turn))]
        return []

    def operation(self, play: Recording, instance: Instance) -> events.Operate:
        number = self.number(f"operate {instance.node} {instance.attempt}")
        action = ("complete", "fail", "retry")[number % 3]
        if action == "retry" and not 0 < instance.attempt < 3:
            action = "complete"
        value = encode(number) if action == "complete" else events.NOTHING
        return events.Operate(action=action, by="operator", node=instance.node, value=value)


def answered() -> st.SearchStrategy[Answers]:
    """Answers from a list of numbers; the shortest list answers everything alike."""
    return st.lists(st.integers(0, 10_000), min_size=1, max_size=40).map(lambda numbers: Answers(tuple(numbers)))


@st.composite
def graphs(draw: st.DrawFn, nodes_max: int = 9) -> Graph:
    """A random graph."""
    nodes: dict[str, Any] = {}
    ports: dict[str, list[str]] = {}
    for number in range(draw(st.integers(2, nodes_max))):
        id_ = f"n{number}"
        after = draw(st.lists(st.sampled_from(entries(ports)), max_size=3, unique=True)) if ports else []
        node, leaves = draw(node_of(bool(after)))
        nodes[id_] = {**node, "after": after} if after else node
        ports[id_] = leaves
    document = {
        "perdure": 1,
        "name": "random",
        "settings": {"on_failure": draw(st.sampled_from(POLICIES)), "park": draw(st.booleans())},
        "nodes": nodes,
    }
    plan = check_document(document, CATALOG).plan
    assume(plan is not None)
    assert plan is not None
    text = draw(st.sampled_from(("short", "long " * LARGE)))
    return Graph(document, plan, {"p": draw(st.booleans()), "q": draw(st.booleans()), "text": text})


def entries(ports: dict[str, list[str]]) -> list[str]:
    """How `after` may name an edge from each port."""
    return [id_ if port == "out" else f"{id_}.{port}" for id_, leaves in ports.items() for port in leaves]


@st.composite
def node_of(draw: st.DrawFn, follows: bool) -> tuple[dict[str, Any], list[str]]:
    """A node without its edges, and the ports that it leaves by."""
    kind = draw(st.sampled_from(("effect",) * 5 + ("transform", "condition", "switch", "delay", "signal", "fail", "log")))
    node, leaves = KINDS[kind](draw, follows)
    node.update(draw(st.sampled_from(({}, {}, {}, {"when": "${ input.p }"}, {"when": "${ not input.q }"}, {"disabled": True}))))
    if kind in ("effect", "transform") and draw(st.integers(0, 2)) == 2:
        node["catch"] = [{"on": "x.*", "to": "caught"}, {"when": "${ len(input.text) > 10 }", "to": "long"}]
        leaves = [*leaves, "caught", "long"]
    return node, [*leaves, "error"]


def _effect(draw: st.DrawFn, follows: bool) -> tuple[dict[str, Any], list[str]]:
    node: dict[str, Any] = {"type": EFFECT.name, "with": {"text": "${ input.text }"}}
    node.update(
        draw(st.sampled_from(({}, {"retry": {"attempts": 3, "initial": "1s"}}, {"retry": [{"attempts": 2, "on": "x.*"}]})))
    )
    node.update(
        draw(
            st.sampled_from(
                (
                    {},
                    {},
                    {"timeout": "1m"},
                    {"deadline": "3s"},
                    {"delivery": "at_most_once"},
                    {"delivery": "at_most_once", "deadline": "3s"},
                )
            )
        )
    )
    node.update(draw(st.sampled_from(({}, {}, {"on_unknown": "ask"}, {"on_unknown": "retry"}))))
    return node, ["out", "timeout"] if {"timeout", "deadline"} & set(node) else ["out"]


def _transform(draw: st.DrawFn, follows: bool) -> tuple[dict[str, Any], list[str]]:
    return {"type": "transform", "to": {"seen": "${ incoming }"} if follows else "${ input.text }"}, ["out"]


def _condition(draw: st.DrawFn, follows: bool) -> tuple[dict[str, Any], list[str]]:
    return {"type": "condition", "if": draw(st.sampled_from(("${ input.p }", "${ input.p.missing }")))}, ["true", "false"]


def _switch(draw: st.DrawFn, follows: bool) -> tuple[dict[str, Any], list[str]]:
    node = {
        "type": "switch",
        "cases": {"x": "${ input.p }", "y": "${ input.q }"},
        "match": draw(st.sampled_from(("first", "all"))),
    }
    return node, ["x", "y", "default"]


def _delay(draw: st.DrawFn, follows: bool) -> tuple[dict[str, Any], list[str]]:
    return {"type": "delay", "for": draw(st.sampled_from(("0s", "2s", "1h")))}, ["out"]


def _signal(draw: st.DrawFn, follows: bool) -> tuple[dict[str, Any], list[str]]:
    node = {"type": "wait_for_signal", "signal": draw(st.sampled_from(("ok", "go")))}
    timed = draw(st.sampled_from(({}, {"timeout": "1m"}, {"timeout": "1m", "on_timeout": "route"})))
    return {**node, **timed}, ["out", "timeout"] if timed else ["out"]


def _fail(draw: st.DrawFn, follows: bool) -> tuple[dict[str, Any], list[str]]:
    return {"type": "fail", "code": "x.meant"}, []


def _log(draw: st.DrawFn, follows: bool) -> tuple[dict[str, Any], list[str]]:
    return {"type": "log", "message": "seen ${ input.text }"}, ["out"]


KINDS = {
    "effect": _effect, "transform": _transform, "condition": _condition, "switch": _switch, "delay": _delay,
    "signal": _signal, "fail": _fail, "log": _log,
}  # fmt: skip

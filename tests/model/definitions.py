"""Random definitions over all elements: containers in containers, all policies, quorums, times, edges back, ways of leaving.

Only what the checker accepts. Bodies are small, and what is drawn first is the plainest, so that a case shrinks to few effects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Protocol

from hypothesis import assume
from hypothesis import strategies as st
from interpreter import BEGIN
from reference.shape import CATALOG, EFFECT

from perdure.definition import check_document
from perdure.expressions import format_time

POLICIES = ("cancel_siblings", "drain", "isolate", "collect", "ignore")
DEPTH_MAX = 3
NODES_MAX = 48
SECOND = 1_000_000
WORKFLOW = "child"


@dataclass(frozen=True)
class Definition:
    """A document that the checker accepts, and an input for it."""

    document: dict[str, Any]
    input: dict[str, Any]

    def __repr__(self) -> str:
        return f"Definition({self.document!r}, {self.input!r})"


@dataclass
class Ids:
    """Ids that are unique in the whole definition."""

    used: int = 0

    def new(self) -> str:
        self.used += 1
        return f"n{self.used}"


class Chance(Protocol):
    """Where chance comes from; the plainest is 0, and nothing."""

    def number(self, least: int, most: int) -> int: ...

    def several(self, choices: Sequence[str], most: int) -> list[str]: ...


@dataclass(frozen=True)
class Drawn:
    """Chance that shrinks: from a strategy."""

    draw: st.DrawFn

    def number(self, least: int, most: int) -> int:
        return self.draw(st.integers(least, most))

    def several(self, choices: Sequence[str], most: int) -> list[str]:
        return self.draw(st.lists(st.sampled_from(choices), max_size=most, unique=True))


@dataclass(frozen=True)
class Seeded:
    """Chance of one seed, which is quick."""

    random: Random

    def number(self, least: int, most: int) -> int:
        return self.random.randint(least, most)

    def several(self, choices: Sequence[str], most: int) -> list[str]:
        return self.random.sample(choices, min(len(choices), self.random.randint(0, most)))


@dataclass(frozen=True)
class Around:
    """What is around the nodes of a scope: how deep, which loops, what may be left and named."""

    chosen: Chance
    ids: Ids
    depth: int = 0
    kind: str = "workflow"
    loops: tuple[str, ...] = ()
    may_return: bool = True  # no finally or compensation is between here and the root
    nodes: tuple[str, ...] = ()  # nodes of enclosing scopes that may be cancelled
    readable: tuple[str, ...] = ()  # effects of enclosing scopes that come before
    handlers: int = 0
    weights: Mapping[str, int] = field(default_factory=lambda: WEIGHTS)
    body_nodes: tuple[str, ...] = ()  # of the try whose handler this is

    def one_of(self, *choices: Any) -> Any:
        """One of these; the first is the plainest."""
        return choices[self.chosen.number(0, len(choices) - 1)]

    def chance(self, out_of: int) -> bool:
        """True once in so many times; false is the plainest."""
        return self.chosen.number(0, out_of - 1) == out_of - 1


@dataclass
class Made:
    """A scope as far as it is made: nodes, the ports each leaves by, what comes before each."""

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    ports: dict[str, list[str]] = field(default_factory=dict)
    before: dict[str, set[str]] = field(default_factory=dict)
    effects: list[str] = field(default_factory=list)


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    """A random definition."""
    found = definition_of(Drawn(draw), 4, 10)
    assume(not check_document(found.document, CATALOG).errors)
    return found


def seeded(random: Random, least: int, most: int) -> Definition:
    """The next definition of this chance that the checker accepts, with so many nodes at its root."""
    while True:
        found = definition_of(Seeded(random), least, most, weights=EVEN)
        if not check_document(found.document, CATALOG).errors:
            return found


def definition_of(chosen: Chance, least: int, most: int, *, weights: Mapping[str, int] | None = None) -> Definition:
    """A definition with so many nodes at its root; the checker may refuse it."""
    around = Around(chosen, Ids(), weights=weights or WEIGHTS)
    scope = scope_of(around, chosen.number(least, most))
    settings: dict[str, Any] = {"on_failure": around.one_of(*POLICIES), "cleanup": around.one_of("3s", "1m")}
    if around.chance(6):
        settings["park"] = True
    if around.chance(5):
        settings["timeout"] = around.one_of("20s", "6s")
    document = {"perdure": 1, "name": "random", "settings": settings, "vars": variables(), **scope}
    given = {"p": bool(chosen.number(0, 1)), "q": bool(chosen.number(0, 1)), "items": list(range(chosen.number(0, 3)))}
    return Definition(document, given)


def variables() -> dict[str, Any]:
    """What every definition declares: a sum, a list, a greatest number."""
    return {
        "total": {"value": 0, "merge": "sum"},
        "seen": {"value": [], "merge": "append"},
        "most": {"value": 0, "merge": "max"},
    }  # fmt: skip


def scope_of(around: Around, size: int) -> dict[str, Any]:
    """The nodes of a scope, and what else the scope says."""
    made = Made()
    for _ in range(size):
        if around.ids.used < NODES_MAX:
            add_node(around, made)
    if around.chance(4):
        add_again(around, made)
    scope: dict[str, Any] = {"nodes": made.nodes}
    if around.kind != "workflow":
        scope["on_failure"] = around.one_of(*POLICIES)
        if around.chance(8):
            scope["timeout"] = around.one_of("7s", "3s")
        if around.chance(6):
            scope["output"] = "${ vars.total }"
    return {key: value for key, value in scope.items() if (key, value) != ("on_failure", "cancel_siblings")}


def add_node(around: Around, made: Made) -> None:
    """One node more, after some of those that are there."""
    entries = [id_ if port == "out" else f"{id_}.{port}" for id_, ports in made.ports.items() for port in ports]
    after = around.chosen.several(entries, 3) if entries else []
    sources = {entry.partition(".")[0] for entry in after}
    before = sources.union(*(made.before[source] for source in sources))
    id_ = around.ids.new()
    readable = [*around.readable, *(name for name in made.effects if name in before)]
    kinds = [kind for kind, fits in KINDS.items() if fits(around, after)]
    kind = around.one_of(*(kind for kind in kinds for _ in range(around.weights.get(kind, 1))))
    here = replace(around, nodes=(*around.nodes, *made.nodes), readable=tuple(readable))
    node, ports = MAKERS[kind](here, id_)
    shared(here, kind, node, ports)
    made.nodes[id_] = {**node, "after": after} if after else node
    made.ports[id_] = [*ports, "error"]
    made.before[id_] = before
    if kind == "effect":
        made.effects.append(id_)


def shared(around: Around, kind: str, node: dict[str, Any], ports: list[str]) -> None:
    """What any node may say: `when`, `disabled`, ports for errors, parking."""
    if kind in ("break", "continue", "return", "exit", "fail"):
        if around.chance(2):
            node["when"] = condition(around)
    elif around.chance(8):
        node["when"] = condition(around)
    elif around.chance(30):
        node["disabled"] = True
    if kind in ("effect", "transform", "loop", "parallel", "join") and around.chance(5):
        node["catch"] = [{"on": "x.*", "to": "caught"}]
        ports.append("caught")
    if kind in ("effect", "loop", "parallel", "try") and around.chance(8):
        node["park"] = around.one_of(True, False)


def condition(around: Around) -> str:
    """A condition that is true now and then."""
    choices = ["${ input.p }", "${ not input.q }", "${ vars.total < 3 }"]
    if around.readable:
        choices.append(f"${{ coalesce(nodes.{around.one_of(*around.readable)}, 0) > 4 }}")
    if around.loops and around.kind == "loop":
        choices.append("${ index > 0 }")
    return str(around.one_of(*choices))


TAKES_TIME = frozenset({EFFECT.name, "delay", "wait_for_signal", "wait_for_event", "subworkflow"})


def add_again(around: Around, made: Made) -> None:
    """An edge back from a port that nothing leaves by, to the node itself or to one before it (rule 34).

    It leads to something that takes its time: when a circle of pure nodes goes round beside others, no rule says.
    """
    taken = {entry for node in made.nodes.values() for entry in node.get("after", [])}
    free = [
        (id_, port)
        for id_, ports in made.ports.items()
        for port in ports
        if (id_ if port == "out" else f"{id_}.{port}") not in taken and made.nodes[id_]["type"] not in LEAVING
    ]
    if not free:
        return
    source, port = around.one_of(*free)
    targets = [id_ for id_ in (source, *sorted(made.before[source])) if made.nodes[id_]["type"] in TAKES_TIME]
    if not targets:
        return
    target = around.one_of(*targets)
    entry = {"from": source if port == "out" else f"{source}.{port}", "again": True, "max_visits": around.one_of(2, 3)}
    made.nodes[target]["after"] = [*made.nodes[target].get("after", []), entry]


# -- leaves ---------------------------------------------------------------------------------------------------------------
Node = tuple[dict[str, Any], list[str]]


def _effect(around: Around, id_: str) -> Node:
    node: dict[str, Any] = {"type": EFFECT.name}
    ports = ["out"]
    if around.chance(4):
        node["retry"] = retry(around)
    if around.chance(6):
        node["deadline"] = around.one_of("5s", "2s")
        ports.append("timeout")
    if around.chance(5) and around.depth < DEPTH_MAX and around.kind != "compensate":
        undo = replace(around, depth=DEPTH_MAX, kind="compensate", loops=(), may_return=False, nodes=(), readable=())
        node["compensate"] = scope_of(undo, 1)
        node["compensate"].pop("output", None)
    return node, ports


def retry(around: Around) -> dict[str, Any]:
    """A policy without jitter."""
    policy: dict[str, Any] = {"attempts": around.one_of(2, 3), "initial": around.one_of("1s", "2s"), "jitter": False}
    if around.chance(3):
        policy["on"] = around.one_of("x.*", "technical", "timeout")
    return policy


def _transform(around: Around, id_: str) -> Node:
    value = f"${{ coalesce(nodes.{around.one_of(*around.readable)}, 0) + 1 }}" if around.readable else "${ vars.total }"
    return {"type": "transform", "to": value}, ["out"]


def _map(around: Around, id_: str) -> Node:
    over = around.one_of("${ input.items }", [1, 2, 3])
    if around.chance(2):
        return {"type": "filter", "over": over, "where": around.one_of("${ item > 1 }", "${ index < vars.total }")}, ["out"]
    return {"type": "map", "over": over, "to": "${ item + vars.total }"}, ["out"]


def _log(around: Around, id_: str) -> Node:
    return {"type": "log", "message": "so far ${ vars.total }", "level": around.one_of("info", "warning")}, ["out"]


def _condition(around: Around, id_: str) -> Node:
    return {"type": "condition", "if": condition(around)}, ["true", "false"]


def _switch(around: Around, id_: str) -> Node:
    cases = {"x": condition(around), "y": condition(around)}
    return {"type": "switch", "cases": cases, "match": around.one_of("first", "all")}, ["x", "y", "default"]


def _set(around: Around, id_: str) -> Node:
    chosen = around.one_of(
        {"total": 1}, {"total": "${ vars.total + 2 }"}, {"seen": id_}, {"most": "${ vars.total }"}, {"total": 1, "seen": [id_]}
    )  # fmt: skip
    return {"type": "set_variable", "set": chosen}, ["out"]


def _get(around: Around, id_: str) -> Node:
    return {"type": "get_variable", "name": around.one_of("total", "seen")}, ["out"]


def _fail(around: Around, id_: str) -> Node:
    return {"type": "fail", "code": around.one_of("x.meant", "y.meant"), "category": around.one_of("business", "technical")}, []


def _delay(around: Around, id_: str) -> Node:
    return timed(around, {"type": "delay", "for": around.one_of("1s", "3s", "10s", "0s")})


def _until(around: Around, id_: str) -> Node:
    return timed(around, {"type": "wait_until", "time": format_time(BEGIN + around.one_of(2, 0, 9) * SECOND)})


def _signal(around: Around, id_: str) -> Node:
    node: dict[str, Any] = {"type": "wait_for_signal", "signal": around.one_of("ok", "go")}
    if around.chance(4):
        node["key"] = "k"
    if around.chance(5):
        node["buffer"] = False
    return timed(around, node)


def _event(around: Around, id_: str) -> Node:
    node: dict[str, Any] = {"type": "wait_for_event", "event": around.one_of("e", "f")}
    if around.chance(3):
        node["where"] = "${ event.data > 4 }"
    return timed(around, node)


def _await(around: Around, id_: str) -> Node:
    return timed(
        around, {"type": "wait_for_condition", "condition": around.one_of("${ vars.total > 1 }", "${ len(vars.seen) > 0 }")}
    )


def timed(around: Around, node: dict[str, Any]) -> Node:
    """A wait, perhaps with a timeout and what it does then."""
    if around.chance(2):
        node["timeout"] = around.one_of("4s", "2s", "20s")
        if around.chance(2):
            node["on_timeout"] = around.one_of("continue", "route")
        return node, ["out", "timeout"]
    return node, ["out"]


def _subworkflow(around: Around, id_: str) -> Node:
    node = {"type": "subworkflow", "workflow": WORKFLOW, "input": 1, "on_cancel": around.one_of("abandon", "cancel")}
    if around.chance(3):
        node["retry"] = retry(around)
    return node, ["out"]


# -- leaving --------------------------------------------------------------------------------------------------------------
LEAVING = frozenset({"break", "continue", "return", "exit", "fail"})


def _break(around: Around, id_: str) -> Node:
    return _loop_left(around, "break")


def _continue(around: Around, id_: str) -> Node:
    return _loop_left(around, "continue")


def _loop_left(around: Around, kind: str) -> Node:
    named = around.one_of(None, *around.loops)
    return {"type": kind, **({} if named is None else {"loop": named})}, []


def _return(around: Around, id_: str) -> Node:
    return {"type": "return", "value": around.one_of(7, "${ vars.total }")}, []


def _exit(around: Around, id_: str) -> Node:
    return {"type": "exit", "value": 8}, []


def _cancel(around: Around, id_: str) -> Node:
    return {"type": "cancel", "target": around.one_of(*reversed(around.nodes))}, ["out"]


def _rollback(around: Around, id_: str) -> Node:
    named = around.one_of(None, *around.body_nodes) if around.handlers else around.one_of(*around.nodes)
    return {"type": "rollback", **({} if named is None else {"of": named})}, ["out"]


# -- containers -----------------------------------------------------------------------------------------------------------
def inside(around: Around, id_: str, kind: str, **changed: Any) -> Around:
    """What is around the nodes of a container's scope."""
    return replace(around, depth=around.depth + 1, kind=kind, nodes=(*around.nodes, id_), **changed)


def size(around: Around) -> int:
    """How many nodes a body has."""
    return around.chosen.number(1, 3)


def _join(around: Around, id_: str) -> Node:
    node: dict[str, Any] = {"type": "join"}
    node["need"] = around.one_of("all", "any", 2, "60%", "${ join.success + join.failed > 1 }", "${ join.success > 1 }")
    quorum(around, node)
    if around.chance(4):
        node["deadline"] = around.one_of("3s", "8s")
        return node, ["out", "timeout"]
    return node, ["out"]


def quorum(around: Around, node: dict[str, Any]) -> None:
    """What joins, parallels and loops say of their branches; `count` only where something is counted."""
    need = node.get("need", "" if "branches" in node else "$")
    if not str(need).startswith("$") and around.chance(4):
        node["count"] = around.one_of("finished", "success")
    if around.chance(2):
        node["losers"] = around.one_of("drain", "detach", "cancel")


def limits(around: Around, node: dict[str, Any], ports: list[str]) -> None:
    """Times and retries of a container."""
    if around.chance(5):
        node[around.one_of("deadline", "timeout")] = around.one_of("6s", "2s")
        ports.append("timeout")
    if around.chance(4):
        node["retry"] = retry(around)


def _parallel(around: Around, id_: str) -> Node:
    node: dict[str, Any] = {"type": "parallel"}
    ports = ["out"]
    names = ("l", "r", "q")[: around.one_of(2, 3)]
    here = inside(around, id_, "branch")
    node["branches"] = {name: scope_of(here, around.one_of(1, 2)) for name in names}
    if around.chance(2):
        node["need"] = around.one_of("any", 2, "60%", "${ join.success + join.failed > 1 }")
    quorum(around, node)
    policy(around, node)
    if around.chance(3):
        node["concurrency"] = around.one_of(1, 2)
    limits(around, node, ports)
    return node, ports


def policy(around: Around, node: dict[str, Any]) -> None:
    """What a container says of its frames among themselves."""
    chosen = around.one_of(*POLICIES)
    if chosen != "cancel_siblings":
        node["on_failure"] = chosen


def repeating(around: Around, id_: str, node: dict[str, Any]) -> Node:
    """What all loops have."""
    ports = ["out"]
    loop = inside(around, id_, "loop", loops=(*around.loops, id_))
    node["body"] = scope_of(loop, size(around))
    policy(around, node)
    if node.get("on_failure") not in ("collect", "ignore") and around.chance(5):
        node["tolerate"] = 1
    if around.chance(5):
        node["until"] = around.one_of("${ index > 0 }", "${ vars.total > 2 }")
    if around.chance(5) and node["type"] == "loop":
        node["need"] = around.one_of("any", 2, "all")
    quorum(around, node)
    if around.chance(6):
        node["max_iterations"] = 2
    if around.chance(4):
        node["collect"] = around.one_of("count", "none", "last 2")
    if node.get("concurrency", 1) == 1 and around.chance(4):
        node["carry"] = {"start": 0, "next": "${ carry + 1 }"}
        node["result"] = "${ carry }"
    limits(around, node, ports)
    return node, ports


def _loop(around: Around, id_: str) -> Node:
    over = around.one_of("${ input.items }", [1, 2], [1, 2, 3, 4])
    node: dict[str, Any] = {"type": "loop", "over": over}
    if around.chance(2):
        node["concurrency"] = around.one_of(2, 3)
        if around.chance(3):
            node["in_flight"] = "drain"
    return repeating(around, id_, node)


def _while(around: Around, id_: str) -> Node:
    condition = around.one_of("${ index < 2 }", "${ vars.total < index + 1 }")
    return repeating(around, id_, {"type": "while", "condition": condition, "max_iterations": 3})


def _repeat(around: Around, id_: str) -> Node:
    return repeating(around, id_, {"type": "repeat", "times": around.one_of(2, 0, 3)})


def _try(around: Around, id_: str) -> Node:
    node: dict[str, Any] = {"type": "try"}
    ports = ["out"]
    here = inside(around, id_, "body")
    node["body"] = scope_of(here, size(around))
    body_nodes = tuple(node["body"]["nodes"])
    handlers = around.handlers + 1
    catch = []
    for _ in range(around.one_of(1, 0, 2)):
        handler = inside(around, id_, "catch", handlers=handlers, body_nodes=body_nodes)
        entry: dict[str, Any] = {"body": scope_of(handler, around.one_of(1, 2))}
        if around.chance(2):
            entry["on"] = around.one_of("x.*", "technical", "timeout.scope")
        catch.append(entry)
    if catch:
        node["catch"] = catch
    if around.chance(2):
        last = inside(around, id_, "finally", handlers=handlers, body_nodes=body_nodes, may_return=False, loops=())
        node["finally"] = scope_of(last, around.one_of(1, 2))
    if around.chance(4):
        node["cleanup"] = around.one_of("1s", "5s")
    limits(around, node, ports)
    return node, ports


def _always(around: Around, after: list[str]) -> bool:
    return True


def _contains(around: Around, after: list[str]) -> bool:
    return around.depth < DEPTH_MAX


KINDS: Mapping[str, Callable[[Around, list[str]], bool]] = {
    "effect": _always, "transform": _always, "map": _always, "log": _always, "condition": _always, "switch": _always,
    "set": _always, "get": _always,
    "fail": _always, "delay": _always, "until": _always, "signal": _always, "event": _always, "await": _always,
    "subworkflow": _always,
    "join": lambda around, after: len(after) > 1,
    "loop": _contains, "parallel": _contains, "try": _contains, "while": _contains, "repeat": _contains,
    "break": lambda around, after: bool(around.loops),
    "continue": lambda around, after: bool(around.loops),
    "return": lambda around, after: around.may_return and around.depth > 0,
    "exit": lambda around, after: around.kind in ("body", "loop", "branch", "catch"),
    "cancel": lambda around, after: bool(around.nodes),
    "rollback": lambda around, after: bool(around.handlers) or bool(around.nodes),
}  # fmt: skip
WEIGHTS = {"effect": 10, "loop": 4, "parallel": 4, "try": 5, "join": 8, "condition": 2, "delay": 2, "while": 2, "set": 2}
EVEN = {
    **dict.fromkeys(KINDS, 2), "effect": 10, "loop": 3, "parallel": 3, "try": 4, "join": 5, "rollback": 4, "break": 4,
    "continue": 4, "cancel": 3, "fail": 1,
}  # fmt: skip
"""How often each is drawn where many definitions are: so that also the rare ones meet each other."""
MAKERS: Mapping[str, Callable[[Around, str], Node]] = {
    "effect": _effect, "transform": _transform, "map": _map, "log": _log, "condition": _condition, "switch": _switch,
    "set": _set, "get": _get,
    "fail": _fail, "delay": _delay, "until": _until, "signal": _signal, "event": _event, "await": _await,
    "subworkflow": _subworkflow, "join": _join, "loop": _loop, "parallel": _parallel, "try": _try, "while": _while,
    "repeat": _repeat, "break": _break, "continue": _continue, "return": _return, "exit": _exit, "cancel": _cancel,
    "rollback": _rollback,
}  # fmt: skip

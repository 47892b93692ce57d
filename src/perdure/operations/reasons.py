"""Reasons: sentences that say why, each with what it follows from; and the case that they are told of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from perdure.definition.plan import Edge, NodePlan
from perdure.engine import events
from perdure.engine.edges import arrival, counts_finished, needed, resolution
from perdure.engine.execution import STATE_NAMES, Instance
from perdure.engine.index import FrameIndex
from perdure.errors import Failure
from perdure.expressions import Computed, Expression, MapTemplate, Template
from perdure.operations.evidence import Entry, History, Seen, Then
from perdure.operations.pools import Standing


class Reason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sentence of an explanation. `seen`: the names of the expression in it, with the values that they had then."""

    kind: str
    sentence: str
    fact: int = 0  # the number of the fact in the journal that says so
    at: int = 0  # microseconds UTC
    seen: tuple[Seen, ...] = ()
    remedy: str = ""  # what to do, where there is something
    because: tuple[Reason, ...] = ()


@dataclass(slots=True, frozen=True)
class Case:
    """One execution to be explained. `moment` writes times; `holders` knows of the locks that are waited for who holds them."""

    history: History
    execution: str
    moment: Callable[[int], str]
    holders: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # by key: execution and path
    tasks: Mapping[str, Standing] = field(default_factory=dict)  # by path: what other workers carry out, or are to

    def reason(self, kind: str, sentence: str, entry: Entry | None = None, **fields: object) -> Reason:
        """A reason that a fact gives, if one does."""
        known = {"fact": entry.seq, "at": entry.at} if entry is not None else {}
        return Reason(kind=kind, sentence=sentence, **known, **fields)  # type: ignore[arg-type]  # the struct checks them


def source_of(template: Template | Expression | None) -> str:
    """A condition as its author wrote it."""
    expression = template.expression if isinstance(template, Computed) else template
    return expression.source.strip() if isinstance(expression, Expression) else ""


def listed(names: Iterable[str]) -> str:
    """`a`, `b` and `c`."""
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}" if quoted else ""


def error_words(error: Failure) -> str:
    """`http.402 (business): Card declined.`, in one line."""
    title = " ".join(error.title.split()).removesuffix(".")
    return f"{error.code} ({error.category}){f': {title}' if title else ''}"


# -- what nodes decide -----------------------------------------------------------------------------------------------------


def decision(case: Case, entry: Entry, node: NodePlan) -> Reason | None:
    """What a node that chooses decided, with the values that its conditions saw; None for one that does not choose."""
    fact = entry.fact
    if not isinstance(fact, events.Done):
        return None
    if node.type == "condition":
        return _condition(case, entry, fact, node)
    if node.type == "switch":
        return _switch(case, entry, fact, node)
    if node.type == "join":
        words = join_words(case.history.before(entry.seq), fact.frame, node)
        return case.reason("joined", f"the join `{node.id}` fired: {words}", entry)
    return None


def _condition(case: Case, entry: Entry, fact: events.Done, node: NodePlan) -> Reason:
    asked = node.keys["if"]
    seen = case.history.before(entry.seq).seen_by(fact.frame, node, asked)
    return case.reason("took", f"`{node.id}` took {listed(fact.ports)}: {source_of(asked)}", entry, seen=seen)


def _switch(case: Case, entry: Entry, fact: events.Done, node: NodePlan) -> Reason:
    """The cases that held, or why none did."""
    if fact.ports == ("default",):
        asked = tuple(case_reason(case, entry, node, name) for name in cases_of(node))
        return case.reason("took", f"`{node.id}` took `default`: no case held", entry, because=asked)
    if len(fact.ports) == 1:
        held = case_reason(case, entry, node, fact.ports[0])
        sentence = f"`{node.id}` took `{fact.ports[0]}`: {source_of(cases_of(node).get(fact.ports[0]))}"
        return case.reason("took", sentence, entry, seen=held.seen)
    because = tuple(case_reason(case, entry, node, name) for name in fact.ports)
    return case.reason("took", f"`{node.id}` took {listed(fact.ports)}", entry, because=because)


def cases_of(node: NodePlan) -> Mapping[str, Template]:
    """The conditions of a `switch`, by case."""
    cases = node.keys.get("cases")
    return cases.entries if isinstance(cases, MapTemplate) else {}


def case_reason(case: Case, entry: Entry, node: NodePlan, name: str) -> Reason:
    """Whether one case of a `switch` held, when the switch was asked."""
    fact = entry.fact
    assert isinstance(fact, events.Done), "a switch that has chosen is done"
    template, names = cases_of(node).get(name), list(cases_of(node))
    first = fact.ports[0] if fact.ports else ""
    if node.options.get("match") != "all" and first in names and name in names and names.index(name) > names.index(first):
        return case.reason("case", f"`{name}` was not asked: `{first}` held first", entry)
    seen = case.history.before(entry.seq).seen_by(fact.frame, node, template)
    held = "held" if name in fact.ports else "did not hold"
    return case.reason("case", f"`{name}` {held}: {source_of(template)}", entry, seen=seen)


# -- joins -----------------------------------------------------------------------------------------------------------------


def join_words(then: Then, frame: str, join: NodePlan) -> str:
    """`2 of 3 arrived (a, b), needs 3: c is running`."""
    opened = then.opened(frame)
    if opened is None:
        return ""
    kinds = {edge.entry: _arrival(opened, edge) for edge in join.incoming}
    came = [name for name, kind in kinds.items() if kind == "succeeded"]
    failed = [name for name, kind in kinds.items() if kind == "failed"]
    dead = [name for name, kind in kinds.items() if kind == "dead"]
    words = [_arrived(came, len(kinds))]
    if failed:
        words.append(f"{len(failed)} failed ({', '.join(failed)})")
    if dead:
        words.append(f"{len(dead)} dead ({', '.join(dead)})")
    words.append(_needs(opened, join, len(kinds) - len(dead)))
    open_ = [f"{edge.entry} is {_state(opened, edge)}" for edge in join.incoming if kinds[edge.entry] == "pending"]
    return ", ".join(words) + (f": {', '.join(open_)}" if open_ else "")


def _arrived(came: list[str], total: int) -> str:
    who = f" ({', '.join(came)})" if came else ""
    return f"{len(came)} of {total} arrived{who}"


def _needs(opened: FrameIndex, join: NodePlan, branches: int) -> str:
    need = join.options.get("need")
    if need is None:
        return f"needs `{source_of(join.keys.get('need'))}`"
    finished = " that have finished" if counts_finished(join.options.get("count"), opened.scope.on_failure) else ""
    return f"needs {needed(need, branches)}{finished}"


def _arrival(opened: FrameIndex, edge: Edge) -> str:
    source = opened.scope.nodes[edge.source]
    instance = opened.instance(source)
    if instance is None or not instance.final:
        return "pending"
    return arrival(edge, source, instance, opened.scope.on_failure)


def _state(opened: FrameIndex, edge: Edge) -> str:
    instance = opened.instance(opened.scope.nodes[edge.source])
    return STATE_NAMES[instance.state] if instance is not None else "pending"


# -- edges -----------------------------------------------------------------------------------------------------------------


def resolved(opened: FrameIndex, edge: Edge) -> tuple[Instance | None, str]:
    """The source of an edge, and how that resolves it: `live`, `dead`, `broken`; empty while it has not."""
    source = opened.scope.nodes[edge.source]
    instance = opened.instance(source)
    if instance is None or not instance.final:
        return instance, ""
    return instance, resolution(edge, source, instance, opened.scope.on_failure)


def ended_words(instance: Instance, node: NodePlan) -> str:
    """How a node ended, as far as an edge from it is concerned."""
    if instance.error is not None and not instance.cause:
        return f"`{node.id}` failed: {error_words(instance.error)}"
    if STATE_NAMES[instance.state] == "succeeded":
        ports = [port for port in instance.ports if port != "out"]
        return f"`{node.id}` took {listed(ports)}" if ports else f"`{node.id}` succeeded"
    return f"`{node.id}` was {STATE_NAMES[instance.state]}"

"""What an expression of a node sees: `input`, `nodes.x`, `state.x`, `vars`, `incoming` and the rest (rule 8, day-one 28).

A name is looked for in the node's own frame, then in each frame around it; what a container binds (an item, an error)
belongs to the frames inside it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Raw

from perdure.definition.plan import Edge, NodePlan
from perdure.engine.edges import LIVE, resolution
from perdure.engine.events import NOTHING
from perdure.engine.execution import FAILED, STATE_NAMES, SUCCEEDED, Execution, Instance, Progress
from perdure.engine.index import MISSING, FrameIndex, Index
from perdure.errors import Failure
from perdure.expressions import format_time
from perdure.ids import ExecutionId, id_text

_NO_BINDINGS: Mapping[str, Any] = {}


def time_text(at: int) -> str:
    """Microseconds UTC as RFC 3339 with `Z`, as `now()` gives it (day-one 11)."""
    return format_time(at)


class FrameNames:
    """The names seen from one frame, at one moment. `bound` holds what only this evaluation sees (`error`, `item`)."""

    __slots__ = ("_bound", "_execution", "_index", "_opened", "_path", "at")

    def __init__(
        self,
        execution: Execution,
        index: Index,
        opened: FrameIndex,
        at: int,
        path: str,
        bound: Mapping[str, Any] = _NO_BINDINGS,
    ) -> None:
        self._execution = execution
        self._index = index
        self._opened = opened
        self._bound = bound
        self._path = path
        self.at = at

    @property
    def seed(self) -> bytes:
        """What `random()` and `uuid()` are drawn from: this execution, this place (day-one 12)."""
        return self._execution.id + self._path.encode()

    def root(self, name: str) -> Any:
        """The value of a name. Raises KeyError where there is none."""
        bound = self._bound.get(name, MISSING)
        if bound is not MISSING:
            return bound() if callable(bound) else bound  # what costs something to find is found when it is read
        found = _ROOTS.get(name)
        return found(self) if found is not None else self.around(name)

    def member(self, family: str, name: str) -> Any:
        """`nodes.name`, `state.name`, `previous.name`. Raises KeyError for a node that is not in sight."""
        opened = self._opened
        if family == "nodes":
            instance = opened.frame.instances.get(name)
            if instance is not None:
                return self._output(opened, instance)
        holder = self._holder(name)
        if isinstance(holder, FrameIndex):
            return _FAMILIES[family](self, holder, name)
        return holder[family][name]

    def stored(self, root: str, member: str | None) -> list[Raw]:
        """The values behind a name as the journal has them; none for a name that is worked out."""
        if root == "nodes" and member is not None:
            holder = self._holder(member)
            if not isinstance(holder, FrameIndex):
                return []
            instance = holder.frame.instances.get(member)
            return [instance.output] if instance is not None and instance.state == SUCCEEDED else []
        if root == "input":
            return [self._execution.input]
        if root == "trigger":
            return [self._execution.trigger]
        return [raw for raw in self.variables().values() if isinstance(raw, Raw)] if root == "vars" else []

    def variables(self) -> dict[str, Any]:
        """All variables in sight, the nearest declaration of each, as the journal has them; what was kept as values."""
        found: dict[str, Any] = {}
        for opened in self._outwards():
            for name, raw in opened.frame.variables.items():
                found.setdefault(name, raw)
            if opened.frame.compensates:
                for name, value in self._kept(opened)["vars"].items():
                    found.setdefault(name, value)
        return found

    # -- where names are ----------------------------------------------------------------------------------------------

    def _outwards(self) -> Iterator[FrameIndex]:
        """This frame, then those around it; handlers and finally see the body of their `try` before."""
        opened: FrameIndex | None = self._opened
        while opened is not None:
            yield opened
            if opened.frame.bound is not NOTHING and opened.frame.compensates:
                return  # what was around a compensation may be gone: it sees what was kept for it
            body = body_beside(self._index, opened)
            if body is not None:
                yield body
            opened = opened.outer

    def _holder(self, name: str) -> Any:
        """The frame that has a node of this name, or what a compensation kept. Raises KeyError."""
        for opened in self._outwards():
            if name in opened.scope.number:
                return opened
            if opened.frame.compensates:
                return self._kept(opened)
        raise KeyError(name)

    def _kept(self, opened: FrameIndex) -> Any:
        return self._index.value((opened.frame.path, "(bound)"), opened.frame.bound)

    def around(self, name: str) -> Any:
        """What the containers around bind: an iteration its item, a handler its error, a compensation `self`."""
        for opened in self._outwards():
            if opened.frame.compensates:
                kept = self._kept(opened)
                return kept["self"] if name == "self" else kept["roots"][name]
            if opened.container is None or opened.outer is None:
                continue
            found = self._bound_by_container(opened, opened.container, name)
            if found is MISSING and name == "error":
                found = self._error_before(opened.outer, opened.container)
            if found is not MISSING:
                return found
        raise KeyError(name)

    def _bound_by_container(self, opened: FrameIndex, container: NodePlan, name: str) -> Any:
        outer, frame = opened.outer, opened.frame
        assert outer is not None, "a container stands in a frame"
        instance = outer.frame.instances.get(frame.node)
        if instance is None or instance.progress is None:
            return MISSING
        if frame.index >= 0:
            return LoopNames(self._index, outer, container, instance, frame.index).get(name)
        if frame.name == "finally" and name == "error":
            return pending_error(instance.progress)
        if frame.name.startswith("catch") and container.type == "try":
            number = int(frame.name.removeprefix("catch"))
            if name == container.options["as"][number]:
                end = instance.progress.named["body"]
                return end.error.as_value() if end.error is not None else None
        return MISSING

    def _error_before(self, opened: FrameIndex, node: NodePlan) -> Any:
        try:
            return edge_error(opened, node)
        except KeyError:
            return MISSING

    # -- families -----------------------------------------------------------------------------------------------------

    def _nodes(self, opened: FrameIndex, name: str) -> Any:
        instance = opened.frame.instances.get(name)
        return None if instance is None else self._output(opened, instance)

    def _output(self, opened: FrameIndex, instance: Instance) -> Any:
        if instance.state != SUCCEEDED:
            return None
        return self._index.value((opened.frame.path, instance.node), instance.output)

    def _state(self, opened: FrameIndex, name: str) -> dict[str, Any]:
        instance = opened.frame.instances.get(name)
        if instance is None:
            visit = opened.frame.visit_of(name)
            return {"status": "pending", "error": None, "attempts": 0, "visit": visit, "started": None, "finished": None}
        told: dict[str, Any] = {
            "status": STATE_NAMES[instance.state],
            "error": instance.error.as_value() if instance.error is not None and instance.state == FAILED else None,
            "attempts": instance.attempt,
            "visit": instance.visit,
            "started": time_text(instance.started) if instance.started else None,
            "finished": time_text(instance.finished) if instance.finished else None,
        }
        if instance.progress is not None and instance.progress.winners:
            told["winners"] = list(instance.progress.winners)
        return told

    def _previous(self, opened: FrameIndex, name: str) -> Any:
        raw = opened.frame.previous.get(name)
        return None if raw is None else self._index.value((opened.frame.path, f"(previous.{name})"), raw)

    # -- roots --------------------------------------------------------------------------------------------------------

    def _input(self) -> Any:
        return self._index.value(("", "(input)"), self._execution.input)

    def _trigger(self) -> Any:
        return self._index.value(("", "(trigger)"), self._execution.trigger)

    def _variables(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for opened in self._outwards():
            path = opened.frame.path
            for name, raw in opened.frame.variables.items():
                if name not in found:
                    found[name] = self._index.value((path, f"(vars.{name})"), raw)
            if opened.frame.compensates:
                found = {**self._kept(opened)["vars"], **found}
        return found

    def _about(self) -> dict[str, Any]:
        execution = self._execution
        return about(
            id=execution.id, workflow=execution.workflow, tenant=execution.tenant, digest=execution.digest,
            started=execution.started, priority=execution.priority, key=execution.key,
        )  # fmt: skip


class LoopNames:
    """What a loop binds for one iteration: its item, its index, `last`, `carry` (rules 24, 26)."""

    def __init__(self, index: Index, opened: FrameIndex, loop: NodePlan, instance: Instance, number: int) -> None:
        assert instance.progress is not None, "a loop that runs has progress"
        self._index = index
        self._opened = opened
        self._loop = loop
        self._instance = instance
        self._progress: Progress = instance.progress
        self._number = number

    def get(self, name: str) -> Any:
        """The value, or MISSING."""
        options = self._loop.options
        if name == options.get("index"):
            return self._number
        if name == options.get("as"):
            return self._item()
        if name == "last":
            return self._value("last", self._progress.last)
        if name == "carry" and "carry.next" in self._loop.keys:
            return self._value("carry", self._progress.carry)
        return MISSING

    def all(self) -> dict[str, Any]:
        """Every name it binds, to be found when it is read."""
        names = [self._loop.options.get("index"), self._loop.options.get("as"), "last", "carry"]
        return {name: lambda name=name: self._known(name) for name in names if name is not None}

    def _known(self, name: str) -> Any:
        found = self.get(name)
        if found is MISSING:
            raise KeyError(name)
        return found

    def _item(self) -> Any:
        progress, number = self._progress, self._number
        if number >= progress.total:
            raise KeyError(self._loop.options.get("as"))
        firsts = self._firsts()
        place = bisect_right(firsts, number) - 1
        raw = progress.added[place - 1][0] if place else progress.items
        return self._index.value((self._opened.frame.path, self._name_of(place)), raw)[number - firsts[place]]

    def _firsts(self) -> list[int]:
        """The number of the first item in each list of items: that of the start, then those added."""
        added = self._progress.added
        known = self._index.values.setdefault(self._opened.frame.path, {})
        firsts: list[int] | None = known.get(self._name_of("firsts"))
        if firsts is None:
            firsts = known[self._name_of("firsts")] = [0]
        if added and len(firsts) == 1:
            firsts.append(self._progress.total - sum(count for _, count in added))
        while len(firsts) <= len(added):
            firsts.append(firsts[-1] + added[len(firsts) - 2][1])
        return firsts

    def _name_of(self, what: int | str) -> str:
        """What a value of the present attempt is known by."""
        return f"({self._instance.node}#{self._instance.visit}~{self._instance.attempt}+{what})"

    def _value(self, what: str, raw: Raw) -> Any:
        """These change with each iteration: decoded once for each."""
        name = f"({self._instance.node}.{what})"
        known = self._index.values.setdefault(self._opened.frame.path, {})
        entry = known.get(name)
        if entry is None or entry[0] is not raw:
            self._index.forget(self._opened.frame.path, f"{name} of")
            entry = known[name] = (raw, self._index.value((self._opened.frame.path, f"{name} of"), raw))
        return entry[1]


def body_beside(index: Index, opened: FrameIndex) -> FrameIndex | None:
    """The body of the `try` that this frame is a handler or the finally of."""
    name = opened.frame.name
    if opened.container is None or opened.container.type != "try" or name == "body":
        return None
    return index.frames.get(opened.frame.path[: -len(name)] + "body")


def pending_error(progress: Progress) -> Any:
    """The error that is under way when `finally` runs; null where nothing failed."""
    failed = [end for name, end in progress.named.items() if end.status == "failed" and name.startswith("catch")]
    if not failed and not any(name.startswith("catch") for name in progress.named):
        failed = [end for name, end in progress.named.items() if end.status == "failed" and name == "body"]
    return failed[0].error.as_value() if failed and failed[0].error is not None else None


def live_edges(opened: FrameIndex, node: NodePlan) -> Iterator[tuple[Edge, Instance]]:
    """The incoming edges that are live, each with its source, in the order of `after`."""
    for edge in node.incoming:
        source = opened.scope.nodes[edge.source]
        instance = opened.frame.instances.get(source.id)
        if instance is not None and instance.final and resolution(edge, source, instance, opened.scope.on_failure) is LIVE:
            yield edge, instance


def edge_error(opened: FrameIndex, node: NodePlan) -> Any:
    """The failure whose edge led to a node (rule 10). Raises KeyError where none did."""
    returned: Failure | None = opened.frame.returned.get(node.id)
    if returned is not None:
        return returned.as_value()
    for _, source in live_edges(opened, node):
        if source.state == FAILED and source.ports and source.error is not None:
            return source.error.as_value()
    raise KeyError("error")


def about(
    *, id: bytes, workflow: str, tenant: str, digest: bytes, started: int, priority: int, key: str
) -> dict[str, Any]:  # fmt: skip
    """What expressions see as `execution`."""
    return {
        "id": id_text(ExecutionId(id)),
        "workflow": workflow,
        "tenant": tenant,
        "version": digest.hex(),
        "started": time_text(started),
        "priority": priority,
        "key": key,
    }


_ROOTS = {
    "input": FrameNames._input,
    "trigger": FrameNames._trigger,
    "vars": FrameNames._variables,
    "execution": FrameNames._about,
}
_FAMILIES = {"nodes": FrameNames._nodes, "state": FrameNames._state, "previous": FrameNames._previous}

"""What an expression of a node sees: `input`, `nodes.x`, `state.x`, `vars`, `incoming` and the rest (rule 8, day-one 28)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.engine.execution import FAILED, STATE_NAMES, SUCCEEDED, Execution, Frame, Instance
from perdure.engine.index import MISSING, Index
from perdure.expressions import format_time
from perdure.ids import ExecutionId, id_text

_NO_BINDINGS: Mapping[str, Any] = {}


def time_text(at: int) -> str:
    """Microseconds UTC as RFC 3339 with `Z`, as `now()` gives it (day-one 11)."""
    return format_time(at)


class FrameNames:
    """The names seen from one frame, at one moment. `bound` holds what only this evaluation sees (`error`, `item`)."""

    __slots__ = ("_bound", "_execution", "_frame", "_index", "_path", "at")

    def __init__(
        self, execution: Execution, index: Index, frame: Frame, at: int, path: str, bound: Mapping[str, Any] = _NO_BINDINGS
    ) -> None:
        self._execution = execution
        self._index = index
        self._frame = frame
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
        return _ROOTS[name](self)

    def member(self, family: str, name: str) -> Any:
        """`nodes.name`, `state.name`, `previous.name`. Raises KeyError for a node that is not in sight."""
        if family == "nodes":
            instance = self._frame.instances.get(name)
            if instance is None:
                self._known(name)
                return None
            return self._output(instance)
        return _FAMILIES[family](self, name)

    def _known(self, name: str) -> None:
        if name not in self._index.frames[self._frame.path].scope.number:
            raise KeyError(name)

    def _output(self, instance: Instance) -> Any:
        if instance.state != SUCCEEDED:
            return None
        return self._index.value((self._frame.path, instance.node), instance.output)

    def _state(self, name: str) -> dict[str, Any]:
        instance = self._frame.instances.get(name)
        if instance is None:
            self._known(name)
            return {"status": "pending", "error": None, "attempts": 0, "visit": 1, "started": None, "finished": None}
        return {
            "status": STATE_NAMES[instance.state],
            "error": instance.error.as_value() if instance.error is not None and instance.state == FAILED else None,
            "attempts": instance.attempt,
            "visit": instance.visit,
            "started": time_text(instance.started) if instance.started else None,
            "finished": time_text(instance.finished) if instance.finished else None,
        }

    def _previous(self, name: str) -> Any:
        self._known(name)
        return None

    def _input(self) -> Any:
        return self._index.value(("", "(input)"), self._execution.input)

    def _trigger(self) -> Any:
        return self._index.value(("", "(trigger)"), self._execution.trigger)

    def _variables(self) -> dict[str, Any]:
        variables = self._frame.variables
        path = self._frame.path
        return {name: self._index.value((path, f"(vars.{name})"), raw) for name, raw in variables.items()}

    def _about(self) -> dict[str, Any]:
        execution = self._execution
        return about(
            id=execution.id, workflow=execution.workflow, tenant=execution.tenant, digest=execution.digest,
            started=execution.started, priority=execution.priority, key=execution.key,
        )  # fmt: skip


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
_FAMILIES = {"state": FrameNames._state, "previous": FrameNames._previous}

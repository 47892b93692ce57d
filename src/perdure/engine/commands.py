"""All wishes: what the engine asks the world to do. Each follows from the state, so it can be asked again after a crash."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

from perdure.engine.events import Token
from perdure.ids import ExecutionId, effect_key, instance_path


class Run(Struct, frozen=True, kw_only=True):
    """Attempt an effect. Durations are microseconds, 0 = none; `params` is msgpack, or a blob's handle."""

    token: Token
    type: str
    params: Raw
    execution: bytes
    generation: int
    timeout: int = 0
    queue_timeout: int = 0
    heartbeat: int = 0
    grace: int = 0
    ready: int = 0  # when the node became ready, microseconds UTC
    at_most_once: bool = False

    @property
    def key(self) -> str:
        """The effect key (rule 50). Worked out where it is read: most nodes never ask for it."""
        token = self.token
        path = instance_path(token.frame, token.node, token.visit)
        return effect_key(ExecutionId(self.execution), path, token.visit, self.generation)


class Evaluate(Struct, frozen=True, kw_only=True):
    """Evaluate a pure node outside the step, since it goes over the step's budget (day-one 30)."""

    token: Token
    type: str
    document: dict[str, Any]  # the node as authored
    names: dict[str, Any]  # what it reads; large values by handle
    timeout: int = 0  # microseconds, 0 = none
    grace: int = 0


class Stop(Struct, frozen=True, kw_only=True):
    """Stop an attempt that is running or queued; its end is reported as a result like any other."""

    token: Token
    reason: str


class StartChild(Struct, frozen=True, kw_only=True):
    """Start another execution, under an id that is always the same (rule 40). That it cannot be started is a result.

    `awaited`: its end is reported, as `ChildEnded`; otherwise that it was started, as a result.
    """

    token: Token
    child: bytes
    workflow: str
    digest: bytes  # empty: the newest definition of this name
    input: Raw
    priority: int
    depth: int
    deadline_at: int = 0  # microseconds UTC, 0 = none
    awaited: bool = True


class StopChild(Struct, frozen=True, kw_only=True):
    """Ask a child to do something: `cancel`, `terminate`, `pause`, `resume`. `value`: the operator's value."""

    child: bytes
    action: str
    reason: str
    key: str  # the same wish has the same key
    value: Raw


class Lock(Struct, frozen=True, kw_only=True):
    """Get a lock for an instance; that it has it comes as `Granted` (rule 59)."""

    frame: str
    node: str
    visit: int
    key: str


class Look(Struct, frozen=True, kw_only=True):
    """Look through the event log for what an instance waits for, from a moment on (rule 48)."""

    type: str
    since: int  # microseconds UTC


Command = Run | Evaluate | Stop | StartChild | StopChild | Lock | Look

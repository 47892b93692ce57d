"""All wishes: what the engine asks the world to do. Each follows from the state, so it can be asked again after a crash."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

from perdure.engine.events import Token


class Run(Struct, frozen=True, kw_only=True):
    """Attempt an effect. Durations are microseconds, 0 = none; `params` is msgpack, or a blob's handle."""

    token: Token
    type: str
    params: Raw
    key: str  # the effect key (rule 50)
    timeout: int = 0
    queue_timeout: int = 0
    heartbeat: int = 0
    grace: int = 0
    ready: int = 0  # when the node became ready, microseconds UTC


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


Command = Run | Evaluate | Stop

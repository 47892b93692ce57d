"""What can go wrong: `PerdureError` for callers, `Failure` for work (a value), `Fault` for a definition (a finding).

PerdureError
├── Refused               what was asked cannot be done as asked; nothing was started, nothing lost (exit 2)
│   ├── DefinitionRefused     the definition has faults; all of them are listed
│   ├── InputRefused          the input does not fit the workflow's input schema or the value rules
│   ├── StartConflict         the idempotency key was used before with another payload
│   └── NotFound              no such execution, definition or node
└── StoreError            the store could not do it now; the message says what to do
    ├── StoreBusy             locked by someone else for longer than we wait
    ├── StoreFull             no space left
    ├── StoreReadOnly         the file or folder cannot be written
    ├── StoreTooNew           written by a newer Perdure than this one
    └── StoreDamaged          what is stored cannot be read
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Category = Literal["business", "technical", "timeout", "cancelled", "validation"]


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One finding of the checker. `path` is dotted (`nodes.fetch.with.url`); `line` and `column` count from 1, 0 = unknown."""

    code: str
    path: str
    message: str
    remedy: str
    line: int = 0
    column: int = 0
    severity: Literal["error", "warning"] = "error"


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why work failed, as a value: RFC 9457 problem details plus what a workflow decides by (rule 10, day-one 26).

    `code` is a free dotted string (`http.404`, `timeout`, `expression.missing`); `retryable` None means: by category.
    """

    code: str
    title: str
    category: Category = "technical"
    detail: str = ""
    retryable: bool | None = None
    ambiguous: bool = False  # the work may have happened all the same (a connection cut after sending): rule 53
    retry_after: int | None = None  # microseconds the other side asked us to wait
    status: int | None = None  # an HTTP-like status, where there is one
    node: str = ""  # frame path of the node that failed
    attempts: tuple[dict[str, Any], ...] = ()
    cause: Failure | None = None
    also: tuple[Failure, ...] = ()
    data: Any = None

    @property
    def leaves_open(self) -> bool:
        """May the work have happened in spite of this failure (rule 53)?"""
        return self.ambiguous or (self.category == "timeout" and self.code != "timeout.queue")

    def as_value(self) -> dict[str, Any]:
        """The object that expressions see as `error`, and that the API returns: RFC 9457 names first."""
        value: dict[str, Any] = {
            "type": f"urn:perdure:error:{self.code}",
            "title": self.title,
            "code": self.code,
            "category": self.category,
        }
        for name in ("detail", "status", "retryable", "node", "data"):
            present = getattr(self, name)
            if present not in (None, ""):
                value[name] = present
        if self.node:
            value["instance"] = self.node
        if self.attempts:
            value["attempts"] = [dict(attempt) for attempt in self.attempts]
        if self.cause is not None:
            value["cause"] = self.cause.as_value()
        if self.also:
            value["also"] = [other.as_value() for other in self.also]
        return value


class PerdureError(Exception):
    """Something a caller must hear about. `code` names its page in the docs, `remedy` says what to do."""

    code = "error"

    def __init__(self, message: str, *, remedy: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        if code is not None:
            self.code = code


class Refused(PerdureError):
    """What was asked cannot be done as asked. Nothing was started and nothing was lost; change the request."""

    code = "refused"


class DefinitionRefused(Refused):
    """The definition has faults. All of them are in `faults`, each with its place and remedy; mend them and try again."""

    code = "definition.refused"

    def __init__(self, faults: list[Fault], *, source: str = "") -> None:
        self.faults = faults
        self.source = source
        errors = sum(1 for fault in faults if fault.severity == "error")
        first = next((fault for fault in faults if fault.severity == "error"), faults[0])
        more = f" (and {errors - 1} more)" if errors > 1 else ""
        super().__init__(f"{first.path or source}: {first.message}{more}", remedy=first.remedy)


class InputRefused(Refused):
    """The input does not fit what the workflow declares, or holds a value that cannot be stored."""

    code = "input.refused"


class StartConflict(Refused):
    """This idempotency key already started an execution with another payload. Use a new key, or the same payload."""

    code = "start.conflict"


class NotFound(Refused):
    """There is no such thing in this store. Check the id, and that the store is the one you mean."""

    code = "not_found"


class StoreError(PerdureError):
    """The store could not do it now; what was committed before is safe."""

    code = "store.error"


class StoreBusy(StoreError):
    """Another process kept the store locked for longer than we wait. Try again, or find out who holds it."""

    code = "store.busy"


class StoreFull(StoreError):
    """No space is left where the store lies. Make room and resume: nothing committed is lost."""

    code = "store.full"


class StoreReadOnly(StoreError):
    """The store cannot be written: the file, its folder or the file system is read-only."""

    code = "store.read_only"


class StoreTooNew(StoreError):
    """The store holds data that only a newer Perdure can read. Upgrade this installation."""

    code = "store.too_new"


class StoreDamaged(StoreError):
    """What is stored cannot be read back as written. `perdure verify` names every damaged row."""

    code = "store.damaged"

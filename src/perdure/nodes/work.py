"""What a node type is once it can be called (`Work`), what it may ask while it runs (`Context`), how it fails (`Failed`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from perdure.clock import MICROSECONDS
from perdure.errors import Category, Failure

if TYPE_CHECKING:  # a process of the pool needs no definitions
    from perdure.definition.spec import NodeSpec

Level = Literal["debug", "info", "warning", "error"]
LEVELS = frozenset(get_args(Level))
DETAIL_CHARACTERS_MAX = 4_000  # a failure is kept in the journal for ever; a longer text belongs in a log

PLAIN_DEPTH_MAX = 20  # deeper data in a log line is shown as text

LogSink = Callable[[str, str, dict[str, Any]], None]  # message, level, data
HeartbeatSink = Callable[[Any], None]


class Deferred:
    """What a node returns that answers later: whoever holds `token` completes it with an output or an error (day-one 15)."""

    __slots__ = ("token",)

    def __init__(self, token: str) -> None:
        self.token = token

    def __repr__(self) -> str:
        return "Deferred(…)"  # a token is a right to answer: it belongs in no log

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Deferred) and other.token == self.token

    def __hash__(self) -> int:
        return hash(self.token)


class Failed(Exception):
    """Raised by a node to fail with a chosen failure.

    `code` is a free dotted string that workflows match on; `retry_after` is in seconds; `retryable` None means: by category.
    `ambiguous`: the work may have happened all the same, so an `at_most_once` node must not simply try again (rule 53).
    """

    def __init__(
        self,
        code: str,
        title: str,
        *,
        category: Category = "technical",
        retryable: bool | None = None,
        ambiguous: bool = False,
        detail: str = "",
        retry_after: float | None = None,
        status: int | None = None,
        data: Any = None,
    ) -> None:
        super().__init__(f"{code}: {title}")
        if category not in get_args(Category):
            raise ValueError(f"Expected a category out of {', '.join(get_args(Category))}, but got {category!r}.")
        self.failure = Failure(
            code=code,
            title=title,
            category=category,
            retryable=retryable,
            ambiguous=ambiguous,
            detail=detail[:DETAIL_CHARACTERS_MAX],
            retry_after=None if retry_after is None else max(0, round(retry_after * MICROSECONDS)),
            status=status,
            data=data,
        )

    @classmethod
    def of(cls, failure: Failure) -> Failed:
        """The exception that carries this failure, as it is."""
        failed = cls(failure.code, failure.title)
        failed.failure = failure
        return failed

    def __reduce__(self) -> tuple[Any, ...]:
        return Failed.of, (self.failure,)


class Context:
    """What a running node may ask, and tell.

    `key` is the effect key: the same over retries and crashes, so send it as `Idempotency-Key` (rule 50). `deadline` is when
    this attempt will be stopped, in seconds since 1970 UTC as `time.time()` counts them, None = never. `options` is what the
    operator set for this node type in the settings (a `notify` node's channels), never written by authors of workflows.
    """

    __slots__ = (
        "_key", "_on_heartbeat", "_on_log", "_token",
        "attempt", "deadline", "execution", "options", "path", "tenant", "workflow",
    )  # fmt: skip

    def __init__(
        self,
        *,
        execution: str = "",
        path: str = "",
        attempt: int = 1,
        key: str | Callable[[], str] = "",
        tenant: str = "default",
        workflow: str = "",
        deadline: float | None = None,
        token: str = "",
        options: Mapping[str, Any] | None = None,
        on_log: LogSink | None = None,
        on_heartbeat: HeartbeatSink | None = None,
    ) -> None:
        self.execution = execution
        self.path = path
        self.attempt = attempt
        self._key = key
        self.tenant = tenant
        self.workflow = workflow
        self.deadline = deadline
        self.options: Mapping[str, Any] = options or {}
        self._token = token
        self._on_log = on_log
        self._on_heartbeat = on_heartbeat

    @property
    def key(self) -> str:
        """The effect key; "" outside an execution."""
        if not isinstance(self._key, str):
            self._key = self._key()
        return self._key

    def heartbeat(self, details: Any = None) -> None:
        """Say that the work goes on. A node with `heartbeat:` that stays silent for longer is stopped."""
        if self._on_heartbeat is not None:
            self._on_heartbeat(plain(details))

    def log(self, message: str, level: Level = "info", **data: Any) -> None:
        """Write a line to the execution's log. `level`: debug, info, warning or error; `data` goes along as fields."""
        if level not in LEVELS:
            raise ValueError(f"Expected a level out of debug, info, warning, error, but got {level!r}.")
        if self._on_log is not None:
            self._on_log(str(message), level, {name: plain(value) for name, value in data.items()})

    def defer(self) -> Deferred:
        """Answer later: hand `.token` to whoever will answer, and return this object from the node."""
        if not self._token:
            raise Failed("node.cannot_defer", "Expected a token to defer with, but this node was called outside an execution.")
        return Deferred(self._token)

    def fields(self) -> dict[str, Any]:
        """All that `Context(**fields)` needs to be made again in another process; the sinks stay here."""
        return {
            "execution": self.execution,
            "path": self.path,
            "attempt": self.attempt,
            "key": self.key,
            "tenant": self.tenant,
            "workflow": self.workflow,
            "deadline": self.deadline,
            "token": self._token,
            "options": dict(self.options),
        }


@dataclass(frozen=True, slots=True)
class Work:
    """A node type, ready to be called.

    `run(params, context)` gives the output as plain JSON values, or a `Deferred`; it is async unless `blocking`.
    `blocking`: always runs in the process pool, so that a timeout can kill it.
    `reference`: how a process of the pool finds it: `package.module:function`, or `file:<absolute path>:function@<digest>`.
    """

    spec: NodeSpec
    run: Callable[[dict[str, Any], Context], Any]
    blocking: bool
    reference: str


def plain(value: Any, depth: int = PLAIN_DEPTH_MAX) -> Any:
    """The value as JSON would have it; what JSON does not know becomes its text. For logs and heartbeats, never for outputs."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if depth and isinstance(value, Mapping):
        return {plain(str(key)): plain(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [plain(item, depth - 1) for item in value]
    return plain(str(value))

"""Attempts: where commands meets the world. Runs effects in bounded slots, polices their times, reports each end once.

An attempt's timeout, heartbeat and time in the queue are policed here and not by the engine, because only here can be known
when the work is really gone: the result is reported after that, never before (a second attempt must not meet the first).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Protocol

import msgspec
from msgspec import Raw

from perdure.clock import MICROSECONDS, Clock
from perdure.engine.codec import INLINE_MAX, decode_value, encode_value, handle_digest, handle_for
from perdure.engine.commands import Evaluate, Run, Stop
from perdure.engine.events import NOTHING, Result, Token
from perdure.errors import Failure
from perdure.expressions import ValueRefused, check_value
from perdure.ids import ExecutionId, instance_path
from perdure.nodes.outcome import checked_output, failure_of
from perdure.nodes.work import Context, Deferred, Failed, Work
from perdure.runtime.processes import ProcessPool
from perdure.runtime.watchdog import Watchdog, attempt_name

CANCELS_MAX = 3
"""How often a coroutine that will not leave is asked to; then it is let go and its type runs in processes from then on."""

STALE_MAX = 1_000
"""Due times of ended attempts may pile up to this many, and four for each attempt under way, before they are swept."""

EVALUATE = "perdure.engine.outside:evaluate"

LogLine = Callable[[ExecutionId, str, str, str, dict[str, Any]], None]  # execution, path, message, level, data


class Asking(Protocol):
    """What an attempt knows of the execution that asks for it."""

    id: ExecutionId
    tenant: str
    workflow: str
    works: Mapping[str, Work]

    @property
    def text(self) -> str: ...


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt's end: its result, and the large values that the result names."""

    result: Result
    blobs: dict[bytes, bytes]


class Attempt:
    """One attempt, from its command to its report."""

    __slots__ = (
        "asking",
        "beat",
        "cancels",
        "command",
        "entered",
        "follows",
        "grace",
        "path",
        "reason",
        "running",
        "started",
        "stopped_by",
        "task",
        "token",
    )

    def __init__(self, asking: Asking, command: Run | Evaluate, grace: int) -> None:
        self.asking = asking
        self.command = command
        self.token: Token = command.token
        self.path = instance_path(command.token.frame, command.token.node, command.token.visit)
        self.grace = grace
        self.task: asyncio.Task[None] | None = None
        self.running = False
        self.entered = False  # has its coroutine come to its first line?
        self.started = 0
        self.beat = 0.0
        self.stopped_by = ""  # `timeout`, `heartbeat`, `queue`, `stop`, `drain`
        self.reason = ""
        self.cancels = 0
        self.follows: list[tuple[Asking, Run | Evaluate | Stop]] = []  # what is asked for when it is gone


class _Unleased(Exception):
    """The effect was not begun, since others may have taken this worker for dead."""


class Attempts:
    """All attempts of one home."""

    def __init__(
        self,
        *,
        clock: Clock,
        pool: ProcessPool,
        watchdog: Watchdog,
        slots: int,
        grace: int,
        payload_max: int,
        options: Mapping[str, Any],
        blob: Callable[[str, bytes], Awaitable[bytes]],
        report: Callable[[ExecutionId, Ended], None],
        log: LogLine,
        leased: Callable[[], bool],
    ) -> None:
        self._clock = clock
        self._pool = pool
        self._watchdog = watchdog
        self._slots = slots
        self._grace = grace
        self._options = options
        self._payload_max = payload_max
        self._blob = blob
        self._report = report
        self._log = log
        self._leased = leased  # may an effect still be started? Others may have taken this worker for dead (day-one 23)
        self._attempts: dict[tuple[bytes, Token], Attempt] = {}
        self._queue: deque[Attempt] = deque()
        self._running = 0
        self._dues: list[tuple[float, int, Attempt, str]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        return self._running

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def room(self) -> int:
        """Slots that are neither taken nor waited for."""
        return max(0, self._slots - len(self._attempts))

    def holds(self, execution: ExecutionId) -> bool:
        """Is any attempt of this execution queued or under way?"""
        return any(key[0] == execution for key in self._attempts)

    # -- commands -----------------------------------------------------------------------------------------------------

    def carry_out(self, asking: Asking, command: Run | Evaluate | Stop) -> None:
        """Do what a step asked for, once the step is durable."""
        if type(command) is Stop:
            attempt = self._attempts.get((asking.id, command.token))
            if attempt is not None and attempt.stopped_by == "fenced":
                attempt.follows.append((asking, command))
            elif attempt is not None:
                self._stop(attempt, "stop", command.reason)
            return
        assert not isinstance(command, Stop)
        if self._draining:
            if isinstance(command, Run) and command.at_most_once:  # nobody else could know that it was never begun
                result = Result(token=command.token, outcome="stopped", finished=self._clock.now())
                self._report(asking.id, Ended(result=result, blobs={}))
            return  # the next home asks for it again
        key = (asking.id, command.token)
        under_way = self._attempts.get(key)
        if under_way is not None:
            if under_way.stopped_by == "fenced":  # the execution was lost and has come back: this one must not meet that
                under_way.follows.append((asking, command))
            return
        attempt = self._attempts[key] = Attempt(asking, command, command.grace or self._grace)
        self._idle.clear()
        if self._running < self._slots and self._leased():
            self._begin(attempt)
            return
        self._queue.append(attempt)
        self._limit_queueing(attempt)

    def _limit_queueing(self, attempt: Attempt) -> None:
        command = attempt.command
        if isinstance(command, Run) and command.queue_timeout:
            self._arm(command.queue_timeout / MICROSECONDS, attempt, "queue")

    def begin_queued(self) -> None:
        """Begin what waits for a slot, or for the lease."""
        while self._queue and self._running < self._slots and not self._draining and self._leased():
            self._begin(self._queue.popleft())

    def _begin(self, attempt: Attempt) -> None:
        self._running += 1
        attempt.running = True
        attempt.started = self._clock.now()
        command = attempt.command
        attempt.task = asyncio.get_running_loop().create_task(
            self._attempt(attempt), name=attempt_name(command.type, attempt.path)
        )
        if command.timeout:
            self._arm(command.timeout / MICROSECONDS, attempt, "timeout")
        if isinstance(command, Run) and command.heartbeat:
            attempt.beat = asyncio.get_running_loop().time()
            self._arm(command.heartbeat / MICROSECONDS, attempt, "heartbeat")

    def _queue_again(self, attempt: Attempt) -> None:
        """The lease may have run out before the effect began: it waits for that, as if it had never been let through."""
        if not self._is_live(attempt):
            return
        self._running -= 1
        again = Attempt(attempt.asking, attempt.command, attempt.grace)  # for which none of its times is running
        self._attempts[attempt.asking.id, attempt.token] = again
        self._queue.appendleft(again)
        self._limit_queueing(again)

    def abandon(self, execution: ExecutionId) -> None:
        """The execution is somebody else's now: stop its attempts; what they report goes nowhere."""
        for key, attempt in list(self._attempts.items()):
            if key[0] == execution:
                self._stop(attempt, "fenced", "another worker runs this execution now")

    async def finish(self, seconds: float) -> None:
        """Begin nothing more, and let what runs end by itself, for so long."""
        self._draining = True
        for attempt in list(self._queue):
            self._stop(attempt, "drain", "the worker is stopping")
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    async def drain(self) -> None:
        """Stop everything and wait until it is gone; each attempt reports that it was stopped."""
        self._draining = True
        for attempt in list(self._attempts.values()):
            self._stop(attempt, "drain", "the worker is stopping")
        await self._idle.wait()

    # -- time ---------------------------------------------------------------------------------------------------------

    def _arm(self, seconds: float, attempt: Attempt, kind: str) -> None:
        due = asyncio.get_running_loop().time() + seconds
        heappush(self._dues, (due, next(self._numbers), attempt, kind))
        self._set_timer()

    def _set_timer(self) -> None:
        if len(self._dues) > STALE_MAX + 4 * len(self._attempts):
            self._dues = [due for due in self._dues if self._is_live(due[2])]
            heapify(self._dues)
        if not self._dues:
            return
        due = self._dues[0][0]
        if self._timer is None or due < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = due
            self._timer = asyncio.get_running_loop().call_at(due, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._dues and self._dues[0][0] <= now:
            _, _, attempt, kind = heappop(self._dues)
            if self._is_live(attempt):
                self._came_due(attempt, kind, now)
        self._set_timer()

    def _is_live(self, attempt: Attempt) -> bool:
        return self._attempts.get((attempt.asking.id, attempt.token)) is attempt

    def _came_due(self, attempt: Attempt, kind: str, now: float) -> None:
        command = attempt.command
        if kind == "cancel":
            return self._insist(attempt)
        if kind == "timeout":
            return self._stop(attempt, "timeout", f"the attempt took longer than {command.timeout / MICROSECONDS:g} s")
        assert isinstance(command, Run), "only effects queue with a limit, and beat"
        if kind == "queue":
            if not attempt.running:
                self._stop(attempt, "queue", f"no slot was free within {command.queue_timeout / MICROSECONDS:g} s")
        elif kind == "heartbeat":
            left = attempt.beat + command.heartbeat / MICROSECONDS - now
            if left > 0:
                return self._arm(left, attempt, "heartbeat")
            self._stop(attempt, "heartbeat", f"no heartbeat for {command.heartbeat / MICROSECONDS:g} s")

    def _stop(self, attempt: Attempt, by: str, reason: str) -> None:
        if attempt.stopped_by:
            if by == "fenced":
                attempt.stopped_by = by
            return
        attempt.stopped_by, attempt.reason = by, reason
        if not attempt.running:
            self._queue.remove(attempt)
            self._end(attempt, self._stopped(attempt), {})
            return
        if not attempt.entered:
            # A task that is cancelled before its first line never comes to it, and would never report.
            assert attempt.task is not None
            attempt.task.cancel()
            attempt.started = 0
            self._end(attempt, self._stopped(attempt), {})
            return
        self._insist(attempt)

    def _insist(self, attempt: Attempt) -> None:
        """Ask the coroutine to leave; one that would not is let go at last, and its type runs in processes from then on."""
        assert attempt.task is not None
        if attempt.cancels >= CANCELS_MAX:
            self._watchdog.blocking_types.add(attempt.command.type)
            attempt.reason += "; it ignored being cancelled and may still be running"
            self._end(attempt, self._stopped(attempt), {})
            return
        attempt.cancels += 1
        attempt.task.cancel()
        self._arm(attempt.grace / MICROSECONDS, attempt, "cancel")

    # -- the work -----------------------------------------------------------------------------------------------------

    async def _attempt(self, attempt: Attempt) -> None:
        command = attempt.command
        attempt.entered = True
        try:
            output = await (self._effect(attempt, command) if isinstance(command, Run) else self._evaluation(attempt, command))
            if type(output) is Deferred:
                return self._end(attempt, self._result(attempt, "deferred"), {})
            raw, blobs = self._encoded(output)
            result = self._result(attempt, "succeeded", output=raw)
        except asyncio.CancelledError:
            blobs = {}
            if not attempt.stopped_by:  # cancelled from outside: the loop is being torn down
                attempt.stopped_by, attempt.reason = "drain", "the worker is stopping"
            result = self._stopped(attempt)
        except _Unleased:
            return self._queue_again(attempt)
        except Failed as failed:
            blobs, result = {}, self._result(attempt, "failed", error=failed.failure)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a node that calls `sys.exit` ends itself, not the worker
            failure = failure_of(error)
            blobs = {}
            result = self._stopped(attempt, failure) if attempt.stopped_by else self._result(attempt, "failed", error=failure)
        self._end(attempt, result, blobs)

    async def _effect(self, attempt: Attempt, command: Run) -> Any:
        asking = attempt.asking
        work = asking.works.get(command.type)
        if work is None:
            raise Failed("node.unknown_type", f"This worker has no node type {command.type!r}.", retryable=False)
        params = command.params
        digest = handle_digest(params)
        given = decode_value(params if digest is None else await self._blob(asking.tenant, digest))
        self._check_lease()
        context = self._context(attempt, command)
        if work.blocking or command.type in self._watchdog.blocking_types:
            return await self._pool.run(
                work.reference, given, context.fields(), on_log=self._log_of(attempt), on_heartbeat=self._beat_of(attempt),
                grace=attempt.grace,
            )  # fmt: skip
        return _checked(await work.run(given, context))

    def _check_lease(self) -> None:
        """Once more, right before an effect begins: it may have taken long to come here."""
        if not self._leased():
            raise _Unleased

    def _context(self, attempt: Attempt, command: Run) -> Context:
        token = command.token
        limit = command.timeout
        return Context(
            execution=attempt.asking.text, path=attempt.path, attempt=token.attempt, key=lambda: command.key,
            tenant=attempt.asking.tenant, workflow=attempt.asking.workflow,
            deadline=(attempt.started + limit) / MICROSECONDS if limit else None,
            token=f"{attempt.asking.text}:{attempt.path}:{token.attempt}",
            options=self._options.get(command.type), on_log=self._log_of(attempt), on_heartbeat=self._beat_of(attempt),
        )  # fmt: skip

    async def _evaluation(self, attempt: Attempt, command: Evaluate) -> Any:
        names = command.names
        resolved = {
            "at": names["at"], "seed": names["seed"],
            **{family: await self._values(attempt, names[family]) for family in ("nodes", "state", "previous", "roots")},
        }  # fmt: skip
        answer = await self._pool.evaluate(EVALUATE, {"type": command.type, "document": command.document, "names": resolved})
        if "failure" in answer:
            raise Failed.of(msgspec.convert(answer["failure"], Failure))
        return answer["output"]

    async def _values(self, attempt: Attempt, values: dict[str, Any]) -> dict[str, Any]:
        """The values that an evaluation reads, decoded: a process has no store to look into."""
        found: dict[str, Any] = {}
        for name, value in values.items():
            if isinstance(value, dict) and name in ("vars", "incoming"):
                found[name] = await self._values(attempt, value)
            elif isinstance(value, Raw):
                digest = handle_digest(value)
                found[name] = decode_value(value if digest is None else await self._blob(attempt.asking.tenant, digest))
            else:
                found[name] = value
        return found

    def _log_of(self, attempt: Attempt) -> Callable[[str, str, dict[str, Any]], None]:
        assert isinstance(attempt.command, Run), "only effects log"
        execution = ExecutionId(attempt.command.execution)
        return lambda message, level, data: self._log(execution, attempt.path, message, level, data)

    def _beat_of(self, attempt: Attempt) -> Callable[[Any], None]:
        def beat(details: Any) -> None:
            attempt.beat = asyncio.get_running_loop().time()

        return beat

    def _encoded(self, output: Any) -> tuple[Raw, dict[bytes, bytes]]:
        body = encode_value(output)
        if len(body) <= INLINE_MAX:
            return Raw(body), {}
        if len(body) > self._payload_max:
            raise Failed(
                "output.too_large", f"The output has {len(body):,} bytes; the most that is kept is {self._payload_max:,}.",
                category="validation", retryable=False,
                detail="Keep large data in a file or an object store and return where it lies.",
            )  # fmt: skip
        handle, digest = handle_for(body)
        return handle, {digest: body}

    # -- the report ---------------------------------------------------------------------------------------------------

    def _result(self, attempt: Attempt, outcome: str, *, output: Raw = NOTHING, error: Failure | None = None) -> Result:
        return Result(
            token=attempt.token,
            outcome=outcome,
            output=output,
            error=error,
            started=attempt.started,
            finished=self._clock.now(),
        )

    def _stopped(self, attempt: Attempt, broke: Failure | None = None) -> Result:
        """How an attempt that was stopped reports: by one of its own times it failed, by others' wish it was stopped.

        `broke`: what it raised on its way out, instead of leaving quietly.
        """
        codes = {"timeout": "timeout", "heartbeat": "timeout.heartbeat", "queue": "timeout.queue"}
        code = codes.get(attempt.stopped_by)
        if code is None:
            return self._result(attempt, "stopped", error=broke)
        title = f"`{attempt.path}` timed out: {attempt.reason}."
        return self._result(
            attempt, "failed",
            error=Failure(
                code=code, title=title, category="timeout", ambiguous=attempt.running, cause=broke,
                detail=f"While it was being stopped it raised {broke.title}." if broke is not None else "",
            ),
        )  # fmt: skip

    def _end(self, attempt: Attempt, result: Result, blobs: dict[bytes, bytes]) -> None:
        if not self._is_live(attempt):
            return  # it was let go before: whatever it says now comes too late
        del self._attempts[attempt.asking.id, attempt.token]
        if attempt.running:
            self._running -= 1
            self.begin_queued()
        if not self._attempts:
            self._idle.set()
        if attempt.stopped_by != "fenced":
            self._report(attempt.asking.id, Ended(result=result, blobs=blobs))
        for asking, command in attempt.follows:
            self.carry_out(asking, command)


def _checked(output: Any) -> Any:
    """`checked_output`, by the shortest way for the outputs that are as they should be."""
    try:
        check_value(output)
    except ValueRefused:
        return checked_output(output)
    return output

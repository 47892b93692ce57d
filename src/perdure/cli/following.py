"""Following executions to their end: their journals are read as they grow, and a view is told; wherever they run."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from typing import Any

import msgspec

from perdure.app import Engine, open_engine
from perdure.cli import exits
from perdure.cli.interruption import Interruption
from perdure.cli.view import View
from perdure.clock import MICROSECONDS, SystemClock
from perdure.engine import events
from perdure.engine.codec import LEVEL
from perdure.engine.events import AnyFact
from perdure.engine.execution import PARKED, WAITING, Execution, Instance, evolve
from perdure.errors import NotFound, PerdureError, StoreTooNew
from perdure.ids import ExecutionId, id_text, instance_path
from perdure.runtime.hot import Outcome
from perdure.settings import Settings
from perdure.store.contract import Row

HERE_SECONDS = 1.0
"""How often it is looked whether what our home had is still there: another worker may have taken it over."""

SEVERITY = (exits.SUCCEEDED, exits.WAITING, exits.CANCELLED, exits.FAILED, exits.REFUSED)
"""Exit codes from the best to the worst: of several executions the worst one counts."""


class LogLine(msgspec.Struct, frozen=True):
    """What a node logged while it ran."""

    at: int  # microseconds UTC
    path: str
    message: str
    level: str
    data: dict[str, Any]


class Followed:
    """One execution that is followed: its state as the journal read so far gives it."""

    __slots__ = ("active", "hinted", "id", "logged", "outcome", "parked", "rested", "row", "spawned", "state", "text")

    def __init__(self, row: Row) -> None:
        self.id = row.execution
        self.row = row
        self.text = id_text(row.execution)
        self.state = Execution()
        self.rested = False  # did the last step come to rest?
        self.outcome: asyncio.Future[Outcome]  # of our home; what it raises is why our home cannot run it
        self.hinted: set[tuple[str, int]] = set()  # path, attempt
        self.logged: deque[LogLine] = deque()  # not told yet
        self.spawned: list[tuple[str, str]] = []  # executions that were started in its place: id, relation
        self.active: dict[tuple[str, str], Instance] = {}  # by frame and node: what has begun and is not final
        self.parked: dict[tuple[str, str], Instance] = {}  # those of them that are parked

    def take(self, fact: AnyFact) -> None:
        """Remember one more fact."""
        evolve(self.state, fact)
        if isinstance(fact, events.Spawned):
            self.spawned.append((id_text(ExecutionId(fact.execution)), fact.relation))
        elif isinstance(fact, events.InstanceFact):
            place = (fact.frame, fact.node)
            instance = self.state.frames[fact.frame].instances[fact.node]
            self.active[place] = self.parked[place] = instance
            if instance.final:
                del self.active[place]
            if instance.state != PARKED:
                del self.parked[place]


class Following:
    """Follows executions of one engine. `store`: what `--store` said, so that hints repeat it."""

    def __init__(self, *, store: str | None, no_wait: bool, view: View) -> None:
        self._option = store_option(store)
        self._no_wait = no_wait
        self._view = view
        self._followed: dict[ExecutionId, Followed] = {}
        self._moved: dict[ExecutionId, None] = {}  # in the order they moved
        self._woken = asyncio.Event()
        self._codes: list[int] = []
        self._said: PerdureError | None = None
        self._clock = SystemClock()
        self._unheard: dict[ExecutionId, deque[LogLine]] = defaultdict(deque)  # of what runs and is not followed yet

    # -- life ---------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def engine(self, settings: Settings, node_files: tuple[str, ...]) -> AsyncIterator[Engine]:
        """An engine whose executions can be followed."""
        async with open_engine(settings, node_files=node_files, on_log=self._log) as engine:
            engine.home.observe(lambda execution, at, facts: self._wake(execution))
            yield engine

    def until_interrupted(self, work: Callable[[], Coroutine[Any, Any, int]]) -> int:
        """Run to the end; or until Ctrl-C or SIGTERM: then all stays durable, and a line each says how to go on."""
        try:
            return asyncio.run(Interruption(self._stopped).run(work))
        except KeyboardInterrupt:  # it came before the loop began
            self._stopped()
            return exits.INTERRUPTED
        except BrokenPipeError:
            self._stopped()
            raise
        finally:
            self._view.close()

    def _stopped(self) -> None:
        self._view.close()
        stopped = list(self._followed.values())
        self._followed.clear()
        for followed in stopped:
            exits.say(f"stopped, and kept; go on with: perdure resume {followed.text}{self._option}")

    # -- who is followed ----------------------------------------------------------------------------------------------

    async def begin(self, engine: Engine, row: Row) -> bool:
        """Follow an execution from its beginning; False, and said why, where it cannot be read or shown here."""
        followed = Followed(row)
        try:
            if row.level > LEVEL:
                raise StoreTooNew(
                    f"{followed.text} was written at level {row.level}; this Perdure reads up to {LEVEL}.",
                    remedy="Upgrade this installation.",
                )
            loaded = await engine.home.plans.get(await self._digest(engine, row))
        except PerdureError as error:
            self._codes.append(exits.refuse(error))
            return False
        self._view.follow(row.execution, loaded.plan)
        self._followed[row.execution] = followed
        followed.logged = self._unheard.pop(row.execution, deque())
        followed.outcome = engine.home.outcome(row.execution)
        followed.outcome.add_done_callback(lambda _: self._wake(row.execution))
        self._wake(row.execution)
        return True

    def refuse(self, execution: ExecutionId, error: PerdureError) -> None:
        """Follow it no longer, and say why; once, where many have the same reason."""
        self._drop(execution)
        self._codes.append(exits.REFUSED if error is self._said else exits.refuse(error))
        self._said = error

    def _drop(self, execution: ExecutionId) -> None:
        followed = self._followed.pop(execution, None)
        if followed is not None and not followed.outcome.cancel() and not followed.outcome.cancelled():
            followed.outcome.exception()  # it was heard of

    async def _digest(self, engine: Engine, row: Row) -> bytes:
        """The definition of an execution; of one that was started by its workflow's name, and has not begun, the newest."""
        if row.digest:
            return row.digest
        async for moment in engine.executions.moments(row.execution):
            for fact in moment.facts:
                if isinstance(fact, events.Started):
                    return fact.digest
        saved = await engine.store.definitions(row.workflow, tenant=row.tenant)
        if not saved:
            raise NotFound(
                f"{id_text(row.execution)} waits for a definition of {row.workflow!r}, but the store has none.",
                remedy=f"Save it once: `perdure check FILE --save{self._option}`.",
            )
        return saved[0].digest

    # -- to the end ---------------------------------------------------------------------------------------------------

    async def to_the_end(self, engine: Engine) -> int:
        """Follow all of them until each has ended or, with `--no-wait`, waits for a person; the worst exit code."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self._followed:
            moved, self._moved = self._moved, {}
            self._woken.clear()
            for execution in moved:
                followed = self._followed.get(execution)
                if followed is not None:
                    await self._look(engine, followed)
                    await asyncio.sleep(0)  # the store answers without suspending: let the home have its turns
            if not self._followed:
                break
            if loop.time() >= due:
                due = loop.time() + self._look_elsewhere(engine)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), max(0, due - loop.time()))
        return max(self._codes, key=SEVERITY.index, default=exits.SUCCEEDED)

    def _look_elsewhere(self, engine: Engine) -> float:
        """Look at those that our home does not tell of, since it does not have them; in how many seconds again."""
        elsewhere = [execution for execution in self._followed if engine.home.state(execution) is None]
        for execution in elsewhere:
            self._wake(execution)
        return engine.settings.inbox_poll / MICROSECONDS if elsewhere else HERE_SECONDS

    async def _look(self, engine: Engine, followed: Followed) -> None:
        try:
            await self._read(engine, followed)
            if followed.state.ended:
                return await self._end(engine, followed)
            if followed.outcome.done():
                followed.outcome.result()  # it has not ended: this raises why our home cannot go on with it
        except PerdureError as error:
            return self.refuse(followed.id, error)
        stuck = await self._stuck(engine, followed)
        if stuck and self._no_wait:
            self._drop(followed.id)
            parked = next((instance for _, instance in stuck if instance.state == PARKED), None)
            why = parked.error.as_value() if parked is not None and parked.error is not None else None
            outcome = Outcome(execution=followed.id, status="parked" if parked is not None else "waiting", error=why)
            self._view.end(outcome, followed.state.at - followed.state.started)
            self._codes.append(exits.WAITING)
        await self._hint(engine, followed, stuck)

    async def _read(self, engine: Engine, followed: Followed) -> None:
        """Tell the view what the journal has beyond what was read before."""
        state = followed.state
        async for moment in engine.executions.moments(followed.id, after=state.seq):
            for fact in moment.facts:
                followed.take(fact)
            state.at, followed.rested = moment.at, not moment.cut
            self._tell_logged(followed, before=moment.at)
            self._view.saw(followed.id, moment.at, moment.facts)
        self._tell_logged(followed)

    def _tell_logged(self, followed: Followed, *, before: int | None = None) -> None:
        """Tell what nodes logged before that moment: after the fact that they began, and before the one that they ended."""
        while followed.logged and (before is None or followed.logged[0].at < before):
            line = followed.logged.popleft()
            self._view.log(followed.id, line.at, line.path, line.message, line.level, line.data)

    async def _end(self, engine: Engine, followed: Followed) -> None:
        state = followed.state
        output = await engine.executions.value(followed.row, state.output)
        error = state.error.as_value() if state.error is not None else None
        self._drop(followed.id)
        self._view.end(
            Outcome(execution=followed.id, status=state.status, output=output, error=error), state.at - state.started
        )
        self._codes.append(exits.BY_STATUS[state.status])
        for execution, relation in followed.spawned:
            what = "was started to try it again" if relation == "retry" else "was started in its place"
            exits.say(f"{execution} {what}; it runs with: perdure resume {execution}{self._option}")

    # -- who waits for a person ---------------------------------------------------------------------------------------

    async def _stuck(self, engine: Engine, followed: Followed) -> list[tuple[str, Instance]]:
        """The nodes that wait for a person or a signal, when nothing else can move the execution on; else none."""
        if not followed.rested or followed.state.ended:
            return []
        stuck = waiting_for_people(followed.active, engine.clock.now())
        if not stuck or await engine.store.inbox(followed.id, limit=1):  # what it waits for has come already
            return []
        return stuck

    async def _hint(self, engine: Engine, followed: Followed, stuck: Iterable[tuple[str, Instance]]) -> None:
        """Say once for each node what a person can do about it: at once where one is parked."""
        parked = [(path_of(frame, found), found) for (frame, _), found in followed.parked.items()]
        waiting = [each for each in stuck if each[1].state == WAITING]
        new = [each for each in (*parked, *waiting) if (each[0], each[1].attempt) not in followed.hinted]
        if not new or await engine.store.inbox(followed.id, limit=1):  # somebody has decided already: see first what follows
            return
        for path, instance in new:
            followed.hinted.add((path, instance.attempt))
            exits.say(self._advice(followed.text, path, instance))

    def _advice(self, execution: str, path: str, instance: Instance) -> str:
        if instance.state == PARKED:
            why = instance.error.title if instance.error is not None else "it failed"
            return (
                f"{path} is parked: {why}\n  decide with: perdure retry {execution} {path}{self._option}"
                f"\n  or `perdure complete … --output JSON`, or `perdure fail …`"
            )
        if instance.wait == "signal":
            key = f" --key {shlex.quote(instance.wait_key)}" if instance.wait_key else ""
            return f"{path} waits for: perdure signal {execution} {shlex.quote(instance.wait_name)}{key}{self._option}"
        return f"{path} waits for whoever has its token"

    # -- what wakes it ------------------------------------------------------------------------------------------------

    def _wake(self, execution: ExecutionId) -> None:
        self._moved[execution] = None
        self._woken.set()

    def _log(self, execution: ExecutionId, path: str, message: str, level: str, data: dict[str, Any]) -> None:
        line = LogLine(self._clock.now(), path, message, level, data)
        followed = self._followed.get(execution)
        (self._unheard[execution] if followed is None else followed.logged).append(line)
        self._wake(execution)


def store_option(store: str | None) -> str:
    """How a hint repeats `--store`."""
    return f" --store {shlex.quote(store)}" if store else ""


def waiting_for_people(active: Mapping[tuple[str, str], Instance], now: int) -> list[tuple[str, Instance]]:
    """Those of the active instances that wait for a person or a signal; none when anything else will move the execution on."""
    found = []
    for (frame, _), instance in active.items():
        waits = instance.state == WAITING and instance.wait in ("signal", "deferred")
        if not (waits or instance.state == PARKED):
            return []
        if any(due and due <= now for due in (instance.wait_timeout_at, instance.deadline_at)):
            return []
        found.append((path_of(frame, instance), instance))
    return found


def path_of(frame: str, instance: Instance) -> str:
    """The path of an instance of the frame of this path."""
    return instance_path(frame, instance.node, instance.visit)

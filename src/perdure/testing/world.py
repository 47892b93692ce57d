"""A deterministic world: the whole engine in one thread, where time jumps instead of passing and processes die on demand.

    world = World()
    workflow = world.read({"perdure": 1, "name": "w", "nodes": {"a": {"type": "test.act", "with": {"seconds": 5, "gives": 1}}}})
    outcome = world.live(lambda process: process.run(workflow, key="k"))
    assert outcome.output == 1

What is durable (the database) and what happened outside (the ledger) outlive the processes; everything else dies with them.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import math
import selectors
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

import msgspec

from perdure.app import Engine
from perdure.clock import MICROSECONDS, Clock
from perdure.definition import check_document
from perdure.definition.spec import NodeSpec
from perdure.engine.codec import LEVEL
from perdure.errors import StoreError
from perdure.ids import ExecutionId, ExecutionIds
from perdure.nodes.outcome import checked_output
from perdure.nodes.work import Context, Deferred, Failed, Work
from perdure.operations.definitions import Read
from perdure.operations.executions import Begun, Executions, Shown
from perdure.runtime.attempts import Attempts
from perdure.runtime.home import Home
from perdure.runtime.hot import Outcome
from perdure.runtime.plans import Plans, catalog_of
from perdure.runtime.processes import ProcessPool
from perdure.runtime.watchdog import Watchdog
from perdure.settings import Settings
from perdure.store.contract import Row, Store
from perdure.testing.faults import Crash, FaultyStore, Moment
from perdure.testing.stores.sqlite import MemoryPlace

Answer = TypeVar("Answer")

BEGIN = 1_700_000_000 * MICROSECONDS
OUTSIDE_SECONDS = 60.0  # real ones, that something outside the world may take
LIMIT_SECONDS = 24 * 3_600
"""A process that is not done after this much of the world's time is stuck."""

_logger = logging.getLogger("perdure.testing")


# -- time -----------------------------------------------------------------------------------------------------------------


class Stuck(AssertionError):
    """Nothing is left that could happen, or far too much time has passed: what the test waits for will never come."""


class JumpingClock:
    """The world's time, microseconds UTC; only waiting moves it."""

    def __init__(self, now: int = BEGIN) -> None:
        self._now = now
        self.stops = 0

    def now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return (self._now - BEGIN) / MICROSECONDS

    def jump(self, seconds: float) -> None:
        """Let this much time pass at once. Rounded up: what waits for a moment never finds itself before it."""
        self._now += math.ceil(round(seconds * MICROSECONDS, 3))

    @contextmanager
    def standing(self) -> Iterator[None]:
        """While it is entered, time stands still: what is awaited lies outside this world and takes none of its time."""
        self.stops += 1
        try:
            yield
        finally:
            self.stops -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for nothing: where the loop would wait for a timer, it is that timer's time."""

    def __init__(self, clock: JumpingClock) -> None:
        super().__init__()
        self._clock = clock
        self._stalled = False
        self.until: int | None = None

    def select(self, timeout: float | None = None) -> Any:
        if self._clock.stops and timeout != 0:
            return super().select(OUTSIDE_SECONDS)
        if timeout is None:
            raise Stuck("Expected something that could still happen, but no timer is set and nothing is ready.")
        if timeout > 0:
            before = self._clock.now()
            self._clock.jump(timeout)
            if self._stalled and self._clock.now() == before:
                self._clock.jump(0.000_001)  # somebody waits for less than the clock can tell, again and again
            self._stalled = self._clock.now() == before
            if self.until is not None and self._clock.now() > self.until:
                raise Stuck("Expected an end within the limit, but the world's time has gone far beyond it.")
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop on the world's time. Threads are not used: what was meant for one is done here, one turn later."""

    def __init__(self, clock: JumpingClock) -> None:
        self._jumping_clock = clock
        self._jumping_selector = _JumpingSelector(clock)
        super().__init__(self._jumping_selector)

    def time(self) -> float:
        return self._jumping_clock.monotonic()

    def limit(self, seconds: float) -> None:
        """Raise Stuck when this much time has passed."""
        self._jumping_selector.until = self._jumping_clock.now() + round(seconds * MICROSECONDS)

    def run_in_executor(  # type: ignore[override]  # the loop's own one is typed by what the future holds
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Call it in this thread, in the next turn of the loop."""
        future: asyncio.Future[Any] = self.create_future()

        def call() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001 - whatever it is belongs to whoever asked
                future.set_exception(error)

        self.call_soon(call)
        return future


async def pass_time(seconds: float) -> None:
    """Let the world's time pass."""
    await asyncio.sleep(seconds)


# -- the world outside ------------------------------------------------------------------------------------------------------


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """One effect as the outside world saw it begin. `life`: which process sent it, counted from 1."""

    key: str
    path: str
    attempt: int
    at: int
    life: int
    execution: str = ""


class Ledger:
    """What the outside world saw: effects that began (`sent`), those that were carried through, those that were stopped."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.finished: list[Sent] = []
        self.stopped: list[Sent] = []
        self.running: list[Sent] = []
        self.running_most = 0
        self.tokens: dict[str, str] = {}  # path → the token that a deferred node handed out

    def counts(self) -> Counter[str]:
        """How often each effect was sent, by key."""
        return Counter(sent.key for sent in self.sent)

    def paths(self) -> list[str]:
        """The nodes whose effects were sent, in order."""
        return [sent.path for sent in self.sent]


ACT = NodeSpec(
    name="test.act",
    title="An effect with a script",
    kind="effect",
    params={"type": "object"},
    summary="Takes `seconds`, then gives `gives`.",
    description=(
        "`fails`: a list by attempt of error codes, null where the attempt succeeds (beyond the list it does); `retryable`, "
        "`ambiguous`: what such a failure says of itself. `raises`: an exception with this text. `bytes`: the output is a text "
        "of this length. `defers`: answers later; the ledger has the token. `deaf`: so many requests to stop are ignored. "
        "`beats`: a list of seconds between heartbeats, before `seconds` begin. `leaves`: seconds it takes to stop; "
        "`breaks`: it raises this text when it is stopped."
    ),
)


class _Scripts:
    """The work behind `test.act`, for one process."""

    def __init__(self, world: World, life: int) -> None:
        self._world = world
        self._life = life
        self.dead = False
        self.tasks: dict[asyncio.Task[Any], None] = {}  # that would go on without the process, in the order of their making

    async def act(self, params: dict[str, Any], context: Context) -> Any:
        ledger = self._world.ledger
        sent = Sent(
            key=context.key, path=context.path, attempt=context.attempt, at=self._world.clock.now(), life=self._life,
            execution=context.execution,
        )  # fmt: skip
        ledger.sent.append(sent)
        ledger.running.append(sent)
        ledger.running_most = max(ledger.running_most, len(ledger.running))
        try:
            output = await self._perform(params, context)
        except asyncio.CancelledError:
            if not self.dead:
                ledger.stopped.append(sent)
            raise
        finally:
            ledger.running.remove(sent)
        ledger.finished.append(sent)
        return output

    async def _perform(self, params: dict[str, Any], context: Context) -> Any:
        deaf = params.get("deaf", 0)
        while True:
            try:
                for seconds in params.get("beats", ()):
                    await asyncio.sleep(seconds)
                    context.heartbeat()
                await asyncio.sleep(params.get("seconds", 0))
                break
            except asyncio.CancelledError:
                if self.dead or not deaf:
                    await self._leave(params)
                    raise
                deaf -= 1
        return self._answer(params, context)

    async def _leave(self, params: dict[str, Any]) -> None:
        if self.dead:
            return
        if "leaves" in params:
            await asyncio.sleep(params["leaves"])
        if "breaks" in params:
            raise RuntimeError(params["breaks"])

    def _answer(self, params: dict[str, Any], context: Context) -> Any:
        fails = params.get("fails", [])
        code = fails[context.attempt - 1] if context.attempt <= len(fails) else None
        if code is not None:
            raise Failed(
                code, f"attempt {context.attempt} failed", retryable=params.get("retryable"),
                ambiguous=params.get("ambiguous", False),
            )  # fmt: skip
        if "raises" in params:
            raise RuntimeError(params["raises"])
        if params.get("defers"):
            deferred = context.defer()
            self._world.ledger.tokens[context.path] = deferred.token
            return deferred
        if "bytes" in params:
            return context.path[:1] * params["bytes"]
        return params.get("gives")


_living: ContextVar[_Scripts] = ContextVar("the process that a task belongs to")


async def _act(params: dict[str, Any], context: Context) -> Any:
    """The work of `test.act`, done by the process whose home asks for it."""
    return await _living.get().act(params, context)


class InlinePool:
    """Stands in for `ProcessPool`: what would run in a process runs in the loop, with values copied as they would travel."""

    def __init__(self, works: Mapping[str, Work]) -> None:
        self._works = {work.reference: work for work in works.values()}

    async def run(
        self, reference: str, params: Any, context_fields: dict[str, Any] | None, *, on_log: Any = None,
        on_heartbeat: Any = None, grace: int = 0, limits: Any = None,
    ) -> Any:  # fmt: skip
        context = Context(**(context_fields or {}), on_log=on_log, on_heartbeat=on_heartbeat)
        output = checked_output(await self._works[reference].run(_copied(params), context))
        return output if isinstance(output, Deferred) else _copied(output)

    async def evaluate(self, reference: str, payload: Any) -> Any:
        module, _, name = reference.partition(":")
        await asyncio.sleep(0)
        return _copied(getattr(importlib.import_module(module), name)(_copied(payload)))

    async def close(self) -> None:
        """Nothing to end."""


def _copied(value: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value))


def act(after: Any = None, *, node: Mapping[str, Any] | None = None, **script: Any) -> dict[str, Any]:
    """A node of `test.act`: what it comes `after`, more keys of the `node`, and its script."""
    document = {"type": ACT.name, "with": script, **(node or {})}
    return document if after is None else {**document, "after": after}


def workflow_of(nodes: Mapping[str, Any], **keys: Any) -> dict[str, Any]:
    """A document named `w` of these nodes."""
    return {"perdure": 1, "name": "w", "nodes": dict(nodes), **keys}


# -- the world --------------------------------------------------------------------------------------------------------------


class StorePlace(Protocol):
    """Where the world's store lies: `perdure.testing.stores.sqlite.MemoryPlace`, `FilePlace`, or another that does both."""

    async def open(self) -> Store: ...

    def die(self, store: Store) -> None: ...


class Process:
    """One process: an engine over the world's store. `store` counts its calls and fails on demand."""

    def __init__(self, world: World, engine: Engine, store: FaultyStore, scripts: _Scripts) -> None:
        self.world = world
        self.engine = engine
        self.store = store
        self._scripts = scripts

    @property
    def home(self) -> Home:
        return self.engine.home

    @property
    def executions(self) -> Executions:
        return self.engine.executions

    async def kill(self) -> None:
        """The process dies in the midst of whatever it does: its store does nothing more, its tasks are cut off."""
        self.store.dead = self._scripts.dead = True
        tasks = [task for task in self._scripts.tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def start(self, workflow: Read, input: Any = None, **fields: Any) -> ExecutionId:
        """Start an execution; its id."""
        begun: Begun = await self.engine.executions.start(workflow, input, **fields)
        return begun.execution

    async def result(self, execution: ExecutionId) -> Outcome:
        """How an execution ends."""
        return await self.engine.result(execution)

    async def run(self, workflow: Read, input: Any = None, **fields: Any) -> Outcome:
        """Start an execution, or find the one of this key, and wait for its end."""
        return await self.result(await self.start(workflow, input, **fields))


Main = Callable[[Process], Awaitable[Answer]]


class World:
    """A store and a ledger, and the processes that live and die over them.

    `settings`: what differs from the defaults of a world, which are an inbox looked at once a second and one slot for each of
    a thousand effects. `works`: more node types besides `test.act`.
    """

    def __init__(self, *, place: StorePlace | None = None, works: Mapping[str, Work] | None = None, **settings: Any) -> None:
        self.place: StorePlace = place if place is not None else MemoryPlace()
        self.clock = JumpingClock()
        self.ledger = Ledger()
        self.lives = 0
        self.make_loop: Callable[[JumpingClock], JumpingLoop] = JumpingLoop
        self.settings = Settings(**{"inbox_poll": MICROSECONDS, **settings})
        self._more_works = dict(works or {})
        self._chance = 0

    # -- definitions --------------------------------------------------------------------------------------------------

    def works(self) -> dict[str, Work]:
        """The node types that workflows of this world may use."""
        return {ACT.name: Work(spec=ACT, run=_act, blocking=False, reference="test:act"), **self._more_works}

    def read(self, document: Mapping[str, Any]) -> Read:
        """A checked definition. Raises DefinitionRefused when it has faults."""
        works = self.works()
        read = Read(check_document(dict(document), catalog_of(works)), works, "")
        assert read.plan is not None
        return read

    # -- life ---------------------------------------------------------------------------------------------------------

    def run(self, main: Callable[[], Awaitable[Answer]], *, seconds: float = LIMIT_SECONDS) -> Answer:
        """Run a coroutine on the world's time, until it is done; what it leaves running is cut off. Raises Stuck."""
        loop = self.make_loop(self.clock)
        loop.limit(seconds)
        loop.set_task_factory(_made_in_a_process)
        try:
            return loop.run_until_complete(_awaited(main))
        finally:
            _cut_off(loop)

    def live(self, main: Main[Answer], **given: Any) -> Answer:
        """One process, from its start to its good end or its death, which raises Crash. For what may be given see `process`."""

        async def life() -> Answer:
            async with self.process(**given) as process:
                return await main(process)

        return self.run(life)

    def survive(self, main: Main[Answer], *, lives: int = 3, **given: Any) -> Answer:
        """One process after another, until one comes to its good end; only the first one is given its fault."""
        for _ in range(lives - 1):
            try:
                return self.live(main, **given)
            except Crash:
                given = {name: value for name, value in given.items() if name not in ("die", "refuse")}
        return self.live(main, **given)

    def look(self, look: Callable[[Store], Awaitable[Answer]]) -> Answer:
        """What is on disk, seen by somebody who is no worker."""

        async def main() -> Answer:
            with self.clock.standing():
                store = await self.place.open()
                try:
                    return await look(store)
                finally:
                    self.place.die(store)

        return self.run(main)

    def show(self, execution: ExecutionId) -> Shown:
        """An execution as it is on disk."""
        return self.look(lambda store: Executions(store, self.clock).show(execution))

    def rows(self) -> list[Row]:
        """All executions on disk, newest first."""
        return self.look(lambda store: store.rows(limit=10_000))

    @asynccontextmanager
    async def process(
        self, *, adopts: bool = True, die: tuple[int, Moment] | None = None, refuse: Mapping[int, StoreError] | None = None,
        lose: Collection[int] = (), only: tuple[str, ...] = (), works: Mapping[str, Work] | None = None, name: str = "",
        wraps: Callable[[Store], FaultyStore] | None = None, clock: Clock | None = None,
        level: int = LEVEL, **settings: Any,
    ) -> AsyncIterator[Process]:  # fmt: skip
        """A process in the running loop. Leaving the context stops it in good order, unless it has died.

        `die`, `refuse`, `lose`, `only`: as `FaultyStore` takes them; `wraps`: another faulty store instead of that.
        `works`: what this process has installed, instead of all. `clock`: what it takes the time to be, instead of the world's.
        `level`: what it reads, as another release does.
        """
        self.lives += 1
        with self.clock.standing():
            opened = await self.place.open()
        store = wraps(opened) if wraps is not None else FaultyStore(
            opened, die=die, refuse=refuse, lose=lose, only=only, around=self.clock.standing,
            sleep=asyncio.sleep,
        )  # fmt: skip
        scripts = _Scripts(self, self.lives)
        chosen = Settings(**{**self.settings.model_dump(exclude_unset=True), **settings})
        engine = self._engine(store, clock or self.clock, chosen, adopts, name or f"worker-{self.lives}", works, level)
        _living.set(scripts)  # the home's tasks, which are made now, inherit it
        try:
            await engine.home.open()
            yield Process(self, engine, store, scripts)
            await engine.home.close()
        except BaseException as error:
            scripts.dead = True
            if not isinstance(error, Crash):
                _logger.debug("a process of the world ends by %r", error)
            raise
        finally:
            self.place.die(opened)

    def _engine(
        self, store: FaultyStore, clock: Clock, settings: Settings, adopts: bool, worker: str,
        installed: Mapping[str, Work] | None, level: int,
    ) -> Engine:  # fmt: skip
        """As `app.open_engine` wires it, but with the world's clock and no processes or threads of its own."""
        works = dict(installed) if installed is not None else self.works()
        pool: ProcessPool = InlinePool(works)  # type: ignore[assignment]  # it does what the home asks of a pool
        watchdog = Watchdog(clock=clock)

        def attempts(**given: Any) -> Attempts:
            return Attempts(
                clock=clock, pool=pool, watchdog=watchdog, slots=settings.slots, grace=settings.grace,
                payload_max=settings.payload_max, options=settings.nodes, log=_no_log, **given,
            )  # fmt: skip

        home = Home(
            store=store, plans=Plans(store, works=lambda origin, files: works), clock=clock, settings=settings,
            worker=worker, adopts=adopts, attempts=attempts, level=level,
        )  # fmt: skip
        executions = Executions(store, clock, home=home, payload_max=settings.payload_max)
        executions._ids = ExecutionIds(self._entropy)
        return Engine(store, clock, settings, home, executions)

    def _entropy(self, size: int) -> bytes:
        """Chance that is the same in every run."""
        self._chance += 1
        return self._chance.to_bytes(size, "big")


def _no_log(execution: ExecutionId, path: str, message: str, level: str, data: dict[str, Any]) -> None:
    """What nodes log while they run is of no interest here."""


def _made_in_a_process(
    loop: asyncio.AbstractEventLoop, coroutine: Any, context: Any = None
) -> asyncio.Task[Any]:  # fmt: skip
    """A task that dies with the process it is made in."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, context=context)
    scripts = _living.get(None) if context is None else context.get(_living)
    if scripts is not None:
        scripts.tasks[task] = None
        task.add_done_callback(lambda done: scripts.tasks.pop(done, None))
    return task


async def _awaited(main: Callable[[], Awaitable[Answer]]) -> Answer:
    return await main()


def _cut_off(loop: JumpingLoop) -> None:
    """The death of all that still runs in a loop: it is not asked, and may do nothing more that anybody would see."""
    loop.limit(LIMIT_SECONDS)
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()

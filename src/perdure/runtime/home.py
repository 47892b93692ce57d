"""The home of hot executions: takes in what has arrived, steps each once, commits all in one transaction, carries out.

Output commit: nothing is carried out, answered or shown before the facts it follows from are durable. Memory runs ahead of the
disk only inside a turn: when a commit fails or is fenced, the executions it held are forgotten and folded again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from perdure.clock import MICROSECONDS, Clock
from perdure.engine import events
from perdure.engine.codec import LEVEL, decode_value, handle_digest
from perdure.engine.commands import Evaluate, Run, Stop
from perdure.engine.events import AnyFact, AnyInput
from perdure.engine.execution import Execution
from perdure.engine.machine import Stepped
from perdure.errors import PerdureError, Refused, StoreBusy, StoreDamaged, StoreError
from perdure.ids import ExecutionId, id_text
from perdure.runtime.alarms import Alarms
from perdure.runtime.answers import Answers
from perdure.runtime.arrivals import Arrivals
from perdure.runtime.attempts import Attempts, Ended
from perdure.runtime.claiming import MOST, Pace
from perdure.runtime.deploys import Deploys
from perdure.runtime.doubts import fates, left_with, still_waiting
from perdure.runtime.elsewhere import Elsewhere
from perdure.runtime.errands import Errands
from perdure.runtime.gathering import Gathering, SteppedHot
from perdure.runtime.hot import Hot, Outcome, refuse, settle, tell_start, tell_started
from perdure.runtime.lacking import Lacking
from perdure.runtime.loading import check_end, definition_of, folded
from perdure.runtime.patience import BUSY_MAX, patiently
from perdure.runtime.plans import Loaded, Plans
from perdure.runtime.resident import Resident
from perdure.runtime.turns import Turns
from perdure.runtime.values import Values
from perdure.settings import Settings
from perdure.store.contract import Batch, Committed, ExecutionsRefused, Load, Message, Row, Start, Store
from perdure.store.tasks import Task

log = logging.getLogger("perdure.home")

APART_SECONDS = 0.025  # between two looks at what others left: in a crowd somebody always leaves something
CLOSING_SECONDS = 0.001  # between two looks of a home that closes while turns are being written
AHEAD_BYTES = 256 << 10
"""Blobs larger than this are made durable ahead of the step that names them, off the loop."""

Observer = Callable[[ExecutionId, int, list[AnyFact]], None]
"""Told about facts once they are durable: execution, microseconds UTC, facts."""


class Home:
    """One worker's hot executions and their turns. Used from one event loop."""

    def __init__(
        self, *, store: Store, plans: Plans, clock: Clock, settings: Settings, worker: str, adopts: bool,
        attempts: Callable[..., Attempts], level: int = LEVEL,
    ) -> None:  # fmt: skip
        self.worker = worker
        self.plans = plans
        self._store = store
        self._clock = clock
        self._settings = settings
        self._adopts = adopts  # does it take over what others left, and let go of what only waits?
        self._resident = Resident()
        self._values = Values(store, self._resident)
        self._hot: dict[ExecutionId, Hot] = {}
        self._arrivals = Arrivals(store, worker)
        self._answers = Answers()
        self._observers: list[Observer] = []
        self._alarms = Alarms(clock, self._ring)
        self._tasks: list[asyncio.Task[None]] = []
        self._backgrounds: set[asyncio.Task[None]] = set()
        self._lacking = Lacking(store, clock)
        self._failed: BaseException | None = None
        self._closing = False  # it takes nothing over any more
        self._draining = False  # and hands on what it has
        self._pace = Pace()
        self.taken_over: Counter[str] = Counter()  # executions by the workers that died over them
        self._lives = 1  # how often it has become known, each time under another name
        self._busy = 0  # commits in a row that found the store locked
        self.deploys = Deploys(store, clock, reads=level)
        self.attempts = attempts(blob=self._values.body, report=self._report, leased=store.leased)
        self._turns = Turns(self, store, clock, self._hot)
        self._elsewhere = Elsewhere(
            store=store, plans=plans, clock=clock, settings=settings, takes=adopts, attempts=self.attempts,
            deliver=self.deliver, background=self._background,
        )  # fmt: skip
        self._errands = Errands(store=store, plans=plans, clock=clock, home=self, background=self._background)

    # -- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Become a home that others can see, and begin to take turns."""
        await self._elsewhere.register(self.worker, level=self.deploys.reads)
        self._tasks = [asyncio.create_task(self._take_turns(), name="home"), asyncio.create_task(self._polls(), name="inbox")]

    async def drain(self) -> None:
        """Before a close, for a worker among others: take nothing over and begin nothing any more. What runs may end by itself
        within its grace; an execution of which nothing runs here is let go at once, so that others go on with it.
        """
        self._closing = self._draining = True
        self._elsewhere.stop_taking()
        for hot in self._hot.values():
            self._touch(hot)
        await self.attempts.finish(self._settings.grace / MICROSECONDS)

    async def close(self) -> None:
        """Stop in good order: attempts are stopped and reported, executions let go; others may go on with them at once."""
        self._closing = True
        self._elsewhere.stop_taking()
        await self.attempts.drain()  # also when the home has failed: what still runs would outlive its home
        while self._failed is None and (not self._turns.at_rest or self._backgrounds):  # noqa: ASYNC110 - both at once
            await asyncio.sleep(CLOSING_SECONDS)
        tasks = [*self._tasks, *self._backgrounds]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._alarms.stop()
        await self._store.leave(self.worker)

    def observe(self, observer: Observer) -> None:
        """Tell `observer` about every fact of every execution of this home, once it is durable."""
        self._observers.append(observer)

    # -- what comes in ------------------------------------------------------------------------------------------------

    async def start(
        self, start: Start, given: events.Start, loaded: Loaded, blobs: dict[bytes, bytes], messages: Sequence[Message] = ()
    ) -> ExecutionId:
        """Start an execution; its id once that is durable. With an idempotency key: of the one that was there before.

        `messages` for it are written in the same commit; not at all where it was there before.
        Raises StartConflict (rule 55), StoreError.
        """
        self.check()
        hot = Hot(start.execution, start.tenant, start.workflow, loaded, 1, self._resident)
        hot.start = msgspec.structs.replace(start, home=self.worker)
        hot.enclosed = messages
        hot.blobs.update(blobs)
        hot.future = asyncio.get_running_loop().create_future()
        hot.inputs.append((given, 0))
        self._hot[hot.id] = hot
        self._touch(hot)
        return await hot.future

    def outcome(self, execution: ExecutionId) -> asyncio.Future[Outcome]:
        """How the execution ends, as soon as that is durable. For executions of this home."""
        future = self._answers.wait_for(execution)
        if self._failed is not None:
            future.set_exception(self._failed)
        return future

    async def take(self, only: Iterable[ExecutionId] | None = None, *, limit: int = MOST) -> list[ExecutionId]:
        """Become the home of executions that nobody living has, and go on with them (rule 52). Those that were taken."""
        self.check()
        ids, life = None if only is None else list(only), self._lives
        rows = await self._store.claim(self.worker, self._clock.now(), limit=limit, level=self.deploys.reads, only=ids)
        try:
            tasks = await self._elsewhere.left_by(rows)
            for row in rows:
                self.taken_over[row.home] += bool(row.home)
                await patiently(partial(self._load, row, life, tasks[row.execution]))
        except StoreBusy as busy:
            self._fail(busy)  # what it has claimed and cannot read, nobody else would take while it lives
            raise
        return [row.execution for row in rows]

    async def take_free(self) -> list[ExecutionId]:
        """Take over what nobody living has, as much as there is room for: whoever has free slots takes the most."""
        limit = self._pace.next(min(self.attempts.room, self._settings.slots - len(self._hot)))
        if not limit:
            return []
        taken = await self.take(limit=limit)
        self._pace.took(len(taken))
        return taken

    def deliver(self, execution: ExecutionId, given: AnyInput, position: int = 0) -> bool:
        """Hand an input to a hot execution; False when it is not here."""
        hot = self._hot.get(execution)
        if hot is None:
            return False
        hot.inputs.append((given, position))
        self._touch(hot)
        return True

    def load(self) -> Load:
        """What this worker has to do."""
        attempts = self.attempts
        return Load(
            state="draining" if self._closing else "ready", slots=self._settings.slots, running=attempts.running,
            queued=attempts.queued, executions=len(self._hot),
        )  # fmt: skip

    def has(self, execution: ExecutionId) -> bool:
        """Is the execution hot here?"""
        return execution in self._hot

    def state(self, execution: ExecutionId) -> Execution | None:
        """The state of a hot execution; may run ahead of the disk, so for tests and progress only, never for answers."""
        hot = self._hot.get(execution)
        return None if hot is None else hot.execution

    def _report(self, execution: ExecutionId, ended: Ended) -> None:
        """An attempt ended. Large outputs are made durable first, so that the step may name them."""
        hot = self._hot.get(execution)
        if hot is None:
            return self._elsewhere.ended(execution, ended)
        large = {digest: body for digest, body in ended.blobs.items() if len(body) > AHEAD_BYTES}
        if not large:
            if ended.blobs:
                self._keep(hot, ended.blobs)
            self.deliver(execution, ended.result)
            return
        self._background(self._report_large(hot, ended, large))

    async def _report_large(self, hot: Hot, ended: Ended, large: dict[bytes, bytes]) -> None:
        await self._values.save_ahead(hot.tenant, large)
        self.deliver(hot.id, ended.result)

    def _keep(self, hot: Hot, blobs: dict[bytes, bytes]) -> None:
        hot.blobs.update(blobs)
        self._values.keep(blobs)

    def _touch(self, hot: Hot) -> None:
        self._turns.touch(hot)

    def _background(self, work: Any) -> None:
        task = asyncio.create_task(work, name="home-background")
        self._backgrounds.add(task)
        task.add_done_callback(self._background_done)

    def _background_done(self, task: asyncio.Task[None]) -> None:
        self._backgrounds.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fail(error)

    # -- turns --------------------------------------------------------------------------------------------------------

    async def _take_turns(self) -> None:
        try:
            await self._turns.take(lambda: self._failed is None)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            self._fail(error)

    def begin_turn(self) -> Gathering:
        """A turn in which nothing was stepped yet."""
        return Gathering(
            clock=self._clock, settings=self._settings, adopts=self._adopts, writes=self.deploys.writes,
            drains=self._is_to_go if self._draining else None, keep=self._keep, overflows=self._elsewhere.overflows(),
        )  # fmt: skip

    async def write(self, turn: Gathering) -> bool:
        """Commit what was stepped, carry out. Was anything to be carried out?"""
        for hot, _, taking in turn.held:
            await patiently(partial(self._begin_again, hot, taking, held=True))
        batch, stepped = turn.batch, turn.stepped
        if not stepped:
            return False
        try:
            committed = await self._turns.commit(turn) if batch.turns else None
        except ExecutionsRefused as refused:
            self._busy, committed = 0, refused.committed
            for execution, reason in refused.refused.items():
                if execution in self._hot:  # it may have been dropped while this was written
                    self.set_aside(self._hot[execution], PerdureError(reason))
        except StoreError as error:
            committed, stepped = await self._commit_failed(stepped, batch, error)
        else:
            self._busy = 0
        self._errands.unlocked(batch.unlocks)
        if any(message.execution in self._hot for message in batch.messages):
            self._background(self.take_messages())
        fenced = committed.fenced if committed is not None else frozenset()
        duplicates = committed.duplicates if committed is not None else frozenset()
        former = {start.execution for start in batch.starts if start.home != self.worker}
        for hot, done, taking in stepped:
            if self._hot.get(hot.id) is not hot:
                continue
            if hot.id in fenced:
                self._lose(hot)
            elif hot.id in duplicates:
                self._background(self._started_before(hot))
            elif hot.id in former:  # others took for dead whom its row names as its home, before it heard of it
                self._forget(hot)
                tell_started(hot)
                self._background(self._take_back([hot.id]))
            else:
                self._arrivals.taken_in(position for _, position in taking[: len(done.taken)] if position)
                self._committed(hot, done)
        return any(each.done.commands for each in stepped)

    def _committed(self, hot: Hot, done: Stepped) -> None:
        """The step is durable: now it may be carried out, answered and shown."""
        execution = hot.execution
        for digest in hot.carried:  # and not those that came while the turn was written
            hot.blobs.pop(digest, None)
        hot.start = None
        tell_started(hot)
        for command in done.commands:
            if isinstance(command, Run | Evaluate | Stop):
                self.attempts.carry_out(hot, command)
            else:
                self._errands.run(hot, command)
        if done.facts and self._observers:
            for observer in self._observers:
                observer(hot.id, execution.at, done.facts)
        if execution.ended:
            self._answer(hot)
            self._forget(hot)
            return
        if hot.leaving:
            self._forget(hot)
            if hot.inputs and not self._draining:  # something came while the turn was written: take it back for that
                self._background(self._return(hot.id, hot.inputs))
            return
        if done.needs:
            self._background(self._fetch(hot, done))
            return
        if not done.at_rest:
            hot.inputs.insert(0, (events.Continue(), 0))
        if hot.inputs:
            self._touch(hot)
            return
        self._arm(hot)

    async def _return(self, execution: ExecutionId, inputs: list[tuple[AnyInput, int]]) -> None:
        try:
            taken = await self.take([execution])
        except StoreBusy:
            return  # its messages and its wake time are in the store: a later look finds them
        for given, position in inputs if taken else ():
            if not position:  # messages are found in the inbox
                self.deliver(execution, given)

    async def _fetch(self, hot: Hot, done: Stepped) -> None:
        """Bring the large values that the step lacked into memory, and go on (day-one 29)."""
        missing = await self._values.fetch(hot.tenant, done.needs)
        if missing:
            self.set_aside(hot, Refused(f"The store has lost {missing} large values.", code="store.damaged"))
            return
        if not done.at_rest:
            hot.inputs.insert(0, (events.Continue(), 0))
        self._touch(hot)

    def _answer(self, hot: Hot) -> None:
        futures = self._answers.take(hot.id)
        if not futures:
            return
        if handle_digest(hot.execution.output) is None:
            settle(futures, hot, decode_value(hot.execution.output))
        else:
            self._background(self._answer_large(futures, hot))

    async def _answer_large(self, futures: Iterable[asyncio.Future[Outcome]], hot: Hot) -> None:
        settle(futures, hot, await self.read(hot.tenant, hot.execution.output))

    async def read(self, tenant: str, raw: Any) -> Any:
        """A value as the journal has it, decoded, wherever its bytes lie."""
        return await self._values.read(tenant, raw)

    # -- when something goes wrong ------------------------------------------------------------------------------------

    async def _commit_failed(
        self, stepped: list[SteppedHot], batch: Batch, error: StoreError
    ) -> tuple[Committed, list[SteppedHot]]:
        """What became of it, as far as it was written all the same. The others are folded again, and get their inputs again."""
        log.warning("commit of %d executions failed: %s (%s)", len(stepped), error.message, error.code)
        self._busy += 1
        if not isinstance(error, StoreBusy) or self._busy > BUSY_MAX:
            self._fail(error)
            return Committed(), []
        became = await patiently(lambda: fates(self._store, batch, self.worker))
        settled = [each for each in stepped if became.get(each[0].id, "undone") != "undone"]
        for hot, _, taking in stepped:
            if self._hot.get(hot.id) is hot and became.get(hot.id, "undone") == "undone":
                await patiently(partial(self._begin_again, hot, taking))
        return Committed(fenced=frozenset(each for each, fate in became.items() if fate == "lost")), settled

    async def _begin_again(self, hot: Hot, taking: list[tuple[AnyInput, int]], *, held: bool = False) -> None:
        if hot.start is None:
            await self._fold(hot)
        else:
            hot.begin_anew(Execution(), self._resident)
        waiting = await still_waiting(self._store, hot.id, taking)
        untaken = {id(given) for given, _ in taking}
        arrived = [entry for entry in hot.inputs if id(entry[0]) not in untaken]  # also while it was read
        hot.inputs = [*waiting, *arrived]
        self.deploys.hold(hot.id) if held else self._touch(hot)

    def _lose(self, hot: Hot) -> None:
        """Another home has it now, or else this one does not know where it stands and folds it again."""
        self._forget(hot)
        self.attempts.abandon(hot.id)
        tell_started(hot)  # nobody could take over what had not been written
        self._background(self._regain(hot.id))

    async def _regain(self, execution: ExecutionId) -> None:
        life = self._lives
        row = await patiently(lambda: left_with(self._store, execution, self.worker))
        if row is not None and not self.has(execution):
            await patiently(partial(self._load, row, life, (await self._elsewhere.left_by([row]))[execution]))

    async def _live_again(self) -> None:
        """Others took this worker for dead: it drops what it had, and under a new name takes back what nobody has taken."""
        name = f"{self.worker.partition('~')[0]}~{self._lives + 1}"
        await self._elsewhere.register(name, level=self.deploys.reads)
        self._lives += 1
        self.worker, self._arrivals = name, Arrivals(self._store, name)
        had = []
        for hot in list(self._hot.values()):
            if hot.start is not None:  # nobody else can have it yet
                hot.start = msgspec.structs.replace(hot.start, home=name)
                continue
            had.append(hot.id)
            self._forget(hot)
            self.attempts.abandon(hot.id)
        log.warning("others took this worker for dead: it has dropped %d executions and goes on as %s", len(had), name)
        self._background(self._take_back(had))

    async def _take_back(self, executions: list[ExecutionId]) -> None:
        await patiently(lambda: self.take(executions, limit=len(executions)))

    def _is_to_go(self, execution: ExecutionId) -> bool:
        return not self.attempts.holds(execution)

    def set_aside(self, hot: Hot, error: BaseException) -> None:
        """One execution cannot go on here. It is set aside as it is on disk; all others go on."""
        log.error("%s is set aside: %r", hot.text, error, exc_info=error)
        self._forget(hot)
        self.attempts.abandon(hot.id)
        refuse((hot.future, *self._answers.take(hot.id)), error)

    def _fail(self, error: BaseException) -> None:
        """The home cannot go on: everybody who waits hears why. What was committed is safe."""
        if self._failed is not None:
            return
        self._failed = error
        log.error("the home stops: %r", error)
        refuse([hot.future for hot in self._hot.values()], error)
        self._answers.refuse_all(error)

    def check(self) -> None:
        """Raises what the home cannot go on for, if it cannot."""
        if self._failed is not None:
            raise self._failed

    def _forget(self, hot: Hot) -> None:
        self._hot.pop(hot.id, None)
        self._turns.forget(hot.id)

    async def _started_before(self, hot: Hot) -> None:
        """Another start with this idempotency key was first: that one is the answer, if it asked for the same (rule 55)."""
        self._forget(hot)
        assert hot.start is not None
        keyed = await self._store.keyed(hot.tenant, hot.workflow, hot.start.key) if hot.start.key else None
        tell_start(hot, keyed)

    # -- loading ------------------------------------------------------------------------------------------------------

    async def _load(self, row: Row, life: int, tasks: list[Task]) -> None:
        """Have an execution in memory that was claimed in this life: what a former one claimed is that of the dead."""
        try:
            loaded = await self.plans.get(await definition_of(self._store, row))
        except StoreBusy:
            raise
        except PerdureError as error:
            log.error("cannot go on with %s: %s", id_text(row.execution), error.message)
            await self._let_go(row, error)
            return
        hot = Hot(row.execution, row.tenant, row.workflow, loaded, row.epoch, self._resident)
        try:
            await self._fold(hot, tasks)
            await check_end(self._store, hot.execution, row)
            inbox = await self._store.inbox(row.execution)
        except Exception as error:  # what is stored of this one cannot be read: that may break the fold anywhere
            if isinstance(error, StoreError) and not isinstance(error, StoreDamaged):
                raise
            self.set_aside(hot, error)
            return
        if self._lives != life:
            return self._background(self._take_back([row.execution]))
        before = self._hot.get(row.execution)
        if before is not None:  # it was taken from us, and we from whoever took it
            if before.epoch > row.epoch:
                return  # while this one was being read
            self.attempts.abandon(row.execution)
            tell_started(before)  # the answer to its first commit is on its way, and finds another in its place
        self._hot[hot.id] = hot  # now that it is what the disk says: nothing may be stepped before
        for arrived in inbox:
            self._arrivals.hand(hot, arrived)
        if self._arrivals.was_missed(hot.id):  # one that came after its inbox was read
            self._background(self.take_messages())
        if hot.execution.seq:
            # A claimed row names the home before: none when that one let it go in good order.
            hot.recover(events.Recovered(crashed=row.home != "", worker=self.worker, kept=self._elsewhere.kept(hot)))
            hot.note(hot.index.take_due(hot.execution, self._clock.now()))
        self._touch(hot)

    async def _let_go(self, row: Row, error: PerdureError) -> None:
        """This worker lacks what the execution needs: others may have it."""
        refuse(self._answers.take(row.execution), error)
        await self._lacking.give_back(row)

    async def _fold(self, hot: Hot, tasks: list[Task] | None = None) -> None:
        execution, hot.snapshot_seq = await folded(self._store, hot.id)
        hot.begin_anew(execution, self._resident)
        await self._elsewhere.read(hot, tasks)

    # -- messages and time --------------------------------------------------------------------------------------------

    async def _polls(self) -> None:
        """Look for what other processes left for us, and for executions that nobody has."""
        period = self._settings.inbox_poll / MICROSECONDS
        apart = min(APART_SECONDS, period / 2)
        try:
            await self._listen(period)
            while True:
                await self.poll()
                await asyncio.sleep(apart)
                if not (self._pace.more or self._elsewhere.more):
                    await self._listen(period - apart)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            self._fail(error)

    async def _listen(self, seconds: float) -> None:
        """Wait until others may have left something, at most so long."""
        with suppress(StoreBusy):  # the look that follows says so
            await self._store.wait_changed(seconds)

    async def poll(self) -> None:
        """One look at the inbox, and for adopters one at what is free."""
        try:
            if self._store.lost() and not self._closing:
                await self._live_again()
            self.attempts.begin_queued()
            for execution in await self.deploys.look():
                if execution in self._hot:
                    self._touch(self._hot[execution])
            changed = await self._store.changed()
            if changed:
                await self.take_messages()
                await self._errands.look_for_locks()
            if self._adopts and not self._closing:
                await self.take_free()
                await self._lacking.release_held()
            await self._elsewhere.look(self._hot.values(), self._hot.get, changed=changed)
        except StoreBusy as busy:
            log.warning("the store is busy: %s", busy.message)

    async def take_messages(self) -> None:
        """Hand the messages that have arrived to the executions that are here."""
        async for hot, arrived in self._arrivals.new(self._hot.get):
            self._arrivals.hand(hot, arrived)
            self._touch(hot)

    def _arm(self, hot: Hot) -> None:
        """Have the execution's earliest timer ring. One entry an execution and due time, however often it is stepped."""
        due = hot.index.next_due(hot.execution)
        if due is None or due == hot.armed:
            return
        hot.armed = due
        self._alarms.set(
            due, hot.id, lambda: ((each.armed, each.id) for each in self._hot.values() if each.armed), len(self._hot)
        )

    def _ring(self, execution: ExecutionId) -> None:
        hot = self._hot.get(execution)
        if hot is None:
            return
        hot.armed = 0
        due = hot.index.take_due(hot.execution, self._clock.now())
        if due:
            hot.note(due)
            self._touch(hot)
        else:
            self._arm(hot)

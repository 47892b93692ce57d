"""Following executions to their end: their journals are read as they grow, and a view is told; wherever they run."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

from perdure.app import Engine, open_engine
from perdure.cli import exits
from perdure.cli.followed import IN_ITS_PLACE, Followed, Kin, LogLine
from perdure.cli.interruption import Interruption
from perdure.cli.pools import Lacking
from perdure.cli.standstill import Standstill
from perdure.cli.view import View
from perdure.clock import MICROSECONDS, SystemClock
from perdure.definition.plan import NodePlan
from perdure.engine import events
from perdure.engine.codec import LEVEL
from perdure.engine.execution import OPEN, PARKED, WAITING, Instance
from perdure.errors import NotFound, PerdureError, StoreTooNew
from perdure.expressions import Computed
from perdure.ids import ExecutionId, id_text, instance_path
from perdure.operations.waits import command_for, wait_words
from perdure.runtime.hot import Outcome
from perdure.settings import Settings
from perdure.store.contract import FIRST_FINAL, Row, Store, Worker

HERE_SECONDS = 1.0
"""How often it is looked whether what our home had is still there: another worker may have taken it over."""

SEVERITY = (exits.SUCCEEDED, exits.WAITING, exits.CANCELLED, exits.FAILED, exits.REFUSED)
"""Exit codes from the best to the worst: of several executions the worst one counts."""


class Following:
    """Follows executions of one engine, and what these start. `store`: what `--store` said, so that hints repeat it."""

    def __init__(self, *, store: str | None, no_wait: bool, view: View) -> None:
        self._option = store_option(store)
        self._no_wait = no_wait
        self._view = view
        self._followed: dict[ExecutionId, Followed] = {}
        self._unmet: dict[ExecutionId, tuple[Followed, Kin]] = {}  # kin whose start is not durable yet, and who started them
        self._stand: set[ExecutionId] = set()  # those that were left since they stand still
        self._moved: dict[ExecutionId, None] = {}  # in the order they moved
        self._woken = asyncio.Event()
        self._codes: dict[ExecutionId, int] = {}
        self._refused: list[int] = []
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
        stopped = [followed for followed in self._followed.values() if not self._is_awaited(followed)]
        self._followed.clear()
        for followed in stopped:
            exits.say(f"stopped, and kept; go on with: perdure resume {followed.text}{self._option}")

    # -- who is followed ----------------------------------------------------------------------------------------------

    async def begin(self, engine: Engine, row: Row) -> bool:
        """Follow an execution from its beginning; False, and said why, where it cannot be read or shown here."""
        return await self._begin(engine, Followed(row, None))

    async def _begin(self, engine: Engine, followed: Followed) -> bool:
        row = followed.row
        try:
            if row.level > LEVEL:
                raise StoreTooNew(
                    f"{followed.text} was written at level {row.level}; this Perdure reads up to {LEVEL}.",
                    remedy="Upgrade this installation.",
                )
            plan = followed.plan = (await engine.home.plans.get(await self._digest(engine, row))).plan
        except PerdureError as error:
            code = exits.refuse(error)
            if not followed.relation:
                self._refused.append(code)
            return False
        if followed.shown:
            self._view.follow(row.execution, plan)
        self._followed[row.execution] = followed
        followed.logged = self._unheard.pop(row.execution, deque())
        followed.outcome = engine.home.outcome(row.execution)
        followed.outcome.add_done_callback(lambda _: self._wake(row.execution))
        self._wake(row.execution)
        return True

    def runs_here(self, executions: Iterable[ExecutionId]) -> None:
        """Our home has begun, or taken, these: what they start is ours to go on with."""
        for execution in executions:
            if execution in self._followed:
                self._followed[execution].ran_here = True

    def refuse(self, execution: ExecutionId, error: PerdureError) -> None:
        """Follow it no longer, and say why; once, where many have the same reason."""
        self._drop(execution)
        self._refused.append(exits.REFUSED if error is self._said else exits.refuse(error))
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
        lacking = Lacking(self._option)
        while self._followed:
            moved, self._moved = self._moved, {}
            self._woken.clear()
            for execution in moved:
                followed = self._followed.get(execution)
                if followed is not None:
                    await self._look(engine, followed)
                    await asyncio.sleep(0)  # the store answers without suspending: let the home have its turns
                elif execution in self._unmet:
                    await self._meet(engine, *self._unmet.pop(execution))
            if not self._followed:
                break
            if loop.time() >= due:
                due = loop.time() + self._look_elsewhere(engine)
                await lacking.look(engine, self._followed.values())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), max(0, due - loop.time()))
        return max((*self._codes.values(), *self._refused), key=SEVERITY.index, default=exits.SUCCEEDED)

    def _look_elsewhere(self, engine: Engine) -> float:
        """Look at those that our home does not tell of, since it does not have them; in how many seconds again."""
        elsewhere = [execution for execution in (*self._followed, *self._unmet) if engine.home.state(execution) is None]
        for execution in elsewhere:
            self._wake(execution)
        return engine.settings.inbox_poll / MICROSECONDS if elsewhere else HERE_SECONDS

    async def _look(self, engine: Engine, followed: Followed) -> None:
        followed.ran_here = followed.ran_here or engine.home.has(followed.id)
        try:
            await self._read(engine, followed)
            if followed.state.ended:
                await self._end(engine, followed)
                return await self._meet_kin(engine, followed)
            if followed.outcome.done():
                followed.outcome.result()  # it has not ended: this raises why our home cannot go on with it
        except PerdureError as error:
            return self.refuse(followed.id, error)
        await self._meet_kin(engine, followed)
        stood, followed.still = followed.still, await self._stands(engine, followed)
        if (stood is None) != (followed.still is None) and followed.parent is not None:
            self._wake(followed.parent)
        if followed.still is not None and self._no_wait and (not followed.relation or not self._is_awaited(followed)):
            self._leave(followed, followed.still)
        await self._hint(engine, followed)

    async def _read(self, engine: Engine, followed: Followed) -> None:
        """Tell the view what the journal has beyond what was read before."""
        state = followed.state
        async for moment in engine.executions.moments(followed.id, after=state.seq):
            for fact in moment.facts:
                followed.take(fact)
            state.at, followed.rested = moment.at, not moment.cut
            self._tell_logged(followed, before=moment.at)
            if followed.shown:
                self._view.saw(followed.id, moment.at, moment.facts)
        self._tell_logged(followed)

    def _tell_logged(self, followed: Followed, *, before: int | None = None) -> None:
        """Tell what nodes logged before that moment: after the fact that they began, and before the one that they ended."""
        while followed.logged and (before is None or followed.logged[0].at < before):
            self._tell(followed.id, followed.logged.popleft())

    def _tell(self, execution: ExecutionId, line: LogLine) -> None:
        """Tell a line of a node's log; not after the last outcome, which is to be the last line."""
        if any(followed.shown for followed in self._followed.values()):
            self._view.log(execution, line.at, line.path, line.message, line.level, line.data)

    async def _end(self, engine: Engine, followed: Followed) -> None:
        state = followed.state
        output = await engine.executions.value(followed.row, state.output)
        error = state.error.as_value() if state.error is not None else None
        self._drop(followed.id)
        if followed.parent is not None:
            self._wake(followed.parent)
        if followed.shown:
            outcome = Outcome(execution=followed.id, status=state.status, output=output, error=error)
            self._view.end(outcome, state.at - state.started)
            self._codes[followed.id] = exits.BY_STATUS[state.status]
        elif followed.relation == "error" or (followed.relation == "detached" and state.status != "succeeded"):
            exits.say(f"{followed.text} ({_RELATIONS[followed.relation]}): {state.status.replace('_', ' ')}")

    def _leave(self, followed: Followed, still: Standstill) -> None:
        """It stands still, and nobody wants to wait for those who could move it on."""
        self._drop(followed.id)
        self._stand.add(followed.id)
        for child in still.children:
            if child in self._followed and self._followed[child].relation:
                self._leave(self._followed[child], self._followed[child].still or Standstill())
        if not followed.shown:
            return
        parked = next((instance for _, instance in still.people if instance.state == PARKED), None)
        why = parked.error.as_value() if parked is not None and parked.error is not None else None
        status = "paused" if still.paused else "parked" if parked is not None else "waiting"
        self._view.end(
            Outcome(execution=followed.id, status=status, error=why), followed.state.at - followed.state.started
        )  # fmt: skip
        self._codes[followed.id] = exits.WAITING
        for other in self._followed:  # one that waits for this one, or for a lock of it, stands still too
            self._wake(other)

    # -- what it starts -----------------------------------------------------------------------------------------------

    async def _meet_kin(self, engine: Engine, followed: Followed) -> None:
        kin, followed.kin = followed.kin, {}
        for each in kin.values():
            await self._meet(engine, followed, each)

    async def _meet(self, engine: Engine, parent: Followed, kin: Kin) -> None:
        """An execution was started by one that is followed: follow it too, and go on with it where nobody else does."""
        execution = kin.execution
        if execution in self._followed:
            known = self._followed[execution]
            known.parent = parent.id
            known.relation = kin.relation if known.relation else ""  # one that is not waited for was begun like one that is
            return
        row = await engine.store.row(execution)
        if row is None:
            self._unmet[execution] = (parent, kin)
            return
        if row.status >= FIRST_FINAL and kin.relation not in IN_ITS_PLACE:
            for line in self._unheard.pop(execution, ()):
                self._tell(execution, line)
            return
        if kin.relation in _STARTED:
            exits.say(f"{id_text(execution)} was started {_STARTED[kin.relation].format(kin.workflow)}")
        followed = Followed(row, None, relation=kin.relation, parent=parent.id)
        if await self._begin(engine, followed) and kin.relation in _STARTED:
            if kin.relation in IN_ITS_PLACE:
                self._codes.pop(parent.id, None)  # how the one that took its place ends is what counts
            if parent.ran_here and row.status < FIRST_FINAL:
                self.runs_here(await engine.home.take([execution]))

    def _is_awaited(self, followed: Followed) -> bool:
        """Does one that is followed wait for its end?"""
        parent = self._followed.get(followed.parent) if followed.parent is not None else None
        return parent is not None and parent.waits_for(followed.id)

    # -- who could move it on -------------------------------------------------------------------------------------------

    async def _stands(self, engine: Engine, followed: Followed) -> Standstill | None:
        """Why an execution stands still; None when something is about to move it on."""
        found = followed.stands(engine.clock.now())
        if found is None or await engine.store.inbox(followed.id, limit=1):  # what it waits for has come already
            return None
        others = list(found.children)
        for _, instance in found.locks:
            holder = await engine.store.holder(followed.row.tenant, instance.wait_key)
            if holder is None:
                return None
            if holder[0] != followed.id:
                others.append(holder[0])
        return found if all([await self._other_stands(engine, other) for other in others]) else None

    async def _other_stands(self, engine: Engine, execution: ExecutionId) -> bool:
        """Will an execution that another one depends on not move by itself?"""
        if execution in self._followed:
            return self._followed[execution].still is not None
        if execution in self._stand:
            return True
        row = await engine.store.row(execution)
        if row is None or row.status >= FIRST_FINAL or engine.home.has(execution):
            return False
        return await living_home(engine.store, row) is None

    async def _hint(self, engine: Engine, followed: Followed) -> None:
        """Say once for each node what a person can do about it: at once where one is parked."""
        still = followed.still or Standstill()
        found = [(frame, instance) for (frame, _), instance in followed.parked.items()]
        found += [(frame, instance) for frame, instance in still.people if instance.state != PARKED]
        found += still.locks
        if not (still.people or still.children or still.locks):
            found += still.conditions
        new = [each for each in found if followed.hinted.get((each[0], each[1].node)) != (each[1].visit, each[1].attempt)]
        paused = still.paused and followed.paused_said != followed.state.paused_at
        if not (new or paused) or await engine.store.inbox(followed.id, limit=1):  # somebody has decided: see what follows
            return
        if paused:
            followed.paused_said = followed.state.paused_at
            exits.say(f"{followed.text} is paused; it goes on with: perdure unpause {followed.text}{self._option}")
        for frame, instance in new:
            followed.hinted[frame, instance.node] = (instance.visit, instance.attempt)
            node = followed.node_of(frame, instance.node)
            said = advice(followed.text, instance_path(frame, instance.node, instance.visit), instance, node, self._option)
            if instance.wait == "lock" and instance.state == WAITING:
                said = await self._about_lock(engine, followed, frame, instance)
            if said:
                exits.say(said)

    async def _about_lock(self, engine: Engine, followed: Followed, frame: str, instance: Instance) -> str:
        """A lock that another execution holds, which nobody runs: say which."""
        holder = await engine.store.holder(followed.row.tenant, instance.wait_key)
        if holder is None or holder[0] == followed.id or holder[0] in self._followed or holder[0] in self._stand:
            return ""
        path = instance_path(frame, instance.node, instance.visit)
        whose = id_text(holder[0])
        return (
            f"{path} waits {wait_words(instance)}, which {holder[1]} of {whose} holds and no process runs"
            f"\n  go on with that one: perdure resume {whose}{self._option}"
        )

    # -- what wakes it ------------------------------------------------------------------------------------------------

    def _wake(self, execution: ExecutionId) -> None:
        self._moved[execution] = None
        self._woken.set()

    def _log(self, execution: ExecutionId, path: str, message: str, level: str, data: dict[str, Any]) -> None:
        line = LogLine(self._clock.now(), path, message, level, data)
        followed = self._followed.get(execution)
        (self._unheard[execution] if followed is None else followed.logged).append(line)
        self._wake(execution)


async def living_home(store: Store, row: Row) -> Worker | None:
    """The living worker that is the execution's home, if there is one."""
    return next((worker for worker in await store.workers() if worker.alive and worker.worker == row.home), None)


def store_option(store: str | None) -> str:
    """How a hint repeats `--store`."""
    return f" --store {shlex.quote(store)}" if store else ""


_RELATIONS = {"detached": "a sub-workflow that nobody waits for", "error": "the error workflow"}
_STARTED = {"retry": "to try it again", "route": "in its place", "error": "for the failure: `{}`"}
"""What is said of executions that are started when another one ends."""


def advice(execution: str, path: str, instance: Instance, node: NodePlan | None, option: str) -> str:
    """What a person can do about a node that is parked, or waits for somebody."""
    command = command_for(instance, execution, path)
    if instance.state == PARKED:
        why = instance.error.title if instance.error is not None else "it failed"
        return (
            f"{path} is parked: {why}\n  decide with: {command}{option}"
            f"\n  or `perdure complete … --output JSON`, or `perdure fail …`"
        )
    if instance.state == OPEN:
        add = f"perdure signal {execution} add --path {shlex.quote(path)} --payload '[…]'{option}"
        return f"{path} is open for more items: {add}\n  or `perdure signal … close …`"
    if instance.wait == "condition":
        return f"{path} waits {wait_words(instance, node)}, which nothing is left to make true\n  or: {command}{option}"
    if instance.wait == "event":
        where = node.keys.get("where") if node is not None else None
        if isinstance(where, Computed):
            return f"{path} waits for: {command} --data …{option}\n  where {where.expression.source.strip()}"
    return f"{path} waits for: {command}{option}" if command else f"{path} waits {wait_words(instance)}"

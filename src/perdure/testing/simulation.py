"""A simulation: several workers over one store, in one thread and from one seed, while all goes wrong that can.

    simulation = Simulation(7, {"perdure": 1, "name": "w", "nodes": {"a": {"type": "test.effect"}}}, [{}])
    simulation.run()

Workers crash before or after a call of their store took effect, are killed at any moment, stand still and wake late, are cut
off from the store, are taken for dead while they live, find the store locked or slow or lose its answer, stop in good order;
their heartbeats are held up, their clocks drift and jump; messages and starts come twice, late and out of order. A witness
judges everything that becomes durable; when calm has returned all must come to its end. What is wrong is raised as
`Violation`; the same seed does the same again.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextvars import Context
from random import Random  # noqa: TID251 - the chance of a simulation comes from its seed
from typing import Any

from perdure.clock import MICROSECONDS
from perdure.definition.plan import Plan
from perdure.definition.spec import NodeSpec
from perdure.engine.codec import decode_row
from perdure.engine.events import AnyFact, InstanceFact
from perdure.engine.execution import PARKED, RUNNING, WAITING, Execution, path_of
from perdure.engine.index import Index
from perdure.errors import PerdureError, StartConflict
from perdure.ids import ExecutionId, id_text
from perdure.labels import labels_text, satisfies
from perdure.nodes.work import Context as Given
from perdure.nodes.work import Failed, Work
from perdure.operations import definitions
from perdure.operations.events import emit
from perdure.operations.executions import Executions
from perdure.operations.paths import split_path
from perdure.runtime.hot import Outcome
from perdure.store.contract import Batch, Store
from perdure.testing.faults import Crash
from perdure.testing.leases import Entry
from perdure.testing.standstill import StandstillLoop
from perdure.testing.stores.sqlite import sqlite_of
from perdure.testing.surroundings import DRIFT_MOST, SharedMemory, ShownClock, StoreWay, Worker, WrongClock, current
from perdure.testing.verdict import judge
from perdure.testing.witness import Observed, Violation, Witness
from perdure.testing.world import Process, World, pass_time

EFFECT = NodeSpec(name="test.effect", title="An effect that chance answers for", kind="effect", params={"type": "object"})

FAULTS = (
    "crash before commit", "crash after commit", "crash elsewhere", "killed", "lease lost", "store busy", "store slow",
    "stopped", "clock jumps", "message twice", "message late", "start twice", "paused", "woken late", "cut off",
    "heartbeat late", "answer lost", "clock drifts",
)  # fmt: skip
"""What goes wrong. `paused`: a worker stands still for a while; `woken late`: until others have taken over all that it had."""

AT_CALLS = ("store busy", "store slow", "answer lost", "paused", "woken late")
AT_ANY_MOMENT = (
    "killed", "lease lost", "stopped", "clock jumps", "clock drifts", "paused", "woken late", "cut off", "heartbeat late",
)  # fmt: skip
LEASES = (0, 2_000_000, 6_000_000, 6_000_000)
"""Microseconds; 0: as on a file, others know of a death at once."""

MOMENTARY = frozenset(
    {
        "transform", "map", "filter", "log", "condition", "switch", "set_variable", "get_variable", "rollback", "break",
        "continue", "return", "exit", "fail", "cancel",
    }
)  # fmt: skip
"""Elements that end, as a rule, as they begin: a fault meets them where they were reached in an execution that goes on."""

FAULTS_LEAST, FAULTS_MOST = 6, 14  # in one simulation
LEASES_MOST = 4  # that a worker stands still for, is cut off, or is not heard of
ASLEEP_MOST_SECONDS = 30  # where nobody takes over what a worker has that stands still
CALM_ROUNDS_MAX = 600
CALM_SECONDS = 3.0
STUCK_SECONDS = 3_600.0  # of the world; none of all that is waited for takes as long
OVERDUE_SECONDS = 60  # beyond which something that nobody does is stuck
FAILURES: tuple[tuple[str, Any], ...] = (("x.first", "technical"), ("y.second", "business"), ("timeout", "timeout"))


# -- the simulation ---------------------------------------------------------------------------------------------------------


class Simulation:
    """One seed: a workflow, started once for each input, its workers and its faults. `children`: workflows that it may start;
    `labels`: what each of the workers has, as often as one dies.

    `chance` decides everything but the workflow. After `run`: `witness` has all that was durable, `faults` how often each
    fault struck, `coverage` what it met: (type of node, policy around it, fault).
    """

    def __init__(
        self, seed: int, document: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]], *,
        children: Sequence[Mapping[str, Any]] = (), workers: int = 3, labels: Sequence[Mapping[str, str]] = (),
    ) -> None:  # fmt: skip
        self.seed = seed
        self.chance = Random(f"simulation {seed}")
        chance = self.chance
        self.world = World(
            works={EFFECT.name: Work(spec=EFFECT, run=self._effect, blocking=False, reference="test:effect")},
            evict_after=chance.choice((50_000, 1_000_000, 30_000_000)),
            snapshot_facts=chance.choice((5, 20, 200)),
            step_facts_max=chance.choice((7, 1_000, 1_000, 1_000)),
        )
        self.world.make_loop = StandstillLoop
        self.lease = chance.choice(LEASES)
        self.world.place = self.place = SharedMemory(self.world.clock, self.lease)
        self.workflow = self.world.read(document)
        self.children = [self.world.read(child) for child in children]
        self.plans: dict[bytes, Plan] = {
            bytes.fromhex(read.plan.digest): read.plan for read in (self.workflow, *self.children)
        }  # fmt: skip
        self.inputs = inputs
        self.witness = Witness()
        self.faults: Counter[str] = Counter()
        self.coverage: Counter[tuple[str, str, str]] = Counter()
        self.effects: Counter[str] = Counter()  # begun, by effect key
        self.left = chance.randint(FAULTS_LEAST, FAULTS_MOST)
        self.executions: list[ExecutionId] = []  # by input
        self._running: Counter[tuple[str, str]] = Counter()  # effects under way: execution and path
        self._alive: dict[int, Worker] = {}  # those that take requests
        self._up: dict[int, Worker] = {}  # those that can be struck
        self._asleep: set[asyncio.Task[None]] = set()
        self._calm = False
        self._over = False
        self._workers = workers
        self._labels = labels
        self._numbers = 0
        self._acknowledged: set[tuple[ExecutionId, str]] = set()
        self._late: list[dict[str, Any]] = []  # signals that others overtake

    def run(self) -> None:
        """Live through it, and judge. Raises Violation."""
        try:
            self.world.run(self._main, seconds=STUCK_SECONDS)
        finally:
            if self.witness.violations:  # what was wrong first, and not what came of it
                raise Violation(self.witness.violations[0])
        self.world.run(self._judge)

    async def _judge(self) -> None:
        store = await self.place.open()
        try:
            await judge(
                self.witness, store, self.plans, started=self.executions, acknowledged=sorted(self._acknowledged)
            )  # fmt: skip
        finally:
            self.place.die(store)

    async def _main(self) -> None:
        slots = [asyncio.create_task(self._slot(number)) for number in range(self._workers)]
        weather = asyncio.create_task(self._weather())
        outside = asyncio.create_task(self._outside())
        try:
            await outside
        finally:
            self._over = True
            weather.cancel()
            for worker in list(self._up.values()):
                worker.end(dies=False)
                worker.standing.go_on()
            await asyncio.gather(*slots, weather, return_exceptions=True)

    # -- workers ------------------------------------------------------------------------------------------------------

    async def _slot(self, slot: int) -> None:
        """One worker after another, each until its end."""
        life = 0
        while not self._over:
            life += 1
            worker = self._up[slot] = self._worker(f"w{slot}.{life}")
            living = asyncio.create_task(self._live(slot, worker), context=worker.context)
            dying = asyncio.create_task(worker.dead.wait())
            await asyncio.wait({living, dying}, return_when=asyncio.FIRST_COMPLETED)
            dying.cancel()
            self._alive.pop(slot, None)
            self._up.pop(slot, None)
            await self._bury(worker, living)
            await asyncio.sleep(self.chance.random() * 2)

    def _worker(self, name: str) -> Worker:
        off = self.chance.choice((0, 0, self.chance.randint(-MICROSECONDS, MICROSECONDS)))
        machine = WrongClock(self.world.clock, off, self.chance.choice((1, self._rate())))
        return Worker(name, machine, ShownClock(self.world.clock, machine, self.witness.break_off))

    def _rate(self) -> float:
        """Of a clock that drifts."""
        return 1 + self.chance.choice((-1, 1)) * self.chance.choice((0.01, DRIFT_MOST))

    async def _bury(self, worker: Worker, living: asyncio.Task[None]) -> None:
        """Whatever its tasks were about to do they do not, now that it is dead. One that has stopped leaves none behind."""
        if worker.way is not None:
            worker.way.dead = True
        worker.standing.go_on()
        if worker.process is not None:
            await worker.process.kill()
        living.cancel()
        (ended,) = await asyncio.gather(living, return_exceptions=True)
        if isinstance(ended, BaseException) and not isinstance(ended, Crash | PerdureError | asyncio.CancelledError):
            raise ended

    async def _live(self, slot: int, worker: Worker) -> None:
        async with self.world.process(
            name=worker.name, clock=worker.clock, labels=dict(self._labels[slot]) if self._labels else {},
            wraps=lambda opened: StoreWay(
                sqlite_of(opened), worker, self.witness, place=self.place, strike=self.strike, chance=self.chance,
                befall=self._befall,
            ),
        ) as process:  # fmt: skip
            worker.process = process
            process.home.observe(lambda execution, at, facts: self._shown(process, execution, facts))
            fails = process.home.outcome(ExecutionId(bytes(16)))  # of no execution: it hears when the home cannot go on
            fails.add_done_callback(lambda future: _failed(worker, future))
            self._alive[slot] = worker
            if self._over:
                worker.end(dies=False)
            await worker.over.wait()
            self._alive.pop(slot, None)
            if not self._over and self.chance.random() < 0.5:
                await process.home.drain()

    def _shown(self, process: Process, execution: ExecutionId, facts: list[AnyFact]) -> None:
        state = process.home.state(execution)
        if state is not None and state.seq == self.witness.executions[execution].state.seq and self.chance.random() < 0.1:
            self.witness.lives(execution, state)

    async def _effect(self, params: dict[str, Any], context: Given) -> Any:
        """The work of every effect: it takes its time, and ends as chance has it."""
        worker, chance = current.get(), self.chance
        seen = self.witness.effect(context.execution, context.path, context.attempt, context.key, worker.name)
        self._check_lease(worker, context.execution)
        self._may_run(seen, context.path, worker)
        self.effects[context.key] += 1
        place = (context.execution, context.path)
        self._running[place] += 1
        try:
            await asyncio.sleep(chance.choice((0.0, 0.3, 1.0, 2.5, 5.0)) * chance.random())
        except asyncio.CancelledError:
            if worker.process is None or worker.process.store.dead:
                raise
            if chance.random() < 0.6:
                await asyncio.sleep(chance.random())
                raise
        finally:
            self._running[place] -= 1
        if chance.random() < 0.3:
            code, category = chance.choice(FAILURES)
            raise Failed(code, code, category=category)
        return chance.randint(0, 8)

    def _check_lease(self, worker: Worker, execution: str) -> None:
        """Nobody begins an effect whom others may have taken for dead, and who could know it (day-one 23)."""
        way, leases = worker.way, self.place.leases
        if not leases.length or way is None or way.dead:
            return
        if not way.leased():
            self.witness.break_off(f"{worker.name} began an effect, and knew that its lease may have run out")
        if leases.seconds_over(worker.names) >= 0:
            self.witness.break_off(f"{worker.name} began an effect, and its lease had run out by the store's clock")
        home = self.witness.home_of(execution)
        if home not in ("", worker.name) and not worker.condemned and not self._labels:  # else it may be a task
            self.witness.break_off(f"{worker.name} began an effect of {execution}, which {home} had taken over")

    def _may_run(self, seen: Observed, path: str, worker: Worker) -> None:
        """An effect that asks for labels begins where they are. Raises Violation."""
        frame, node, _ = split_path(path)
        opened = seen.state.frames.get(frame)
        if opened is None or worker.process is None:
            return  # it is stopped before it comes to anything
        scope = self.plans[seen.digest].scopes[opened.scope]
        needs, labels = scope.nodes[scope.number[node]].runs_on, worker.process.engine.settings.labels
        if needs is not None and not satisfies(labels, needs):
            self.witness.violate(seen, f"`{path}` asks for {labels_text(needs)} and began on {worker.name}, which lacks it")

    # -- faults -------------------------------------------------------------------------------------------------------

    def strike(self, call: str, batch: Batch | None) -> str:
        """What goes wrong with this call of a store; "" for nothing."""
        is_first = call == "register" or (batch is not None and batch.starts)  # which is rare, and told to somebody
        if self._calm or not self.left or self.chance.random() > (0.3 if is_first else 0.05):
            return ""
        crash = ("crash before commit", "crash after commit") if call == "commit" else ("crash elsewhere",)
        fault: str = self.chance.choice((*crash, *AT_CALLS))
        self._struck(fault, batch)
        return fault

    def _struck(self, fault: str, batch: Batch | None = None) -> None:
        self.left -= 1
        self.faults[fault] += 1
        met = {each for seen in self.witness.executions.values() for each in self._met(seen)}
        if batch is not None:
            met.update(self._met_in(batch))
        for kind, policy in met:
            self.coverage[kind, policy, fault] += 1

    def _met(self, seen: Observed) -> Iterator[tuple[str, str]]:
        """What a fault meets: whatever is under way, what the last step was about, and what is reached only for a moment."""
        plan = self.plans[seen.digest]
        for frame, instance in seen.state.instances():
            if not instance.final:
                yield _element(plan, frame.path, instance.node)
        for frame_path, node, _ in seen.touched:
            yield _element(plan, frame_path, node)
        for frame_path, node, _ in () if seen.state.ended else seen.finals:
            kind, policy = _element(plan, frame_path, node)
            if kind in MOMENTARY:
                yield kind, policy

    def _met_in(self, batch: Batch) -> Iterator[tuple[str, str]]:
        """What the facts of a commit are about, which may never become durable."""
        digests = {start.execution: start.digest for start in batch.starts}
        for turn in batch.turns:
            seen = self.witness.executions.get(turn.execution)
            plan = self.plans.get(seen.digest if seen is not None else digests.get(turn.execution, b""))
            for fact in decode_row(turn.body).facts if plan is not None and turn.body else ():
                if isinstance(fact, InstanceFact) and plan is not None:
                    yield _element(plan, fact.frame, fact.node)

    async def _weather(self) -> None:
        """What strikes at any moment, whatever the workers do."""
        while not self._calm:
            await asyncio.sleep(0.2 + self.chance.random() * 2.5)
            if self._up and self.left and self.witness.executions:
                worker = self.chance.choice(list(self._up.values()))
                fault = self.chance.choice(AT_ANY_MOMENT)
                self._struck(fault)
                self._strike_worker(fault, worker)

    def _strike_worker(self, fault: str, worker: Worker) -> None:
        if fault == "killed":
            worker.end(dies=True)
        elif fault == "stopped":
            worker.end(dies=False)
        elif fault == "clock jumps":
            worker.clock.jump(self.chance.randint(-5 * MICROSECONDS, 5 * MICROSECONDS))
        elif fault == "clock drifts":
            worker.machine.drift(self._rate())
        elif fault == "cut off":
            self._cut_off(worker)
        elif fault == "heartbeat late":
            worker.late_until = self.world.clock.monotonic() + self._while()
            worker.late_back = self.chance.random() < 0.5
        elif fault in ("paused", "woken late"):
            self._stand_still(worker, fault)
        else:
            self._condemn(worker)

    def _befall(self, worker: Worker, fault: str) -> None:
        """In the midst of a call: it stands still, or its way to the store is gone, as a rule for longer than one answer."""
        if fault != "answer lost":
            self._stand_still(worker, fault)
        elif self.chance.random() < 0.7:
            self._cut_off(worker)

    def _cut_off(self, worker: Worker) -> None:
        worker.cut_until = self.world.clock.monotonic() + self._while()

    def _while(self) -> float:
        """Seconds, of which a lease may bear so many, or not."""
        return self.chance.random() * LEASES_MOST * (self.lease or MICROSECONDS) / MICROSECONDS

    def _stand_still(self, worker: Worker, fault: str) -> None:
        """From the next step on, until somebody has it go on."""
        worker.standing.still = True
        waking = self._wake(worker, None if fault == "woken late" and self.lease else self._while())
        task = asyncio.get_running_loop().create_task(waking, context=Context())  # it is none of its own
        self._asleep.add(task)
        task.add_done_callback(self._asleep.discard)

    async def _wake(self, worker: Worker, seconds: float | None) -> None:
        """After so long, or (None) when others have taken over all that it had."""
        if seconds is not None:
            await asyncio.sleep(seconds)
        else:
            for _ in range(ASLEEP_MOST_SECONDS):
                await asyncio.sleep(1)
                if worker.dead.is_set() or self._over or self.place.are_taken(worker.names):
                    break
        worker.standing.go_on()

    def _condemn(self, worker: Worker) -> None:
        """Others take it for dead, while it lives. Where deaths are known at once nobody tells it; then they see it again."""
        worker.condemned = True
        for name in worker.names:
            entry = self.place.leases.entries.get(name)
            if entry is not None:
                entry.condemned = True
                if not self.lease:
                    asyncio.get_running_loop().call_later(2, self._found_again, worker, entry)

    def _found_again(self, worker: Worker, entry: Entry) -> None:
        if not worker.over.is_set():
            entry.condemned = False

    # -- the world outside --------------------------------------------------------------------------------------------

    async def _outside(self) -> None:
        store = await self.place.open()
        outside = Executions(store, self.world.clock)
        await self._start()
        for _ in range(self.chance.randint(1, 8)):
            await pass_time(self.chance.random() * 4)
            await self._message(store, outside)
        for _ in range(40):  # until what was to go wrong has gone wrong
            if not self.left or self._all_ended():
                break
            await pass_time(CALM_SECONDS)
            await self._answer_all(store, outside)
        await self._grow_calm(store, outside)
        self.place.die(store)

    async def _start(self) -> None:
        """Start the execution, by whoever can, until somebody says that it is durable."""
        while len(self.executions) < len(self.inputs):
            number = len(self.executions)
            found = await self._ask_to_start(number, self.inputs[number])
            if found is not None:
                self.executions.append(found)
                if self.chance.random() < 0.4 and self.left:
                    self._struck("start twice")
                    await self._start_twice(number, found)

    async def _start_twice(self, number: int, first: ExecutionId) -> None:
        found = await self._ask_to_start(number, self.inputs[number])
        if found is not None and found != first:
            raise Violation(f"The second start of one key began {id_text(found)}.")
        try:
            other = await self._ask_to_start(number, {**self.inputs[number], "other": True})
        except StartConflict:
            return
        if other is not None:
            raise Violation("A start with the key of another was not refused.")

    async def _ask_to_start(self, number: int, given: Mapping[str, Any]) -> ExecutionId | None:
        while not self._alive:
            await pass_time(0.3)
        worker = self.chance.choice(list(self._alive.values()))
        process = worker.process
        assert process is not None
        starting = asyncio.create_task(self._starting(process, number, given), context=worker.context)
        ending = asyncio.create_task(worker.over.wait())
        await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not starting.done() or starting.cancelled():
            starting.cancel()
            await pass_time(0.3)
            return None
        try:
            return starting.result()
        except StartConflict:
            raise
        except (Crash, PerdureError):
            await pass_time(0.3)
            return None

    async def _starting(self, process: Process, number: int, given: Mapping[str, Any]) -> ExecutionId:
        for child in self.children:
            await definitions.save(process.store, process.home.plans, self.world.clock, child)
        return await process.start(self.workflow, given, key=f"key {number}")

    async def _message(self, store: Store, outside: Executions) -> None:
        """Somebody sends a signal, an event, or a wish."""
        chance, kind = self.chance, self.chance.randint(0, 9)
        if kind < 5:
            signal = {
                "execution": chance.choice(self.executions), "name": chance.choice(("ok", "go")),
                "payload": chance.randint(0, 8), "key": chance.choice(("", "", "k")), "to_all": chance.random() < 0.1,
                "id": self._new_id("s"),
            }  # fmt: skip
            if self.left and chance.random() < 0.3:
                self._struck("message late")
                self._late.append(signal)
                return
            await self._signal(outside, signal)
            if self.left and chance.random() < 0.4:
                self._struck("message twice")
                await self._signal(outside, signal)
            if self._late and chance.random() < 0.7:
                await self._signal(outside, self._late.pop())
        elif kind < 8:
            identity = f"e{chance.randint(0, 5)}"
            await emit(store, self.world.clock, chance.choice("ef"), chance.randint(0, 8), id=identity)
        else:
            wish = chance.choice(("pause", "resume", "cancel", "pause", "resume"))
            await self._wish(outside, chance.choice(self.executions), wish)

    def _new_id(self, kind: str) -> str:
        self._numbers += 1
        return f"{kind}.{self._numbers}"

    async def _signal(self, outside: Executions, signal: Mapping[str, Any]) -> None:
        try:
            await outside.signal(**signal)
        except PerdureError:
            return  # it has ended
        self._acknowledged.add((signal["execution"], signal["id"]))

    async def _wish(self, outside: Executions, execution: ExecutionId, action: str, **fields: Any) -> None:
        if action == "resume":
            fields["value"] = self.chance.choice(("frozen", "running"))
        try:
            await outside.operate(execution, action, by="somebody", **fields)
        except PerdureError:
            return  # it has ended

    # -- calm ---------------------------------------------------------------------------------------------------------

    def _all_ended(self) -> bool:
        return all(seen.state.ended for seen in self.witness.executions.values())

    async def _grow_calm(self, store: Store, outside: Executions) -> None:
        """Nothing goes wrong any more: all must come to its end, each thing in its time."""
        self._calm = True
        for signal in self._late:
            await self._signal(outside, signal)
        idle: Counter[ExecutionId] = Counter()
        rows: dict[ExecutionId, int] = {}
        for _ in range(CALM_ROUNDS_MAX):
            if self._all_ended():
                return await self._all_ready()
            await pass_time(CALM_SECONDS)
            await self._answer_all(store, outside)
            for execution, seen in self.witness.executions.items():
                moved = rows.get(execution) != len(seen.rows)
                rows[execution] = len(seen.rows)
                idle[execution] = 0 if moved or seen.state.ended else idle[execution] + 1
                if idle[execution] * CALM_SECONDS > OVERDUE_SECONDS:
                    await self._explain(store, outside, execution)
        raise Violation(f"{self._unended()} never end.")

    async def _all_ready(self) -> None:
        """Whoever was cut off, or taken for dead, has come back."""
        unready: list[Worker] = []
        for _ in range(OVERDUE_SECONDS):
            unready = [each for each in self._up.values() if each.way is not None and not each.way.leased()]
            if not unready:
                return
            await pass_time(1)
        self.witness.break_off(f"{unready[0].name} never trusts a lease again")

    async def _answer_all(self, store: Store, outside: Executions) -> None:
        for execution, seen in list(self.witness.executions.items()):
            if not seen.state.ended:
                await self._answer(store, outside, execution, seen.state)

    async def _answer(self, store: Store, outside: Executions, execution: ExecutionId, state: Execution) -> None:
        """Somebody does what the execution waits for."""
        if state.paused_at:
            await self._wish(outside, execution, "resume")
            return
        for frame, instance in list(state.instances()):
            path = path_of(frame, instance)
            if instance.state == PARKED:
                action = self.chance.choice(("complete", "fail", "retry"))
                await self._wish(outside, execution, action, path=path, **({"value": 1} if action == "complete" else {}))
            elif instance.state == WAITING and instance.wait == "signal" and self.chance.random() < 0.5:
                sent = {
                    "execution": execution,
                    "name": instance.wait_name,
                    "key": instance.wait_key,
                    "payload": 3,
                    "id": self._new_id("s"),
                }
                await self._signal(outside, sent)
            elif instance.state == WAITING and instance.wait == "event" and self.chance.random() < 0.5:
                await emit(store, self.world.clock, instance.wait_name, 5 + self.chance.randint(0, 3), id=self._new_id("e"))

    async def _explain(self, store: Store, outside: Executions, execution: ExecutionId) -> None:
        """Nothing has moved it for long. It may wait for what never comes: then it is cancelled. Anything else is stuck."""
        seen = self.witness.executions[execution]
        state, now = seen.state, self.world.clock.now()
        due = Index.rebuilt(self.plans[seen.digest], state, {}).next_due(state)
        if due is not None and due < now - OVERDUE_SECONDS * MICROSECONDS:
            self.witness.violate(seen, f"a timer that was due {(now - due) / MICROSECONDS:.0f} s ago has not fired")
        for frame, instance in state.instances():
            place = (id_text(execution), path_of(frame, instance))
            if instance.state == RUNNING and not self._running[place]:
                self.witness.violate(seen, f"nobody runs attempt {instance.attempt} of `{place[1]}`")
        if await store.inbox(execution):
            self.witness.violate(seen, "messages are waiting that nobody takes in")
        await self._wish(outside, execution, "cancel")

    def _unended(self) -> str:
        return ", ".join(id_text(seen.id) for seen in self.witness.executions.values() if not seen.state.ended)


def _element(plan: Plan, frame: str, node: str) -> tuple[str, str]:
    """The type of a node in a frame, and the policy there."""
    scope = plan.scopes[re.sub(r"\[\d+]", ".body", re.sub(r"[~#]\d+", "", frame))]
    return scope.nodes[scope.number[node]].type, scope.on_failure


def _failed(worker: Worker, future: asyncio.Future[Outcome]) -> None:
    if not future.cancelled() and future.exception() is not None:
        worker.end(dies=True)

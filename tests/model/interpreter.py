"""The reference interpreter: an execution as docs/rules.md describes it, moved by hand and looked at from outside.

model = Model(effects(a={}, b={"after": "a"}))
model.succeed("a", 1)
model.fail("b", Failure(code="http.503", title="Down."))
assert model.status == "failed"
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from reference import containers, ending, failing, leaving, starting, timers, waits
from reference.names import Sight, duration
from reference.settling import settle
from reference.shape import is_effect, scope_of
from reference.state import Departure, Frame, Instance, Signal, World, Wrong

from perdure.errors import Failure

BEGIN = 1_700_000_000 * 1_000_000
CRASHES_MAX = 3
"""Deaths of its worker that an attempt survives, where the node says nothing else (rule 52)."""


class Model:
    """One execution, which starts at once. Every move brings it to rest again."""

    def __init__(self, document: Mapping[str, Any], *, input: Any = None, at: int = BEGIN) -> None:
        kept, root = scope_of(document)
        self.world = World(kept, root, input, at)
        self._numbers = 0
        self._start()

    def _start(self) -> None:
        world = self.world
        frame = Frame("", world.root, None, None, None)
        sight = Sight(world, frame)
        try:
            timeout = duration(sight, world.settings.get("timeout"), "settings.timeout")
            soft = duration(sight, world.settings.get("soft_timeout"), "settings.soft_timeout")
            world.timeout_at = None if timeout is None else world.at + timeout
            world.soft_timeout_at = None if soft is None else world.at + soft
            containers.fill(world, frame, sight)
        except Wrong as wrong:
            world.frames = [frame]
            world.status, world.error = "failed", wrong.failure
        settle(world)

    # -- moves: attempts -------------------------------------------------------------------------------------------------

    def succeed(self, path: str, output: Any = None) -> None:
        """The present attempt of an effect succeeded; also one that was asked to stop (rule 12)."""
        self._result(path, lambda instance: ending.succeed(self.world, instance, output))

    def fail(self, path: str, failure: Failure) -> None:
        """The present attempt failed; of one that was asked to stop that is its end (rules 12, 43)."""
        self._result(path, lambda instance: self._failed(instance, failure))

    def _failed(self, instance: Instance, failure: Failure) -> None:
        if instance.by_deadline:
            title = "The deadline has passed."
            late = Failure(code="timeout.deadline", title=title, category="timeout", node=instance.path, cause=failure)
            failing.without_retry(self.world, instance, late)
        elif instance.stopping and instance.completes and instance.frame.departure is None:
            ending.succeed(self.world, instance, None)
        elif instance.stopping:
            ending.cancel(self.world, instance, instance.stopping)
        else:
            failing.offer(self.world, instance, failure)

    def stopped(self, path: str) -> None:
        """The present attempt stopped, as it was asked to."""
        stop = Failure(code="cancelled", title="Stopped.", category="cancelled")
        self._result(path, lambda instance: self._failed(instance, stop))

    def lose(self, paths: Sequence[str], *, crashed: bool) -> None:
        """Attempts were cut off without a result: they are repeated, unless their worker has died too often (rule 52)."""
        lost = [self.world.find(path) for path in paths]
        lost = [each for each in lost if not (each.unasked and self.world.paused_at is not None)]
        for instance in lost:
            instance.crashes += crashed
            instance.unasked = self.world.paused_at is not None
        takes = [take for instance in lost if (take := self._after_loss(instance)) is not None]
        for take in takes:
            self._record(take, settles=False)
        if self.world.paused_at is None:
            settle(self.world)

    def _after_loss(self, instance: Instance) -> Callable[[], None] | None:
        """What becomes of an attempt that is not repeated."""
        if instance.stopping:
            stop = Failure(code="cancelled", title="Stopped.", category="cancelled")
            take: Callable[[Instance], None] = partial(self._failed, failure=stop)
        elif instance.crashes >= instance.raw.get("crashes_max", CRASHES_MAX):
            poison = Failure(code="worker.crashed", title="Its workers died.", retryable=False, node=instance.path)
            take = partial(failing.without_retry, self.world, failure=poison)
        else:
            return None
        if self.world.paused_at is not None:
            instance.fixed["recorded"] = True
        return partial(self._take, instance, take)

    def child_ended(self, path: str, status: str, output: Any = None, failure: Failure | None = None) -> None:
        """The child that a node waits for has ended (rule 40)."""
        instance = self.world.find(path)
        if instance.waits_for == "child":
            self._record(lambda: self._child_ended(instance, status, output, failure))

    def _child_ended(self, instance: Instance, status: str, output: Any, failure: Failure | None) -> None:
        timed_out = instance.takes_too_long and instance.frame.departure is None
        if status == "succeeded":
            ending.succeed(self.world, instance, output)
        elif instance.stopping and not timed_out:
            ending.cancel(self.world, instance, instance.stopping)
        elif timed_out:
            late = Failure(code="timeout", title="The timeout passed.", category="timeout", node=instance.path)
            instance.stopping = ""
            failing.offer(self.world, instance, ending.with_cause(late, failure))
        else:
            failing.offer(self.world, instance, _child_failure(status, failure))

    def _result(self, path: str, take: Callable[[Instance], None]) -> None:
        """A result for an attempt under way; any other is late and changes nothing."""
        instance = self.world.find(path)
        if not self.world.ended and path in self.running():
            if self.world.paused_at is not None:
                instance.fixed["recorded"] = True
            self._record(lambda: self._take(instance, take))

    def _take(self, instance: Instance, take: Callable[[Instance], None]) -> None:
        instance.fixed.pop("recorded", None)
        if not instance.final:
            take(instance)

    def _record(self, take: Callable[[], None], *, settles: bool = True) -> None:
        """What comes during a pause is recorded, and what follows from it waits (rule 45)."""
        if self.world.paused_at is not None:
            self.world.kept.append((self.world.at, take))
            return
        take()
        if settles:
            settle(self.world)

    # -- moves: messages --------------------------------------------------------------------------------------------------

    def signal(self, name: str, payload: Any = None, *, key: Any = None, path: str = "", to_all: bool = False) -> None:
        """A signal arrives (rule 47)."""
        if not self.world.ended:
            signal = Signal(name, payload, waits.as_key(key), path, self.world.tick())
            self._record(lambda: waits.deliver(self.world, signal, to_all))

    def event(self, event: Mapping[str, Any]) -> None:
        """An event of the event log is seen (rule 48)."""
        if not self.world.ended:
            self._record(lambda: waits.happen(self.world, event))

    # -- moves: people ----------------------------------------------------------------------------------------------------

    def operate(self, action: str, path: str = "", value: Any = None) -> None:
        """A person answers for a parked node, skips or moves a wait, or controls the execution; what fits nothing is late."""
        if path == "":
            {"cancel": self.cancel, "terminate": self.terminate, "pause": self.pause, "resume": self.resume}[action]()
            return
        try:
            instance = self.world.find(path)
        except KeyError:
            return
        if not self.world.ended and not instance.final:
            self._record(lambda: ACTIONS[action](self.world, instance, value))

    def cancel(self) -> None:
        """The execution is cancelled; a second time changes nothing (rules 31, 38)."""
        world = self.world
        if world.ended:
            return
        self._end_pause(frozen=False)
        root = world.frames[0]
        if root.departure is None:
            leaving.depart(world, Departure("cancel", root, "cancelled by operator", cleanup_at=leaving.budget(world, root)))
        elif root.departure.cleanup_at is None and root.departure.kind not in leaving.CANCELS:
            root.departure.cleanup_at = leaving.budget(world, root)
        settle(world)

    def terminate(self) -> None:
        """Everything is asked to stop, nobody is waited for, nothing more runs (rule 37)."""
        if not self.world.ended:
            self.world.paused_at = None
            self.world.status, self.world.output, self.world.error = "cancelled", None, None

    def pause(self) -> None:
        """Nothing new starts, and no timer fires (rule 45)."""
        if not self.world.ended and self.world.paused_at is None:
            self.world.paused_at = self.world.at

    def resume(self, frozen: bool = True) -> None:
        """Go on: with frozen clocks every relative time moves by the pause, else what came due fires now, in due order."""
        if self.world.paused_at is None:
            return
        self._end_pause(frozen)
        settle(self.world)
        self.pass_to(self.world.at)

    def _end_pause(self, frozen: bool) -> None:
        world = self.world
        if world.paused_at is None:
            return
        if frozen:
            timers.shift(world, world.at - world.paused_at)
        world.paused_at = None
        for instance in world.present():
            instance.unasked = False
        kept, world.kept = world.kept, []
        now = world.at
        for arrived, take in kept:
            world.at = now if frozen else arrived  # with frozen clocks a backoff begins with the resume
            take()
        world.at = now

    # -- moves: time ------------------------------------------------------------------------------------------------------

    def next_due(self) -> int | None:
        """When the next timer fires."""
        due = timers.pending(self.world)
        return due[0].due if due else None

    def pass_to(self, at: int) -> None:
        """Let time pass; each timer fires at its own moment, by due time, frame and node."""
        while (due := self.next_due()) is not None and due <= at:
            self.world.at = max(self.world.at, due)
            timers.pending(self.world)[0].fire()
            settle(self.world)
        self.world.at = max(self.world.at, at)

    # -- looking ----------------------------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """The final status, "" while it goes on."""
        return self.world.status

    @property
    def output(self) -> Any:
        return self.world.output

    @property
    def error(self) -> Failure | None:
        return self.world.error

    @property
    def now(self) -> int:
        return self.world.at

    def instance(self, path: str) -> Instance:
        """The instance at a path. Raises KeyError."""
        return self.world.find(path)

    def state(self, path: str) -> str:
        """The state of the instance at a path, `pending` where there is none."""
        try:
            return self.world.find(path).state
        except KeyError:
            return "pending"

    def running(self) -> list[str]:
        """The paths of effects with an attempt under way, in the order of the frames."""
        return [
            each.path
            for each in self.world.present()
            if is_effect(each.node) and each.state == "running" and not each.fixed.get("recorded") and not self.world.ended
        ]

    def stopping(self, path: str) -> bool:
        """Whether the attempt under way was asked to stop."""
        return self.world.find(path).stopping != ""

    def active(self) -> dict[str, str]:
        """What is neither pending nor final, by path."""
        return {
            each.path: "waiting" if each.state == "pending" else each.state  # a join whose deadline runs
            for each in self.world.present()
            if not each.final and (each.state != "pending" or each.deadline_at is not None)
        }

    def outcomes(self) -> Counter[tuple[str, str]]:
        """Every instance that has become final, over the whole history: path and state."""
        return Counter((each.path, each.state) for each in self.world.instances() if each.final)

    def order(self) -> dict[str, tuple[int, int]]:
        """Of each instance that has ended: when it started (0: never) and when it ended, as numbers that grow."""
        return {each.path: (each.began, each.finished) for each in self.world.instances() if each.final}


# -- what people do with one node -----------------------------------------------------------------------------------------
def _child_failure(status: str, failure: Failure | None) -> Failure:
    if status == "cancelled":
        return Failure(code="subworkflow.cancelled", title="The child was cancelled.", category="cancelled", cause=failure)
    if status == "timed_out":
        return Failure(code="timeout.subworkflow", title="The child timed out.", category="timeout", cause=failure)
    assert failure is not None, "a child that failed has an error"
    return Failure(
        code=failure.code, title=failure.title, category=failure.category, retryable=failure.retryable, cause=failure
    )  # fmt: skip


def _retry(world: World, instance: Instance, value: Any) -> None:
    """One attempt more, with the same or a new input; what never had an attempt is entered again (rule 14)."""
    if instance.state != "parked":
        return
    instance.no_retry = True
    instance.error = None
    if value is not None:
        instance.params = value
    if instance.attempt or (value is not None and is_effect(instance.node)):
        instance.state = "pending"
        starting.attempt_again(world, instance)
        return
    instance.state = "pending"
    try:
        starting.begin(world, instance)
    except Wrong as wrong:
        failing.offer(world, instance, wrong.failure)


def _complete(world: World, instance: Instance, value: Any) -> None:
    if instance.state == "parked":
        ending.succeed(world, instance, value)


def _let_fail(world: World, instance: Instance, value: Any) -> None:
    if instance.state == "parked" and instance.error is not None:
        world.given_up.add(instance.error.node)
        instance.quorum_met = False  # what was left of it has ended before people were asked (rule 19)
        failing.by_policy(world, instance, instance.error)


def _skip(world: World, instance: Instance, value: Any) -> None:
    """A wait ends by `out` with what was done to it (rule 46)."""
    if instance.waits_for in ("end", "signal", "event", "condition"):
        ending.succeed(world, instance, {"skipped": True})


def _reschedule(world: World, instance: Instance, value: int) -> None:
    """When a wait or backoff ends by itself is moved; else its timeout (rule 46)."""
    if instance.waits_for in ("end", "backoff"):
        instance.due = value
    elif instance.waits_for in ("signal", "event", "condition"):
        instance.timeout_at = value


def _cancel(world: World, instance: Instance, value: Any) -> None:
    leaving.withdraw(world, instance, "cancelled by operator")


ACTIONS: dict[str, Callable[[World, Instance, Any], None]] = {
    "retry": _retry, "complete": _complete, "fail": _let_fail, "skip": _skip, "reschedule": _reschedule, "cancel": _cancel,
}  # fmt: skip

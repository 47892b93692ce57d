"""Waits and what ends them: times, signals, events, conditions (rules 46, 47, 48)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from perdure.errors import Failure
from perdure.expressions import parse_time
from reference import containers, ending, failing, loops
from reference.names import Sight, duration, evaluate, holds, invalid, length
from reference.state import Instance, Signal, World, Wrong

SIGNALS_MAX = 1_000


def enter(world: World, instance: Instance) -> None:
    """The wait begins, or ends at once where what it waits for is there. Raises Wrong."""
    sight = Sight(world, instance.frame, instance)
    ENTER[instance.node.type](world, instance, sight)
    if instance.state == "pending":
        instance.state = "waiting"
        instance.waited = world.tick()
        limit = instance.limits.get("timeout")
        instance.timeout_at = None if limit is None else world.at + limit
        take_what_is_there(world, instance)


def take_what_is_there(world: World, instance: Instance) -> None:
    """A kept signal, an event since the start, a condition that holds already."""
    if instance.waits_for == "signal" and instance.raw.get("buffer", True):
        for signal in list(world.signals):
            if fits(signal, instance):
                world.signals.remove(signal)
                ending.succeed(world, instance, signal.payload)
                return
    if instance.waits_for == "event" and instance.raw.get("since", "entry") == "execution":
        for event in world.events:
            if is_event(world, instance, event):
                ending.succeed(world, instance, dict(event))
                return
    if instance.waits_for == "condition":
        recheck(world, instance)


def _delay(world: World, instance: Instance, sight: Sight) -> None:
    instance.waits_for = "end"
    instance.due = world.at + length(sight, instance.raw["for"], "for")


def _wait_until(world: World, instance: Instance, sight: Sight) -> None:
    value = evaluate(sight, instance.raw["time"], "time")
    try:
        due = parse_time(value)
    except (TypeError, ValueError):
        raise invalid(instance, "time.invalid", f"Expected a time, but got {value!r}.") from None
    if due <= world.at:
        ending.succeed(world, instance, None)
    else:
        instance.waits_for, instance.due = "end", due


def _condition(world: World, instance: Instance, sight: Sight) -> None:
    instance.waits_for = "condition"
    every = duration(sight, instance.raw.get("every"), "every")
    if every is not None:
        instance.fixed["every"] = every
        instance.every_at = world.at + every


def _signal(world: World, instance: Instance, sight: Sight) -> None:
    name, key = evaluate(sight, instance.raw["signal"], "signal"), evaluate(sight, instance.raw.get("key"), "key")
    if not isinstance(name, str):
        raise invalid(instance, "expression.type", f"Expected the name of a signal, but got {name!r}.")
    instance.waits_for, instance.wait_name, instance.wait_key = "signal", name, as_key(key)


def as_key(key: Any) -> str | None:
    """A key that is no text is compared as its JSON."""
    return key if key is None or isinstance(key, str) else json.dumps(key, separators=(",", ":"))


def _event(world: World, instance: Instance, sight: Sight) -> None:
    instance.waits_for, instance.wait_name = "event", evaluate(sight, instance.raw["event"], "event")


ENTER: dict[str, Callable[[World, Instance, Sight], None]] = {
    "delay": _delay, "wait_until": _wait_until, "wait_for_condition": _condition, "wait_for_signal": _signal,
    "wait_for_event": _event,
}  # fmt: skip


# -- signals --------------------------------------------------------------------------------------------------------------
def deliver(world: World, signal: Signal, to_all: bool) -> None:
    """To the one waiter whose path it names, else the one that has waited longest; or to all that wait now (rule 47)."""
    if signal.name in ("add", "close") and signal.path:
        _to_loop(world, signal)
        return
    waiting = sorted(
        (each for each in world.present() if each.waits_for == "signal" and not each.final and fits(signal, each)),
        key=lambda each: each.waited,
    )
    for instance in waiting if to_all else waiting[:1]:
        ending.succeed(world, instance, signal.payload)
    if not waiting and not to_all and len(world.signals) < SIGNALS_MAX:
        world.signals.append(signal)


def fits(signal: Signal, instance: Instance) -> bool:
    """Name and key must be the same; a path must be that of the wait."""
    return (
        signal.name == instance.wait_name
        and signal.key == instance.wait_key
        and (not signal.path or signal.path == instance.path)
    )


def _to_loop(world: World, signal: Signal) -> None:
    """`add` brings a list of items to an open loop, `close` closes it (rule 28)."""
    for loop in world.present():
        if loop.path == signal.path and loop.raw.get("open") is True and not loop.final and not loops.is_closed(loop):
            if signal.name == "close":
                loop.memory.closed = True
            else:
                loop.fixed["items"] = [*loop.fixed["items"], *signal.payload]
            containers.mark(world, loop)


# -- events ---------------------------------------------------------------------------------------------------------------
def happen(world: World, event: Mapping[str, Any]) -> None:
    """Every wait that the event fits ends."""
    world.events.append(event)
    for instance in list(world.present()):
        if instance.waits_for == "event" and not instance.final and is_event(world, instance, event):
            ending.succeed(world, instance, dict(event))


def is_event(world: World, instance: Instance, event: Mapping[str, Any]) -> bool:
    """Whether an event is of the type and `where` is true of it; one that cannot be judged does not match (rule 48)."""
    if event.get("type") != instance.wait_name:
        return False
    try:
        sight = Sight(world, instance.frame, instance, {"event": dict(event)})
        return instance.raw.get("where") is None or holds(sight, instance.raw["where"], "where")
    except Wrong:
        return False


# -- conditions -----------------------------------------------------------------------------------------------------------
def recheck(world: World, instance: Instance) -> bool:
    """Whether the condition of a wait holds now, or cannot be evaluated; then the wait ends."""
    try:
        if not holds(Sight(world, instance.frame, instance), instance.raw["condition"], "condition"):
            return False
        ending.succeed(world, instance, None)
    except Wrong as wrong:
        failing.offer(world, instance, wrong.failure)
    return True


# -- times ----------------------------------------------------------------------------------------------------------------
def time_out(world: World, instance: Instance) -> None:
    """Its `timeout` has come: `fail`, `continue` by `out`, or `route` by `timeout` (rule 46)."""
    chosen = instance.raw.get("on_timeout", "fail")
    if chosen == "fail":
        title = "What was waited for did not come."
        failing.offer(world, instance, Failure(code="timeout.wait", title=title, category="timeout", node=instance.path))
    else:
        ending.succeed(world, instance, {"timed_out": True}, ports=("out",) if chosen == "continue" else ("timeout",))

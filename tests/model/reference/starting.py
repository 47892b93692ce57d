"""What happens to a node whose edges are all resolved: it is skipped, or it starts as its type does (rules 5, 6, 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.errors import Failure
from reference import containers, data, ending, failing, joins, leaving, loops, waits
from reference.edges import resolution
from reference.names import Sight, duration, evaluate, holds
from reference.shape import CONTAINERS, WAITS, is_effect
from reference.state import Departure, Frame, Instance, World, Wrong

LIMITS = ("timeout", "deadline", "queue_timeout", "heartbeat", "grace")


def is_ready(instance: Instance) -> bool:
    """Whether all edges are resolved, of a join a further one, and nothing keeps it from being judged."""
    if instance.state != "pending" or ending.is_being_reset(instance):
        return False
    frame = instance.frame
    goes_on = instance.deadline_at is not None and frame.departure is None and not frame.ended  # in a drain, as waits do
    if not frame.open and not goes_on:
        return False
    if instance.node.type == "join":
        return joins.has_turn(instance)
    return all(resolution(instance.frame, entry) != "unresolved" for entry in instance.node.incoming)


def judge(world: World, instance: Instance) -> None:
    """Broken edges skip it, dead ones too; else it starts, unless `disabled` or `when` forbid it. A join counts them."""
    if instance.node.type == "join":
        joins.look(world, instance)
        return
    frame = instance.frame
    incoming = [(entry, resolution(frame, entry)) for entry in instance.node.incoming]
    broken = [entry for entry, resolved in incoming if resolved == "broken"]
    if broken:
        source = frame.instances[broken[0].source_id]
        failure = source.broken or source.error
        assert failure is not None, "a broken edge has a failure at its root"
        root = failure.node.rpartition(".")[2] if source.broken is None else source.cause
        cause = f"`{root}` failed: {failure.title}" if source.broken is None else source.cause
        ending.skip(world, instance, cause, failure)
    elif incoming and not any(resolved == "live" for _, resolved in incoming):
        ending.skip(world, instance, "no edge was taken")
    elif instance.node.disabled:
        ending.skip(world, instance, "disabled")
    else:
        start(world, instance)


def start(world: World, instance: Instance) -> None:
    """The node starts; anything wrong in what it says is its failure, before anything has begun (rules 7, 43)."""
    sight = Sight(world, instance.frame, instance)
    instance.began = world.tick()
    try:
        if not holds(sight, instance.raw.get("when", True), "when"):
            ending.skip(world, instance, f"`when` was false: {instance.raw['when']}")
            return
        limits = {name: duration(sight, instance.raw.get(name), name) for name in LIMITS}
        instance.limits = {name: limit for name, limit in limits.items() if limit is not None}
        if "deadline" in instance.limits:
            instance.deadline_at = world.at + instance.limits["deadline"]
        begin(world, instance)
    except Wrong as wrong:
        failing.offer(world, instance, wrong.failure)


def begin(world: World, instance: Instance) -> None:
    """Do what the type does. Raises Wrong."""
    instance.started_at = world.at
    kind = instance.node.type
    if is_effect(instance.node):
        instance.params = evaluate(Sight(world, instance.frame, instance), instance.raw.get("with"), "with")
        attempt_again(world, instance)
    elif kind in CONTAINERS:
        containers.enter(world, instance)
    elif kind in WAITS:
        waits.enter(world, instance)
    elif kind == "join":
        joins.look(world, instance)  # again, since a person asked for it
    else:
        ENTER[kind](world, instance)


def attempt_again(world: World, instance: Instance) -> None:
    """The next attempt of an effect, a child or a container begins."""
    if instance.node.type in CONTAINERS:
        containers.begin(world, instance)
        return
    instance.attempt += 1
    instance.due, instance.crashes = None, 0
    instance.stopping, instance.by_deadline, instance.completes, instance.takes_too_long = "", False, False, False
    instance.started_at = world.at
    instance.state, instance.waits_for = ("running", "") if is_effect(instance.node) else ("waiting", "child")
    if instance.waits_for == "child":
        limit = instance.limits.get("timeout")
        instance.timeout_at = None if limit is None else world.at + limit


# -- leaving --------------------------------------------------------------------------------------------------------------
def _fail(world: World, instance: Instance) -> None:
    sight = Sight(world, instance.frame, instance)
    code, title, detail, content = (evaluate(sight, instance.raw.get(key), key) for key in ("code", "title", "detail", "data"))
    failure = Failure(
        code=code, title=title or code, detail=detail or "", category=instance.raw.get("category", "business"),
        data=content, retryable=instance.raw.get("retryable", False), node=instance.path,
    )  # fmt: skip
    failing.offer(world, instance, failure)


def _break(world: World, instance: Instance) -> None:
    loop, frame = _loop_around(instance)
    ending.succeed(world, instance, None)
    loops.depart_by_break(world, loop, frame, f"`{instance.node.id}` broke")


def _continue(world: World, instance: Instance) -> None:
    _, frame = _loop_around(instance)
    ending.succeed(world, instance, None)
    leaving.depart(world, Departure("continue", frame, f"`{instance.node.id}` went on with the next"))


def _loop_around(instance: Instance) -> tuple[Instance, Frame]:
    """The loop that is named, or the nearest, with the iteration of it that the node is in."""
    frame = instance.frame
    named = instance.raw.get("loop")
    while True:
        loop = frame.parent
        assert loop is not None, "the checker sees to it that there is a loop around"
        if frame.kind == "loop" and named in (None, loop.node.id):
            return loop, frame
        frame = loop.frame


def _return(world: World, instance: Instance) -> None:
    value = evaluate(Sight(world, instance.frame, instance), instance.raw.get("value"), "value")
    is_near = instance.node.type == "exit" or instance.raw.get("from") == "scope"
    ending.succeed(world, instance, value)
    target = instance.frame if is_near else world.frames[0]
    leaving.depart(world, Departure("exit" if is_near else "return", target, f"`{instance.node.id}` returned", value=value))


# -- the rest -------------------------------------------------------------------------------------------------------------
def _cancel(world: World, instance: Instance) -> None:
    """Withdraw another node, or let a container complete with what it has (rule 4)."""
    frame = instance.frame
    while instance.raw["target"] not in frame.instances:
        assert frame.parent is not None, "the checker sees to it that the target is around"
        frame = frame.parent.frame
    target = frame.instances[instance.raw["target"]]
    ending.succeed(world, instance, {"target": target.node.id, "was": target.state})
    cause = f"cancelled by `{instance.node.id}`"
    if target.final:
        return
    if instance.raw.get("mode", "stop") == "complete":
        complete(world, target, cause)
    else:
        leaving.withdraw(world, target, cause)


def complete(world: World, target: Instance, cause: str) -> None:
    """The target succeeds with what it has: a loop or parallel with its partial results, anything else with null."""
    if target.node.type in ("parallel", *loops.TYPES) and target.state == "running":
        module: Any = containers.KINDS[target.node.type]
        output = module.output_of(world, target)
        containers.lose(world, target)
        ending.succeed(world, target, output)
    elif world.active_frames(target):
        leaving.withdraw(world, target, cause, "complete")
    elif not is_effect(target.node) or target.state != "running":
        ending.succeed(world, target, None)
    else:
        target.completes = True
        leaving.withdraw(world, target, cause)


def _subworkflow(world: World, instance: Instance) -> None:
    sight = Sight(world, instance.frame, instance)
    evaluate(sight, instance.raw.get("workflow"), "workflow")
    instance.params = evaluate(sight, instance.raw.get("input"), "input")
    if instance.raw.get("wait", True):
        attempt_again(world, instance)
    else:
        ending.succeed(world, instance, {"execution": instance.path})


def _pure(compute: Callable[[World, Instance], tuple[Any, tuple[str, ...]]]) -> Callable[[World, Instance], None]:
    def enter(world: World, instance: Instance) -> None:
        output, ports = compute(world, instance)
        ending.succeed(world, instance, output, ports)

    return enter


ENTER: dict[str, Callable[[World, Instance], None]] = {
    "fail": _fail, "break": _break, "continue": _continue, "return": _return, "exit": _return, "cancel": _cancel,
    "subworkflow": _subworkflow, **{kind: _pure(compute) for kind, compute in data.COMPUTE.items()},
}  # fmt: skip

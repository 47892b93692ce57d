"""What follows from an input until nothing more follows (rule 2): one thing at a time, each found anew."""

from __future__ import annotations

from reference import containers, ending, joins, leaving, starting, waits
from reference.state import Frame, World

STEPS_MAX = 20_000


def settle(world: World) -> None:
    """Do what follows, one thing after another, until the execution rests or has ended."""
    for _ in range(STEPS_MAX):
        if world.ended or world.paused_at is not None or not _follow(world):
            return
    raise AssertionError("the execution never comes to rest")


def _follow(world: World) -> bool:
    """Do the one thing that is next; whether there was one. Only when nothing else follows has a frame ended."""
    _give_turns(world)
    return (
        _start_one(world) or _end_one(world) or _go_back_one(world) or _look_at_one(world) or _recheck_one(world)
    )  # fmt: skip


def _give_turns(world: World) -> None:
    """What has become ready since the last thing was done gets its place, in the order of declaration."""
    for instance in world.present():
        if instance.node.type == "join" and joins.takes_a_later_turn(instance):
            instance.turn = 0
        if not instance.turn and starting.is_ready(instance):
            instance.turn = world.tick()


def _start_one(world: World) -> bool:
    ready = [instance for instance in world.present() if instance.turn and starting.is_ready(instance)]
    if not ready:
        return False
    starting.judge(world, min(ready, key=lambda instance: instance.turn))
    return True


def _recheck_one(world: World) -> bool:
    """Judge conditions that are waited for, until one holds."""
    waiting = [instance for instance in world.present() if instance.waits_for == "condition" and not instance.final]
    return any(waits.recheck(world, instance) for instance in waiting)


def _end_one(world: World) -> bool:
    """End a frame in which everything is final: inner ones first, then the one that was opened first."""
    ended: list[Frame] = [frame for frame in world.frames if leaving.can_end(world, frame)]
    if not ended:
        return False
    leaving.conclude(world, max(ended, key=lambda frame: frame.depth))
    return True


def _go_back_one(world: World) -> bool:
    """Begin one new visit of a region in which everything is final."""
    ready = ending.next_visits(world)
    if not ready:
        return False
    frame, back = ready[0]
    ending.revisit(world, frame, back)
    return True


def _look_at_one(world: World) -> bool:
    """Look at one container that something is new to: the one that has been marked for the longest time."""
    marked = [instance for instance in world.instances() if instance.look]
    if not marked:
        return False
    containers.look(world, min(marked, key=lambda instance: instance.look))
    return True

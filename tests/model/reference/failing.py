"""What becomes of a failure: the order in which it is offered, and what each policy does (rules 10, 11, 13, 14, 18)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from perdure.definition.fields import one_or_list
from perdure.definition.graph import LOOPS
from perdure.errors import Failure
from reference import ending, leaving, loops, retrying, trying
from reference.names import Sight, holds
from reference.shape import has_edge, matches, region, shields
from reference.state import Departure, Frame, Instance, World, Wrong


def offer(world: World, instance: Instance, failure: Failure) -> None:
    """A failure of a node, offered to its retry, then as `without_retry` says (rule 11)."""
    failure = failure if failure.node else msgspec.structs.replace(failure, node=instance.path)
    instance.last_failure = failure
    if retries(world, instance, failure):
        return
    without_retry(world, instance, failure)


def retries(world: World, instance: Instance, failure: Failure) -> bool:
    """Begin a backoff, where the node's own policy wants one; a policy that cannot be followed is the news (rule 42)."""
    if not instance.frame.open or instance.no_retry:
        return False
    try:
        wait = retrying.backoff(world, instance, failure)
    except Wrong as wrong:
        without_retry(world, instance, ending.with_cause(wrong.failure, failure))
        return True
    if wait is None:
        return False
    retrying.use(world, instance, failure)
    instance.state, instance.waits_for = "waiting", "backoff"
    instance.due = world.at + wait
    instance.waited = world.tick()
    return True


def without_retry(world: World, instance: Instance, failure: Failure) -> None:
    """A failure that is not tried again: its edges, a join that shields it, a person, the policy of the frame."""
    failure, port = offered_to_edges(world, instance, failure)
    if port is not None:
        back = ending.back_edge(instance, (port,))
        ending.fail(world, instance, failure, ports=(port,))
        if back is not None:
            ending.go_back(world, instance, back)
    elif is_shielded(instance):
        ending.fail(world, instance, failure, others="broken")
    elif parks(world, instance, failure):
        instance.state, instance.error, instance.waits_for = "parked", failure, ""
        instance.waited = world.tick()
    else:
        by_policy(world, instance, failure)


def offered_to_edges(world: World, instance: Instance, failure: Failure) -> tuple[Failure, str | None]:
    """The failure and the port that takes it; an edge back without a visit left makes it another failure (rule 36)."""
    ports = matching_ports(world, instance, failure)
    if not ports or not _is_used_up(instance, ports[0]):
        return failure, ports[0] if ports else None
    failure = ending.exhausted(instance, failure)
    left = [port for port in matching_ports(world, instance, failure) if not _is_used_up(instance, port)]
    return failure, left[0] if left else None


def _is_used_up(instance: Instance, port: str) -> bool:
    back = ending.back_edge(instance, (port,))
    return back is not None and ending.is_used_up(instance, back)


def matching_ports(world: World, instance: Instance, failure: Failure) -> list[str]:
    """What would take a failure: `catch` from top to bottom, `timeout` for one in time, then `error` (rule 10)."""
    if failure.category == "cancelled":
        return []
    ports = caught_by(world, instance, failure)
    if failure.category == "timeout" and has_edge(instance.node, "timeout"):
        ports.append("timeout")
    if has_edge(instance.node, "error"):
        ports.append("error")
    return ports


def caught_by(world: World, instance: Instance, failure: Failure) -> list[str]:
    """The port of the first entry of `catch` that matches, if any; `try` has bodies there instead."""
    if instance.node.type == "try":
        return []
    entries = one_or_list(instance.raw.get("catch") or [])
    sight = Sight(world, instance.frame, instance, {"error": failure.as_value()})
    return [entry["to"] for entry in entries if takes(sight, entry, failure)][:1]


def takes(sight: Sight, entry: Mapping[str, Any], failure: Failure) -> bool:
    """Whether an entry of a `catch` matches; a condition that cannot be evaluated does not."""
    patterns = one_or_list(entry.get("on") or [])
    if patterns and not any(matches(pattern, failure) for pattern in patterns):
        return False
    try:
        return entry.get("when") is None or holds(sight, entry["when"], "catch")
    except Wrong:
        return False


# -- shields --------------------------------------------------------------------------------------------------------------
def is_shielded(instance: Instance) -> bool:
    """Whether a join takes the failure for its count: one that tolerates some, or that has ended (rule 18)."""
    return any(instance.node in region(join.node) for join in _shielding(instance.frame))


def is_loser(instance: Instance) -> bool:
    """Whether it is what is left of a join or container that has ended: its failure never fails the frame (rule 20)."""
    ended = [each for each in instance.frame.instances.values() if each.node.type == "join" and each.quorum_met]
    if any(instance.node in region(join.node) for join in ended):
        return True
    holder = instance.frame.parent
    return holder is not None and (holder.final or is_loser(holder))


def _shielding(frame: Frame) -> Sequence[Instance]:
    joins = [each for each in frame.instances.values() if each.node.type == "join"]
    return [join for join in joins if join.quorum_met or (not join.final and shields(join.node))]


# -- people ---------------------------------------------------------------------------------------------------------------
def would_park(world: World, instance: Instance, failure: Failure) -> bool:
    """Whether nobody takes a failure before a person is asked for it."""
    if offered_to_edges(world, instance, failure)[1] is not None or is_shielded(instance):
        return False
    return parks(world, instance, failure)


def parks(world: World, instance: Instance, failure: Failure) -> bool:
    """Whether a person is asked: wished for, and nobody handles the failure short of failing the execution (rule 14)."""
    wished = instance.raw.get("park", world.settings.get("park", False) and not is_compensating(instance.frame))
    if not wished or is_by_deadline(failure) or instance.frame.drain is not None:
        return False
    if failure.node in world.given_up:
        return False
    return not is_handled_outside(world, instance.frame, failure)


def is_handled_outside(world: World, frame: Frame, failure: Failure) -> bool:
    """Whether the frame's policy, its container, or somebody further out would handle a failure in the frame."""
    if frame.scope.on_failure in ("collect", "ignore"):
        return True
    container = frame.parent
    if container is None or frame.kind == "compensate":
        return False
    if container.final or _tolerates(container) or _catches(world, container, frame, failure):
        return True
    if container.frame.drain is None and not container.no_retry:
        try:
            if retrying.backoff(world, container, failure) is not None:
                return True
        except Wrong:
            return False
    if offered_to_edges(world, container, failure)[1] is not None or is_shielded(container):
        return True
    return is_handled_outside(world, container.frame, failure)


def is_by_deadline(failure: Failure) -> bool:
    """Whether the time for all attempts is over, also where that was the end of the last visit."""
    if failure.code == "visits.exhausted" and failure.cause is not None:
        return is_by_deadline(failure.cause)
    return failure.code == "timeout.deadline"


def is_compensating(frame: Frame) -> bool:
    """Whether a compensation is around: there a node parks only where it says so itself (rule 39)."""
    if frame.kind == "compensate":
        return True
    return frame.parent is not None and is_compensating(frame.parent.frame)


def _tolerates(container: Instance) -> bool:
    if container.node.type not in LOOPS | {"parallel"}:
        return False
    if shields(container.node) or container.raw.get("on_failure") in ("collect", "ignore"):
        return True
    return container.node.type in LOOPS and loops.tolerates_one_more(container)


def _catches(world: World, container: Instance, frame: Frame, failure: Failure) -> bool:
    return container.node.type == "try" and frame.kind == "body" and trying.handler_of(world, container, failure) is not None


# -- policies -------------------------------------------------------------------------------------------------------------
def by_policy(world: World, instance: Instance, failure: Failure) -> None:
    """Nobody has taken the failure: `on_failure` of the frame speaks (rule 13)."""
    frame = instance.frame
    if frame.drain is not None or frame.departure is not None:
        ending.fail(world, instance, failure, others="broken")
        frame.unhandled.append(failure)
        return
    policy = frame.scope.on_failure
    if policy == "ignore":
        ending.fail(world, instance, failure, others="live")
        return
    ending.fail(world, instance, failure, others="broken")
    frame.unhandled.append(failure)
    if policy == "cancel_siblings":
        cause = f"sibling `{instance.node.id}` failed: {failure.title}"
        leaving.depart(world, Departure("error", frame, cause, failure=failure))
    elif policy == "drain":
        drain(world, frame, failure, f"sibling `{instance.node.id}` failed: {failure.title}")


def drain(world: World, frame: Frame, failure: Failure, cause: str) -> None:
    """What runs goes on to its end; nothing else starts in the frame (rule 13)."""
    frame.drain = failure
    frame.returns.clear()
    for instance in list(frame.instances.values()):
        drain_one(world, instance, cause)


def drain_one(world: World, instance: Instance, cause: str) -> None:
    """A node that is not started is skipped, a backoff ends with its failure, a parked node is cancelled; others go on."""
    instance.no_retry = True
    instance.draining = True
    if instance.state == "pending" and instance.deadline_at is None:  # but a join whose deadline runs waits on (rule 21)
        ending.skip(world, instance, cause)
    elif instance.state == "parked":
        ending.cancel(world, instance, cause)
    elif instance.waits_for == "backoff" and instance.last_failure is not None:
        without_retry(world, instance, instance.last_failure)


def joined(failures: Sequence[Failure]) -> Failure:
    """The first failure, with the others in `also`."""
    first, *others = failures
    return first if not others else msgspec.structs.replace(first, also=(*first.also, *others))

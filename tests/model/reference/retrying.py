"""Retries: which failure is tried again, and after how long (rule 42)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.definition.fields import one_or_list
from perdure.errors import Failure
from reference.names import Sight, evaluate, invalid, length
from reference.shape import CONTAINERS, is_effect, matches
from reference.state import Instance, World

NEVER = frozenset({"timeout.deadline", "quorum_unreachable", "visits.exhausted"})


def can_retry(instance: Instance) -> bool:
    """Whether it is a kind of node that is tried again: pure and control nodes give the same again."""
    kind = instance.node.type
    return is_effect(instance.node) or kind == "subworkflow" or kind in CONTAINERS - {"rollback"}


def backoff(world: World, instance: Instance, failure: Failure) -> int | None:
    """How long to wait before the next attempt; None where there is none. Raises Wrong for a policy that makes no sense."""
    if not can_retry(instance) or failure.code in NEVER:
        return None
    for number, policy in enumerate(one_or_list(instance.raw.get("retry") or [])):
        if speaks_of(policy, failure):
            used = instance.retries.get(number, 0)
            wait = _wait(world, instance, policy, used, failure)
            if wait is None or (instance.deadline_at is not None and world.at + wait >= instance.deadline_at):
                return None
            return wait
    return None


def use(world: World, instance: Instance, failure: Failure) -> None:
    """Count a retry for the policy that asked for it."""
    for number, policy in enumerate(one_or_list(instance.raw.get("retry") or [])):
        if speaks_of(policy, failure):
            instance.retries[number] = instance.retries.get(number, 0) + 1
            return


def speaks_of(policy: Mapping[str, Any], failure: Failure) -> bool:
    """Whether the policy wants the failure to be tried again."""
    if failure.retryable is False:
        return False
    if any(matches(pattern, failure) for pattern in one_or_list(policy.get("not_on") or [])):
        return False
    on = one_or_list(policy.get("on") or [])
    if on:
        return any(matches(pattern, failure) for pattern in on)
    if failure.retryable is True:
        return True
    return failure.category == "technical" or (failure.category == "timeout" and failure.code != "timeout.queue")


def _wait(world: World, instance: Instance, policy: Mapping[str, Any], used: int, failure: Failure) -> int | None:
    sight = Sight(world, instance.frame, instance)
    attempts = evaluate(sight, policy.get("attempts", 3), "retry.attempts")
    if not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 1:
        raise invalid(instance, "retry.invalid", f"Expected a number of attempts, but got {attempts!r}.")
    initial = length(sight, policy.get("initial", "1s"), "retry.initial")
    longest = length(sight, policy.get("max", "5m"), "retry.max")
    if used + 1 >= attempts:
        return None
    grown = {
        "fixed": initial,
        "linear": initial * (used + 1),
        "exponential": initial * float(policy.get("factor", 2.0)) ** used,
    }[policy.get("backoff", "exponential")]
    return round(max(min(grown, longest), min(failure.retry_after or 0, longest)))

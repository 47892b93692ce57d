"""When a failed attempt is tried again, and when: retry policies (rules 42, 43, 53)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from perdure.definition.plan import NodePlan, RetryPolicy
from perdure.engine.execution import Instance
from perdure.errors import Failure
from perdure.expressions import Template, parse_duration

NEVER_BY_DEFAULT = frozenset(("validation", "business", "cancelled"))


def matches(patterns: tuple[str, ...], failure: Failure) -> bool:
    """Does one of the patterns name this failure? Exact code, `prefix.*`, a category, or `http.5xx` (x = any digit)."""
    return any(_matches(pattern, failure) for pattern in patterns)


def _matches(pattern: str, failure: Failure) -> bool:
    code = failure.code
    if pattern == "*" or pattern == code or pattern == failure.category:
        return True
    if pattern.endswith(".*"):
        return code.startswith(pattern[:-1])
    return len(pattern) == len(code) and all(
        have == want or (want == "x" and have.isdigit()) for want, have in zip(pattern, code, strict=True)
    )


def retryable(failure: Failure) -> bool:
    """The default of rule 42: technical failures and timeouts of an attempt; the failure's own `retryable` decides first."""
    if failure.retryable is not None:
        return failure.retryable
    return failure.category not in NEVER_BY_DEFAULT and failure.code != "timeout.queue"


def next_try(
    node: NodePlan, instance: Instance, failure: Failure, at: int, key: str, evaluate: Callable[[Template], Any]
) -> tuple[int, int] | None:
    """(policy, due) of the next attempt; None when this failure is for good."""
    if failure.retryable is False:
        return None
    for number, policy in enumerate(node.retry):
        if _applies(policy, failure):
            return _scheduled(number, policy, instance, failure, at, key, evaluate)
    return None


def _applies(policy: RetryPolicy, failure: Failure) -> bool:
    if policy.not_on and matches(policy.not_on, failure):
        return False
    return matches(policy.on, failure) if policy.on else retryable(failure)


def _scheduled(
    number: int, policy: RetryPolicy, instance: Instance, failure: Failure, at: int, key: str,
    evaluate: Callable[[Template], Any],
) -> tuple[int, int] | None:  # fmt: skip
    failed = instance.used.get(number, 0) + 1
    if failed >= int(evaluate(policy.attempts)):
        return None
    longest = parse_duration(evaluate(policy.maximum))
    delay = _backoff(policy, failed, parse_duration(evaluate(policy.initial)), longest)
    if policy.jitter:
        delay = _jittered(delay, key, number, failed)
    if failure.retry_after is not None:
        delay = max(delay, min(failure.retry_after, longest))
    due = at + delay
    if instance.deadline_at and due >= instance.deadline_at:
        return None  # it would end after the deadline: not waited for (rule 43)
    return number, due


def _backoff(policy: RetryPolicy, failed: int, initial: int, longest: int) -> int:
    if policy.backoff == "fixed":
        delay = initial
    elif policy.backoff == "linear":
        delay = initial * failed
    else:
        # The exponent is bounded before the multiplication: 2 ** 10_000 is not a delay.
        delay = int(initial * policy.factor ** min(failed - 1, 64))
    return min(delay, longest)


def _jittered(delay: int, key: str, policy: int, failed: int) -> int:
    """Between half of the delay and all of it, from the effect key: spread out, yet the same whenever the step is repeated."""
    chance = int.from_bytes(hashlib.sha256(f"{key}:{policy}:{failed}".encode()).digest()[:4], "big")
    return delay // 2 + delay * chance // (2 << 32)

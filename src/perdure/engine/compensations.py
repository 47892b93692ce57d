"""Compensations: registered when their node succeeds, with the names they will need, and run by a `rollback` (rule 39)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from perdure.definition.plan import NodePlan, ScopePlan
from perdure.engine import events
from perdure.engine.events import NOTHING
from perdure.engine.execution import CANCELLED, FAILED, OPEN, RUNNING, SUCCEEDED, WAITING, Compensation, Instance
from perdure.engine.index import FrameIndex
from perdure.engine.names import FrameNames
from perdure.expressions import Expression, Template

if TYPE_CHECKING:
    from perdure.engine.machine import Step

_KEPT_BY_THE_EXECUTION = frozenset(("input", "trigger", "execution", "self", "incoming"))


def register(
    step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, params: Raw, names: Raw, *, attempted: bool
) -> None:  # fmt: skip
    """An instance has ended: what undoes it stands ready, if it did something or may have."""
    if instance.state != SUCCEEDED and not (attempted and node.options["compensate_on"] == "attempted"):
        return
    path = opened.frame.path
    step.emit(
        events.Registered(
            frame=path, node=node.id, visit=instance.visit, input=params, names=names,
            replaces=any(name != "compensate" for name in node.scopes),
        )
    )  # fmt: skip


def may_have_happened(instance: Instance, was: int) -> bool:
    """Did an attempt begin, this one or one before, of which nobody can say that it did nothing? `was`: its state before."""
    was_running = was in (RUNNING, OPEN) or (was == WAITING and instance.wait in ("child", "deferred"))
    if instance.perhaps or (instance.state == CANCELLED and (was_running or instance.unknown)):
        return True
    error = instance.error if instance.state == FAILED else None
    return error is not None and (error.leaves_open or error.code == "effect.unknown")


def kept_names(step: Step, opened: FrameIndex, node: NodePlan, fact: events.InstanceFact) -> Raw:
    """What is kept for a compensation that this fact may register: found before it is stated, since a value may be lacking."""
    if isinstance(fact, events.Done) or (
        node.options["compensate_on"] == "attempted" and isinstance(fact, events.NodeFailed | events.NodeCancelled)
    ):
        kept = names_kept(step, opened, node)
        return step.encoded(kept) if kept else NOTHING
    return NOTHING


def names_kept(step: Step, opened: FrameIndex, node: NodePlan) -> dict[str, dict[str, Any]]:
    """The names that a compensation reads of the scopes around it, as they are now: its frame may be gone when it runs."""
    if "compensate" not in node.scopes:
        return {}
    names = FrameNames(step.execution, step.index, opened, step.at, node.id)
    kept: dict[str, dict[str, Any]] = {}
    for root, member in sorted(reads_around(node.scopes["compensate"]), key=str):
        if root in _KEPT_BY_THE_EXECUTION:
            continue
        try:
            if root == "vars":
                kept.setdefault("vars", {}).update(names.root("vars"))
            elif root in ("nodes", "state", "previous"):
                if member is not None:
                    kept.setdefault(root, {})[member] = names.member(root, member)
            else:
                kept.setdefault("roots", {})[root] = names.root(root)
        except KeyError:
            continue  # bound inside the compensation itself, or not at all
    return kept


@lru_cache(1_024)
def reads_around(scope: ScopePlan) -> frozenset[tuple[str, str | None]]:
    """The names that a scope, or a scope inside it, reads and does not hold itself."""
    read: set[tuple[str, str | None]] = set()
    for template in templates_of(scope):
        read |= template.reads
    for node in scope.nodes:
        if node.type == "get_variable":
            read.add(("vars", node.options["name"]))
        for inner in node.scopes.values():
            read |= reads_around(inner)
    return frozenset(
        (root, member) for root, member in read if root not in ("nodes", "state", "previous") or member not in scope.number
    )


def templates_of(scope: ScopePlan) -> Iterator[Template | Expression]:
    """Every template that a scope's own nodes hold."""
    singles: list[Template | Expression | None] = [scope.output, scope.result, scope.timeout]
    singles += [variable.value for variable in scope.variables.values()]
    for node in scope.nodes:
        singles += [
            node.params,
            node.when,
            node.timeout,
            node.deadline,
            node.queue_timeout,
            node.heartbeat,
            node.grace,
            node.lock,
        ]
        singles += node.keys.values()
        singles += [caught.when for caught in node.catch]
        for policy in node.retry:
            singles += [policy.attempts, policy.initial, policy.maximum]
    return (template for template in singles if template is not None)


def bound_for(step: Step, compensation: Compensation) -> Raw:
    """What a compensation sees: `self`, and the names that were kept for it."""
    value = step.value
    kept = value(compensation.names) if compensation.names != NOTHING else {}
    seen = {family: kept.get(family, {}) for family in ("roots", "vars", "nodes", "state", "previous")}
    return step.encoded({"self": {"input": value(compensation.input), "output": value(compensation.output)}, **seen})

"""What an instance waits for: in words, when that ends by itself, when it gives up, and the command that ends it."""

from __future__ import annotations

import shlex

from perdure.definition.plan import NodePlan
from perdure.engine.execution import BACKOFF, PARKED, WAITING, Instance
from perdure.expressions import Computed
from perdure.ids import ExecutionId, id_text

_BY_TIME = frozenset(("delay", "until"))


def wait_words(instance: Instance, node: NodePlan | None = None) -> str:
    """`for the signal `go` with key o-1`; empty for what only time ends. `node` knows what the instance does not."""
    match instance.wait:
        case "signal":
            return f"for the signal `{instance.wait_name}`{f' with key {instance.wait_key}' if instance.wait_key else ''}"
        case "event":
            return f"for an event `{instance.wait_name}`"
        case "condition":
            condition = condition_of(node)
            source = f" `{condition.expression.source.strip()}`" if condition is not None else ""
            return f"for its condition{source}"
        case "join":
            return "for more of its branches"
        case "lock":
            return f"for the lock `{instance.wait_key}`"
        case "child":
            return f"for its child {id_text(child_of(instance))} ({instance.wait_name})"
        case "deferred":
            return "for the answer of whoever has its token"
    return ""


def condition_of(node: NodePlan | None) -> Computed | None:
    """What a `wait_for_condition` waits for."""
    template = node.keys.get("condition") if node is not None and node.type == "wait_for_condition" else None
    return template if isinstance(template, Computed) else None


def child_of(instance: Instance) -> ExecutionId:
    """The execution that the node of a sub-workflow waits for."""
    assert instance.progress is not None, "who waits for a child knows which"
    return ExecutionId(instance.progress.child)


def ends_at(instance: Instance) -> int:
    """When a wait, or a backoff, ends by itself, microseconds UTC; 0: it does not."""
    return instance.due if instance.state == BACKOFF or instance.wait in _BY_TIME else 0


def gives_up_at(instance: Instance) -> int:
    """When a wait ends without what it waits for, microseconds UTC; 0: never."""
    limits = [instance.deadline_at]
    if instance.state == WAITING:
        limits.append(instance.wait_timeout_at)
    return min((limit for limit in limits if limit), default=0)


def command_for(instance: Instance, execution: str, path: str) -> str:
    """The command that ends a wait or decides what is parked, ready to be pasted; empty where there is none."""
    if instance.state == PARKED:
        return f"perdure retry {execution} {shlex.quote(path)}"
    match instance.wait:
        case "signal":
            key = f" --key {shlex.quote(instance.wait_key)}" if instance.wait_key else ""
            return f"perdure signal {execution} {shlex.quote(instance.wait_name)}{key}"
        case "event":
            return f"perdure emit {shlex.quote(instance.wait_name)}"
        case "condition":
            return f"perdure skip {execution} {shlex.quote(path)}"
        case "child":
            return f"perdure why {id_text(child_of(instance))}"
    return ""

"""Outstanding work is a function of the execution: what runs is asked for again, and recovery is nothing special."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perdure.definition.plan import NodePlan
from perdure.engine.commands import Command, Evaluate, Lock, Look, Run, StartChild, StopChild
from perdure.engine.events import NOTHING, Token, encode
from perdure.engine.execution import RUNNING, WAITING, Execution, Frame, Instance
from perdure.engine.index import FrameIndex, Index
from perdure.engine.names import FrameNames, live_edges
from perdure.ids import instance_path


def token_of(frame: Frame, instance: Instance) -> Token:
    """The token of an instance's present attempt."""
    return Token(frame=frame.path, node=instance.node, visit=instance.visit, attempt=instance.attempt)


def running(index: Index) -> Iterator[tuple[FrameIndex, NodePlan, Instance]]:
    """Every instance that an attempt is under way for, in declaration order within a frame."""
    yield from _in_state(index, RUNNING)


def waiting(index: Index) -> Iterator[tuple[FrameIndex, NodePlan, Instance]]:
    """Every instance that waits for something the home must ask for: a child, a lock, an event."""
    for opened, node, instance in _in_state(index, WAITING):
        if instance.wait in ASKED_FOR:
            yield opened, node, instance


def _in_state(index: Index, state: int) -> Iterator[tuple[FrameIndex, NodePlan, Instance]]:
    for opened in index.frames.values():
        if opened.frame.closed:
            continue
        for node in opened.scope.nodes:
            instance = opened.frame.instances.get(node.id)
            if instance is not None and instance.state == state:
                yield opened, node, instance


def command_for(execution: Execution, index: Index, opened: FrameIndex, node: NodePlan, instance: Instance, at: int) -> Command:
    """The command that a running instance stands for."""
    token = token_of(opened.frame, instance)
    if instance.pure:
        path = instance_path(opened.frame.path, node.id, instance.visit)
        names = captured(execution, index, opened, node, path, at)
        return Evaluate(
            token=token,
            type=node.type,
            document=dict(node.document),
            names=names,
            timeout=instance.timeout,
            grace=instance.grace,
        )
    return Run(
        token=token, type=node.type, params=instance.params,
        execution=execution.id, generation=instance.generation, timeout=instance.timeout, queue_timeout=instance.queue_timeout,
        heartbeat=instance.heartbeat, grace=instance.grace, ready=instance.ready, at_most_once=node.at_most_once,
    )  # fmt: skip


# -- waits that somebody else ends -----------------------------------------------------------------------------------------


def command_of_wait(execution: Execution, opened: FrameIndex, node: NodePlan, instance: Instance) -> Command | None:
    """The command that a waiting instance stands for, if any."""
    return ASKED_FOR[instance.wait](execution, opened, node, instance)


def _child(execution: Execution, opened: FrameIndex, node: NodePlan, instance: Instance) -> Command:
    progress = instance.progress
    assert progress is not None, "who waits for a child knows which"
    if instance.stopping:
        return stop_child(progress.child, "cancel", instance.stopping)
    deadlines = [moment for moment in (progress.timeout_at, instance.deadline_at, execution.timeout_at) if moment]
    return StartChild(
        token=token_of(opened.frame, instance), child=progress.child, workflow=instance.wait_name,
        digest=bytes.fromhex(instance.wait_key), input=instance.params,
        priority=node.options.get("priority") or execution.priority, depth=execution.depth + 1,
        deadline_at=min(deadlines, default=0) if node.options["wait"] else 0, awaited=node.options["wait"],
    )  # fmt: skip


def stop_child(child: bytes, action: str, reason: str, *, times: int = 0, value: Any = None) -> StopChild:
    """Ask a child for something. `times` tells one wish from the same wish later."""
    key = f"{action}:{times}" if times else action
    return StopChild(child=child, action=action, reason=reason, key=key, value=NOTHING if value is None else encode(value))


def _lock(execution: Execution, opened: FrameIndex, node: NodePlan, instance: Instance) -> Command:
    return Lock(frame=opened.frame.path, node=node.id, visit=instance.visit, key=instance.wait_key)


def _event(execution: Execution, opened: FrameIndex, node: NodePlan, instance: Instance) -> Command | None:
    since = execution.started if node.options["since"] == "execution" else 0
    return Look(type=instance.wait_name, since=since) if since else None


ASKED_FOR = {"child": _child, "lock": _lock, "event": _event}


# -- names for an evaluation elsewhere -------------------------------------------------------------------------------------


def captured(execution: Execution, index: Index, opened: FrameIndex, node: NodePlan, path: str, at: int) -> dict[str, Any]:
    """The values of all names that a node's own keys read: outputs as stored (large ones by handle), the rest as values."""
    names = FrameNames(execution, index, opened, at, path)
    reads = frozenset().union(*(template.reads for template in node.keys.values()))
    found: dict[str, Any] = {"at": at, "seed": names.seed, "nodes": {}, "state": {}, "previous": {}, "roots": {}}
    roots: dict[str, Any] = found["roots"]
    for root, member in sorted(reads, key=str):
        if root in ("nodes", "state", "previous") and member is not None:
            _capture_member(found[root], names, root, member)
        elif root in ("input", "trigger"):
            roots[root] = names.stored(root, None)[0]
        elif root == "vars":
            roots["vars"] = names.variables()
        elif root == "incoming":
            if node.incoming:
                roots["incoming"] = _incoming(opened, node)
        else:
            _capture_root(roots, names, opened, node, root)
    return found


def _capture_member(members: dict[str, Any], names: FrameNames, root: str, member: str) -> None:
    """What a node's name stands for; one that only the body of a `loop` has is not there before its items are."""
    try:
        stored = names.stored(root, member)
        members[member] = stored[0] if stored else names.member(root, member)
    except KeyError:
        return


def _capture_root(roots: dict[str, Any], names: FrameNames, opened: FrameIndex, node: NodePlan, root: str) -> None:
    """A name that is worked out; one that the evaluation binds itself (`item` of a `map`) has no value here."""
    failed = (
        [instance.error for _, instance in live_edges(opened, node) if instance.error is not None] if root == "error" else []
    )
    try:
        roots[root] = failed[0].as_value() if failed else names.root(root)
    except KeyError:
        return


def _incoming(opened: FrameIndex, node: NodePlan) -> Any:
    """The output of the live predecessor, as stored; of several an object by `after` entry (rule 8)."""
    outputs = {edge.entry: instance.output for edge, instance in live_edges(opened, node)}
    return outputs if len(outputs) > 1 else next(iter(outputs.values()), None)

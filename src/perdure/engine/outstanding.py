"""Outstanding work is a function of the execution: what runs is asked for again, and recovery is nothing special."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perdure.definition.plan import Edge, NodePlan
from perdure.engine.commands import Command, Evaluate, Run
from perdure.engine.events import Token
from perdure.engine.execution import RUNNING, Execution, Frame, Instance
from perdure.engine.index import FrameIndex, Index
from perdure.engine.names import FrameNames
from perdure.engine.place import LIVE, resolution
from perdure.ids import ExecutionId, effect_key, instance_path


def token_of(frame: Frame, instance: Instance) -> Token:
    """The token of an instance's present attempt."""
    return Token(frame=frame.path, node=instance.node, visit=instance.visit, attempt=instance.attempt)


def running(execution: Execution, index: Index) -> Iterator[tuple[FrameIndex, NodePlan, Instance]]:
    """Every instance that an attempt is under way for, in declaration order within a frame."""
    for opened in index.frames.values():
        for node in opened.scope.nodes:
            instance = opened.frame.instances.get(node.id)
            if instance is not None and instance.state == RUNNING:
                yield opened, node, instance


def outstanding(execution: Execution, index: Index, at: int) -> list[Command]:
    """All commands that the state stands for: what a new home must ask for."""
    return [command_for(execution, index, opened, node, instance, at) for opened, node, instance in running(execution, index)]


def command_for(execution: Execution, index: Index, opened: FrameIndex, node: NodePlan, instance: Instance, at: int) -> Command:
    """The command that a running instance stands for."""
    token = token_of(opened.frame, instance)
    path = instance_path(opened.frame.path, node.id, instance.visit)
    if instance.pure:
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
        key=effect_key(ExecutionId(execution.id), path, instance.visit, instance.generation), timeout=instance.timeout,
        queue_timeout=instance.queue_timeout, heartbeat=instance.heartbeat, grace=instance.grace, ready=instance.ready,
    )  # fmt: skip


def captured(execution: Execution, index: Index, opened: FrameIndex, node: NodePlan, path: str, at: int) -> dict[str, Any]:
    """The values of all names that a node's own keys read: outputs as stored (large ones by handle), the rest as values."""
    frame = opened.frame
    names = FrameNames(execution, index, frame, at, path)
    reads = frozenset().union(*(template.reads for template in node.keys.values()))
    found: dict[str, Any] = {"at": at, "seed": names.seed, "nodes": {}, "state": {}, "previous": {}, "roots": {}}
    for root, member in sorted(reads, key=str):
        if root == "nodes" and member is not None:
            instance = frame.instances.get(member)
            found["nodes"][member] = None if instance is None else instance.output
        elif root in ("state", "previous") and member is not None:
            found[root][member] = names.member(root, member)
        elif root == "input":
            found["roots"]["input"] = execution.input
        elif root == "trigger":
            found["roots"]["trigger"] = execution.trigger
        elif root == "vars":
            found["roots"]["vars"] = dict(frame.variables)
        elif root == "execution":
            found["roots"]["execution"] = names.root("execution")
        elif root == "incoming" and node.incoming:
            found["roots"]["incoming"] = _incoming(opened, node)
        elif root == "error":
            failed = [instance.error for _, instance in _live(opened, node) if instance.error is not None]
            found["roots"].update({"error": failed[0].as_value()} if failed else {})
    return found


def _incoming(opened: FrameIndex, node: NodePlan) -> Any:
    """The output of the live predecessor, as stored; of several an object by `after` entry (rule 8)."""
    outputs = {edge.entry: instance.output for edge, instance in _live(opened, node)}
    return outputs if len(outputs) > 1 else next(iter(outputs.values()), None)


def _live(opened: FrameIndex, node: NodePlan) -> Iterator[tuple[Edge, Instance]]:
    for edge in node.incoming:
        source = opened.scope.nodes[edge.source]
        instance = opened.frame.instances[source.id]
        if resolution(edge, source, instance, opened.scope.on_failure) == LIVE:
            yield edge, instance

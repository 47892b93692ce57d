"""Policies that do not go together or that nothing heeds, and effects that an edge back repeats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from perdure.definition.checks.subject import Check, Subject, listed
from perdure.definition.fields import is_expression
from perdure.definition.graph import LOOPS, WAITING, Entry, Node
from perdure.definition.nodes import CLOSED

# -- keys that nothing heeds ----------------------------------------------------------------------------------------------
Heeding = Literal["work", "pure", "items", "container", "child", "wait", "join", "at_once"]
"""What the engine does with a node, as far as shared keys go: `items` is a loop, whose `over` is evaluated as a pure node is,
`child` a sub-workflow; `at_once` is a node that has ended as soon as it began."""

_PURE = frozenset({"transform", "map", "filter", "reduce", "sort", "group", "merge", "split", "validate"})
_CONTAINERS = frozenset({"while", "repeat", "parallel", "try", "rollback"})
_LASTING: frozenset[Heeding] = frozenset({"work", "pure", "items", "container", "child", "wait", "join"})
_ATTEMPTS: frozenset[Heeding] = frozenset({"work", "pure", "items"})
_AGAIN: frozenset[Heeding] = frozenset({"work", "items", "container", "child"})


@dataclass(slots=True, frozen=True)
class _Speaks:
    """For which nodes a key speaks, in a few words too. `promises`: whoever writes it elsewhere counts on something."""

    heeding: frozenset[Heeding]
    where: str
    promises: bool = False


# A key of every node that does not stand here speaks for all of them, or is refused at the start (`cache`).
SPEAKS: dict[str, _Speaks] = {
    "timeout": _Speaks(_LASTING, "on nodes that last"),
    "deadline": _Speaks(_LASTING, "on nodes that last, or wait for their `lock`"),
    "queue_timeout": _Speaks(frozenset({"work"}), "on work, which queues"),
    "heartbeat": _Speaks(frozenset({"work"}), "on work, which beats"),
    "grace": _Speaks(_ATTEMPTS, "on work, pure nodes and `loop`, whose attempts are stopped"),
    "crashes_max": _Speaks(_ATTEMPTS, "on work, pure nodes and `loop`, whose workers may crash"),
    "retry": _Speaks(_AGAIN, "on work, containers and sub-workflows"),
    "compensate_on": _Speaks(_AGAIN | _ATTEMPTS, "on work, pure nodes, containers and sub-workflows"),
    "delivery": _Speaks(frozenset({"work"}), "on work", promises=True),
    "on_unknown": _Speaks(frozenset({"work"}), "on work", promises=True),
    "runs_on": _Speaks(frozenset({"work"}), "on work, which another worker can carry out", promises=True),
    "on_timeout": _Speaks(frozenset({"wait"}), "on `delay` and on nodes that wait for something", promises=True),
    "lock": _Speaks(_LASTING - {"join"} | {"at_once"}, "on nodes other than joins", promises=True),
}


def check_heeded(subject: Subject) -> None:
    """Nothing that a definition says is ignored in silence: each key stands where it speaks, beside what it needs."""
    for node in subject.nodes:
        if node.spec is not None:
            for key in [key for key in SPEAKS if node.raw.get(key) is not None]:
                _spoken(subject, node, key)
            for key, message, remedy in _lacking(node):
                subject.find("key.no_effect", (*node.path, key), message, remedy=remedy, at_key=True)
            for key, message in _idle(node):
                subject.find("key.unused", (*node.path, key), message, at_key=True)
    _settings(subject)


def _spoken(subject: Subject, node: Node, key: str) -> None:
    speaks = SPEAKS[key]
    if _heeding(node) not in speaks.heeding and not _is_heeded_all_the_same(node, key):
        message = f"Expected `{key}` only {speaks.where}, but `{node.type}` does not heed it."
        subject.find("key.no_effect" if speaks.promises else "key.unused", (*node.path, key), message, at_key=True)


def _heeding(node: Node) -> Heeding:
    if node.type not in CLOSED:
        return "work"
    if node.type in _PURE:
        return "pure"
    if node.type in _CONTAINERS:
        return "container"
    if node.type in WAITING:
        return "wait"
    kinds: dict[str, Heeding] = {"loop": "items", "subworkflow": "child", "join": "join"}
    return kinds.get(node.type, "at_once")


def _is_heeded_all_the_same(node: Node, key: str) -> bool:
    """A wait for a lock has a deadline; and the port `timeout`, by which a `fail` may leave, is there only with a time."""
    if key == "deadline" and node.raw.get("lock") is not None:
        return True
    leaves = node.type == "fail" and any(edge.port == "timeout" for edge in node.outgoing)
    return leaves and key in ("timeout", "deadline", "queue_timeout", "heartbeat")


def _lacking(node: Node) -> Iterator[tuple[str, str, str]]:
    """Keys that promise something, and lack the key without which they do nothing: key, message, remedy."""
    raw = node.raw
    if raw.get("compensate_on") is not None and raw.get("compensate") is None:
        message = "Expected `compensate` beside `compensate_on`, but nothing here undoes the node."
        yield "compensate_on", message, "Add `compensate`, or remove it."
    if raw.get("on_unknown") is not None and _heeding(node) == "work" and raw.get("delivery") != "at_most_once":
        message = (
            "Expected `delivery: at_most_once` beside `on_unknown`, but the effect is repeated until its outcome is known."
        )
        yield "on_unknown", message, "Add `delivery: at_most_once`, or remove it."
    if raw.get("on_timeout") is not None and _heeding(node) == "wait" and raw.get("timeout") is None:
        message = "Expected a `timeout` beside `on_timeout`, but the wait has none that could pass."
        yield "on_timeout", message, "Add a `timeout`, or remove it."
    if raw.get("count") is not None and _has_quorum(node):
        if is_expression(raw.get("need")):
            message = (
                "Expected `count` beside a `need` of `all`, `any`, a number or a percentage, but an expression counts itself."
            )
            yield "count", message, "Add join.failed to join.success in `need`, or remove it."
        elif node.type in LOOPS and raw.get("need") is None:
            message = f"Expected `need` beside `count`, but without one a `{node.type}` runs to its end whatever counts."
            yield "count", message, "Add `need`, or remove it."


def _has_quorum(node: Node) -> bool:
    return node.type in ("join", "parallel") or node.type in LOOPS


def _idle(node: Node) -> Iterator[tuple[str, str]]:
    """Keys for a case that never comes: key, message."""
    raw = node.raw
    if raw.get("losers") is not None and node.type in LOOPS and all(raw.get(k) is None for k in ("need", "until", "deadline")):
        message = "Expected `need`, `until` or `deadline` beside `losers`, but no iteration is ever left over."
        yield "losers", message
    if raw.get("on_parent_close") is not None and node.type == "subworkflow" and raw.get("wait") is not False:
        yield "on_parent_close", "Expected `wait: false` beside `on_parent_close`, but this child is waited for."


def _settings(subject: Subject) -> None:
    """`on_timeout: retry` and `retry` of the workflow belong together (rule 44)."""
    settings = subject.document.get("settings")
    if not isinstance(settings, dict):
        return
    starts_again = settings.get("on_timeout") == "retry"
    if settings.get("retry") is not None and not starts_again:
        message = "Expected `on_timeout: retry` beside `settings.retry`, but nothing else starts an execution again."
        remedy = "Add `on_timeout: retry`, or put `retry` on the nodes that are to be tried again."
        subject.find("key.no_effect", ("settings", "retry"), message, remedy=remedy, at_key=True)
    elif starts_again and settings.get("retry") is None:
        message = "Expected `retry` beside `on_timeout: retry`, but without it no execution is started again."
        remedy = "Add `retry: {attempts: 3}`, which counts the first one too."
        subject.find("key.missing", ("settings", "on_timeout"), message, remedy=remedy, at_key=True)


# -- policies and effects -------------------------------------------------------------------------------------------------


def check_cache(subject: Subject) -> None:
    """Rule 53: an effect that must not happen twice has no result to share."""
    for node in subject.nodes:
        if node.raw.get("cache") is not None and node.raw.get("delivery") == "at_most_once":
            message = "Expected `cache` or `delivery: at_most_once`, but both are here."
            subject.find("cache.at_most_once", (*node.path, "cache"), message, at_key=True)


def check_repeated_effects(subject: Subject) -> None:
    """Rule 35: an edge back resets all that follows its target; effects beside the circle then run again."""
    for node in subject.nodes:
        for entry in node.again_in:
            if not node.scope.cyclic:
                _repeated(subject, entry)


def _repeated(subject: Subject, entry: Entry) -> None:
    source, target = entry.source, entry.target
    if source is None:
        return
    beside = [node.id for node in _reachable(target) if _is_effect(node) and _stands_beside(node, source)]
    if beside:
        message = f"Expected only pure nodes beside the circle, but {listed(beside)} will run again on each visit."
        subject.find("again.effect", entry.path, message)


def _is_effect(node: Node) -> bool:
    return node.spec is not None and node.spec.kind == "effect"


def _stands_beside(node: Node, source: Node) -> bool:
    """Neither on the circle nor behind its end: what comes after the source has not run when the source goes back."""
    scope = node.scope
    return node is not source and not scope.is_before(node, source) and not scope.is_before(source, node)


def _reachable(start: Node) -> list[Node]:
    found = {start: None}
    for node in (queue := [start]):
        for edge in node.outgoing:
            if edge.target not in found:
                found[edge.target] = None
                queue.append(edge.target)
    return list(found)


CHECKS: tuple[Check, ...] = (check_heeded, check_cache, check_repeated_effects)

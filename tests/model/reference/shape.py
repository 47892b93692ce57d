"""What the rules read off a definition without running it: ports, regions, quorums, patterns of codes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from perdure.definition import check_document
from perdure.definition.fields import percent
from perdure.definition.graph import LOOPS, Node, Scope, build
from perdure.definition.spec import Catalog, NodeSpec
from perdure.errors import Failure

EFFECT = NodeSpec(name="test.effect", title="An effect that the test answers for", kind="effect", params={"type": "object"})
CATALOG = Catalog({EFFECT.name: EFFECT})
CONTAINERS = LOOPS | {"parallel", "try", "rollback"}
WAITS = frozenset({"delay", "wait_until", "wait_for_condition", "wait_for_signal", "wait_for_event"})


def scope_of(document: Mapping[str, Any]) -> tuple[Mapping[str, Any], Scope]:
    """The document in its kept form and its root scope. The checker must accept it."""
    checked = check_document(dict(document), CATALOG)
    assert not checked.errors, [f"{fault.path}: {fault.message}" for fault in checked.errors]
    return checked.document, build(checked.document, CATALOG)


def is_effect(node: Node) -> bool:
    """Whether a node is work from the catalogue."""
    return node.type == EFFECT.name


def error_ports(node: Node) -> frozenset[str]:
    """The ports that only a failure opens (rule 4)."""
    return frozenset({"error", "timeout", *node.catch_ports})


def has_edge(node: Node, port: str) -> bool:
    """Whether an edge, forward or again, leaves by the port."""
    return any(entry.port == port for entry in (*node.outgoing, *node.again_out))


def reachable(target: Node) -> list[Node]:
    """The node and everything forward-reachable from it, in the order of declaration (rule 35)."""
    return [
        node for node in target.scope.nodes.values() if node is target or target.scope.is_before(target, node)
    ]  # fmt: skip


def region(join: Node) -> list[Node]:
    """Every node all of whose forward paths lead into the join (rule 19), in the order of declaration."""
    inside: set[str] = set()
    for node in reversed(join.scope.order):
        if node is not join and node.outgoing and all(
            edge.target is join or edge.target.id in inside for edge in node.outgoing
        ):  # fmt: skip
            inside.add(node.id)
    return [node for node in join.scope.nodes.values() if node.id in inside]


def matches(pattern: str, failure: Failure) -> bool:
    """Whether a code, `prefix.*`, a category, `*` or `http.5xx` speaks of a failure (rule 10)."""
    if pattern in ("*", failure.code, failure.category):
        return True
    if pattern.endswith(".*"):
        return failure.code.startswith(pattern[:-1])
    digits = "".join("[0-9]" if letter == "x" else re.escape(letter) for letter in pattern)
    return re.fullmatch(digits, failure.code) is not None


# -- quorums --------------------------------------------------------------------------------------------------------------
def counts_finished(node: Node) -> bool:
    """Whether broken branches count too (rule 16)."""
    count = node.raw.get("count")
    if count is None:
        collects = node.scope.on_failure if node.type == "join" else node.raw.get("on_failure")
        return collects == "collect"
    return bool(count == "finished")


def need_of(node: Node) -> Any:
    """What a join, parallel or loop needs; None where a loop has no quorum."""
    return node.raw.get("need", None if node.type in LOOPS else "all")


def shields(node: Node) -> bool:
    """Whether a failure in the region only breaks edges (rule 18)."""
    need = need_of(node)
    return need is not None and (need != "all" or counts_finished(node))


def needed(need: Any, count: int) -> int:
    """How many of `count` branches a need that is no expression asks for (rule 15)."""
    if need == "all":
        return count
    if need == "any":
        return 1
    share = percent(need)
    if share is not None:
        return max(1, math.ceil(round(share * count / 100, 9)))
    return int(need)

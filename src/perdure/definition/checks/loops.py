"""Loops: what their keys demand of each other (rules 24 to 28)."""

from __future__ import annotations

from perdure.definition.checks.subject import Check, Subject
from perdure.definition.fields import is_expression, percent, shown
from perdure.definition.graph import LOOPS, Node
from perdure.expressions import RESERVED_NAMES


def check_loops(subject: Subject) -> None:
    """Everything that one loop says, against the rest that it says."""
    for node in subject.nodes:
        if node.type in LOOPS:
            _tolerate(subject, node)
            _carry(subject, node)
            _reduce(subject, node)
            _names(subject, node)
            _over(subject, node)


def _tolerate(subject: Subject, node: Node) -> None:
    """Rule 27: refused with `collect` and `ignore`, which never fail; no percentage of an unknown number."""
    tolerate, path = node.raw.get("tolerate"), (*node.path, "tolerate")
    if tolerate is None:
        return
    policy = node.raw.get("on_failure")
    if policy in ("collect", "ignore"):
        message = f"Expected no `tolerate` beside `on_failure: {policy}`, but both are here: nothing would ever be beyond it."
        subject.find("loop.tolerate", path, message, at_key=True)
    if node.type == "while" and percent(tolerate) is not None:
        subject.find(
            "loop.tolerate_percent", path, "Expected a number on `while`, but a percentage needs a known number of items."
        )


def _carry(subject: Subject, node: Node) -> None:
    """Rule 26: an accumulator passes from one iteration to the next, so they must be in order."""
    concurrency = node.raw.get("concurrency", 1)
    if node.raw.get("carry") is not None and concurrency != 1 and node.type != "while":
        message = f"Expected concurrency 1 beside `carry`, but got {shown(concurrency)}."
        subject.find("loop.carry_concurrency", (*node.path, "concurrency"), message)


def _reduce(subject: Subject, node: Node) -> None:
    has_reduce, collects = node.raw.get("reduce") is not None, node.raw.get("collect") == "reduce"
    if collects and not has_reduce:
        message = "Expected `reduce: {start, next}` beside `collect: reduce`, but it is missing."
        subject.find("loop.reduce", (*node.path, "collect"), message)
    elif has_reduce and not collects:
        subject.find(
            "loop.reduce", (*node.path, "reduce"), "Expected `collect: reduce` beside `reduce`, but it is missing.", at_key=True
        )


def _names(subject: Subject, node: Node) -> None:
    """A loop's own names hide no name with a fixed meaning, nor each other."""
    item, index = node.raw.get("as", "item"), node.raw.get("index", "index")
    for key, name, own in (("as", item, "item"), ("index", index, "index")):
        if isinstance(name, str) and name in RESERVED_NAMES and name != own:
            message = f"Expected a name of your own, but `{name}` has a fixed meaning in expressions."
            subject.find("loop.name", (*node.path, key), message)
    if node.type == "loop" and item == index:
        subject.find("loop.name", (*node.path, "index"), f"Expected two names for item and index, but both are `{item}`.")


def _over(subject: Subject, node: Node) -> None:
    """Rule 24: null and single values have no items."""
    if "over" in node.raw and node.type == "loop":
        over = node.raw["over"]
        if not isinstance(over, list | dict) and not is_expression(over):
            subject.find(
                "loop.not_iterable",
                (*node.path, "over"),
                f"Expected a list, an object or an expression, but got {shown(over)}.",
            )


CHECKS: tuple[Check, ...] = (check_loops,)

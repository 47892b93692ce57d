"""Pure nodes: computed inside the step within its budget, beyond it by the same function in a process (day-one 30)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from perdure.definition.plan import NodePlan
from perdure.engine import events
from perdure.engine.codec import handle_size
from perdure.engine.events import AnyFact
from perdure.engine.place import NodeRefused, Place, expression_failure
from perdure.errors import Failure
from perdure.expressions import STEP_TOUCHED, Budget, ExpressionError, Names, Template, WithLocals

Compute = Callable[[Mapping[str, Template], Mapping[str, Any], Names, Budget], Any]
"""What a pure node is: from its keys' templates, its options, the names it sees and a budget, its output."""


def entering(compute: Compute) -> Callable[[Place], Iterator[AnyFact]]:
    """The `enter` of a pure node."""

    def enter(place: Place) -> Iterator[AnyFact]:
        if reads_large(place):
            yield outside(place)
            return
        try:
            output = compute(place.node.keys, place.node.options, place.names(), Budget())
        except ExpressionError as error:
            if error.code != "expression.budget":
                raise NodeRefused(expression_failure(error, error.path or place.node.id)) from error
            yield outside(place)
        else:
            yield place.done(output)

    return enter


def reads_large(place: Place) -> bool:
    """Does the node read a value of more bytes than a step may touch? By its size alone, never by what is in memory.

    Otherwise the same inputs would give other facts on a worker that has just seen the value than on one that has not.
    """
    names = place.names()
    for root, member in reads_of(place.node):
        found = place.incoming_outputs() if root == "incoming" else names.stored(root, member)
        if any(handle_size(raw) > STEP_TOUCHED for raw in found):
            return True
    return False


@lru_cache(8_192)
def reads_of(node: NodePlan) -> tuple[tuple[str, str | None], ...]:
    """All names that the node's own keys read."""
    return tuple(frozenset[tuple[str, str | None]]().union(*(template.reads for template in node.keys.values())))


def outside(place: Place) -> events.Scheduled:
    return events.Scheduled(
        frame=place.opened.frame.path, node=place.node.id, visit=place.visit, pure=True, ready=place.ready(),
        timeout=place.duration(place.node.timeout, "timeout"), grace=place.duration(place.node.grace, "grace"),
        deadline_at=place.deadline_at(),
    )  # fmt: skip


class Items:
    """Walks over the items of `over` and evaluates a template for each, with `item` and `index` bound."""

    def __init__(self, keys: Mapping[str, Template], names: Names, budget: Budget) -> None:
        self._keys = keys
        self._budget = budget
        self.bound: dict[str, Any] = {}
        self._names = WithLocals(names, self.bound)
        over = keys["over"].evaluate(names, budget)
        self.items = items_of(over)

    def __iter__(self) -> Iterator[Any]:
        for index, item in enumerate(self.items):
            self.bound["item"] = item
            self.bound["index"] = index
            yield item

    def value(self, key: str) -> Any:
        """A key's value for the present item."""
        return self._keys[key].evaluate(self._names, self._budget)

    def condition(self, key: str) -> bool:
        """A condition for the present item; anything but true or false is refused (rule 7)."""
        value = self.value(key)
        if value is True or value is False:
            return value
        raise refused(
            "expression.type", f"Expected `{key}` to be true or false, but for item {self.bound['index']} it is {value!r:.80}."
        )


def items_of(over: Any) -> list[Any]:
    """The items that `over` gives: a list's, or an object's as `{key, value}` (rule 24)."""
    if type(over) is list:
        return over
    if type(over) is dict:
        return [{"key": key, "value": value} for key, value in over.items()]
    raise refused("data.not_iterable", f"Expected `over` to be a list or an object, but it is {_kind(over)}.")


def refused(code: str, title: str, **fields: Any) -> NodeRefused:
    """A pure node that cannot do what it was asked with these values."""
    return NodeRefused(Failure(code=code, title=title, category="validation", retryable=False, **fields))


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__

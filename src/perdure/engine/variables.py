"""Variables: which declaration a write is for, and how it joins what is there (rule 49)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.definition.plan import ScopePlan
from perdure.engine.index import FrameIndex
from perdure.engine.place import NodeRefused, Place
from perdure.errors import Failure


def declared_in(place: Place, name: str) -> FrameIndex:
    """The frame whose variable a write is for: the nearest that declares it, or that of the scope it names."""
    scope = place.node.options.get("scope")
    here: FrameIndex | None = place.opened
    while here is not None:
        is_meant = scope is None or (scope == "workflow" and here.outer is None) or here.frame.node == scope
        if is_meant and name in here.frame.variables:
            return here
        if scope is not None and is_meant:
            scope = None  # not declared there: the nearest around it
        here = here.outer
    raise NodeRefused(
        Failure(code="variable.unknown", title=f"There is no variable `{name}` here.", category="validation", retryable=False)
    )


def merged(merge: str, name: str, present: Any, value: Any) -> Any:
    """What is there and what is written, as one. Raises NodeRefused where they do not go together."""
    if merge == "last" or (present is None and merge != "append"):
        return value
    try:
        return _MERGES[merge](present, value)
    except TypeError as error:
        title = f"`merge: {merge}` of `{name}` cannot join {_kind(present)} and {_kind(value)}."
        raise NodeRefused(Failure(code="variable.merge", title=title, category="validation", retryable=False)) from error


def _sum(present: Any, value: Any) -> Any:
    if not _is_number(present) or not _is_number(value):
        raise TypeError
    return present + value


def _append(present: Any, value: Any) -> Any:
    if present is not None and not isinstance(present, list):
        raise TypeError
    return [*(present or []), *(value if isinstance(value, list) else [value])]


def _largest(present: Any, value: Any) -> Any:
    return max(*_alike(present, value))


def _smallest(present: Any, value: Any) -> Any:
    return min(*_alike(present, value))


def _alike(present: Any, value: Any) -> tuple[Any, Any]:
    """Two that can be compared: numbers, or texts."""
    if (_is_number(present) and _is_number(value)) or (isinstance(present, str) and isinstance(value, str)):
        return present, value
    raise TypeError


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_MERGES: dict[str, Callable[[Any, Any], Any]] = {"sum": _sum, "append": _append, "max": _largest, "min": _smallest}


def _kind(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"


# -- merge: error --------------------------------------------------------------------------------------------------------


def refuse_unordered(place: Place, holder: FrameIndex, name: str) -> None:
    """Under `merge: error` the second of two writes that are in no order fails. Raises NodeRefused."""
    before = holder.frame.writers.get(name)
    if before is None or _comes_after(place, holder, before):
        return
    title = f"`{name}` was written by `{before[1]}` before, in no order with `{place.node.id}`."
    raise NodeRefused(Failure(code="variable.conflict", title=title, category="business", retryable=False))


def _comes_after(place: Place, holder: FrameIndex, before: tuple[str, str]) -> bool:
    """Is the earlier writer this very node, or one before it, in the frame that both stand in?"""
    chain = _chain(place.opened, place.node.id)
    for frame, node in _chain_of(place, *before):
        if frame in chain:
            mine = chain[frame]
            scope = place.step.index.frames[frame].scope
            return mine == node or _leads_to(scope, scope.number[node], scope.number[mine])
    return holder.outer is not None


def _chain(opened: FrameIndex, node: str) -> dict[str, str]:
    """The frames around a node, each with the node in it that holds the first one."""
    found = {opened.frame.path: node}
    while opened.outer is not None:
        found[opened.outer.frame.path] = opened.frame.node
        opened = opened.outer
    return found


def _chain_of(place: Place, path: str, node: str) -> list[tuple[str, str]]:
    """The same for a writer whose frame may be gone; then nothing is known of its order, but for what is around both."""
    opened = place.step.index.frames.get(path)
    return list(_chain(opened, node).items()) if opened is not None else []


def _leads_to(scope: ScopePlan, first: int, second: int) -> bool:
    waiting, seen = [first], {first}
    while waiting:
        for edge in scope.nodes[waiting.pop()].outgoing:
            if edge.target == second:
                return True
            if edge.target not in seen:
                seen.add(edge.target)
                waiting.append(edge.target)
    return False

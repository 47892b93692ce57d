"""Nodes that only compute, and variables (rules 9 and 49)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from perdure.definition.graph import LOOPS
from perdure.definition.scope import is_declaration
from perdure.errors import Failure
from reference.names import Sight, compiled, evaluate, holds, invalid, variables_in_sight
from reference.state import Frame, Instance, World, Wrong

Computed = tuple[Any, tuple[str, ...]]
OUT = ("out",)


def _transform(world: World, instance: Instance) -> Computed:
    return evaluate(Sight(world, instance.frame, instance), instance.raw.get("to"), "to"), OUT


def _items(world: World, instance: Instance) -> list[tuple[Sight, Any]]:
    """The items of `over`, each with the names that see it."""
    over = evaluate(Sight(world, instance.frame, instance), instance.raw["over"], "over")
    if isinstance(over, dict):
        over = [{"key": key, "value": value} for key, value in over.items()]
    if not isinstance(over, list):
        raise invalid(instance, "data.not_iterable", "Expected a list or an object.")
    return [
        (Sight(world, instance.frame, instance, {"item": item, "index": index}), item) for index, item in enumerate(over)
    ]  # fmt: skip


def _map(world: World, instance: Instance) -> Computed:
    return [evaluate(sight, instance.raw.get("to"), "to") for sight, _ in _items(world, instance)], OUT


def _filter(world: World, instance: Instance) -> Computed:
    return [item for sight, item in _items(world, instance) if holds(sight, instance.raw["where"], "where")], OUT


def _condition(world: World, instance: Instance) -> Computed:
    answer = holds(Sight(world, instance.frame, instance), instance.raw["if"], "if")
    return answer, ("true" if answer else "false",)


def _switch(world: World, instance: Instance) -> Computed:
    """The first case that is true, or each one; none: `default`, or an error where it is strict (rule 9)."""
    sight = Sight(world, instance.frame, instance)
    chosen: list[str] = []
    for case, condition in instance.node.cases.items():
        if holds(sight, condition, f"cases.{case}"):
            chosen.append(case)
            if instance.raw.get("match", "first") == "first":
                break
    if not chosen and instance.raw.get("strict", False):
        title = "No case holds."
        raise Wrong(Failure(code="switch.no_match", title=title, category="business", retryable=False, node=instance.path))
    chosen = chosen or ["default"]
    return chosen, tuple(chosen)


def _log(world: World, instance: Instance) -> Computed:
    sight = Sight(world, instance.frame, instance)
    said = {"message": evaluate(sight, instance.raw["message"], "message"), "level": instance.raw.get("level", "info")}
    if "data" in instance.raw:
        said["data"] = evaluate(sight, instance.raw["data"], "data")
    return said, OUT


# -- variables ------------------------------------------------------------------------------------------------------------
def _get_variable(world: World, instance: Instance) -> Computed:
    name = instance.raw["name"]
    variables = variables_in_sight(instance.frame)
    if name not in variables:
        raise invalid(instance, "variable.unknown", f"There is no variable {name!r} here.")
    return variables[name], OUT


def _set_variable(world: World, instance: Instance) -> Computed:
    """All values are computed before the first is written; an error in one writes none (rule 49)."""
    sight = Sight(world, instance.frame, instance)
    values = {name: evaluate(sight, raw, f"set.{name}") for name, raw in instance.raw["set"].items()}
    written: dict[str, tuple[Frame, Any]] = {}
    for name, value in values.items():
        frame = declaring(world, instance, name)
        written[name] = frame, _joined(instance, frame, name, value)
    for name, (frame, value) in written.items():
        frame.variables[name] = value
        frame.writes.setdefault(name, []).append(instance)
    return values, OUT


def declaring(world: World, instance: Instance, name: str) -> Frame:
    """The frame whose scope declares the variable nearest, or the one that `scope` names."""
    named = instance.raw.get("scope")
    frame: Frame | None = instance.frame
    while frame is not None:
        outer = None if frame.parent is None else frame.parent
        is_named = named is None or named == ("workflow" if outer is None else outer.node.id)
        if is_named and name in frame.variables:
            return frame
        frame = None if outer is None else outer.frame
    raise invalid(instance, "variable.unknown", f"There is no variable {name!r} here.")


def _joined(instance: Instance, frame: Frame, name: str, value: Any) -> Any:
    """How the written value joins the present one."""
    declared = frame.scope.variables[name]
    merge = declared.get("merge") if is_declaration(declared) else None
    if merge == "error":
        if not all(_are_ordered(earlier, instance) for earlier in frame.writes.get(name, [])):
            raise invalid(instance, "variable.conflict", f"{name} is written twice in no order.")
        return value
    if merge in (None, "last") or _reads(instance.raw["set"][name], name):
        return value
    present = frame.variables[name]
    try:
        return MERGE[merge](present, value)
    except TypeError:
        raise invalid(instance, "variable.merge", f"{name}: {value!r} cannot join {present!r}.") from None


def _reads(raw: Any, name: str) -> bool:
    reads = compiled(raw).reads
    return ("vars", name) in reads or ("vars", None) in reads


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return value


def _append(present: Any, value: Any) -> list[Any]:
    if not isinstance(present, list):
        raise TypeError
    return [*present, *(value if isinstance(value, list) else [value])]


MERGE: Mapping[str, Callable[[Any, Any], Any]] = {
    "sum": lambda present, value: _number(present) + _number(value),
    "max": lambda present, value: max(_number(present), _number(value)),
    "min": lambda present, value: min(_number(present), _number(value)),
    "append": _append,
}


def _are_ordered(first: Instance, second: Instance) -> bool:
    """Whether two writers are in an order: a path between them, or iterations one after another."""
    one, other = _chain(first), _chain(second)
    for frame, node_instance in one:
        for other_frame, other_instance in other:
            if frame is other_frame:
                return _are_ordered_there(node_instance, other_instance)
    return True


def _are_ordered_there(one: Instance, other: Instance) -> bool:
    """Seen in the frame they have in common: different visits and the parts of one container, or different nodes."""
    if one.node is other.node:
        if one is not other or one.node.type == "try":
            return True
        return one.node.type in LOOPS and (one.node.type != "loop" or one.fixed.get("concurrency", 1) == 1)
    return one.node.scope.is_before(one.node, other.node)


def _chain(instance: Instance) -> list[tuple[Frame, Instance]]:
    """The frames around an instance, each with what holds the instance there."""
    chain = [(instance.frame, instance)]
    while chain[-1][0].parent is not None:
        parent = chain[-1][0].parent
        chain.append((parent.frame, parent))
    return chain


COMPUTE: dict[str, Callable[[World, Instance], Computed]] = {
    "transform": _transform, "map": _map, "filter": _filter, "condition": _condition, "switch": _switch, "log": _log,
    "get_variable": _get_variable, "set_variable": _set_variable,
}  # fmt: skip

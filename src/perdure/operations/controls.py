"""What can be asked of an execution and its nodes, looked at before anything is sent: nobody should wait for what cannot be."""

from __future__ import annotations

from collections.abc import Callable

from perdure.definition.plan import Plan
from perdure.engine.elements import ELEMENTS
from perdure.engine.execution import BACKOFF, OPEN, PARKED, STATE_NAMES, WAITING, Execution, Instance, path_of
from perdure.engine.operators import is_skippable
from perdure.errors import NotFound, Refused
from perdure.ids import ExecutionId, id_text
from perdure.operations.paths import named, near, split_path
from perdure.operations.waits import child_of, command_for, wait_words

LISTED_MAX = 3
"""So many of those that were perhaps meant are named."""


def refuse_to_pause(state: Execution) -> None:
    """Raises Refused where the execution is paused already."""
    if state.paused_at:
        raise Refused(
            f"{id_text(ExecutionId(state.id))} is paused already.", code="control.refused",
            remedy=f"`perdure unpause {id_text(ExecutionId(state.id))}` ends the pause.",
        )  # fmt: skip


def refuse_to_unpause(state: Execution) -> None:
    """Raises Refused where there is no pause to end."""
    if not state.paused_at:
        raise Refused(
            f"{id_text(ExecutionId(state.id))} is not paused.", code="control.refused",
            remedy="`perdure resume` goes on with what no process runs.",
        )  # fmt: skip


def parked_at(state: Execution, path: str) -> Instance:
    """The parked node at this path. Raises NotFound where no node is parked there."""
    found = _at(state, path)
    if found is not None and found.state == PARKED:
        return found
    parked = [path_of(frame, instance) for frame, instance in state.instances() if instance.state == PARKED]
    remedy = _perhaps(path, parked) or "`perdure incidents` lists those that are."
    raise NotFound(f"No node is parked at {path!r}{_instead(found)}.", remedy=remedy)


def refuse_input_for(plan: Plan, path: str) -> None:
    """Raises Refused where the node at this path would not read other parameters: a container, or one that only computes."""
    node = named(plan, path).node
    if node is not None and node.type in ELEMENTS and node.type != "subworkflow":
        raise Refused(
            f"`{path}` is a `{node.type}`: it has no parameters that could be replaced.", code="control.refused",
            remedy="Retry it without --input: what it reads is evaluated anew. Or complete it with --output.",
        )  # fmt: skip


def waiting_at(state: Execution, path: str, action: str) -> Instance:
    """What waits at this path and can be skipped, or moved. Raises NotFound where nothing waits, Refused where it cannot."""
    found = _at(state, path)
    if found is None or found.state not in (WAITING, BACKOFF):
        waiting = [path_of(frame, each) for frame, each in state.instances() if each.state in (WAITING, BACKOFF)]
        remedy = _perhaps(path, waiting) or "`perdure show` tells what waits."
        raise NotFound(f"Nothing waits at {path!r}{_instead(found)}.", remedy=remedy)
    if found.stopping:
        raise Refused(
            f"`{path}` is being stopped: {found.stopping}.", code="control.refused", remedy="There is nothing left to decide."
        )
    _CHECKS[action](found, id_text(ExecutionId(state.id)), path)
    return found


def refuse_to_feed(state: Execution, name: str, path: str) -> None:
    """Raises Refused where `add` or `close` names a container that takes no items (rule 28)."""
    found = _at(state, path)
    if found is None or found.state != OPEN or name not in _OF_LOOPS:
        return
    if found.progress is None or not found.progress.accepts:
        raise Refused(
            f"`{path}` takes no items: it is no loop with `open: true`, or was closed before.", code="control.refused",
            remedy="`perdure show` tells what it is doing.",
        )  # fmt: skip


_OF_LOOPS = (ELEMENTS["loop"].ADD, ELEMENTS["loop"].CLOSE)


def _at(state: Execution, path: str) -> Instance | None:
    frame, node, visit = split_path(path)
    opened = state.frames.get(frame)
    found = opened.instances.get(node) if opened is not None and not opened.closed else None
    return found if found is not None and found.visit == visit else None


def _instead(found: Instance | None) -> str:
    return f": it is {STATE_NAMES[found.state]}" if found is not None else ""


def _perhaps(path: str, paths: list[str]) -> str:
    """What was perhaps meant: a near one, else the first of those there are."""
    if not paths:
        return ""
    listed = ", ".join(f"`{each}`" for each in paths[:LISTED_MAX])
    more = f" and {len(paths) - LISTED_MAX} more" if len(paths) > LISTED_MAX else ""
    return near(path, paths) or f"There {'is' if len(paths) == 1 else 'are'} {listed}{more}."


# -- which waits -----------------------------------------------------------------------------------------------------------


def _refuse_to_skip(instance: Instance, execution: str, path: str) -> None:
    """To go on without the work itself, or before somebody else's turn, would be another workflow."""
    if is_skippable(instance):
        return
    remedy = _IN_PLACE_OF_SKIPPING[instance.wait](instance)
    raise Refused(f"`{path}` waits {wait_words(instance)}, which cannot be skipped.", code="control.refused", remedy=remedy)


_IN_PLACE_OF_SKIPPING: dict[str, Callable[[Instance], str]] = {
    "child": lambda instance: f"Look at the child: `perdure why {id_text(child_of(instance))}`; or cancel it.",
    "lock": lambda instance: "Look at who holds it: `perdure show`.",
    "deferred": lambda instance: "Answer by the token that the node gave.",
    "join": lambda instance: "Look at its branches: `perdure why`.",
}


def _refuse_to_move(instance: Instance, execution: str, path: str) -> None:
    """The end of a wait can be moved where it has one: when it ends by itself, or gives up."""
    if (instance.due and (instance.state == BACKOFF or instance.wait != "condition")) or instance.wait_timeout_at:
        return
    command = command_for(instance, execution, path)
    raise Refused(
        f"`{path}` waits {wait_words(instance)} without a timeout: there is no end to move.", code="control.refused",
        remedy=f"What ends it is `{command}`." if command else "`perdure why` tells what it waits for.",
    )  # fmt: skip


_CHECKS: dict[str, Callable[[Instance, str, str], None]] = {"skip": _refuse_to_skip, "reschedule": _refuse_to_move}

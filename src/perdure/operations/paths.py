"""Paths as people write them: `orders[3].poll#2`, what they name in a plan, and what was perhaps meant where it is nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice

from perdure.definition.plan import NodePlan, Plan, ScopePlan
from perdure.errors import NotFound
from perdure.ids import frame_path, instance_path

NEAR_MAX = 3
"""So many names are suggested for one that is unknown."""
COMPARED_MAX = 2_000
"""Only so many names are compared with one that is unknown."""

_SEGMENT = re.compile(r"([A-Za-z_]\w*)(?:#([1-9]\d{0,8}))?(?:~([1-9]\d{0,8}))?(?:\[(\d{1,12})\])?", re.ASCII)
_ITERATED = frozenset(("loop", "while", "repeat"))


def split_path(path: str) -> tuple[str, str, int]:
    """`orders[3].poll#2` → (`orders[3]`, `poll`, 2)."""
    frame, _, last = path.rpartition(".")
    node, _, visit = last.partition("#")
    return frame, node, int(visit) if visit.isascii() and visit.isdigit() else 1


@dataclass(slots=True, frozen=True, eq=False)
class Named:
    """What a path names: a node in a frame, or a frame (then `node` is None). `visit` 0: none was written, so the latest."""

    path: str
    frame: str  # the path of the node's frame, or of the frame itself
    scope: ScopePlan  # what the frame is an activation of
    node: NodePlan | None = None
    visit: int = 0
    holder: tuple[str, str, int] | None = None  # the container instance around: frame, node, visit


def named(plan: Plan, path: str) -> Named:
    """What a path names in a plan, whether or not it has come into being. Raises NotFound, with near names."""
    scope, frame, done = plan.root, "", ""
    holder: tuple[str, str, int] | None = None
    segments = path.split(".")
    while segments:
        text = segments.pop(0)
        match = _SEGMENT.fullmatch(text)
        node_id = match[1] if match is not None else ""
        if match is None or node_id not in scope.number:
            raise _unknown(path, f"{done}{text}", [f"{done}{node.id}" for node in scope.nodes], plan)
        node = scope.nodes[scope.number[node_id]]
        visit, attempt, index = (int(part) if part else 0 for part in match.groups()[1:])
        here = instance_path(frame, node_id, visit or 1)
        if match[4] is None and not match[3] and not segments:
            return Named(path, frame, scope, node, visit, holder)
        inner = _inner_scope(node, match[4] is not None, segments)
        if inner is None:
            raise _unknown(path, path, list(_inside(here, node)), plan)
        name, scope = inner
        holder = (frame, node_id, visit or 1)
        frame = frame_path(here, attempt or 1, name, index if match[4] is not None else -1)
        done = f"{frame}."
    return Named(path, frame, scope, holder=holder)


def _inner_scope(node: NodePlan, indexed: bool, segments: list[str]) -> tuple[str, ScopePlan] | None:
    """The scope of a container that a path enters; takes its name off the segments."""
    if indexed:
        return ("body", node.scopes["body"]) if node.type in _ITERATED else None
    name = segments.pop(0) if segments else ""
    if name not in node.scopes or (node.type in _ITERATED and name == "body"):
        return None
    return name, node.scopes[name]


def _inside(path: str, node: NodePlan) -> Iterator[str]:
    """How what is inside of a node is named."""
    yield path
    for name, scope in node.scopes.items():
        inner = f"{path}[0]" if node.type in _ITERATED and name == "body" else f"{path}.{name}"
        yield from _written(inner, scope)


def _written(frame: str, scope: ScopePlan) -> Iterator[str]:
    """How the nodes of a scope, and those inside of them, are named."""
    for node in scope.nodes:
        yield from _inside(f"{frame}.{node.id}" if frame else node.id, node)


def _unknown(path: str, text: str, beside: list[str], plan: Plan) -> NotFound:
    last = path.rpartition(".")[2].partition("#")[0]
    elsewhere = list(islice(_written("", plan.root), COMPARED_MAX))
    same = [name for name in elsewhere if last and name.rpartition(".")[2] == last]
    meant = _did_you_mean(same[:NEAR_MAX]) if same else near(text, [*beside, *elsewhere])
    if not meant and beside:
        shown = ", ".join(f"`{name}`" for name in beside[:NEAR_MAX])
        meant = f"There {'is' if len(beside) == 1 else 'are'} {shown}{', …' if len(beside) > NEAR_MAX else ''}."
    return NotFound(f"There is no node {path!r} in this workflow.", remedy=meant or "`perdure show` lists its nodes.")


def near(text: str, names: Iterable[str]) -> str:
    """`Did you mean …?`, or nothing where no name is close. An iteration's number is no difference."""
    known: dict[str, str] = {}
    for name in names:
        if len(known) == COMPARED_MAX:
            break
        known.setdefault(_plain(name), name)
    close = get_close_matches(_plain(text)[:200], known, n=NEAR_MAX, cutoff=0.6)
    return _did_you_mean([known[name] for name in close])


def _did_you_mean(names: list[str]) -> str:
    return f"Did you mean {' or '.join(f'`{name}`' for name in names)}?" if names else ""


def _plain(path: str) -> str:
    return re.sub(r"\[\d+\]", "[0]", path)

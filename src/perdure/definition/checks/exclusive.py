"""Which nodes of a scope can never run in one frame together, since a choice before them leaves by one port only.

Rule: what is said here to exclude each other does so in every run; where it cannot be told, nodes are taken to go together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from perdure.definition.graph import Entry, Node

Guards = Mapping[int, frozenset[str]]
"""By node index: the outcomes of that node under which something can be live; nodes that do not matter are left out."""

GUARDS_MAX = 64  # choices remembered for one node: further ones are forgotten, which is safe
_STEPS_MAX = 1_000_000  # edges and choices looked at to find the most that go together; beyond, all are taken to
_DEPTH_MAX = 200  # choices inside each other while doing so


class Exclusion:
    """The choices in front of the nodes of one scope, found as they are asked for."""

    def __init__(self) -> None:
        self._known: dict[Node, Guards] = {}
        self._steps = 0

    def guards(self, node: Node) -> Guards:
        """Under which choices the node can run."""
        waiting = [node]
        while waiting:
            top = waiting[-1]
            missing = [edge.source for edge in top.incoming if edge.source is not None and edge.source not in self._known]
            if top in self._known or not missing or top.scope.cyclic:
                waiting.pop()
                if top not in self._known:
                    self._known[top] = {} if top.scope.cyclic else _either([self.edge(edge) for edge in top.incoming])
            else:
                waiting.extend(missing)
        return self._known[node]

    def edge(self, edge: Entry) -> Guards:
        """Under which choices the edge can be live."""
        assert edge.source is not None, "only edges with a known source are asked for"
        merged = dict(self.guards(edge.source))
        if len(merged) < GUARDS_MAX:
            merged[edge.source.index] = frozenset((_outcome(edge.source, edge.port),))
        return merged

    def exclude(self, first: Node, second: Node) -> bool:
        """Whether the two can never run in the same frame."""
        one, other = self.guards(first), self.guards(second)
        return any(index in other and not ports & other[index] for index, ports in one.items())

    def most_together(self, edges: Iterable[Entry]) -> int:
        """The most of these edges that can be live in one frame."""
        self._steps = 0
        every = [dict(self.edge(edge)) for edge in edges]
        most = self._most(every, 0)
        return len(every) if self._steps > _STEPS_MAX else most

    def _most(self, guarded: list[dict[int, frozenset[str]]], depth: int) -> int:
        """Edges without a common choice add up; those with one are counted for each of its outcomes."""
        self._steps += len(guarded) + sum(map(len, guarded)) if depth < _DEPTH_MAX else _STEPS_MAX + 1
        if len(guarded) < 2 or self._steps > _STEPS_MAX:
            return len(guarded)
        groups = _groups(guarded)
        if len(groups) > 1:
            return sum(self._most(group, depth + 1) for group in groups)
        shared = Counter(index for guards in guarded for index in guards)
        index = max(shared, key=lambda each: shared[each])
        outcomes = {outcome for guards in guarded for outcome in guards.get(index, ())}
        if len(outcomes) == 1:
            return self._most([_without(guards, index) for guards in guarded], depth + 1)
        return max(
            self._most([_without(guards, index) for guards in guarded if outcome in guards.get(index, (outcome,))], depth + 1)
            for outcome in sorted(outcomes)
        )


def _groups(guarded: list[dict[int, frozenset[str]]]) -> list[list[dict[int, frozenset[str]]]]:
    """The edges in groups that have no choice in common."""
    leader: dict[int, int] = {}  # of each choice: another choice of its group, in the end the same for all

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    for guards in guarded:
        first = next(iter(guards), None)
        for index in guards:
            leader.setdefault(index, index)
            if first is not None:
                leader[find(index)] = find(first)
    groups: dict[int, list[dict[int, frozenset[str]]]] = {}
    for number, guards in enumerate(guarded):
        key = find(next(iter(guards))) if guards else -1 - number
        groups.setdefault(key, []).append(guards)
    return list(groups.values())


def _without(guards: dict[int, frozenset[str]], index: int) -> dict[int, frozenset[str]]:
    return {key: outcomes for key, outcomes in guards.items() if key != index}


def _either(options: list[Guards]) -> Guards:
    """What holds whichever of the options is live: only choices that all of them depend on."""
    if not options:
        return {}
    first, *others = options
    return {
        index: outcomes.union(*(other[index] for other in others))
        for index, outcomes in first.items()
        if all(index in other for other in others)
    }


def _outcome(node: Node, port: str) -> str:
    """What must have happened at a node for a port to be live: ports with the same outcome go together."""
    if node.type == "switch" and node.raw.get("match") == "all" and port in node.cases:
        return "a case"
    return port if port in node.ports else "out"

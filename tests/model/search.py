"""A longer search for disagreements between model and engine, with each case cut down to what it needs.

PYTHONPATH=src python tests/model/search.py --examples 2000 --seed 7 --into disagreements
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "engine")]

import yaml
from definitions import Definition, definitions
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from lockstep import Disagreement, Lockstep
from moves import Answers, Move
from reference.shape import CATALOG

from perdure.definition import check_document

CASES_MAX = 8  # of each kind
SECONDS_MAX = 60  # after which a case is cut down no further
KEPT = frozenset(
    {"type", "need", "branches", "body", "nodes", "perdure", "name", "over", "condition", "max_iterations", "jitter"}
)


@dataclass(frozen=True)
class Case:
    """A definition, the moves made, and what came of them."""

    definition: Definition
    moves: tuple[Move, ...]
    kind: str
    text: str

    @property
    def size(self) -> int:
        return len(str(self.definition.document)) + 30 * len(self.moves)


def played(definition: Definition, answers: Answers) -> Case | None:
    """The disagreement, or the error, that a definition with these answers shows."""
    try:
        lock = Lockstep(definition)
    except Disagreement as found:
        return Case(definition, tuple(found.moves), found.what, _said(found))
    except Exception as error:  # noqa: BLE001 - whatever breaks is a finding
        return Case(definition, (), _place(error), traceback.format_exc())
    try:
        lock.run(answers)
    except Disagreement as found:
        return Case(definition, tuple(found.moves), found.what, _said(found))
    except Exception as error:  # noqa: BLE001 - whatever breaks is a finding
        return Case(definition, tuple(lock.moves), _place(error), traceback.format_exc())
    return None


def replayed(definition: Definition, moves: Sequence[Move]) -> Case | None:
    """The same with given moves; those that fit nothing are left out."""
    if check_document(definition.document, CATALOG).errors:
        return None
    made: list[Move] = []
    try:
        lock = Lockstep(definition)
        for move in moves:
            if fits(lock, move):
                made.append(move)
                lock.make(move)
        if lock.model.status:
            lock.compare_ends()
    except Disagreement as found:
        return Case(definition, tuple(made), found.what, _said(found))
    except Exception as error:  # noqa: BLE001 - whatever breaks is a finding
        return Case(definition, tuple(made), _place(error), traceback.format_exc())
    return None


def fits(lock: Lockstep, move: Move) -> bool:
    """Whether a move says something to the execution as it is."""
    model = lock.model
    if model.status:
        return False
    if move.kind in ("succeed", "fail", "stopped"):
        return move.path in model.running() and (move.kind != "stopped" or model.stopping(move.path))
    if move.kind in ("child", "operate"):
        return move.path in model.active()
    return move.kind != "pass" or model.now <= move.due


def _said(found: Disagreement) -> str:
    return f"{found.what}: the model says {found.model!r}, the engine {found.engine!r}"


def _place(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}"


# -- cutting down ---------------------------------------------------------------------------------------------------------
def reduced(case: Case) -> Case:
    """The case with everything left out that it does not need."""
    size = -1
    latest = time.monotonic() + SECONDS_MAX
    while size != case.size and time.monotonic() < latest:
        size = case.size
        case = _with_less(_with_fewer_moves(case))
    return case


def _with_fewer_moves(case: Case) -> Case:
    position = len(case.moves) - 1
    while position >= 0:
        moves = case.moves[:position] + case.moves[position + 1 :]
        case = _kept(case, replayed(case.definition, moves)) or case
        position -= 1
    return case


def _with_less(case: Case) -> Case:
    """Nodes go first, the outer ones before those inside; then keys and entries."""
    position = 0
    while True:
        paths = sorted(paths_in(case.definition.document, ()), key=lambda path: (path[-2:-1] != ("nodes",), len(path)))
        if position >= len(paths):
            return case
        document = without(case.definition.document, paths[position])
        smaller = _kept(case, replayed(Definition(document, case.definition.input), case.moves))
        if smaller is None:
            position += 1
        else:
            case = smaller


def _kept(case: Case, found: Case | None) -> Case | None:
    return found if found is not None and found.kind == case.kind and found.size < case.size else None


def without(document: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    """The document with one node, one key or one entry less."""
    changed = copy.deepcopy(document)
    holder: Any = changed
    for step in path[:-1]:
        holder = holder[step]
    del holder[path[-1]]
    if path[-2:-1] == ("nodes",):
        _forget(holder, str(path[-1]))
    return changed


def paths_in(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in KEPT or path[-1:] == ("nodes",):
                yield (*path, key)
            yield from paths_in(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield (*path, index)
            yield from paths_in(inner, (*path, index))


def _forget(nodes: dict[str, Any], gone: str) -> None:
    """Take the edges out that led from a node."""
    for node in nodes.values():
        after = [entry for entry in node.get("after", []) if _source(entry) != gone]
        if after:
            node["after"] = after
        else:
            node.pop("after", None)


def _source(entry: Any) -> str:
    return str(entry["from"] if isinstance(entry, dict) else entry).partition(".")[0]


# -- searching ------------------------------------------------------------------------------------------------------------
def search(examples: int, number: int) -> list[Case]:
    """The smallest case of each kind that so many random executions show, cut down."""
    found: dict[str, list[Case]] = {}

    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(definition=definitions(), numbers=st.lists(st.integers(0, 10_000), min_size=1, max_size=30))
    def one(definition: Definition, numbers: list[int]) -> None:
        case = played(definition, Answers(tuple(numbers)))
        if case is not None:
            found.setdefault(case.kind, []).append(case)

    one()
    for kind, cases in found.items():
        print(f"{len(cases)} of {examples}: {kind}")
    return [case for cases in found.values() for case in sorted(cases, key=lambda case: case.size)[:CASES_MAX]]


def main() -> None:
    """Search, and write each case into a file."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--examples", type=int, default=500)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--into", type=Path, default=Path("disagreements"))
    chosen = options.parse_args()
    chosen.into.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(map(reduced, search(chosen.examples, chosen.seed))):
        body = yaml.safe_dump(case.definition.document, sort_keys=False)
        moves = "\n".join(f"- {move}" for move in case.moves)
        text = f"# {case.text}\n\ninput: {case.definition.input}\n\n```yaml\n{body}```\n\n{moves}\n"
        (chosen.into / f"{chosen.seed:04}-{number:02}.md").write_text(text)
        print(f"--- {number}\n{text}", flush=True)


if __name__ == "__main__":
    main()

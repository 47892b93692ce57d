"""The engine does what the reference interpreter does: random definitions, random answers, compared after every move.

More examples, other seeds and cases cut down to what they need: `tests/model/search.py`.
"""

from __future__ import annotations

import statistics
from typing import Any

from definitions import Definition, definitions
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from lockstep import Disagreement, Lockstep
from moves import Answers
from search import Case, reduced

EXAMPLES = 120
BOUNDED: dict[str, Any] = {
    "deadline": None, "derandomize": True, "database": None, "phases": (Phase.generate,),
    "suppress_health_check": list(HealthCheck),
}  # fmt: skip


@settings(max_examples=EXAMPLES, **BOUNDED)
@given(definition=definitions(), numbers=st.lists(st.integers(0, 10_000), min_size=1, max_size=30))
def test_the_engine_does_what_the_rules_say(definition: Definition, numbers: list[int]) -> None:
    """What runs, what was asked to stop, what is due next, how it ends: the same after each of the same moves."""
    try:
        Lockstep(definition).run(Answers(tuple(numbers)))
    except Disagreement as found:
        case = reduced(Case(definition, tuple(found.moves), found.what, str(found)))
        moves = "\n".join(f"  {move}" for move in case.moves)
        text = f"{case.text}\n{case.definition.document}\ninput: {case.definition.input}\n{moves}"
        raise AssertionError(text) from None


def test_random_definitions_are_large_enough_to_meet_each_other() -> None:
    """Half of them have twelve nodes or more, and every type of node occurs."""
    sizes: list[int] = []
    kinds: set[str] = set()

    @settings(max_examples=100, **BOUNDED)
    @given(definition=definitions())
    def draw(definition: Definition) -> None:
        types = types_of(definition.document)
        sizes.append(len(types))
        kinds.update(types)

    draw()
    assert statistics.median(sizes) >= 12
    assert kinds >= {
        "test.effect", "transform", "condition", "switch", "set_variable", "get_variable", "fail", "delay", "wait_until",
        "wait_for_signal", "wait_for_event", "wait_for_condition", "subworkflow", "join", "loop", "parallel", "try", "while",
        "repeat", "break", "continue", "return", "exit", "cancel", "rollback",
    }  # fmt: skip


def types_of(value: Any) -> list[str]:
    """The types of all nodes, at any depth."""
    if isinstance(value, list):
        return [found for inner in value for found in types_of(inner)]
    if not isinstance(value, dict):
        return []
    nodes = value.get("nodes")
    own = [node["type"] for node in nodes.values()] if isinstance(nodes, dict) else []
    return [*own, *(found for inner in value.values() for found in types_of(inner))]

"""Every example that a control or pure node shows is true: its input gives the status and the output that it declares."""

from __future__ import annotations

from typing import Any

import pytest
from recording import Recording

from perdure.definition.spec import Example
from perdure.engine.elements import SPECS

EXAMPLES = [pytest.param(example, id=f"{name}: {example.title}") for name, spec in SPECS.items() for example in spec.examples]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_gives_what_it_says(example: Example) -> None:
    """Waits pass in virtual time; nothing is left running, waiting or parked."""
    play = Recording(example.definition)
    play.start(example.input)
    while not play.status and (play.run_children() or play.next_time()):
        pass
    assert play.status == example.status
    if example.check_output:
        assert play.output == example.output
    assert play.restepped() == []


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_element_shows_itself(name: str) -> None:
    """Each has an example in which it stands, a title and a summary."""
    spec = SPECS[name]
    assert spec.title
    assert spec.summary.endswith(".")
    assert any(name in types_in(example.definition) for example in spec.examples)


def types_in(scope: Any) -> set[str]:
    """The node types of a scope and of all inside it."""
    if isinstance(scope, dict):
        own = {scope["type"]} if isinstance(scope.get("type"), str) else set()
        return own.union(*map(types_in, scope.values()))
    return set().union(*map(types_in, scope)) if isinstance(scope, list) else set()

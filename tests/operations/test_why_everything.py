"""Whatever has happened can be explained: every node, frame and execution of the rules' tables and of all examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from explained import TEXT
from plays import RULES, definition, perform, table
from recording import Recording

from perdure.engine import events
from perdure.engine.codec import decode_row
from perdure.engine.elements import SPECS
from perdure.engine.events import AnyFact
from perdure.engine.names import time_text
from perdure.ids import instance_path
from perdure.operations.evidence import History
from perdure.operations.executions import Moment
from perdure.operations.explaining import explained
from perdure.operations.reasons import Case, Reason

TABLES = sorted(path.stem for path in RULES.glob("*.yaml") if "plays" not in path.stem and path.stem != "golden")
ROWS = [pytest.param(row, id=f"{name}: {row['row']}") for name in TABLES for row in table(name) if "play" in row]
EXAMPLES = [pytest.param(example, id=f"{name}: {example.title}") for name, spec in SPECS.items() for example in spec.examples]


class Asked(Recording):
    """A recording that explains itself after each of its steps."""

    def take(self, *inputs: Any) -> list[AnyFact]:
        taken = super().take(*inputs)
        self.ask("")
        return taken

    def history(self) -> History:
        """The journal as it stands."""
        moments, first = [], 1
        for body, at in zip(self.rows, self.ats, strict=True):
            row = decode_row(body)
            moments.append(Moment(first_seq=first, at=at, inputs=row.inputs, facts=row.facts, cut=row.cut))
            first += len(row.facts)
        return History(self.plan, moments, self.resident)

    def ask(self, path: str, history: History | None = None) -> tuple[Reason, ...]:
        """The reasons for what is at a path; each is a sentence."""
        case = Case(history or self.history(), TEXT, time_text)
        found = explained(case, path, status="running")
        for reason in _every(found.reasons):
            assert reason.sentence
            assert "  " not in reason.sentence.strip()
            assert not reason.remedy or reason.remedy.startswith("perdure ")
            assert "1970" not in reason.sentence
        assert not case.history.needs
        return found.reasons

    def paths(self) -> Iterator[str]:
        """Every node and frame that has left a trace, and every node of the workflow's own scope."""
        history = self.history()
        yield from (instance_path(*key) for key in history.of)
        yield from (path for path in history.scopes if path)
        yield from (node.id for node in self.plan.root.nodes)


def _every(reasons: Iterable[Reason]) -> Iterator[Reason]:
    for reason in reasons:
        yield reason
        yield from _every(reason.because)


def all_asked(play: Asked) -> None:
    """Everything there is can be explained, and in the end each node has something to say."""
    history = play.history()
    for path in dict.fromkeys(play.paths()):
        assert play.ask(path, history), f"Expected a reason for `{path}`, but there is none."


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_rules_can_be_explained(row: dict[str, Any]) -> None:
    """At each move why the execution stands as it does, and in the end each node and frame."""
    play = Asked(definition(row))
    perform(play, row["play"])
    all_asked(play)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_can_be_explained(example: Any) -> None:
    """Each element at least once."""
    play = Asked(example.definition)
    play.start(example.input)
    while not play.status and (play.run_children() or play.next_time()):
        pass
    all_asked(play)
    assert any(isinstance(fact, events.Ended) for fact in play.facts)

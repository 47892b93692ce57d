"""A rehearsal that can be asked why: its journal is explained as the one of a store would be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from perdure.engine.events import AnyInput
from perdure.engine.machine import Stepped
from perdure.engine.names import time_text
from perdure.operations.evidence import History
from perdure.operations.executions import Moment
from perdure.operations.explaining import Explanation, explained
from perdure.operations.reasons import Case, Reason
from perdure.testing.rehearsal import Rehearsal

TEXT = "ex_1"
"""How the execution of a rehearsal is called."""


class Explained(Rehearsal):
    """One execution, played by hand, that can be asked why."""

    def __init__(self, document: Mapping[str, Any], **given: Any) -> None:
        super().__init__(document, **given)
        self.moments: list[Moment] = []
        self.holders: dict[str, tuple[str, str]] = {}

    def _step(self, inputs: list[AnyInput]) -> Stepped:
        first = len(self.facts) + 1
        done = super()._step(inputs)
        if done.facts:
            cut = not done.at_rest
            self.moments.append(Moment(first_seq=first, at=self.now, inputs=done.taken, facts=done.facts, cut=cut))
        return done

    def why(self, path: str = "") -> Explanation:
        """The explanation of a node, a frame, or of the execution. Times are told by their seconds alone."""
        history = History(self.plan, self.moments, self.resident)
        found = explained(Case(history, TEXT, lambda at: time_text(at)[11:19], self.holders), path, status="running")
        assert not history.needs
        return found

    def told(self, path: str = "") -> list[str]:
        """All that is said, a line each: sentences, `name = value`, `→ command`; indented what others follow from."""
        return [line for reason in self.why(path).reasons for line in _lines(reason, "")]

    def says(self, path: str, *wanted: str) -> None:
        """Each of these is said of the node, in this order."""
        lines = [line.strip() for line in self.told(path)]
        places = []
        for sentence in wanted:
            assert sentence in lines, f"Expected {sentence!r} of `{path}`, but it says: {lines}"
            places.append(lines.index(sentence))
        assert places == sorted(places), f"Expected another order, but it says: {lines}"


def _lines(reason: Reason, indent: str) -> Iterator[str]:
    yield f"{indent}{reason.sentence}"
    for name, value in reason.seen:
        yield f"{indent}    {name} = {value!r}"
    if reason.remedy:
        yield f"{indent}    → {reason.remedy}"
    for each in reason.because:
        yield from _lines(each, f"{indent}    ")


def scope(**nodes: Any) -> dict[str, Any]:
    """A graph of `test.effect` nodes; nodes with a type keep it."""
    return {"nodes": {name: {"type": "test.effect", **given} for name, given in nodes.items()}}

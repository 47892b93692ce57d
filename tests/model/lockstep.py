"""Model and engine in lockstep: the same definition, the same moves, and whatever can be seen compared after each."""

from __future__ import annotations

from collections import Counter
from typing import Any

from definitions import Definition
from interpreter import BEGIN, Model
from moves import Answers, Move, on_engine, on_model, placed
from plays import finals, running
from recording import Recording

TURNS_MAX = 300
ENDED_BY_ITSELF = frozenset({"succeeded", "failed"})  # what is cancelled together is in no order


class Disagreement(AssertionError):
    """Model and engine say two things; with the definition and the moves up to there."""

    def __init__(self, definition: Definition, moves: list[Move], what: str, model: Any, engine: Any) -> None:
        self.definition, self.moves, self.what, self.model, self.engine = definition, moves, what, model, engine
        lines = "\n".join(f"  {move}" for move in moves)
        super().__init__(
            f"{what}: the model says {model!r}, the engine {engine!r}\n{definition.document}\n{definition.input}\n{lines}"
        )


class Lockstep:
    """One definition, played on both."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.moves: list[Move] = []
        self.play = Recording(definition.document, compares=False)
        self.play.now = BEGIN
        self.play.start(definition.input)
        self.model = Model(definition.document, input=definition.input, at=BEGIN)
        self.compare()

    def run(self, answers: Answers) -> None:
        """Move both until the execution has ended; what cannot be moved any more is cancelled."""
        for turn in range(TURNS_MAX):
            if self.model.status:
                break
            self.make(answers.next(self.model, turn) or Move("control", value="cancel"))
        else:
            self.make(Move("control", value="terminate"))
        self.compare_ends()

    def make(self, move: Move) -> None:
        """Make a move on both, and compare."""
        self.moves.append(move)
        on_model(self.model, move)
        on_engine(self.play, move)
        self.play.now = max(self.play.now, self.model.now)
        self.compare()

    def compare(self) -> None:
        """What is running, what was asked to stop, when something is due next, and the status."""
        self._same("status", self.model.status, self.play.status)
        self._same("running", sorted(self.model.running()), running(self.play))
        if self.model.status:
            return
        self._same(
            "stopping",
            {path: self.model.stopping(path) for path in self.model.running()},
            {path: bool(placed(self.play, path)[1].stopping) for path in self.model.running()},
        )
        paused = self.model.world.paused_at is not None
        self._same("next due", self.model.next_due(), None if paused else self.play.index.next_due(self.play.execution))

    def compare_ends(self) -> None:
        """How it ended: output, error, what became of every instance, and the order in which effects did."""
        outcomes = Counter((path, state) for path, state, _ in finals(self.play))
        self._same("outcomes", self.model.outcomes() - outcomes, outcomes - self.model.outcomes())
        model_error, engine_error = self.model.error, self.play.error
        self._same("error", model_error and model_error.code, engine_error and engine_error.code)
        output = self.play.output if self.play.status == "succeeded" else None
        self._same("output", without_words(self.model.output), without_words(output))
        order = self.model.order()
        by_model = [path for path, state in self.model.outcomes() if state in ENDED_BY_ITSELF]
        by_model.sort(key=lambda path: order[path][1])
        by_engine = [path for path, state, _ in finals(self.play) if state in ENDED_BY_ITSELF]
        effects = {run.token.node for run in self.play.runs()}
        self._same("order", _of(by_model, effects), _of(by_engine, effects))

    def _same(self, what: str, model: Any, engine: Any) -> None:
        if model != engine:
            raise Disagreement(self.definition, list(self.moves), what, model, engine)


def without_words(value: Any) -> Any:
    """A value in which errors are codes: how they are worded is not compared."""
    if isinstance(value, dict):
        kind = value.get("type")
        if isinstance(kind, str) and kind.startswith("urn:perdure:error:"):
            return kind
        return {key: without_words(inner) for key, inner in value.items()}
    return [without_words(inner) for inner in value] if isinstance(value, list) else value


def _of(paths: list[str], nodes: set[str]) -> list[str]:
    """The paths of these nodes."""
    return [path for path in paths if path.rpartition(".")[2].partition("#")[0] in nodes]

"""A rehearsal: the bare engine played by hand, without store, worker or clock; every result arrives when the test says so.

    play = Rehearsal(effects(a={}, b={"after": "a"}))
    play.start()
    play.succeed("a", 1)
    play.fail("b", "http.503")
    assert play.status == "failed"

After every step it checks what must always hold: the journal folds to the same state, a final instance stays final, nothing
starts in a frame that is being left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from perdure.clock import MICROSECONDS
from perdure.definition import check_document
from perdure.definition.plan import Plan
from perdure.definition.spec import Catalog, NodeSpec
from perdure.engine import events
from perdure.engine.codec import decode_row, decode_value, encode_row, encode_snapshot, handle_digest
from perdure.engine.commands import Command, Evaluate, Run, StartChild, Stop
from perdure.engine.elements import SPECS
from perdure.engine.events import AnyFact, AnyInput, Token, encode
from perdure.engine.evolution import evolve
from perdure.engine.execution import STATE_NAMES, Execution, Frame, Instance
from perdure.engine.index import Index
from perdure.engine.machine import STEP_FACTS_MAX, Stepped, step
from perdure.engine.outside import evaluate
from perdure.errors import Category, DefinitionRefused, Failure
from perdure.ids import instance_path

EFFECT = NodeSpec(name="test.effect", title="An effect that the test answers for", kind="effect", params={"type": "object"})
EXECUTION = bytes.fromhex("0192b1c5a0007000800000000000abcd")
BEGIN = 1_700_000_000 * MICROSECONDS


def plan_of(document: Mapping[str, Any], *, specs: Mapping[str, NodeSpec] | None = None) -> Plan:
    """The plan of a document that may use every control and pure node, `test.effect`, and `specs`. Raises DefinitionRefused."""
    catalog = Catalog({**SPECS, EFFECT.name: EFFECT, **(specs or {})})
    checked = check_document(dict(document), catalog)
    if checked.plan is None:
        raise DefinitionRefused(checked.faults)
    return checked.plan


def effects(**nodes: Any) -> dict[str, Any]:
    """A document named `w` of `test.effect` nodes: `effects(a={}, b={"after": "a"})`. Nodes with a type keep it."""
    return {"perdure": 1, "name": "w", "nodes": {name: {"type": EFFECT.name, **given} for name, given in nodes.items()}}


class Rehearsal:
    """One execution, played by hand."""

    def __init__(
        self,
        document: Mapping[str, Any] | Plan,
        *,
        facts_max: int = STEP_FACTS_MAX,
        specs: Mapping[str, NodeSpec] | None = None,
    ) -> None:
        self.plan = document if isinstance(document, Plan) else plan_of(document, specs=specs)
        self.facts_max = facts_max
        self.now = BEGIN
        self.resident: dict[bytes, Any] = {}
        self.bodies: dict[bytes, bytes] = {}
        self.execution = Execution()
        self.index = Index(self.plan, self.resident)
        self.rows: list[bytes] = []
        self.facts: list[AnyFact] = []
        self.commands: list[Command] = []
        self.ends: dict[str, str] = {}  # how each instance ended, by path, also those whose frame is gone
        self._finals: dict[tuple[str, str, int], int] = {}

    # -- playing ------------------------------------------------------------------------------------------------------

    def start(self, input: Any = None, **fields: Any) -> list[AnyFact]:
        """Begin with this input."""
        return self.take(events.Start(execution=EXECUTION, input=encode(input), **fields))

    def take(self, *inputs: AnyInput) -> list[AnyFact]:
        """Step these inputs, and go on until at rest. Evaluations outside the step are carried out at once. The new facts."""
        before = len(self.facts)
        waiting = list(inputs)
        while waiting:
            done = self._step(waiting)
            waiting = waiting[len(done.taken) :]
            if not done.at_rest:
                waiting.insert(0, events.Continue())
            for command in done.commands:
                if isinstance(command, Evaluate):
                    waiting.append(self._evaluated(command))
        return self.facts[before:]

    def _step(self, inputs: list[AnyInput]) -> Stepped:
        done = step(self.execution, self.index, inputs, self.now, facts_max=self.facts_max)
        for digest, body in done.blobs.items():
            self.bodies[digest] = body
            self.resident[digest] = decode_value(body)
        if done.facts:
            self.rows.append(encode_row(done.taken, done.facts, not done.at_rest))
        self.facts += done.facts
        self.ends.update(_ends(done.facts))
        self.commands += done.commands
        self._check(done)
        return done

    def succeed(self, node: str, output: Any = None, **fields: Any) -> list[AnyFact]:
        """The node's present attempt succeeded."""
        return self.take(self.result(node, output=encode(output), **fields))

    def fail(
        self,
        node: str,
        code: str = "test.failed",
        *,
        category: Category = "technical",
        fields: Mapping[str, Any] | None = None,
        **failure: Any,
    ) -> list[AnyFact]:
        """The node's present attempt failed."""
        error = Failure(code=code, title=failure.pop("title", code), category=category, **failure)
        return self.take(self.result(node, outcome="failed", error=error, **(fields or {})))

    def stopped(self, node: str) -> list[AnyFact]:
        """The node's attempt stopped, as it was asked to."""
        return self.take(self.result(node, outcome="stopped"))

    def result(self, node: str, **fields: Any) -> events.Result:
        """The result of the node's present attempt, as an input."""
        instance = self.instance(node)
        token = Token(frame=_frame(node), node=instance.node, visit=instance.visit, attempt=instance.attempt)
        return events.Result(token=token, **{"started": self.now, "finished": self.now, **fields})

    def operate(self, action: str, node: str = "", **fields: Any) -> list[AnyFact]:
        """An operator acts."""
        return self.take(events.Operate(action=action, by="operator", frame=_frame(node), **self._visited(node), **fields))

    def _visited(self, path: str) -> dict[str, Any]:
        node, _, visit = path.rpartition(".")[2].partition("#")
        frame = self.execution.frames.get(_frame(path))
        return {"node": node, "visit": int(visit) if visit else frame.visit_of(node) if frame is not None else 1}

    def signal(self, name: str, payload: Any = None, **fields: Any) -> list[AnyFact]:
        """A signal arrives."""
        return self.take(events.Signal(id=f"s{len(self.rows)}", name=name, payload=encode(payload), **fields))

    def pass_time(self, seconds: float) -> list[AnyFact]:
        """Let time pass; each timer fires at its own moment, in order."""
        until = self.now + round(seconds * MICROSECONDS)
        before = len(self.facts)
        while (due := self.index.next_due(self.execution)) is not None and due <= until:
            self.now = max(self.now, due)
            self.take(*self.index.take_due(self.execution, self.now))
        self.now = until
        return self.facts[before:]

    def run_children(self) -> bool:
        """Carry the children that were asked for to their end, each in a rehearsal of the same workflow; were there any?"""
        asked = [command for command in self.commands if isinstance(command, StartChild)]
        self.commands = [command for command in self.commands if not isinstance(command, StartChild)]
        for command in asked:
            child = type(self)(self.plan)
            child.take(events.Start(execution=command.child, input=encode(self.value(command.input)), depth=command.depth))
            while not child.status and child.run_children():
                pass
            self.take(
                events.ChildEnded(
                    token=command.token, child=command.child, status=child.status, output=encode(child.output),
                    error=child.error,
                )
            )  # fmt: skip
        return bool(asked)

    def crash(self, *, crashed: bool = True) -> list[AnyFact]:
        """The home dies; a new one folds the journal and goes on."""
        self.refold()
        return self.take(events.Recovered(crashed=crashed, worker="next"))

    def refold(self) -> None:
        """Forget the state in memory and fold it from the journal."""
        self.execution = self.folded()
        self.index = Index.rebuilt(self.plan, self.execution, self.resident)

    def _evaluated(self, command: Evaluate) -> events.Result:
        names = {
            "at": command.names["at"], "seed": command.names["seed"],
            **{family: {name: self._plain(value) for name, value in command.names[family].items()}
               for family in ("nodes", "state", "previous", "roots")},
        }  # fmt: skip
        answer = evaluate({"type": command.type, "document": command.document, "names": names})
        if "failure" in answer:
            return events.Result(token=command.token, outcome="failed", error=msgspec.convert(answer["failure"], Failure))
        return events.Result(token=command.token, output=encode(answer["output"]))

    def _plain(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._plain(inner) for name, inner in value.items()}
        return self.value(value) if isinstance(value, msgspec.Raw) else value

    # -- looking ------------------------------------------------------------------------------------------------------

    def value(self, raw: Any) -> Any:
        """A value as the journal has it, decoded."""
        digest = handle_digest(raw)
        return decode_value(raw if digest is None else self.bodies[digest])

    @property
    def status(self) -> str:
        """The final status, "" while it goes on."""
        return self.execution.status

    @property
    def output(self) -> Any:
        return self.value(self.execution.output)

    @property
    def error(self) -> Failure | None:
        return self.execution.error

    def frame(self, path: str = "") -> Frame:
        return self.execution.frames[path]

    def instance(self, node: str) -> Instance:
        """The instance that a path names, with its visit or without."""
        return self.frame(_frame(node)).instances[node.rpartition(".")[2].partition("#")[0]]

    def state(self, node: str) -> str:
        """pending, running, waiting, parked, succeeded, failed, cancelled or skipped; also of a frame that has ended."""
        frame = self.execution.frames.get(_frame(node))
        if frame is None:
            return self.ends.get(node, "pending")
        found = frame.instances.get(node.rpartition(".")[2].partition("#")[0])
        if found is None:
            return self.ends.get(node, "pending") if "#" in node else "pending"
        return STATE_NAMES[found.state]

    def states(self) -> dict[str, str]:
        """All nodes of the root frame by state."""
        return {node.id: self.state(node.id) for node in self.plan.root.nodes}

    def node_output(self, node: str) -> Any:
        return self.value(self.instance(node).output)

    def runs(self) -> list[Run]:
        """All attempts that were asked for, in order."""
        return [command for command in self.commands if isinstance(command, Run)]

    def stops(self) -> list[Stop]:
        return [command for command in self.commands if isinstance(command, Stop)]

    def started(self) -> list[str]:
        """The nodes whose first attempts were asked for, in order."""
        return [command.token.node for command in self.runs() if command.token.attempt == 1]

    def kinds(self, facts: list[AnyFact] | None = None) -> list[str]:
        """Facts as short sentences: `Done a`, `Skipped b`."""
        return [_sentence(fact) for fact in (self.facts if facts is None else facts)]

    # -- what must always hold ----------------------------------------------------------------------------------------

    def folded(self) -> Execution:
        """The state as the journal alone gives it."""
        execution = Execution()
        for row in self.rows:
            for fact in decode_row(row).facts:
                evolve(execution, fact)
        execution.at = self.execution.at
        return execution

    def _check(self, done: Stepped) -> None:
        assert encode_snapshot(self.folded()) == encode_snapshot(self.execution), "the journal folds to another state"
        for frame, instance in self._instances():
            key = (frame.path, instance.node, instance.visit)
            if instance.final:
                known = self._finals.setdefault(key, instance.state)
                assert known == instance.state, f"{key} was final and changed"
            else:
                assert key not in self._finals, f"{key} was final and came back"
        if done.at_rest and not self.execution.ended:
            rebuilt = Index.rebuilt(self.plan, self.execution, self.resident)
            live = self.index
            assert (rebuilt.running, rebuilt.waiting, rebuilt.parked) == (live.running, live.waiting, live.parked)
            assert not rebuilt.ready or self.execution.paused_at or self._asks_again(rebuilt), (
                "something is ready though the step came to rest"
            )

    def _asks_again(self, index: Index) -> bool:
        """Joins with an expression are looked at anew by a home that has just read the journal; it gives the same answer."""
        nodes = [opened.scope.nodes[number] for opened, number in index.ready]
        return all(node.type == "join" and node.options.get("need") is None for node in nodes)

    def _instances(self) -> Iterator[tuple[Frame, Instance]]:
        return self.execution.instances()


def _frame(path: str) -> str:
    return path.rpartition(".")[0]


_ENDS: dict[type[Any], str] = {
    events.Done: "succeeded", events.NodeFailed: "failed", events.NodeCancelled: "cancelled", events.Skipped: "skipped",
}  # fmt: skip


def _ends(facts: list[AnyFact]) -> Iterator[tuple[str, str]]:
    for fact in facts:
        if isinstance(fact, events.InstanceFact) and type(fact) in _ENDS:
            yield instance_path(fact.frame, fact.node, fact.visit), _ENDS[type(fact)]


def _sentence(fact: AnyFact) -> str:
    node = getattr(fact, "node", "")
    return f"{type(fact).__name__} {node}".strip()

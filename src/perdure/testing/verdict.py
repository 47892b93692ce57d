"""The verdict on what was witnessed: on disk as committed, one state however it is read, all from its inputs alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from perdure.definition.plan import Plan
from perdure.engine import events
from perdure.engine.codec import FOLD, decode_snapshot, decode_value, encode_value, inputs_as_given
from perdure.engine.events import AnyFact
from perdure.engine.evolution import evolve
from perdure.engine.execution import RUNNING, Execution
from perdure.engine.index import Index
from perdure.engine.machine import step
from perdure.ids import ExecutionId, id_text
from perdure.runtime.postings import asked_by
from perdure.store.contract import Store
from perdure.testing.witness import Observed, Violation, Witness

UNCUT = 1 << 62  # facts: a step that came to rest when it was recorded does so again


async def judge(
    witness: Witness, store: Store, plans: Mapping[bytes, Plan], *, started: Iterable[ExecutionId],
    acknowledged: Iterable[tuple[ExecutionId, str]],
) -> None:  # fmt: skip
    """Raises Violation. `started`, `acknowledged`: executions, and signals to them, that somebody was told are durable."""
    for execution, seen in witness.executions.items():
        witness.compare(execution, await store.journal(execution))
        snapshot = await store.snapshot(execution)
        if snapshot is not None and snapshot.fold == FOLD:
            _compare_snapshot(witness, seen, snapshot.seq, snapshot.body)
        restep(witness, seen, plans[seen.digest])
    for execution in started:
        if execution not in witness.executions:
            raise Violation(f"The start of {id_text(execution)} was acknowledged and is lost.")
    for execution, signal in acknowledged:
        seen = witness.executions[execution]
        if signal not in seen.signals and signal not in {each.message.key for each in await store.inbox(execution)}:
            witness.violate(seen, f"the signal {signal} was acknowledged and is lost")
    for task in await store.tasks(list(witness.executions)):
        seen, token = witness.executions[task.execution], asked_by(task).run.token
        instance = seen.state.instance(token)
        if seen.state.ended or instance is None or instance.state != RUNNING or instance.attempt != token.attempt:
            witness.violate(seen, f"the task at `{task.path}` outlived its attempt")


def _compare_snapshot(witness: Witness, seen: Observed, seq: int, body: bytes) -> None:
    folded = Execution()
    for row, decoded in zip(seen.rows, seen.bodies, strict=True):
        if row.first_seq > seq:
            break
        for fact in decoded.facts:
            evolve(folded, fact)
        folded.at = row.at
    if decode_snapshot(body) != folded:
        witness.violate(seen, f"the snapshot at fact {seq} is not what the journal folds to")


def restep(witness: Witness, seen: Observed, plan: Plan) -> None:
    """Step the recorded inputs one by one: they give exactly the facts that were recorded (rule 2). Raises Violation."""
    resident = {digest: decode_value(body) for digest, body in witness.blobs.items()}
    execution, index = Execution(), Index(plan, resident)
    for row, body in zip(seen.rows, seen.bodies, strict=True):
        given = inputs_as_given(body)
        if any(isinstance(each, events.Recovered) for each in given):
            index = Index.rebuilt(plan, execution, resident)
        found: list[AnyFact] = []
        for each in [given] if body.cut else [[single] for single in given]:
            done = step(execution, index, each, row.at, facts_max=len(body.facts) if body.cut else UNCUT)
            found += done.facts
        if encode_value(found) != encode_value(body.facts):
            witness.violate(seen, f"from fact {row.first_seq} on the recorded inputs give other facts")

"""A workflow's output: checked against `output_schema`, and never depending on what happens to be in memory."""

from __future__ import annotations

from msgspec import Raw

from perdure.engine import events
from perdure.engine.signals import SIGNALS_MAX
from perdure.testing.rehearsal import Rehearsal, effects

SCHEMA = {"type": "object", "required": ["total"], "properties": {"total": {"type": "integer"}}}


def test_rule_32_an_output_that_does_not_fit_its_schema_fails_the_execution() -> None:
    """What a workflow promises under `output_schema` it delivers, or it fails with every fault named."""
    play = Rehearsal({**effects(a={}), "output": {"total": "${ nodes.a }"}, "output_schema": SCHEMA})
    play.start()
    play.succeed("a", "three")
    assert play.status == "failed"
    assert play.error is not None
    assert (play.error.code, play.error.category) == ("output.schema", "validation")
    assert play.error.data["faults"][0]["path"] == "total"


def test_rule_32_an_output_that_fits_its_schema_is_the_output() -> None:
    """The check changes nothing about a right output."""
    play = Rehearsal({**effects(a={}), "output": {"total": "${ nodes.a }"}, "output_schema": SCHEMA})
    play.start()
    play.succeed("a", 3)
    assert (play.status, play.output) == ("succeeded", {"total": 3})


def test_rule_32_the_value_of_a_return_is_checked_alike() -> None:
    """A `return` replaces the output and is held to the same schema."""
    document = effects(a={"type": "return", "value": {"total": None}})
    play = Rehearsal({**document, "output_schema": SCHEMA})
    play.start()
    assert play.status == "failed"


def test_a_large_value_is_computed_with_outside_the_step_whether_or_not_it_is_in_memory() -> None:
    """The same inputs give the same facts on a worker that has just seen the value and on one that has not."""
    document = {"perdure": 1, "name": "w", "nodes": {"t": {"type": "transform", "to": "${ len(input.k) }"}}}
    kinds = []
    for forgets in (False, True):
        play = Rehearsal(document)
        raw, body = _large({"k": "x" * 200_000})
        play.bodies.update(body)
        if not forgets:
            play.resident.update({digest: {"k": "x" * 200_000} for digest in body})
        play.take(events.Start(execution=b"\0" * 16, input=raw))
        kinds.append(play.kinds())
        assert play.output == 200_000
    assert kinds[0] == kinds[1]
    assert "Scheduled t" in kinds[0]


def _large(value: object) -> tuple[Raw, dict[bytes, bytes]]:
    from perdure.engine.codec import encode_value, handle_for

    body = encode_value(value)
    handle, digest = handle_for(body)
    return handle, {digest: body}


def test_rule_47_signals_that_nobody_waits_for_are_kept_up_to_a_limit() -> None:
    """The thousand and first changes nothing, and the journal says so."""
    play = Rehearsal(effects(a={}))
    play.start()
    for _ in range(SIGNALS_MAX):
        play.signal("ok")
    facts = play.signal("ok")
    assert [type(fact) for fact in facts] == [events.Late]
    assert len(play.execution.signals) == SIGNALS_MAX

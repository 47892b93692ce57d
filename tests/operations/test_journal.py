"""The journal as plain objects: every fact and input has its name, its place and all that is not as usual."""

from __future__ import annotations

import json
import typing
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from perdure.engine import events
from perdure.engine.codec import decode_value, encode_value, handle_for
from perdure.engine.events import AnyFact, AnyInput, Token
from perdure.errors import Failure
from perdure.operations.executions import Moment
from perdure.operations.journal import fact_object, handles_of, input_object, moment_object

FACTS = typing.get_args(AnyFact)
INPUTS = typing.get_args(AnyInput)
VALUES: dict[Any, Any] = {
    str: "text",
    int: 7,
    bytes: bytes(range(16)),
    bool: True,
    Raw: Raw(encode_value({"n": 1})),
    Failure: Failure(code="x.y", title="No."),
    Token: Token(frame="f", node="n", visit=2, attempt=3),
}


def filled(kind: type[Any]) -> Any:
    """A record with something in every field."""
    return kind(**{about.name: _sample(about.type) for about in msgspec.structs.fields(kind)})


def _sample(wanted: Any) -> Any:
    """A value of this type that is no default."""
    of = typing.get_origin(wanted)
    if of is dict:
        return {"name": _sample(typing.get_args(wanted)[1])}
    if of is tuple:
        return (_sample(typing.get_args(wanted)[0]), "other")
    return next(VALUES[option] for option in (wanted, *typing.get_args(wanted)) if option in VALUES)


@pytest.mark.parametrize("kind", [*FACTS, *INPUTS], ids=lambda kind: f"{kind.__name__}")
def test_each_field_of_each_record_is_told(kind: type[Any]) -> None:
    """What is in a record is in its object, which is JSON; frame, node and visit are one path."""
    shown = (fact_object if kind in FACTS else input_object)(filled(kind))
    assert json.loads(json.dumps(shown)) == shown
    hidden = {"frame", "node", "visit", "token", "lock", "sources"}
    if kind in (events.Spawned, events.Detached):
        hidden |= {"execution"}  # it is told as `child`, since `execution` is whose fact it is
    if kind is events.Result:
        hidden |= {
            "fact",
            "output",
            "crashed",
        }  # the output stands once, in the fact that is named; only what is lost may crash
    missing = {about.name for about in msgspec.structs.fields(kind)} - hidden - shown.keys()
    assert not missing
    if {"node", "frame"} <= set(kind.__struct_fields__) and kind is not events.VariableSet:
        assert shown["node"] == ("text.text#7" if "visit" in kind.__struct_fields__ else "text.text")


@pytest.mark.parametrize("kind", [*FACTS, *INPUTS], ids=lambda kind: f"{kind.__name__}")
def test_a_record_with_nothing_in_it_is_told_in_few_words(kind: type[Any]) -> None:
    """Optional fields that are as usual are left out, but for how something came out, which nobody should have to know."""
    required = {about.name: VALUES.get(about.type, VALUES[str]) for about in msgspec.structs.fields(kind) if about.required}
    shown = (fact_object if kind in FACTS else input_object)(kind(**required))
    usual = {"fact", "type", "node", "frame", "output", "status", "outcome", "crashed", "attempt", "child"} | required.keys()
    assert shown.keys() <= usual


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}])
def test_a_value_that_counts_as_nothing_is_told(value: Any) -> None:
    """An output and a variable's value stand there whatever they are."""
    raw = Raw(encode_value(value))
    assert fact_object(events.Done(node="a", output=raw))["output"] == value
    assert fact_object(events.VariableSet(name="n", value=raw))["value"] == value
    assert fact_object(events.Ended(status="succeeded", output=raw))["output"] == value


def test_what_is_false_where_true_is_usual_is_told() -> None:
    """A worker that stopped in good order did not crash: that must be readable."""
    assert fact_object(events.Lost(node="a", crashed=False)) == {"fact": "lost", "node": "a", "crashed": False}
    assert input_object(events.Recovered(crashed=False, worker="w")) == {"type": "recovered", "crashed": False, "worker": "w"}
    lost = input_object(events.Result(token=Token(node="a"), outcome="lost"))
    assert (lost["outcome"], lost["crashed"]) == ("lost", False)


def test_a_large_value_is_told_by_digest_and_size_or_in_full() -> None:
    """Whoever has the value may give it; a user's own object of that form is never taken for one."""
    body = encode_value("x" * 5_000)
    handle, digest = handle_for(body)
    fact = events.Done(node="a", output=handle)
    assert fact_object(fact)["output"] == {"$blob": digest.hex(), "size": len(body)}
    assert fact_object(fact, {digest: decode_value(body)})["output"] == "x" * 5_000
    assert handles_of([fact, events.Done(node="b", output=events.encode(1))]) == {digest: len(body)}
    forged = {"$blob": "00", "size": 1}
    assert fact_object(events.Done(node="a", output=events.encode(forged)), {digest: "secret"})["output"] == forged


def test_times_ids_and_durations_are_told_for_people() -> None:
    """RFC 3339 in UTC, an execution's id as everywhere, a duration as definitions write it."""
    shown = fact_object(events.Scheduled(node="a", ready=1_700_000_000_000_001, timeout=90_000_000))
    assert (shown["ready"], shown["timeout"]) == ("2023-11-14T22:13:20.000001Z", "1m30s")
    started = fact_object(events.Started(execution=bytes(16), at=1, workflow="w", digest=b"\x01\x02"))
    assert (started["execution"], started["digest"]) == ("ex_00000000000000000000000000", "0102")


def test_other_executions_are_told_by_their_ids() -> None:
    """The children that a definition is pinned to by digest, the child that is waited for, and what waits for an execution."""
    started = fact_object(
        events.Started(
            execution=bytes(16),
            at=1,
            workflow="w",
            digest=b"",
            children={"bill": b"\x01\x02"},
            awaited=Token(frame="o[3]", node="b"),
        )
    )
    assert (started["children"], started["awaited"]) == ({"bill": "0102"}, "o[3].b")
    waiting = fact_object(events.Waiting(node="b", kind="child", child=bytes(16), name="bill", every=60_000_000))
    assert (waiting["child"], waiting["every"]) == ("ex_00000000000000000000000000", "1m")
    assert fact_object(events.Detached(execution=bytes(16)))["child"] == "ex_00000000000000000000000000"
    ended = input_object(events.ChildEnded(token=Token(node="b", attempt=2), child=bytes(16), status="failed"))
    assert (ended["node"], ended["attempt"], ended["child"]) == ("b", 2, "ex_00000000000000000000000000")


def test_frames_are_told_by_their_paths() -> None:
    """A frame that is entered names its container, one that is left or has ended itself, also where a timer says so."""
    assert fact_object(events.FrameOpened(node="o", scope="body", index=3))["node"] == "o"
    assert fact_object(events.FrameClosed(frame="o[3]", until=True)) == {
        "fact": "frame_closed", "frame": "o[3]", "status": "succeeded", "until": True,
    }  # fmt: skip
    assert fact_object(events.SignalKept(id="s", name="go", until=1))["until"] == "1970-01-01T00:00:00.000001Z"
    assert input_object(events.Due(kind="scope", due=1, frame="o[3]"))["frame"] == "o[3]"
    assert fact_object(events.VariableSet(name="n", value=events.NOTHING, frame="o[3]", node="add"))["node"] == "add"


def test_a_step_names_the_fact_that_holds_an_output() -> None:
    """The output of a result stands in its fact alone; the input says which one."""
    done = events.Done(node="a", attempt=1, output=events.encode(5))
    result = events.Result(token=Token(node="a"), fact=0)
    shown = moment_object(Moment(first_seq=7, at=0, inputs=[result], facts=[done], cut=True))
    assert shown["inputs"] == [{"type": "result", "node": "a", "attempt": 1, "outcome": "succeeded", "fact_seq": 7}]
    assert (shown["facts"][0]["output"], shown["cut"]) == (5, True)

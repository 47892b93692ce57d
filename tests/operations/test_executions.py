"""Executions from any process: found by the end of their ids, told what cannot be kept, and shown with their values."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from perdure.engine.codec import encode_snapshot
from perdure.engine.events import Token
from perdure.errors import InputRefused, NotFound, Refused, StoreDamaged, StoreTooNew
from perdure.ids import ExecutionId, id_from_text, id_text
from perdure.operations.executions import ABBREVIATION_MIN, Executions, read_token, split_path
from perdure.store.contract import Store
from perdure.testing.stores.sqlite import MemoryPlace
from perdure.testing.world import Process, World, act, pass_time, workflow_of

WAITS = workflow_of({"ask": {"type": "wait_for_signal", "signal": "go"}})


def ran(document: dict[str, Any], *, times: int = 1, input: Any = None) -> tuple[World, list[ExecutionId]]:
    """A world in which this workflow was started so many times and has come as far as it does by itself."""
    world = World()

    async def main(process: Process) -> list[ExecutionId]:
        started = [await process.start(world.read(document), input) for _ in range(times)]
        await pass_time(60)
        return started

    return world, world.live(main)


def asked(world: World, ask: Any, *, payload_max: int = 64 << 20) -> Any:
    """What a process without a home is answered."""
    return world.look(lambda store: ask(Executions(store, world.clock, payload_max=payload_max)))


# -- ids -----------------------------------------------------------------------------------------------------------------


def test_an_execution_is_found_by_its_id_or_the_end_of_it() -> None:
    """Four characters or more, in whatever case, where only one execution ends so."""
    world, (execution,) = ran(WAITS)
    text = id_text(execution)
    for name in (text, text[-ABBREVIATION_MIN:], text[-9:].upper()):
        assert asked(world, lambda executions, name=name: executions.find(name)) == execution


def test_the_end_of_an_id_that_names_none_or_several_is_refused() -> None:
    """None: `perdure list` shows what there is. Several: they are named."""
    world, started = ran(WAITS, times=3)
    with pytest.raises(NotFound, match="There is no execution 'zzzz' here"):
        asked(world, lambda executions: executions.find("zzzz"))
    with pytest.raises(NotFound, match="There is no execution"):
        asked(world, lambda executions: executions.find(id_text(started[0])[-3:]))
    with pytest.raises(NotFound, match="There is no execution ex_"):
        asked(world, lambda executions: executions.find(id_text(ExecutionId(bytes(16)))))
    assert isinstance(world.place, MemoryPlace)
    others = [bytes([number]) + bytes(15) for number in (1, 2)]
    for other, execution in zip(others, started, strict=False):
        world.place.connection.execute("UPDATE executions SET execution = ? WHERE execution = ?", (other, execution))
    with pytest.raises(Refused, match="'0000' names 2 executions: ex_") as refused:
        asked(world, lambda executions: executions.find("0000"))
    assert not isinstance(refused.value, NotFound)


@pytest.mark.parametrize(
    "path, parts",
    [
        ("poll", ("", "poll", 1)),
        ("poll#2", ("", "poll", 2)),
        ("orders[3].poll#12", ("orders[3]", "poll", 12)),
        ("a.b.c", ("a.b", "c", 1)),
        ("", ("", "", 1)),
        ("poll#²", ("", "poll", 1)),
        ("poll#x", ("", "poll", 1)),
    ],
)
def test_a_path_has_frame_node_and_visit(path: str, parts: tuple[str, str, int]) -> None:
    """Whatever is no number of ours is no visit."""
    assert split_path(path) == parts


def test_a_token_names_execution_and_attempt() -> None:
    """A token is read back; any other text is refused as such."""
    execution = id_from_text("ex_01m851kfzre00b1a46k2epqzaa")
    assert read_token(f"{id_text(execution)}:orders[3].ask#2:4") == (
        execution,
        Token(frame="orders[3]", node="ask", visit=2, attempt=4),
    )
    for text in ("", "x", "ex_1:a:1", f"{id_text(execution)}:a", f"{id_text(execution)}:a:x"):
        with pytest.raises(Refused, match="is no token of a deferred node"):
            read_token(text)


# -- what cannot be kept -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), 1 << 63, "\ud800", {"a": [1, {"b": float("inf")}]}, {1: 2}, object()])
def test_a_value_that_cannot_be_kept_is_refused_by_its_name_and_place(value: Any) -> None:
    """A signal's payload, a parked node's input and output, an answer: each is named as what it is, and nothing is sent."""
    world, (execution,) = ran(WAITS)
    token = f"{id_text(execution)}:ask:1"
    for what, ask in {
        "payload": lambda executions: executions.signal(execution, "go", value),
        "input": lambda executions: executions.operate(execution, "retry", path="ask", value=value),
        "output": lambda executions: executions.operate(execution, "complete", path="ask", value=value),
        "answer": lambda executions: executions.complete(token, value),
    }.items():
        with pytest.raises(InputRefused, match=f"^{'output' if what == 'answer' else what}"):
            asked(world, ask)
    assert world.look(lambda store: store.inbox(execution)) == []


def test_the_place_inside_a_value_is_named() -> None:
    """`payload.a[1].b`: nobody has to search for it."""
    world, (execution,) = ran(WAITS)
    with pytest.raises(InputRefused, match=r"^payload\.a\[1\]\.b: "):
        asked(world, lambda executions: executions.signal(execution, "go", {"a": [1, {"b": float("nan")}]}))


def test_a_value_above_the_limit_is_refused_with_both_numbers() -> None:
    """What is too large is refused before it is kept; a byte less is taken."""
    world, (execution,) = ran(WAITS)
    with pytest.raises(InputRefused, match="payload: Expected at most 100 bytes, but there are 101"):
        asked(world, lambda executions: executions.signal(execution, "go", "x" * 99), payload_max=100)
    assert asked(world, lambda executions: executions.signal(execution, "go", "x" * 98), payload_max=100)


@pytest.mark.parametrize("field", ["name", "key", "path", "id"])
def test_a_text_that_is_none_is_refused_by_its_name(field: str) -> None:
    """Bytes of another encoding on the command line become lone surrogates, which nothing can keep."""
    world, (execution,) = ran(WAITS)
    fields = {"name": "go", field: "caf\udce9"}
    with pytest.raises(InputRefused, match=f"^{field}: Expected a text in UTF-8"):
        asked(world, lambda executions: executions.signal(execution, **fields))
    with pytest.raises(InputRefused, match="^reason: "):
        asked(world, lambda executions: executions.operate(execution, "cancel", reason="caf\udce9"))


def test_a_key_that_is_no_text_starts_nothing() -> None:
    """The idempotency key is kept, so it must be a text."""
    world = World()

    async def main(process: Process) -> None:
        with pytest.raises(InputRefused, match="^key: "):
            await process.start(world.read(WAITS), key="\udcff")

    world.live(main)
    assert world.rows() == []


def test_what_is_sent_to_nobody_or_to_the_dead_is_refused() -> None:
    """An execution that does not exist, and one that has ended."""
    world, (execution,) = ran(workflow_of({"a": act()}))
    for ask in (
        lambda executions: executions.signal(execution, "go"),
        lambda executions: executions.operate(execution, "cancel"),
        lambda executions: executions.complete(f"{id_text(execution)}:a:1"),
    ):
        with pytest.raises(Refused, match=r"has ended \(succeeded\); nothing more reaches it") as refused:
            asked(world, ask)
        assert refused.value.code == "execution.ended"
    with pytest.raises(NotFound):
        asked(world, lambda executions: executions.signal(ExecutionId(bytes(16)), "go", "x" * 5_000))


# -- looking -------------------------------------------------------------------------------------------------------------


def test_what_is_shown_is_the_row_the_state_and_every_step() -> None:
    """The state is folded from the steps that are shown, and values are read wherever they lie."""
    world, (execution,) = ran(
        workflow_of({"a": act(bytes=5_000), "b": act(after="a", gives=1)}, output="${ nodes.a }"), input={"n": 1}
    )
    shown = world.show(execution)
    assert (shown.status, shown.state.status, shown.row.seq) == ("succeeded", "succeeded", shown.state.seq)
    assert sum(len(moment.facts) for moment in shown.timeline) == shown.row.seq
    assert shown.timeline[0].first_seq == 1
    assert asked(world, lambda executions: executions.value(shown.row, shown.state.input)) == {"n": 1}
    assert asked(world, lambda executions: executions.value(shown.row, shown.state.output)) == "a" * 5_000
    do(world, "DELETE FROM blobs")
    with pytest.raises(Refused, match="gone from the store"):
        asked(world, lambda executions: executions.value(shown.row, shown.state.output))


def do(world: World, sql: str) -> None:
    assert isinstance(world.place, MemoryPlace)
    world.place.connection.execute(sql)
    assert world.place.connection.changes()


def test_an_execution_that_cannot_be_read_says_why() -> None:
    """Written by a newer release, or damaged."""
    world, (execution,) = ran(WAITS)
    do(world, "UPDATE executions SET level = 7")
    with pytest.raises(StoreTooNew, match="was written at level 7"):
        world.show(execution)
    do(world, "UPDATE executions SET level = 1")
    do(world, "UPDATE journal SET body = x'c1'")
    with pytest.raises(StoreDamaged, match="cannot be read at fact 1"):
        world.show(execution)


def test_the_state_alone_is_that_of_what_is_shown() -> None:
    """Folded from a snapshot where there is one, so that a long execution is asked quickly; what cannot be read says why."""
    nodes = {f"t{n}": {"type": "transform", "to": n, **({"after": f"t{n - 1}"} if n else {})} for n in range(40)}
    world = World(step_facts_max=5, snapshot_facts=10)
    workflow = world.read(workflow_of({**nodes, "ask": {**WAITS["nodes"]["ask"], "after": "t39"}}))

    async def main(process: Process) -> ExecutionId:
        execution = await process.start(workflow)
        await pass_time(5)
        return execution

    execution = world.live(main)
    assert world.look(lambda store: store.snapshot(execution)) is not None
    state = asked(world, lambda executions: executions.state(execution))
    assert encode_snapshot(state) == encode_snapshot(world.show(execution).state)
    do(world, "UPDATE executions SET level = 7")
    with pytest.raises(StoreTooNew, match="was written at level 7"):
        asked(world, lambda executions: executions.state(execution))
    do(world, "UPDATE executions SET level = 1")
    do(world, "DELETE FROM snapshots")
    do(world, "UPDATE journal SET body = x'c1'")
    with pytest.raises(StoreDamaged, match="cannot be read"):
        asked(world, lambda executions: executions.state(execution))
    with pytest.raises(NotFound):
        asked(world, lambda executions: executions.state(ExecutionId(bytes(16))))


def test_the_plan_of_an_execution_is_read_by_its_row() -> None:
    """Also of one that was started by its workflow's name, whose row has no digest until it has begun."""
    world, (execution,) = ran(WAITS)

    async def plan(store: Store, digest: bytes | None = None) -> str:
        row = await store.row(execution)
        assert row is not None
        row = row if digest is None else msgspec.structs.replace(row, digest=digest, seq=0)
        return (await Executions(store, world.clock).plan(row)).digest

    expected = world.read(WAITS).plan.digest
    assert world.look(plan) == expected
    assert world.look(lambda store: plan(store, b"")) == expected


def test_other_parameters_are_refused_before_they_are_sent() -> None:
    """Where the parked node would not look at them; a retry without them is fine."""
    body = {"nodes": {"a": act(fails=["no"])}}
    world, (execution,) = ran(workflow_of({"each": {"type": "loop", "over": [1], "body": body, "park": True}}))

    async def parked(store: Store, with_input: bool) -> str:
        return (await Executions(store, world.clock).parked(execution, "each", with_input=with_input)).node

    assert world.look(lambda store: parked(store, False)) == "each"
    with pytest.raises(Refused, match="`each` is a `loop`"):
        world.look(lambda store: parked(store, True))


def test_only_a_parked_node_can_be_decided() -> None:
    """Its path must name a node that is parked now."""
    world, (execution,) = ran(workflow_of({"a": act(fails=["no"], node={"retry": {"attempts": 1}, "park": True}), "b": act()}))

    async def parked(store: Store, path: str) -> str:
        return (await Executions(store, world.clock).parked(execution, path)).node

    assert world.look(lambda store: parked(store, "a")) == "a"
    for path in ("b", "a#2", "x", "a.b", ""):
        with pytest.raises(NotFound, match="No node is parked at"):
            world.look(lambda store, path=path: parked(store, path))


def test_executions_are_listed_newest_first_and_picked() -> None:
    """By workflow, by status, at most so many."""
    world, started = ran(WAITS, times=3)
    listed = asked(world, lambda executions: executions.list())
    assert [row.execution for row in listed] == started[::-1]
    assert len(asked(world, lambda executions: executions.list(limit=2))) == 2
    assert asked(world, lambda executions: executions.list(statuses=["succeeded"])) == []
    assert len(asked(world, lambda executions: executions.list(statuses=["waiting", "failed"], workflow="w"))) == 3
    assert asked(world, lambda executions: executions.list(workflow="other")) == []

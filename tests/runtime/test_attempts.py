"""Attempts: slots, the four times of an attempt, stopping, and what an attempt's end is reported as."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from perdure.clock import MICROSECONDS
from perdure.engine import events
from perdure.nodes.work import Context, Work
from perdure.runtime.hot import Outcome
from perdure.testing.world import ACT, BEGIN, Process, World, act, pass_time, workflow_of


def run(world: World, nodes: dict[str, Any], input: Any = None, **keys: Any) -> Outcome:
    """The outcome of one execution of these nodes in one process."""
    return world.live(lambda process: process.run(world.read(workflow_of(nodes, **keys)), input))


def seconds(world: World) -> float:
    """How much time has passed in the world."""
    return (world.clock.now() - BEGIN) / MICROSECONDS


def at(moment: int) -> float:
    return (moment - BEGIN) / MICROSECONDS


# -- slots ------------------------------------------------------------------------------------------------------------------


def test_what_finds_no_slot_waits_for_one_in_order() -> None:
    """With two slots, two of four effects run at a time, and the others start in the order in which they were asked for."""
    world = World(slots=2)
    outcome = run(world, {name: act(seconds=10) for name in "abcd"})
    assert outcome.status == "succeeded"
    assert world.ledger.running_most == 2
    assert [(sent.path, at(sent.at)) for sent in world.ledger.sent] == [("a", 0), ("b", 0), ("c", 10), ("d", 10)]


def test_rule_43_a_queue_timeout_counts_only_until_the_start() -> None:
    """The effect that finds no slot in time fails; those that started have all the time they need."""
    world = World(slots=2)
    node = {"queue_timeout": "4s"}
    outcome = run(world, {name: act(seconds=10, node=node) for name in "abc"}, settings={"on_failure": "isolate"})
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert (outcome.error["code"], outcome.error["node"]) == ("timeout.queue", "c")
    assert world.ledger.paths() == ["a", "b"]
    assert len(world.ledger.finished) == 2


def test_rule_43_a_queue_timeout_is_never_retried_and_never_ambiguous() -> None:
    """An at-most-once effect that found no slot was certainly not sent, so it fails as what it is."""
    world = World(slots=1)
    node = {"queue_timeout": "4s", "delivery": "at_most_once", "retry": {"attempts": 3, "initial": "1s"}}
    outcome = run(world, {"a": act(seconds=10), "b": act(node=node)}, settings={"on_failure": "isolate"})
    assert outcome.error is not None
    assert (outcome.error["code"], outcome.error["node"]) == ("timeout.queue", "b")


# -- stopping ---------------------------------------------------------------------------------------------------------------


def test_a_timeout_is_reported_when_the_work_is_gone() -> None:
    """An attempt that takes three seconds to leave is over three seconds after its timeout, and only then the next begins."""
    world = World()
    nodes = {
        "a": act(seconds=60, leaves=3, node={"timeout": "10s", "retry": {"attempts": 2, "initial": "1s", "jitter": False}})
    }
    outcome = run(world, nodes)
    assert outcome.error is not None
    assert (outcome.error["code"], outcome.error["category"]) == ("timeout", "timeout")
    assert [at(sent.at) for sent in world.ledger.sent] == [0, 14]
    assert world.ledger.running_most == 1
    assert len(world.ledger.stopped) == 2


def test_a_coroutine_that_ignores_a_cancel_is_asked_again_after_the_grace() -> None:
    """Deaf to the first request, it hears the second one, a grace later."""
    world = World()
    nodes = {"a": act(seconds=1_000, deaf=1, node={"timeout": "10s", "grace": "5s"})}
    outcome = run(world, nodes)
    assert outcome.error is not None
    assert outcome.error["code"] == "timeout"
    assert seconds(world) == 15


def test_a_coroutine_that_never_leaves_is_let_go_and_its_type_moves_to_processes() -> None:
    """After three requests its result is refused, others may have its slot, and its type runs where it can be killed."""
    world = World(slots=1)
    nodes = {"a": act(seconds=1_000, deaf=99, node={"timeout": "10s", "grace": "5s"})}

    async def main(process: Process) -> tuple[Outcome, set[str]]:
        outcome = await process.run(world.read(workflow_of(nodes)))
        assert await process.run(world.read(workflow_of({"b": act(gives="next")}))) != outcome
        return outcome, process.home.attempts._watchdog.blocking_types

    outcome, blocking = world.live(main)
    assert outcome.error is not None
    assert outcome.error["code"] == "timeout"
    assert "ignored being cancelled" in outcome.error["title"]
    assert blocking == {"test.act"}


def test_rule_12_success_before_it_has_stopped_is_success() -> None:
    """An attempt that comes to its good end while it is being stopped has succeeded."""
    world = World()
    outcome = run(world, {"a": act(seconds=8, deaf=1, gives="late, but true", node={"timeout": "10s", "grace": "20s"})})
    assert outcome.output == "late, but true"
    world = World()
    outcome = run(world, {"a": act(seconds=12, deaf=1, gives="late, but true", node={"timeout": "10s", "grace": "20s"})})
    assert outcome.output == "late, but true"
    assert seconds(world) == 22


def test_an_exception_on_the_way_out_is_still_the_timeout() -> None:
    """A node that breaks down while it is being stopped timed out; what broke is its cause's business, not the workflow's."""
    world = World()
    outcome = run(world, {"a": act(seconds=60, breaks="cannot close", node={"timeout": "10s"})})
    assert outcome.error is not None
    assert outcome.error["code"] == "timeout"
    assert "cannot close" in outcome.error["detail"]


def test_an_attempt_stopped_in_the_step_that_starts_it_never_begins() -> None:
    """A sibling that fails in the same step stops the effect before its first line, and nobody waits for it."""
    world = World()
    nodes = {"a": act(seconds=60), "b": {"type": "fail", "code": "test.no"}}
    outcome = run(world, nodes)
    assert outcome.status == "failed"
    assert world.ledger.sent == []
    assert seconds(world) < 2


def test_a_heartbeat_keeps_an_attempt_alive_and_its_absence_stops_it() -> None:
    """Beats within the interval carry it on; the first silence that is longer stops it."""
    world = World()
    outcome = run(world, {"a": act(beats=[4, 4, 4], gives="done", node={"heartbeat": "5s"})})
    assert outcome.output == "done"
    world = World()
    outcome = run(world, {"a": act(beats=[4, 4], seconds=60, node={"heartbeat": "5s"})})
    assert outcome.error is not None
    assert outcome.error["code"] == "timeout.heartbeat"
    assert seconds(world) == 13


def test_rule_43_a_deadline_holds_all_attempts() -> None:
    """Attempts and pauses between them share one deadline; the attempt that runs then is stopped."""
    world = World()
    node = {"deadline": "8s", "retry": {"attempts": 9, "backoff": "fixed", "initial": "1s", "jitter": False}}
    outcome = run(world, {"a": act(seconds=4, fails=["x.y"] * 9, node=node)})
    assert outcome.error is not None
    assert outcome.error["code"] == "timeout.deadline"
    assert [at(sent.at) for sent in world.ledger.sent] == [0, 5]
    assert round(seconds(world), 1) == 8


# -- what is reported ---------------------------------------------------------------------------------------------------------


def test_an_output_above_the_limit_fails_for_good() -> None:
    """A value larger than is kept is refused with both sizes; trying again would not make it smaller."""
    world = World(payload_max=10_000)
    outcome = run(world, {"a": act(bytes=10_001, node={"retry": {"attempts": 3}})})
    assert outcome.error is not None
    assert (outcome.error["code"], outcome.error["category"]) == ("output.too_large", "validation")
    assert "10,000" in outcome.error["title"]
    assert len(world.ledger.sent) == 1


@pytest.mark.parametrize(
    "value",
    [float("nan"), 2**63, "\ud800", {1: 2}, {"a": [float("inf")]}, object(), {"a": {1, 2}}, b"bytes"],
    ids=["nan", "too-large", "surrogate", "key", "infinite", "object", "set", "bytes"],
)
def test_an_output_that_json_cannot_hold_fails_with_its_path(value: Any) -> None:
    """What no store could keep is refused at the border, whatever the node returned."""
    outcome = outcome_of(returning(value))
    assert outcome.error is not None
    assert (outcome.error["code"], outcome.error["category"]) == ("output.invalid", "validation")


def returning(value: Any) -> Callable[[dict[str, Any], Context], Any]:
    async def run(params: dict[str, Any], context: Context) -> Any:
        return value

    return run


def outcome_of(work: Callable[[dict[str, Any], Context], Any]) -> Outcome:
    """The outcome of a node that does this."""
    spec = msgspec.structs.replace(ACT, name="test.other")
    world = World(works={"test.other": Work(spec=spec, run=work, blocking=False, reference="test:other")})
    return run(world, {"a": {"type": "test.other"}})


def test_an_exception_is_a_technical_failure_with_its_name() -> None:
    """An exception out of a node fails it as `node.exception`, and may be retried by default."""
    world = World()
    outcome = run(world, {"a": act(raises="no such luck", node={"retry": {"attempts": 2, "initial": "1s"}})})
    assert outcome.error is not None
    assert outcome.error["code"] == "node.exception"
    assert outcome.error["title"] == "RuntimeError: no such luck"
    assert len(world.ledger.sent) == 2


def test_a_deferred_node_gives_its_slot_back_and_is_completed_by_its_token() -> None:
    """While it waits for its answer, another effect has its slot; the first answer counts, the second is told so."""
    world = World(slots=1)
    workflow = world.read(workflow_of({"ask": act(defers=True), "b": act(seconds=5)}, output="${ nodes.ask }"))

    async def main(process: Process) -> Outcome:
        execution = await process.start(workflow)
        while not world.ledger.tokens or "b" not in world.ledger.paths():
            await process.home.poll()
            await pass_time(1)
        token = world.ledger.tokens["ask"]
        assert await process.executions.complete(token, {"answer": 42})
        assert not await process.executions.complete(token, {"answer": 43})
        return await process.result(execution)

    assert world.live(main).output == {"answer": 42}


def test_a_heavy_evaluation_runs_outside_the_step_and_its_result_is_journaled() -> None:
    """A sort over the step's budget becomes an attempt; the workflow sees no difference but the time."""
    world = World()
    nodes = {"rows": {"type": "sort", "over": "${ input.rows }", "by": "${ item.n }"}}
    rows = [{"n": number} for number in range(8_000, 0, -1)]
    document = workflow_of(nodes, output="${ nodes.rows[0].n }")

    async def main(process: Process) -> tuple[Any, bytes]:
        execution = await process.start(world.read(document), {"rows": rows})
        return (await process.result(execution)).output, execution

    output, execution = world.live(main)
    assert output == 1
    scheduled = [
        fact for moment in world.show(execution).timeline for fact in moment.facts if isinstance(fact, events.Scheduled)
    ]
    assert [fact.pure for fact in scheduled] == [True]


# -- draining -----------------------------------------------------------------------------------------------------------------


def test_a_drain_waits_for_the_slowest_and_starts_nothing_again() -> None:
    """Of two running effects one leaves later than the other: the process still stops, and both run again in the next."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=60, leaves=1, gives=1), "b": act(seconds=60, leaves=3, gives=2)}))

    async def first(process: Process) -> bytes:
        execution = await process.start(workflow)
        await pass_time(5)
        return execution

    execution = world.live(first)
    assert round(seconds(world), 1) == 8
    assert sorted(sent.path for sent in world.ledger.stopped) == ["a", "b"]
    outcome = world.live(lambda process: process.result(execution))
    assert outcome.output == {"a": 1, "b": 2}
    assert sorted(world.ledger.paths()) == ["a", "a", "b", "b"]
    assert len(world.ledger.counts()) == 2


def test_rule_52_a_drain_is_no_crash_and_uses_up_no_attempt() -> None:
    """However often its worker stops in good order, an effect is at its first attempt and has not crashed once."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=60, gives="at last", node={"crashes_max": 1})}))

    async def stops(process: Process) -> bytes:
        execution = await process.start(workflow, key="k")
        await pass_time(5)
        return execution

    for _ in range(4):
        execution = world.live(stops)
    outcome = world.live(lambda process: process.result(execution))
    assert outcome.output == "at last"
    lost = [fact for moment in world.show(execution).timeline for fact in moment.facts if isinstance(fact, events.Lost)]
    assert lost
    assert not any(fact.crashed for fact in lost)
    assert {sent.attempt for sent in world.ledger.sent} == {1}


def test_rule_53_an_at_most_once_effect_cut_off_by_a_drain_is_unknown() -> None:
    """It was sent, so nobody can say whether it happened: it is not sent again."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=60, node={"delivery": "at_most_once"})}))

    async def stops(process: Process) -> bytes:
        execution = await process.start(workflow)
        await pass_time(5)
        return execution

    execution = world.live(stops)
    outcome = world.live(lambda process: process.result(execution))
    assert outcome.error is not None
    assert outcome.error["code"] == "effect.unknown"
    assert len(world.ledger.sent) == 1


def test_rule_52_a_result_that_is_being_made_durable_when_the_worker_stops_is_not_lost() -> None:
    """A large output's way to the store is waited for: an at-most-once effect that has succeeded is not unknown."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=5, bytes=300_000, node={"delivery": "at_most_once"})}, output="done"))

    async def stops(process: Process) -> bytes:
        execution = await process.start(workflow)
        while not world.ledger.finished:
            await pass_time(0 if world.ledger.running and seconds(world) >= 5 else 1)
        return execution

    execution = world.live(stops)
    assert world.live(lambda process: process.result(execution)).output == "done"
    assert len(world.ledger.sent) == 1


def test_a_node_that_ends_the_program_ends_only_itself() -> None:
    """`sys.exit` and exceptions that are no `Exception` fail their node like any other; the worker lives on."""
    for error in (SystemExit(3), Away()):
        outcome = outcome_of(raising(error))
        assert outcome.error is not None
        assert outcome.error["code"] == "node.exception"
        assert outcome.error["data"]["type"] == type(error).__name__


class Away(BaseException):
    """What some libraries raise to leave."""


def raising(error: BaseException) -> Callable[[dict[str, Any], Context], Any]:
    async def run(params: dict[str, Any], context: Context) -> Any:
        raise error

    return run

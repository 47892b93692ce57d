"""Why an execution stands where it stands: what it waits for, who could move it on; why it ended, from the root outwards."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from explained import Explained, scope

from perdure.engine.events import encode
from perdure.engine.evolution import evolve
from perdure.engine.execution import Execution
from perdure.errors import NotFound
from perdure.ids import ExecutionId
from perdure.operations.evidence import KEPT_EVERY, History
from perdure.operations.executions import Executions
from perdure.operations.explaining import Explanation, explain, explanation_object
from perdure.store.contract import Store
from perdure.testing.rehearsal import effects
from perdure.testing.world import Process, World, act, pass_time, workflow_of

WAITS: dict[str, Any] = {
    "sig": {"type": "wait_for_signal", "signal": "approved", "key": "o-1", "timeout": "1h"},
    "ev": {
        "type": "wait_for_event",
        "event": "paid",
        "where": "${ event.data.n == 1 }",
        "timeout": "10s",
        "on_timeout": "route",
    },
    "c": {"type": "wait_for_condition", "condition": "${ vars.n > 1 }"},
    "d": {"type": "delay", "for": "5m", "deadline": "1h"},
    "u": {"type": "wait_until", "time": "2030-01-01T00:00:00Z"},
    "set": {"type": "set_variable", "after": "sig", "set": {"n": 2}},
    "sub": {"type": "subworkflow", "workflow": "w", "input": 1},
    "e": {"type": "test.effect"},
    "late": {"type": "test.effect", "after": "ev.timeout"},
}


def waiting() -> Explained:
    """An execution that waits in every way there is."""
    play = Explained({"perdure": 1, "name": "w", "vars": {"n": 0}, "nodes": WAITS})
    play.start()
    play.take(play.result("e", outcome="deferred"))
    return play


# -- what it waits for -----------------------------------------------------------------------------------------------------


def test_each_wait_is_told_with_its_words_its_limits_and_what_ends_it() -> None:
    """A signal with its key, an event with its condition, a child with its id, a time; never a time that there is not."""
    play = waiting()
    child = next(line for line in play.told("sub") if "waits for its child" in line).split()[4]
    play.says(
        "", "`sig` waits for the signal `approved` with key o-1 since 22:13:20, gives up at 23:13:20",
        "→ perdure signal ex_1 approved --key o-1",
        "`ev` waits for an event `paid` where event.data.n == 1 since 22:13:20, gives up at 22:13:30", "→ perdure emit paid",
        "`c` waits for its condition `vars.n > 1` since 22:13:20", "vars.n = 0", "→ perdure skip ex_1 c",
        "`d` waits since 22:13:20, until 22:18:20, gives up at 23:13:20", "`u` waits since 22:13:20, until 00:00:00",
        f"`sub` waits for its child {child} (w) since 22:13:20", f"→ perdure why {child}",
        "`e` waits for the answer of whoever has its token since 22:13:20",
    )  # fmt: skip
    assert not any("1970" in line for line in play.told())


def test_what_ended_a_wait_is_told() -> None:
    """The signal and who sent it, the condition that held, the time that passed, the operator who skipped it."""
    play = waiting()
    play.operate("skip", "u", reason="not needed")
    play.says("u", "was skipped by operator: not needed")
    play.operate("reschedule", "d", value=encode(play.now + 60_000_000), reason="later")
    play.says(
        "d", "its end was moved to 22:14:20 by operator: later", "waits since 22:13:20, until 22:14:20, gives up at 23:13:20"
    )
    play.signal("approved", {"ok": True}, key="o-1", by="ada@cli")
    play.says("sig", "the signal `approved` came from ada@cli")
    play.says("c", "its condition held: vars.n > 1", "vars.n = 2")
    play.pass_time(20)
    play.says("ev", "gave up: what it waited for did not come in time, and left by `timeout`")
    play.says("late", "ran after: edge `ev.timeout` (`ev` took `timeout`)")
    play.pass_time(60)
    play.says("d", "its time came")


def test_signals_that_nobody_waits_for_are_told() -> None:
    """Most often the key is another one than the wait's: both stand in the answer."""
    play = waiting()
    play.signal("approved", key="o-2")
    play.signal("more", path="u")
    play.says(
        "", "`sig` waits for the signal `approved` with key o-1 since 22:13:20, gives up at 23:13:20",
        "keeps the signal `approved` with key o-2, which nobody waits for",
        "keeps the signal `more` for `u`, which nobody waits for",
    )  # fmt: skip


def test_a_signal_that_had_come_before_is_told_by_its_taker() -> None:
    """It was kept, and found waiting."""
    play = Explained(effects(first={}, ask={"type": "wait_for_signal", "after": "first", "signal": "go"}))
    play.start()
    play.signal("go")
    play.succeed("first")
    play.says("ask", "ran after: edge `first` (`first` succeeded)", "took a signal that had come before")


def test_a_lock_that_is_waited_for_names_its_holder() -> None:
    """As the store knows it; who has it says since when."""
    play = Explained(effects(a={"lock": "k"}))
    play.start()
    play.holders["k"] = ("ex_2", "pay")
    play.says("", "`a` waits for the lock `k`, held by ex_2 pay since 22:13:20", "→ perdure why ex_2 pay")


def test_a_pause_is_told_with_who_and_why_and_how_to_go_on() -> None:
    """What was to begin has not begun for that; an attempt that was cut off is repeated afterwards."""
    play = Explained(effects(a={}, b={"after": "a"}))
    play.start()
    play.operate("pause", reason="look at it")
    paused = ("is paused since 22:13:20 by operator: look at it", "→ perdure unpause ex_1")
    play.says("", *paused, "`a` runs attempt 1")
    play.crash()
    play.says("", *paused, "`a` repeats attempt 1 when the pause is over")
    play.succeed("a")
    play.says("b", *paused, "edge `a` is live: `a` succeeded")


def test_parked_nodes_come_first() -> None:
    """Whoever asks why nothing moves sees first what waits for a decision, also in frames."""
    play = Explained(effects(x={}, each={"type": "loop", "over": "${ [1] }", "body": scope(a={"park": True})}))
    play.start()
    play.fail("each[0].a", "x.y", title="No.")
    told = play.told()
    assert told[0] == "`each[0].a` is parked: x.y (technical): No; decide with `retry`, `complete` or `fail`"
    assert told[1].strip() == "→ perdure retry ex_1 'each[0].a'"


def test_an_execution_that_is_being_left_tells_why_and_what_it_waits_for() -> None:
    """The cause, and what was asked to stop and has not yet."""
    play = Explained(effects(a={}, b={"after": "a"}))
    play.start()
    play.operate("cancel", reason="no longer needed")
    play.says(
        "", "is being left: cancelled by operator: no longer needed",
        "`a` runs attempt 1, and was asked to stop: cancelled by operator: no longer needed",
    )  # fmt: skip


def test_a_failure_is_told_while_the_rest_goes_on() -> None:
    """Under `isolate`: it will fail in the end, and why is known already."""
    play = Explained(effects(a={}, b={}) | {"settings": {"on_failure": "isolate"}})
    play.start()
    play.fail("a", "x.y", title="No.")
    play.says("", "`b` runs attempt 1", "`a` failed: x.y (technical): No (no edge for it; on_failure: isolate)")


def test_many_waits_are_told_up_to_a_limit() -> None:
    """The rest is counted, with the command that lists them."""
    waits = {f"w{number}": {"type": "wait_for_signal", "signal": "go"} for number in range(25)}
    play = Explained(effects(**waits))
    play.start()
    told = play.told()
    assert told[-1] == "… and 5 more nodes: `perdure show ex_1` lists them"


# -- how it ended ----------------------------------------------------------------------------------------------------------


def test_a_failed_execution_is_told_from_the_root_outwards() -> None:
    """First what went wrong, then each container that went with it, last the execution."""
    body = scope(inner={"type": "try", "body": scope(charge={})})
    play = Explained(effects(orders={"type": "loop", "over": "${ [1, 2] }", "body": body}))
    play.start()
    play.fail("orders[0].inner.body.charge", "http.402", title="Declined.")
    rest = "http.402 (technical): Declined (no edge for it; on_failure: cancel_siblings)"
    assert play.told() == [
        f"`orders[0].inner.body.charge` failed: {rest}",
        f"`orders[0].inner` failed: `body` failed: {rest}",
        f"`orders` failed: iteration 0 failed: {rest}",
        "the execution failed",
    ]


def test_failures_that_came_after_the_first_are_told_beside_it() -> None:
    """Those that the error names under `also`, each once."""
    play = Explained(effects(a={}, b={}) | {"settings": {"on_failure": "isolate"}})
    play.start()
    play.fail("a", "x.a", title="A.")
    play.fail("b", "x.b", title="B.")
    play.says(
        "", "`a` failed: x.a (technical): A (no edge for it; on_failure: isolate)", "also failed: `b`: x.b (technical): B",
        "the execution failed",
    )  # fmt: skip


def test_a_cancelled_execution_tells_by_whom() -> None:
    """And what never began says so; terminated ones too."""
    play = Explained(effects(a={}, b={"after": "a"}))
    play.start()
    play.operate("terminate", reason="now")
    assert play.told() == ["was left: cancelled by operator: now", "the execution was cancelled"]
    play.says("a", "the execution ended without waiting for it")
    assert play.told("b") == ["the execution was cancelled before it began"]


def test_a_return_tells_which_node_returned_and_why() -> None:
    """What it took along knows it too."""
    leave = {"type": "return", "after": "a", "when": "${ nodes.a == 1 }", "value": "x"}
    play = Explained(effects(a={}, leave=leave, slow={}, later={"after": "slow"}))
    play.start()
    play.succeed("a", 1)
    returned = ("`leave` returned, since nodes.a == 1", "nodes.a = 1")
    play.says("slow", "was asked to stop: `leave` returned", *returned)
    play.stopped("slow")
    play.says("later", "skipped: `leave` returned", *returned)
    play.says("", "was left: `leave` returned", *returned, "the execution succeeded")


def test_a_timed_out_execution_tells_what_was_going_on_and_what_took_its_place() -> None:
    """The moment that its time was over, and the execution that tries it again."""
    settings = {"timeout": "10s", "on_timeout": "retry", "retry": {"attempts": 2}}
    play = Explained(effects(a={}, b={"after": "a"}) | {"settings": settings})
    play.start()
    play.pass_time(11)
    play.stopped("a")
    told = play.told()
    play.says("", "was left: the workflow's timeout passed", "at that time `a` runs attempt 1", "the execution timed out")
    assert any("was started to try it again" in line for line in told)
    assert any(line.strip().startswith("→ perdure why ex_") for line in told)
    play.says("b", "skipped: the workflow's timeout passed")


def test_an_execution_that_nobody_has_begun_says_so() -> None:
    """It has a row, and no journal."""
    play = Explained(effects(a={}))
    explanation = play.why()
    assert explanation.state == "running"
    assert [reason.sentence for reason in explanation.reasons] == ["no process has begun with it"]


def test_a_succeeded_execution_has_little_to_say() -> None:
    """It succeeded."""
    play = Explained(effects(a={}))
    play.start()
    play.succeed("a")
    assert play.told() == ["the execution succeeded"]


# -- the past --------------------------------------------------------------------------------------------------------------


def test_the_past_is_what_the_journal_folds_to_in_whatever_order_it_is_asked() -> None:
    """Before each fact, forwards and backwards, the state is that of the facts before it."""
    body = scope(a={}, b={"after": "a"})
    play = Explained(effects(each={"type": "loop", "over": "${ [1, 2] }", "concurrency": 2, "body": body}))
    play.start()
    for path in ("each[0].a", "each[1].a", "each[1].b", "each[0].b"):
        play.succeed(path, 1)
    history = History(play.plan, play.moments, {})
    states = [msgspec.msgpack.encode(Execution())]
    state = Execution()
    for fact in play.facts:
        evolve(state, fact)
        state.at = play.now
        states.append(msgspec.msgpack.encode(state))
    for seq in [*range(1, len(play.facts) + 2), *range(len(play.facts) + 1, 0, -1)]:
        assert msgspec.msgpack.encode(history.before(seq).execution) == states[seq - 1]


def test_a_long_past_is_kept_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for what was long ago need not fold from the beginning each time; the answer is the same."""
    assert KEPT_EVERY > 1_000
    monkeypatch.setattr("perdure.operations.evidence.KEPT_EVERY", 3)
    play = Explained(effects(a={}, b={"after": "a"}, c={"after": "b"}))
    play.start()
    for node in "abc":
        play.succeed(node, 1)
    history = History(play.plan, play.moments, {})
    plain = History(play.plan, play.moments, {})
    history.now()
    assert len(history._kept) == len(play.facts) // 3
    for seq in (5, 2, 6, 1):
        kept, fresh = history.before(seq).execution, plain.before(seq).execution
        assert msgspec.msgpack.encode(kept) == msgspec.msgpack.encode(fresh)


# -- from a store ----------------------------------------------------------------------------------------------------------


def asked(world: World, execution: ExecutionId, path: str = "") -> Explanation:
    """What the store's journal explains."""

    async def ask(store: Store) -> Explanation:
        return await explain(Executions(store, world.clock), store, execution, path)

    return world.look(ask)


def test_large_values_are_fetched_to_be_read_again() -> None:
    """A condition that read a part of a large output is explained with that part."""
    world = World()
    nodes = {
        "a": act(gives={"text": "x" * 5_000, "k": 7}),
        "b": {"type": "condition", "after": "a", "if": "${ nodes.a.k > 3 }"},
        "c": act("b.false"),
    }
    outcome = world.live(lambda process: process.run(world.read(workflow_of(nodes))))
    explanation = asked(world, outcome.execution, "c")
    assert explanation.reasons[0].because[0].seen == (("nodes.a.k", 7),)


def test_the_holder_of_a_lock_is_looked_up_in_the_store() -> None:
    """Another execution's node, by its id and path."""
    world = World()

    async def main(process: Process) -> list[ExecutionId]:
        workflow = world.read(workflow_of({"a": act(seconds=60, node={"lock": "k"})}))
        first = await process.start(workflow)
        await pass_time(1)
        second = await process.start(workflow)
        await pass_time(1)
        return [first, second]

    first, second = world.live(main)
    (reason,) = asked(world, second).reasons
    from perdure.ids import id_text

    assert f"held by {id_text(first)} a" in reason.sentence
    assert reason.remedy == f"perdure why {id_text(first)} a"


def test_an_explanation_is_a_plain_object() -> None:
    """With full words, times in RFC 3339, and the values by name; what there is not is left out."""
    play = Explained(effects(large={"type": "condition", "if": "${ input.n > 100 }"}, r={"after": "large.true"}))
    play.start({"n": 5})
    shown = explanation_object(play.why("r"))
    assert (shown["execution"], shown["node"], shown["state"]) == ("ex_1", "r", "skipped")
    (reason,) = shown["reasons"]
    assert reason["at"] == "2023-11-14T22:13:20Z"
    assert reason["because"][0]["values"] == {"input.n": 5}
    assert explanation_object(play.why())["node"] is None


def test_an_execution_that_is_not_there_cannot_be_explained() -> None:
    """Said as everywhere."""
    with pytest.raises(NotFound, match="There is no execution"):
        asked(World(), ExecutionId(bytes(16)))

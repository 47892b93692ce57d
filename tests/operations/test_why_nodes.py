"""Why a node ran, was skipped, cancelled, failed or went back: told from plan and journal, with the values of that moment."""

from __future__ import annotations

from typing import Any

import pytest
from explained import Explained, scope

from perdure.engine import events
from perdure.engine.events import Token, encode
from perdure.errors import Failure, NotFound
from perdure.testing.rehearsal import effects

GOLD = 'nodes.fetch.body.customer.tier == "gold"'


def routed() -> Explained:
    """A switch that took `gold`, with what comes after its ports."""
    nodes: dict[str, Any] = {
        "fetch": {},
        "route": {"type": "switch", "after": "fetch", "cases": {"gold": f"${{ {GOLD} }}", "big": "${ nodes.fetch.n > 10 }"}},
        "big": {"after": "route.big"},
        "bigger": {"after": "big"},
        "biggest": {"after": "bigger"},
        "gold": {"after": "route.gold", "when": "${ nodes.fetch.n > 3 }"},
        "rest": {"after": "route.default"},
    }
    play = Explained(effects(**nodes))
    play.start()
    play.succeed("fetch", {"body": {"customer": {"tier": "gold"}}, "n": 5})
    return play


# -- choosing --------------------------------------------------------------------------------------------------------------


def test_what_a_switch_took_is_told_with_the_values_that_its_condition_saw() -> None:
    """The case, its expression as it is written, and each name in it with the whole path and the value."""
    play = routed()
    assert play.told("route") == [
        "ran after: edge `fetch` (`fetch` succeeded)",
        f"`route` took `gold`: {GOLD}",
        "    nodes.fetch.body.customer.tier = 'gold'",
    ]
    assert play.why("route").state == "succeeded"


def test_what_came_after_a_switch_is_told_why_it_ran() -> None:
    """The edge, what the switch decided, and the `when` that held."""
    assert routed().told("gold") == [
        "ran after: edge `route.gold` (`route` took `gold`)",
        f"    `route` took `gold`: {GOLD}",
        "        nodes.fetch.body.customer.tier = 'gold'",
        "`when` held: nodes.fetch.n > 3",
        "    nodes.fetch.n = 5",
        "runs attempt 1",
    ]


def test_a_node_behind_a_case_that_was_not_taken_is_told_why() -> None:
    """The dead edge, what was taken instead, and whether its own case was asked at all."""
    play = routed()
    play.says(
        "big", "skipped: edge `route.big` is dead: `route` took `gold`", f"`route` took `gold`: {GOLD}",
        "nodes.fetch.body.customer.tier = 'gold'", "`big` was not asked: `gold` held first",
    )  # fmt: skip
    assert "skipped: edge `route.default` is dead: `route` took `gold`" in play.told("rest")


def test_the_root_of_a_chain_of_skipped_nodes_is_told() -> None:
    """However far down the chain: what was skipped on the way is counted, the edge at its beginning is explained."""
    play = routed()
    play.says(
        "bigger", "skipped: edge `big` is dead: `big` was skipped", "edge `route.big` to `big` is dead: `route` took `gold`"
    )
    play.says("biggest", "skipped: edge `bigger` is dead: `bigger` was skipped, and so was `big` before it")


def test_a_default_is_told_by_each_case_that_did_not_hold() -> None:
    """All of them, with what they saw."""
    play = Explained(effects(route={"type": "switch", "cases": {"a": "${ input.n > 5 }", "b": "${ input.n > 9 }"}}))
    play.start({"n": 1})
    play.says(
        "route", "`route` took `default`: no case held", "`a` did not hold: input.n > 5", "input.n = 1",
        "`b` did not hold: input.n > 9",
    )  # fmt: skip


def test_a_switch_that_takes_all_that_hold_names_each() -> None:
    """With `match: all` each chosen case has its own reason, and one that was not chosen was asked."""
    cases = {"a": "${ input.n > 1 }", "b": "${ input.n > 9 }", "c": "${ input.n > 2 }"}
    play = Explained(effects(route={"type": "switch", "match": "all", "cases": cases}, b={"after": "route.b"}))
    play.start({"n": 5})
    play.says("route", "`route` took `a` and `c`", "`a` held: input.n > 1", "`c` held: input.n > 2")
    play.says("b", "skipped: edge `route.b` is dead: `route` took `a` and `c`", "`b` did not hold: input.n > 9")


def test_a_condition_tells_its_port() -> None:
    """Also for what stands behind the other one."""
    play = Explained(effects(large={"type": "condition", "if": "${ input.n > 100 }"}, reduced={"after": "large.true"}))
    play.start({"n": 5})
    play.says("large", "`large` took `false`: input.n > 100", "input.n = 5")
    play.says("reduced", "skipped: edge `large.true` is dead: `large` took `false`", "input.n = 5")


def test_when_is_told_as_it_was_judged() -> None:
    """False: why it was skipped; and those behind it know the root of it. The values are those of that moment."""
    play = Explained(
        effects(
            a={},
            b={"after": "a", "when": "${ nodes.a.x > 1 and vars.n == 1 }"},
            c={"after": "b"},
            later={"type": "set_variable", "after": "a", "set": {"n": 2}},
        )
        | {"vars": {"n": {"value": 0}}}
    )
    play.start()
    play.succeed("a", {"x": 5})
    wanted = ["skipped: `when` is false: nodes.a.x > 1 and vars.n == 1", "    nodes.a.x = 5", "    vars.n = 0"]
    assert play.told("b") == wanted
    play.says("c", "`b` was skipped: `when` is false: nodes.a.x > 1 and vars.n == 1", "vars.n = 0")


def test_an_expression_that_cannot_be_evaluated_is_told_with_its_place() -> None:
    """It failed the node: where, and what to write instead; it is not said that it held."""
    play = Explained(effects(a={}, b={"after": "a", "when": "${ nodes.a.x > 1 }"}))
    play.start()
    play.succeed("a", {"y": 1})
    told = play.told("b")
    assert not any("held" in line for line in told)
    assert any(line.startswith("`b` failed: expression.missing (validation)") for line in told)
    assert any("in `when`, line 1, column 10" in line for line in told)


def test_a_large_value_is_told_by_its_size() -> None:
    """A sentence is for reading; what stands beside the large value in the same output is told as it is."""
    play = Explained(
        effects(a={}, b={"type": "condition", "after": "a", "if": "${ len(nodes.a.text) > 3 and nodes.a.k == 1 }"})
    )
    play.start()
    play.succeed("a", {"text": "x" * 3_000, "k": 1})
    play.says("b", "nodes.a.text = {'$size': 3003}", "nodes.a.k = 1")


# -- failures --------------------------------------------------------------------------------------------------------------


def test_a_broken_edge_names_the_failure_at_its_root() -> None:
    """The node, its error, that it had no edge for it, and the policy; also two nodes further down."""
    play = Explained(effects(pay={}, ship={"after": "pay"}, thank={"after": "ship"}) | {"settings": {"on_failure": "isolate"}})
    play.start()
    play.fail("pay", "http.402", title="Card declined.", category="business")
    broken = "skipped: broken, `pay` failed: http.402 (business): Card declined (no edge for it; on_failure: isolate)"
    play.says("ship", broken)
    play.says("thank", broken)
    play.says("pay", "`pay` failed: http.402 (business): Card declined (no edge for it; on_failure: isolate)")


def test_siblings_of_a_failure_tell_what_took_them_along() -> None:
    """One that ran was asked to stop, one that had not begun was skipped: both for the same failure."""
    play = Explained(effects(pay={}, other={}, tail={"after": "other"}))
    play.start()
    play.fail("pay", "http.402", title="Card declined.")
    failure = "`pay` failed: http.402 (technical): Card declined (no edge for it; on_failure: cancel_siblings)"
    play.says("other", "was asked to stop: sibling `pay` failed: Card declined.", failure)
    play.stopped("other")
    play.says("other", failure, "cancelled: sibling `pay` failed: Card declined.")
    play.says("tail", "skipped: sibling `pay` failed: Card declined.", failure)


@pytest.mark.parametrize(
    "node, after, sentence",
    [
        ({}, "pay.error", "its `error` edge takes it"),
        ({"catch": [{"on": "x.*", "to": "odd"}]}, "pay.odd", "its `catch` edge takes it by `odd`"),
    ],
)
def test_a_failure_tells_who_takes_it(node: dict[str, Any], after: str, sentence: str) -> None:
    """An edge of the node's own: which, and those behind its other ports know that the failure did not go there."""
    play = Explained(effects(pay=node, ask={"after": after}, ship={"after": "pay"}))
    play.start()
    play.fail("pay", "x.y", title="No.")
    play.says("pay", f"`pay` failed: x.y (technical): No; {sentence}")
    play.says("ask", f"ran after: edge `{after}` (`pay` failed: x.y (technical): No)")
    play.says("ship", "skipped: edge `pay` is dead: `pay` failed: x.y (technical): No")


def test_the_condition_of_a_catch_is_told_with_what_it_saw() -> None:
    """The failure that was offered to it."""
    caught = {"on": "x.*", "when": "${ error.code == 'x.y' and input.n > 1 }", "to": "odd"}
    play = Explained(effects(pay={"catch": [caught]}, ask={"after": "pay.odd"}))
    play.start({"n": 2})
    play.fail("pay", "x.y", title="No.")
    play.says("pay", "error.code = 'x.y'", "input.n = 2")


def test_retries_are_told_with_their_policy_and_the_next_time() -> None:
    """Each attempt that failed, of how many, by which policy, and when the next one begins; then why there is none."""
    retry = [{"on": "a.*", "attempts": 9}, {"on": "http.5xx", "attempts": 3, "initial": "1s", "jitter": False}]
    play = Explained(effects(a={"retry": retry}))
    play.start()
    play.fail("a", "http.503", title="Away.")
    play.says("a", "retry: attempt 1 of 3 failed: http.503 (technical): Away; next at 22:13:21 by policy 2")
    play.says("a", "waits for attempt 2, at 22:13:21", "→ perdure skip ex_1 a")
    play.pass_time(1)
    play.fail("a", "http.503", title="Away.")
    play.pass_time(2)
    play.fail("a", "http.503", title="Away.")
    last = "`a` failed after 3 attempts: http.503 (technical): Away, and policy 2 is used up after 3 attempts"
    play.says("a", "attempt 2 began", "attempt 3 began", f"{last} (no edge for it; on_failure: cancel_siblings)")


@pytest.mark.parametrize(
    "fields, sentence", [({"retryable": False}, "which is never to be retried"), ({}, "which no policy retries")]
)
def test_a_failure_that_is_not_retried_tells_why(fields: dict[str, Any], sentence: str) -> None:
    """It said so itself, or no policy is for it."""
    play = Explained(effects(a={"retry": {"on": "http.5xx", "attempts": 3}}))
    play.start()
    play.fail("a", "http.404", title="Gone.", **fields)
    play.says("a", f"`a` failed: http.404 (technical): Gone, {sentence} (no edge for it; on_failure: cancel_siblings)")


def test_a_worker_that_died_is_told() -> None:
    """The attempt was not used up by it."""
    play = Explained(effects(a={}))
    play.start()
    play.crash()
    play.says("a", "its worker died during attempt 1, which was not used up by that", "runs attempt 1")
    play.crash(crashed=False)
    play.says("a", "its worker stopped during attempt 1, which was not used up by that")


def test_a_child_that_failed_is_told_with_the_command_that_explains_it() -> None:
    """The cause lies in another execution: that one is named."""
    play = Explained(effects(bill={"type": "subworkflow", "workflow": "w", "input": 1}))
    play.start()
    progress = play.instance("bill").progress
    assert progress is not None
    error = Failure(code="card.no", title="No card.", category="business", node="pay")
    play.take(events.ChildEnded(token=Token(node="bill"), child=progress.child, status="failed", error=error))
    told = play.told("bill")
    assert "`bill` failed: card.no (business): No card (no edge for it; on_failure: cancel_siblings)" in told
    assert any(line.strip().startswith("→ perdure why ex_") for line in told)


# -- containers ------------------------------------------------------------------------------------------------------------


def test_a_loop_that_fails_names_the_iteration_and_the_node_in_it() -> None:
    """From the loop inwards; those in flight and those after it know the same root."""
    body = scope(charge={}, next={"after": "charge"})
    loop = {"type": "loop", "over": "${ [1, 2, 3] }", "concurrency": 2, "body": body}
    play = Explained(effects(orders=loop, after={"after": "orders"}))
    play.start()
    play.fail("orders[1].charge", "http.402", title="Declined.")
    play.stopped("orders[0].charge")
    rest = "http.402 (technical): Declined (no edge for it; on_failure: cancel_siblings)"
    root = f"`orders[1].charge` failed: {rest}"
    play.says(
        "orders", "set out for 3 iterations, 2 at a time", f"`orders` failed: iteration 1 failed: {rest}", root,
    )  # fmt: skip
    play.says("orders[0].charge", "was asked to stop: an iteration of `orders` failed: Declined.", root)
    play.says("orders[0].next", "skipped: an iteration of `orders` failed: Declined.", root)
    play.says("orders[1]", "was entered by `orders`", "was left: sibling `charge` failed: Declined.", root)
    assert play.why("orders[1]").state == "failed"
    play.says("after", "skipped: sibling `orders` failed: Declined.", root)


def test_what_a_break_took_along_names_who_broke_and_why() -> None:
    """The iteration, the node in it, its condition and what that saw; also for frames that are gone."""
    body = scope(pay={}, found={"type": "break", "after": "pay", "when": "${ nodes.pay > 2 }"}, ship={"after": "pay"})
    play = Explained(effects(orders={"type": "loop", "over": "${ [1, 2, 3, 4] }", "concurrency": 2, "body": body}))
    play.start()
    play.succeed("orders[1].pay", 5)
    broke = ("`found` broke `orders` in `orders[1]`, since nodes.pay > 2", "nodes.pay = 5")
    play.says("orders[0].ship", "skipped: iteration 1 broke `orders`", *broke)
    play.says("orders[1].ship", "skipped: `found` broke `orders`", *broke)
    play.stopped("orders[0].pay")
    play.says("orders[0].pay", *broke, "cancelled: iteration 1 broke `orders`")
    play.says("orders", "ended: iteration 1 broke it", *broke)
    play.says("orders[3].pay", "has not begun: `orders[3]` was not entered", "`orders` ended: iteration 1 broke it")
    assert play.why("orders[1]").state == "broken"
    assert play.why("orders[0].pay").state == "cancelled"


def test_a_loop_that_goes_on_tells_how_far_it_has_come() -> None:
    """What is active in it, with what each waits for; a node of an iteration that is yet to come is not begun."""
    body = scope(gate={"type": "wait_for_signal", "signal": "go", "key": "${ index }"}, use={"after": "gate"})
    play = Explained(effects(orders={"type": "loop", "over": "${ [1, 2, 3] }", "concurrency": 2, "body": body}))
    play.start()
    play.says("orders", "is running: 0 of 3, 2 running", "`orders[0].gate` waits for the signal `go` with key 0 since 22:13:20")
    play.says("orders[0].use", "waits for `gate`, which is waiting")
    play.says("orders[2].use", "has not begun: `orders[2]` was not entered", "`orders` is running: 0 of 3, 2 running")
    play.says("orders[1]", "was entered by `orders`", "`orders[1].gate` waits for the signal `go` with key 1 since 22:13:20")


def test_while_and_until_are_told_with_the_values_that_ended_them() -> None:
    """The condition that was false, and the one that held after an iteration."""
    carry = {"start": 0, "next": "${ nodes.page }"}
    play = Explained(
        effects(
            pages={"type": "while", "condition": "${ carry < 2 }", "carry": carry, "body": scope(page={})},
            tries={"type": "repeat", "times": 9, "until": "${ last > 20 }", "body": scope(one={})},
        )
    )
    play.start()
    play.succeed("pages[0].page", 2)
    play.says("pages", "set out for as many iterations as it takes", "ended after 1 iteration: carry < 2 is false", "carry = 2")
    play.succeed("tries[0].one", 30)
    play.says("tries", "ended early, after `tries[0]`: last > 20", "last = 30")


def test_a_try_tells_which_handler_took_what() -> None:
    """The failure of the body, the handler with its codes and condition, and that cleaning up followed."""
    catch = [
        {"on": "other", "body": scope(never={})},
        {"on": "card.*", "when": "${ error.code == 'card.declined' }", "body": scope(invoice={})},
    ]
    play = Explained(effects(pay={"type": "try", "body": scope(card={}), "catch": catch, "finally": scope(note={})}))
    play.start()
    play.fail("pay.body.card", "card.declined", title="No.")
    play.says(
        "pay", "`pay.catch1` takes card.declined (technical): No, on card.*, when error.code == 'card.declined'",
        "error.code = 'card.declined'",
        "`pay.body.card` failed: card.declined (technical): No (no edge for it; on_failure: cancel_siblings)",
        "is running: in catch1",
    )  # fmt: skip
    play.fail("pay.catch1.invoice", "ink.none", title="No ink.")
    play.says("pay", "`pay.finally` runs, whatever happened")
    play.succeed("pay.finally.note")
    play.says(
        "pay", "`pay` failed: `catch1` failed: ink.none (technical): No ink (no edge for it; on_failure: cancel_siblings)"
    )
    play.says("pay.catch0.never", "has not begun: `pay.catch0` was not entered")


def test_a_rollback_is_told_at_what_it_undid() -> None:
    """By which rollback, and how the compensation ended; the compensation's own nodes have their paths."""
    body = scope(hotel={"compensate": scope(undo={})}, flight={"after": "hotel"})
    catch = {"body": {"nodes": {"undo_all": {"type": "rollback"}}}}
    play = Explained(effects(trip={"type": "try", "body": body, "catch": catch}))
    play.start()
    play.succeed("trip.body.hotel", {"room": 7})
    play.fail("trip.body.flight", "flight.full", title="Full.")
    play.says("trip.body.hotel.compensate.undo", "began with `trip.body.hotel.compensate`: it has no `after`", "runs attempt 1")
    play.says("trip.catch0.undo_all", "is running", "`trip.body.hotel.compensate.undo` runs attempt 1")
    play.succeed("trip.body.hotel.compensate.undo")
    play.says(
        "trip.body.hotel", "rolled back: `trip.catch0.undo_all` runs what it has under `compensate`",
        "its compensation succeeded",
    )  # fmt: skip


def test_a_parallel_tells_its_quorum_and_what_became_of_the_rest() -> None:
    """Who made it, how many it needs; a branch that lost was cancelled for that."""
    play = Explained(effects(quotes={"type": "parallel", "need": 1, "branches": {"a": scope(x={}), "b": scope(y={})}}))
    play.start()
    play.succeed("quotes.a.x", 1)
    play.says("quotes", "ended: 1 of 2, 1 running; needs 1, which `a` made")
    assert any(line.startswith("was asked to stop: `quotes`") for line in play.told("quotes.b.y"))


# -- joins -----------------------------------------------------------------------------------------------------------------


def three(need: Any) -> Explained:
    """A join of three effects."""
    nodes = {"a": {}, "b": {}, "c": {}, "ready": {"type": "join", "after": ["a", "b", "c"], "need": need}}
    play = Explained(effects(**nodes, then={"after": "ready"}))
    play.start()
    return play


def test_a_join_that_waits_tells_who_has_come_and_who_has_not() -> None:
    """How many it needs, and what the others are doing."""
    play = three(3)
    play.succeed("a")
    play.succeed("b")
    play.says("ready", "waits for its branches: 2 of 3 arrived (a, b), needs 3: c is running")
    play.says("then", "waits for `ready`, which is pending")
    play.succeed("c")
    play.says("ready", "the join `ready` fired: 3 of 3 arrived (a, b, c), needs 3")


def test_a_loser_tells_the_join_that_went_without_it() -> None:
    """And how that stood when it fired; a failure that the join bears says so."""
    play = three(2)
    play.fail("a", "x.a", title="A.")
    play.says("a", "`a` failed: x.a (technical): A; a join bears it")
    play.says("ready", "waits for its branches: 0 of 3 arrived, 1 failed (a), needs 2: b is running, c is running")
    play = three(2)
    play.succeed("a")
    play.succeed("b")
    fired = "the join `ready` fired: 2 of 3 arrived (a, b), needs 2: c is running"
    play.says("c", "was asked to stop: `ready` had its branches", fired)


def test_a_join_that_can_no_longer_fire_tells_all_causes() -> None:
    """How it stood, and each failure."""
    play = three(2)
    play.fail("a", "x.a", title="A.")
    play.fail("b", "x.b", title="B.")
    (failed,) = [line for line in play.told("ready") if line.startswith("`ready` failed: 0 of 3 arrived, 2 failed (a, b)")]
    assert "quorum_unreachable" in failed
    play.says("ready", "`a` failed: x.a (technical): A; a join bears it", "`b` failed: x.b (technical): B; a join bears it")


def test_a_quorum_that_is_an_expression_is_told_as_it_is_written() -> None:
    """Nobody can say how many that is."""
    play = three("${ join.success >= 2 }")
    play.succeed("a")
    play.says("ready", "waits for its branches: 1 of 3 arrived (a), needs `join.success >= 2`: b is running, c is running")


# -- going back ------------------------------------------------------------------------------------------------------------


def asking() -> Explained:
    """A question that is asked again until the answer is good, three times at most."""
    again = {"from": "good.false", "again": True, "max_visits": 3}
    nodes = {
        "ask": {"after": again},
        "good": {"type": "condition", "after": "ask", "if": "${ nodes.ask == 1 }"},
        "use": {"after": "good.true"},
    }
    play = Explained(effects(**nodes))
    play.start()
    play.succeed("ask", 0)
    return play


def test_a_visit_is_told_by_the_edge_that_led_back() -> None:
    """With the number of the visit, how many there may be, and what the source had decided; without a number, the latest."""
    play = asking()
    play.says("ask", "went back: `good.false` again (visit 2 of 3)", "`good` took `false`: nodes.ask == 1", "nodes.ask = 0")
    assert play.why("ask").path == "ask#2"
    play.succeed("ask", 1)
    play.says("use", "went back: `good.false` again, to `ask` (visit 2)", "`good` took `true`: nodes.ask == 1", "nodes.ask = 1")


def test_earlier_visits_can_still_be_asked_for() -> None:
    """By their number; one that never was is said not to be."""
    play = asking()
    assert play.told("ask#1") == ["began with the workflow: it has no `after`", "succeeded"]
    play.says("ask#9", "there was no visit 9: the present one is 2")


def test_visits_that_are_used_up_fail_their_source() -> None:
    """Which says how often its target was visited."""
    play = asking()
    play.succeed("ask", 0)
    play.succeed("ask", 0)
    (failed,) = [line for line in play.told("good") if "visits.exhausted" in line]
    assert "`ask` was visited 3 times" in failed


# -- paths -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, remedy",
    [
        ("fecth", "Did you mean `fetch`?"),
        ("route.big", "Did you mean `big`?"),
        ("nothing_like_it", "There are `fetch`, `route`, `big`, …."),
    ],
)
def test_an_unknown_path_is_refused_with_near_names(path: str, remedy: str) -> None:
    """Nothing is explained that the workflow does not have."""
    with pytest.raises(NotFound, match="There is no node") as refused:
        routed().why(path)
    assert refused.value.remedy == remedy


def test_a_long_history_is_told_by_its_end() -> None:
    """The beginning, how many are left out, and the newest."""
    play = Explained(effects(a={"retry": {"attempts": 100, "initial": "1s", "backoff": "fixed", "jitter": False}}))
    play.start()
    for _ in range(40):
        play.fail("a", "x.y", title="No.")
        play.pass_time(1)
    told = play.told("a")
    assert told[0] == "began with the workflow: it has no `after`"
    assert told[1] == "… 62 earlier ones: `perdure show` tells them"
    assert told[-1] == "runs attempt 41"
    assert len(told) == 21


def test_what_an_operator_did_is_told_with_who_and_why() -> None:
    """Retried with other parameters, completed, left to fail."""
    play = Explained(effects(a={"park": True}, b={"park": True}))
    play.start()
    play.fail("a", "x.y", title="No.")
    play.fail("b", "x.y", title="No.")
    play.says("a", "parked: x.y (technical): No; nobody handles it, and `park` asks people first")
    play.says("a", "is parked: x.y (technical): No; decide with `retry`, `complete` or `fail`", "→ perdure retry ex_1 a")
    play.operate("retry", "a", reason="mended", value=encode({"n": 1}))
    play.says("a", "was retried by operator: mended, with other parameters and so a new effect key", "attempt 2 began")
    play.operate("complete", "b", reason="by hand", value=encode(1))
    play.says("b", "was completed by operator: by hand")


# -- others ----------------------------------------------------------------------------------------------------------------


def test_what_came_from_outside_is_told() -> None:
    """A lock, an answer and who gave it, an event and where it came from, a child."""
    play = Explained(
        effects(
            a={"lock": "k"}, e={}, ev={"type": "wait_for_event", "event": "paid"}, sub={"type": "subworkflow", "workflow": "w"}
        )
    )  # fmt: skip
    play.start()
    play.take(play.result("e", outcome="deferred"))
    play.pass_time(5)
    play.take(events.Granted(node="a", key="k"))
    play.says("a", "got the lock `k`, which it waited for since 22:13:20", "runs attempt 1")
    play.take(events.Complete(token=Token(node="e"), output=encode(1), by="bob"))
    play.says("e", "was answered by bob")
    play.take(events.Arrived(id="e-1", type="paid", source="/shop", at=play.now))
    play.says("ev", "the event `paid` came, with the id e-1, from /shop")
    progress = play.instance("sub").progress
    assert progress is not None
    play.take(events.ChildEnded(token=Token(node="sub"), child=progress.child, status="succeeded", output=encode(1)))
    assert play.told("sub")[-1].startswith("its child ex_")
    assert play.told("sub")[-1].endswith(" succeeded")


def test_a_node_that_was_withdrawn_names_the_one_that_did_it() -> None:
    """And those behind it know the root."""
    nodes: dict[str, Any] = {
        "slow": {"type": "delay", "for": "30d"},
        "enough": {},
        "stop": {"type": "cancel", "after": "enough", "target": "slow"},
        "after": {"after": "slow"},
    }
    play = Explained(effects(**nodes))
    play.start()
    play.succeed("enough")
    play.says("slow", "cancelled: `stop` withdrew it", "`stop` ran")
    play.says("after", "skipped: edge `slow` is dead: `slow` was cancelled", "`slow` was cancelled: `stop` withdrew it")


def test_continue_tells_which_node_went_on_and_why() -> None:
    """What it left in the iteration knows it."""
    body = scope(z={}, c={"type": "continue", "after": "z", "when": "${ item == 0 }"}, n={"after": "z"})
    play = Explained(effects(each={"type": "loop", "over": "${ [0, 1] }", "concurrency": 2, "body": body}))
    play.start()
    play.succeed("each[0].z")
    play.says("each[0].n", "`c` went on with the next of `each` in `each[0]`, since item == 0", "item = 0")
    assert play.why("each[0]").state == "continued"


def test_what_cleans_up_goes_on_and_says_so() -> None:
    """A departure from further out stops what is inside, down to the body of a `try`, whose `finally` runs."""
    inner = {"type": "try", "body": scope(w={}), "finally": scope(f={})}
    play = Explained(effects(bad={}, outer={"type": "loop", "over": "${ [1] }", "body": {"nodes": {"inner": inner}}}))
    play.start()
    play.fail("bad", "x.y", title="Bad.")
    root = "`bad` failed: x.y (technical): Bad (no edge for it; on_failure: cancel_siblings)"
    play.says("outer[0].inner.body.w", "was asked to stop: sibling `bad` failed: Bad.", root)
    play.stopped("outer[0].inner.body.w")
    play.says(
        "outer[0].inner",
        "was asked to stop: sibling `bad` failed: Bad.",
        root,
        "`outer[0].inner.finally` runs, whatever happened",
    )
    play.succeed("outer[0].inner.finally.f")
    play.says("outer", root, "cancelled: sibling `bad` failed: Bad.")


def test_a_disabled_node_says_so() -> None:
    """As does what comes after it."""
    play = Explained(effects(a={"disabled": True}, b={"after": "a"}, c={}))
    play.start()
    assert play.told("a") == ["skipped: disabled"]
    play.says("b", "skipped: edge `a` is dead: `a` was skipped", "`a` was skipped: disabled")

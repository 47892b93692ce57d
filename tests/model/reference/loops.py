"""Loops: `loop`, `while` and `repeat` (rules 24 to 29)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from perdure.definition.fields import percent
from perdure.definition.graph import LOOPS
from perdure.errors import Failure
from reference import containers, ending, failing, leaving
from reference.names import Sight, evaluate, holds, invalid
from reference.quorums import Tally, unreachable, verdict
from reference.shape import need_of, shields
from reference.state import Departure, Frame, Instance, World, Wrong

FAILURES_MAX = 100
TYPES = tuple(LOOPS)


@dataclass
class Memory:
    """What a loop remembers of its iterations in one attempt."""

    carry: Any = None
    carried: bool = False  # whether `next` has given one
    last: Any = None
    closed: bool = False  # whether no more items can be added
    exhausted: bool = False  # whether a `while` has found its condition false
    started: int = 0
    values: dict[int, Any] = field(default_factory=dict)  # of those that succeeded
    errors: dict[int, Failure] = field(default_factory=dict)  # in the order of their end
    continued: set[int] = field(default_factory=set)
    breaks: set[int] = field(default_factory=set)
    failing: list[Failure] = field(default_factory=list)  # that `on_failure` has heard of
    until: set[int] = field(default_factory=set)  # after which `until` held
    unreachable: Failure | None = None  # that it parks for when what is left has ended
    news: list[Frame] = field(default_factory=list)  # that have ended and were not judged yet
    wrong: Failure | None = None  # what `next` or `until` could not be evaluated for


# -- entry ----------------------------------------------------------------------------------------------------------------
def fixed(world: World, loop: Instance) -> dict[str, Any]:
    """What is evaluated once, on entry (rule 24). Raises Wrong."""
    sight = Sight(world, loop.frame, loop)
    found: dict[str, Any] = {}
    if loop.node.type == "loop":
        found["items"] = _items(sight, evaluate(sight, loop.raw["over"], "over"))
    for key, least in (("concurrency", 1), ("times", 0), ("max_iterations", 1)):
        if loop.raw.get(key) is not None:
            found[key] = _number(sight, evaluate(sight, loop.raw[key], key), key, least)
    tolerate = evaluate(sight, loop.raw.get("tolerate", 0), "tolerate")
    found["tolerate"] = tolerate if percent(tolerate) is not None else _number(sight, tolerate, "tolerate", 0)
    if loop.raw.get("carry") is not None:
        found["carry"] = evaluate(sight, loop.raw["carry"].get("start"), "carry.start")
    return found


def _items(sight: Sight, over: Any) -> list[Any]:
    if isinstance(over, dict):
        return [{"key": key, "value": value} for key, value in over.items()]
    if not isinstance(over, list):
        raise invalid(sight.instance, "loop.not_iterable", "Expected a list or an object to go through.")
    return list(over)


def _number(sight: Sight, value: Any, key: str, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise invalid(sight.instance, "loop.invalid", f"{key}: Expected a whole number from {least} on, but got {value!r}.")
    return value


def look(world: World, loop: Instance) -> None:
    """Judge the iterations that have ended, start one more that may start; where nothing is left to do, end."""
    memory: Memory = loop.memory
    if memory.unreachable is not None:
        if not world.active_frames(loop):
            failing.offer(world, loop, memory.unreachable)
        return
    try:
        if memory.wrong is not None:
            raise Wrong(memory.wrong)
        if memory.started == 0:
            _judge(world, loop)
        while memory.news and containers.goes_on(loop):
            _judge_one(world, loop, memory.news.pop(0))
        if memory.unreachable is not None or not containers.goes_on(loop):
            return
        if _may_start(world, loop) and _has_more(world, loop):
            _start(world, loop)
            return
    except Wrong as wrong:
        containers.fail_at_once(world, loop, wrong.failure, f"`{loop.node.id}` failed: {wrong.failure.title}")
        return
    if not world.active_frames(loop) and _is_complete(world, loop):
        _end(world, loop)


def look_as_loser(world: World, loop: Instance) -> None:
    """What is left of a loop that has ended goes on only where its losers are detached (rule 19)."""
    memory: Memory = loop.memory
    try:
        is_detached = loop.quorum_met and loop.raw.get("losers") == "detach" and memory.wrong is None
        if (
            is_detached
            and not memory.until
            and loop.node.type != "while"
            and _may_start(world, loop)
            and _has_more(world, loop)
        ):
            _start(world, loop)
    except Wrong as wrong:
        memory.wrong = wrong.failure


def leave(world: World, loop: Instance) -> None:
    """It is being left: it ends when its iterations have."""
    containers.has_been_left(world, loop)


def _may_start(world: World, loop: Instance) -> bool:
    memory: Memory = loop.memory
    if containers.is_being_left(loop) or loop.draining or memory.breaks:
        return False
    if not loop.final and memory.failing and loop.raw.get("on_failure", "cancel_siblings") in ("cancel_siblings", "drain"):
        return False
    in_order = loop.node.type == "while"
    return len(world.active_frames(loop)) < (1 if in_order else loop.fixed.get("concurrency", 1))


def _has_more(world: World, loop: Instance) -> bool:
    """Whether there is an iteration to start. Raises Wrong where a guard or a condition forbids it."""
    memory: Memory = loop.memory
    if loop.node.type == "while":
        names = {**_names(loop, memory.started), "carry": _carry(loop)}
        if memory.exhausted or not holds(Sight(world, loop.frame, loop, names), loop.raw["condition"], "condition"):
            memory.exhausted = True
            return False
    else:
        count = _count(loop)
        if count is not None and memory.started >= count:
            return False
    if memory.started >= loop.fixed.get("max_iterations", memory.started + 1):
        title = f"More than {memory.started} iterations."
        raise Wrong(
            Failure(code="loop.max_iterations", title=title, category="business", retryable=False, node=loop.path)
        )  # fmt: skip
    return True


def is_closed(loop: Instance) -> bool:
    """Whether no more items can be added (rule 28)."""
    return loop.raw.get("open") is not True or loop.memory.closed


def _carry(loop: Instance) -> Any:
    return loop.memory.carry if loop.memory.carried else loop.fixed.get("carry")


def _count(loop: Instance) -> int | None:
    """How many iterations there are to be; None where that is not known."""
    if loop.node.type == "loop":
        return len(loop.fixed["items"])
    return loop.fixed.get("times")


def _is_complete(world: World, loop: Instance) -> bool:
    """Whether no iteration will come any more."""
    memory: Memory = loop.memory
    if not _may_start(world, loop) or memory.exhausted:
        return True
    count = _count(loop)
    return count is not None and memory.started >= count and is_closed(loop)


def _start(world: World, loop: Instance) -> None:
    memory: Memory = loop.memory
    index = memory.started
    bound = {**_names(loop, index), **({"carry": _carry(loop)} if "carry" in loop.fixed else {})}
    memory.started += 1
    containers.open_frame(world, loop, "body", index, bound)
    containers.mark(world, loop)


def _names(loop: Instance, index: int) -> dict[str, Any]:
    memory: Memory = loop.memory
    names = {loop.raw.get("index", "index"): index, "last": memory.last}
    if loop.node.type == "loop" and index < len(loop.fixed["items"]):
        names[loop.raw.get("as", "item")] = loop.fixed["items"][index]
    return names


def after_sight(world: World, loop: Instance, frame: Frame) -> Sight:
    """What is seen after an iteration: its nodes, its item, and carry and last as they are now."""
    names = {**_names(loop, frame.index), **({"carry": _carry(loop)} if "carry" in loop.fixed else {})}
    return Sight(world, frame, None, names)


# -- iterations -----------------------------------------------------------------------------------------------------------
def count(world: World, loop: Instance, frame: Frame) -> None:
    """An iteration has ended: its value, `last` and the next `carry`, and whether `until` holds now."""
    memory: Memory = loop.memory
    memory.news.append(frame)
    if frame.outcome == "succeeded":
        memory.values[frame.index] = frame.value
    elif frame.outcome == "failed" and frame.error is not None:
        memory.errors[frame.index] = frame.error
        memory.breaks.discard(frame.index)  # an error of its `finally` took the place of the break
    elif frame.outcome == "continued":
        memory.continued.add(frame.index)
    try:
        if frame.outcome == "succeeded":
            _carry_on(world, loop, frame)
        is_borne = frame.outcome != "failed" or not _is_for_policy(loop)
        is_counted = frame.outcome in ("succeeded", "failed", "continued") and is_borne
        if is_counted and _is_until(world, loop, frame):
            memory.until.add(frame.index)
    except Wrong as wrong:
        memory.wrong = memory.wrong or wrong.failure


def _judge_one(world: World, loop: Instance, frame: Frame) -> None:
    """An iteration is for `on_failure`, for `until` or for the quorum to judge, in this order. Raises Wrong."""
    if frame.outcome == "failed" and _is_for_policy(loop):
        _by_policy(world, loop, frame)
    elif frame.index in loop.memory.until:
        _complete(world, loop)
    _judge(world, loop)


def _carry_on(world: World, loop: Instance, frame: Frame) -> None:
    """`last`, and the next value of `carry`, which sees the one before it (rule 26). Raises Wrong."""
    memory: Memory = loop.memory
    memory.last = frame.value
    if "carry" in loop.fixed:
        memory.carry = evaluate(after_sight(world, loop, frame), loop.raw["carry"].get("next"), "carry.next")
        memory.carried = True


def _is_until(world: World, loop: Instance, frame: Frame) -> bool:
    raw = loop.raw.get("until")
    if raw is None or loop.memory.breaks or (loop.memory.failing and loop.raw.get("on_failure") != "isolate"):
        return False
    return holds(after_sight(world, loop, frame), raw, "until")


def _goes_beyond(loop: Instance) -> bool:
    """Whether a failed iteration is for `on_failure` to judge: not counted by a quorum, not after a break, not tolerated."""
    memory: Memory = loop.memory
    if memory.breaks or shields(loop.node):
        return False
    return len(memory.errors) > _tolerated(loop)


def _is_for_policy(loop: Instance) -> bool:
    """Whether `on_failure` makes something of an iteration that failed."""
    return _goes_beyond(loop) and loop.raw.get("on_failure") not in ("collect", "ignore")


def tolerates_one_more(loop: Instance) -> bool:
    """Whether one more failed iteration would be within `tolerate`."""
    return bool(loop.memory.breaks) or len(loop.memory.errors) + 1 <= _tolerated(loop)


def _tolerated(loop: Instance) -> int:
    tolerate = loop.fixed["tolerate"]
    share = percent(tolerate)
    if share is None:
        return int(tolerate)
    return int(share * (_count(loop) or 0) / 100 + 1e-9)


def _by_policy(world: World, loop: Instance, frame: Frame) -> None:
    """`on_failure` of the loop speaks of its iterations among themselves (rules 11, 13)."""
    memory: Memory = loop.memory
    assert frame.error is not None, "a failed frame has its failure"
    policy = loop.raw.get("on_failure", "cancel_siblings")
    memory.failing.append(frame.error)
    if policy == "cancel_siblings":
        containers.cancel_frames(world, loop, f"iteration {frame.index} failed: {frame.error.title}")


def depart_by_break(world: World, loop: Instance, frame: Frame, cause: str) -> None:
    """`break` in an iteration: it closes, no other starts, those in flight follow `in_flight` (rule 29)."""
    leaving.depart(world, Departure("break", frame, cause))
    if loop.memory.failing and loop.raw.get("on_failure") == "drain":
        return  # the failure stands
    loop.memory.breaks.add(frame.index)
    if loop.raw.get("in_flight", "cancel") == "cancel":
        containers.cancel_frames(world, loop, cause, but=frame)


# -- the end --------------------------------------------------------------------------------------------------------------
def tally_of(loop: Instance) -> Tally | None:
    """The iterations as branches; None while it is not known how many there are."""
    memory: Memory = loop.memory
    count = memory.started if memory.exhausted else _count(loop)
    if count is None or not is_closed(loop):
        return None
    ended = len(memory.values) + len(memory.errors) + len(memory.continued)
    return Tally(len(memory.values), len(memory.errors), 0, count - ended, len(memory.continued))


def _judge(world: World, loop: Instance) -> None:
    """Where it has a quorum: whether that is met, or can no longer be. Raises Wrong."""
    memory: Memory = loop.memory
    if not containers.goes_on(loop):
        return
    if need_of(loop.node) is None or memory.breaks or not shields(loop.node):
        return
    tally = tally_of(loop)
    if tally is None:
        tally = _unknown(loop)
    said = verdict(Sight(world, loop.frame, loop, _names(loop, memory.started)), loop, tally)
    if said == "fires":
        _complete(world, loop)
    elif said == "unreachable":
        containers.fail_unreachable(world, loop, unreachable(loop, list(memory.errors.values())))


def _unknown(loop: Instance) -> Tally:
    """Of a loop whose end is not known there may be as many more as one likes."""
    memory: Memory = loop.memory
    return Tally(len(memory.values), len(memory.errors), 0, 1_000_000_000, len(memory.continued))


def _complete(world: World, loop: Instance) -> None:
    """The loop has what it needs: it ends now, and iterations in flight are losers. A failure that was isolated stands."""
    if loop.memory.failing:
        failing.offer(world, loop, failing.joined(loop.memory.failing))
    else:
        ending.succeed(world, loop, output_of(world, loop))
    containers.lose(world, loop)


def time_out(world: World, loop: Instance, failure: Failure, has_edge: bool) -> None:
    """Its deadline has come: by the `timeout` edge with what there is, else the failure (rule 21)."""
    try:
        output = output_of(world, loop)
    except Wrong as wrong:
        output, failure, has_edge = None, wrong.failure, False
    if has_edge:
        ending.succeed(world, loop, output, ports=("timeout",))
    else:
        failing.without_retry(world, loop, failure)
    containers.lose(world, loop)


def _end(world: World, loop: Instance) -> None:
    """All iterations have ended, and none will start."""
    memory: Memory = loop.memory
    try:
        tally = tally_of(loop) or replace(_unknown(loop), pending=0)
        is_short = need_of(loop.node) is not None and shields(loop.node) and not memory.breaks and not loop.draining
        if is_short and verdict(Sight(world, loop.frame, loop), loop, tally) == "unreachable":
            failing.offer(world, loop, unreachable(loop, list(memory.errors.values())))
        elif loop.draining and not memory.breaks and not memory.failing and _has_more(world, loop):
            ending.cancel(world, loop, "kept from starting the rest")
        elif memory.failing and not memory.breaks:
            failing.offer(world, loop, failing.joined(memory.failing))
        else:
            ending.succeed(world, loop, output_of(world, loop))
    except Wrong as wrong:
        failing.offer(world, loop, wrong.failure)


def output_of(world: World, loop: Instance) -> dict[str, Any]:
    """Results, counts, failures, and which iteration broke (rule 25). Raises Wrong for a `reduce`."""
    memory: Memory = loop.memory
    succeeded, failed, continued = len(memory.values), len(memory.errors), len(memory.continued)
    return {
        "results": _results(world, loop),
        "counts": {
            "total": memory.started,
            "succeeded": succeeded,
            "failed": failed,
            "continued": continued,
            "cancelled": memory.started - succeeded - failed - continued,
        },
        "failures": [
            {"index": index, "error": error.as_value()} for index, error in list(memory.errors.items())[:FAILURES_MAX]
        ],
        "broken_by": min(memory.breaks, default=None),
    }


def _results(world: World, loop: Instance) -> Any:
    memory: Memory = loop.memory
    values: dict[int, Any] = dict(memory.values)
    if loop.raw.get("on_failure") == "collect":
        values.update({index: {"status": "failed", "error": error.as_value()} for index, error in memory.errors.items()})
    ordered = [values[index] for index in sorted(values)]
    collect = str(loop.raw.get("collect", "all"))
    last = re.fullmatch(r"last ([0-9]+)", collect)
    if last is not None:
        return ordered[-int(last.group(1)) :]
    return COLLECT[collect](world, loop, ordered)


def _reduced(world: World, loop: Instance, values: list[Any]) -> Any:
    carry = evaluate(Sight(world, loop.frame, loop), loop.raw["reduce"].get("start"), "reduce.start")
    for index, item in enumerate(values):
        names = {"item": item, "index": index, "carry": carry}
        carry = evaluate(Sight(world, loop.frame, loop, names), loop.raw["reduce"].get("next"), "reduce.next")
    return carry


COLLECT: dict[str, Callable[[World, Instance, list[Any]], Any]] = {
    "all": lambda world, loop, values: values,
    "count": lambda world, loop, values: len(loop.memory.values),
    "none": lambda world, loop, values: None,
    "reduce": _reduced,
}

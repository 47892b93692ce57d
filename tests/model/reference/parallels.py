"""Parallels: named branches side by side (rules 15 to 22)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from perdure.errors import Failure
from reference import containers, ending, failing
from reference.loops import _number as number
from reference.names import Sight, evaluate
from reference.quorums import Tally, unreachable, verdict
from reference.shape import counts_finished, shields
from reference.state import Frame, Instance, World, Wrong


@dataclass
class Memory:
    """What a parallel remembers of its branches in one attempt."""

    started: int = 0
    ended: dict[str, Frame] = field(default_factory=dict)  # in the order of their end
    failing: list[Failure] = field(default_factory=list)
    wrong: Failure | None = None  # what could not be evaluated
    unreachable: Failure | None = None  # that it parks for when what is left has ended
    news: list[Frame] = field(default_factory=list)  # that have ended and were not judged yet


def names(parallel: Instance) -> list[str]:
    """The branches, in the order of declaration."""
    return list(parallel.raw["branches"])


def fixed(world: World, parallel: Instance) -> dict[str, Any]:
    """What is evaluated once, on entry. Raises Wrong."""
    if parallel.raw.get("concurrency") is None:
        return {}
    sight = Sight(world, parallel.frame, parallel)
    return {"concurrency": number(sight, evaluate(sight, parallel.raw["concurrency"], "concurrency"), "concurrency", 1)}


def look(world: World, parallel: Instance) -> None:
    """Judge the branches that have ended, start one more that may start; where nothing is left to do, end."""
    memory: Memory = parallel.memory
    if memory.unreachable is not None:
        if not world.active_frames(parallel):
            failing.offer(world, parallel, memory.unreachable)
        return
    try:
        if memory.wrong is not None:
            raise Wrong(memory.wrong)
        while memory.news and containers.goes_on(parallel):
            _judge_one(world, parallel, memory.news.pop(0))
        if memory.unreachable is not None or not containers.goes_on(parallel):
            return
        if _start(world, parallel):
            return
    except Wrong as wrong:
        containers.fail_at_once(world, parallel, wrong.failure, f"`{parallel.node.id}` failed: {wrong.failure.title}")
        return
    if not world.active_frames(parallel):
        _end(world, parallel)


def _start(world: World, parallel: Instance) -> bool:
    """Open the next branch, where one may start; whether there was one. Raises Wrong."""
    memory: Memory = parallel.memory
    if not _may_start(world, parallel) or memory.started == len(names(parallel)):
        return False
    memory.started += 1
    containers.open_frame(world, parallel, names(parallel)[memory.started - 1])
    containers.mark(world, parallel)
    return True


def look_as_loser(world: World, parallel: Instance) -> None:
    """What is left of a parallel that has ended goes on only where its losers are detached (rule 19)."""
    try:
        if parallel.quorum_met and parallel.raw.get("losers") == "detach":
            _start(world, parallel)
    except Wrong:
        return


def leave(world: World, parallel: Instance) -> None:
    """It is being left: it ends when its branches have."""
    containers.has_been_left(world, parallel)


def _may_start(world: World, parallel: Instance) -> bool:
    memory: Memory = parallel.memory
    if containers.is_being_left(parallel) or parallel.draining:
        return False
    if not parallel.final and memory.failing and _policy(parallel) in ("cancel_siblings", "drain"):
        return False
    limit = parallel.fixed.get("concurrency")
    return limit is None or len(world.active_frames(parallel)) < limit


def _policy(parallel: Instance) -> str:
    return str(parallel.raw.get("on_failure", "cancel_siblings"))


def count(world: World, parallel: Instance, frame: Frame) -> None:
    """A branch has ended."""
    parallel.memory.ended[frame.scope.name] = frame
    parallel.memory.news.append(frame)


def _judge_one(world: World, parallel: Instance, frame: Frame) -> None:
    """A branch is for the quorum to judge where that shields, else for `on_failure`. Raises Wrong."""
    if not shields(parallel.node):
        if frame.outcome == "failed":
            _by_policy(world, parallel, frame)
        return
    said = verdict(Sight(world, parallel.frame, parallel), parallel, tally_of(parallel))
    if said == "fires":
        _met(world, parallel)
    elif said == "unreachable":
        containers.fail_unreachable(world, parallel, unreachable(parallel, failures_of(parallel)))


def _by_policy(world: World, parallel: Instance, frame: Frame) -> None:
    memory: Memory = parallel.memory
    assert frame.error is not None, "a failed frame has its failure"
    if _policy(parallel) in ("collect", "ignore"):
        return
    memory.failing.append(frame.error)
    if _policy(parallel) == "cancel_siblings":
        containers.cancel_frames(world, parallel, f"branch `{frame.scope.name}` failed: {frame.error.title}")


def _met(world: World, parallel: Instance) -> None:
    """The quorum is met: it succeeds now, and what is left are losers."""
    counted = {"succeeded", "failed"} if counts_finished(parallel.node) else {"succeeded"}
    parallel.winners = [name for name, frame in parallel.memory.ended.items() if frame.outcome in counted]
    ending.succeed(world, parallel, output_of(parallel))
    containers.lose(world, parallel)


def time_out(world: World, parallel: Instance, failure: Failure, has_edge: bool) -> None:
    """Its deadline has come: by the `timeout` edge with what there is, else the failure (rule 21)."""
    if has_edge:
        ending.succeed(world, parallel, output_of(parallel), ports=("timeout",))
    else:
        failing.without_retry(world, parallel, failure)
    containers.lose(world, parallel)


def _end(world: World, parallel: Instance) -> None:
    """All branches have ended, and none will start."""
    memory: Memory = parallel.memory
    if memory.failing:
        failing.offer(world, parallel, failing.joined(memory.failing))
    elif memory.started < len(names(parallel)):
        ending.cancel(world, parallel, "kept from starting the rest")
    else:
        parallel.winners = [name for name, frame in memory.ended.items() if frame.outcome == "succeeded"]
        ending.succeed(world, parallel, output_of(parallel))


# -- branches -------------------------------------------------------------------------------------------------------------
def tally_of(parallel: Instance) -> Tally:
    """The branches, counted."""
    outcomes = [frame.outcome for frame in parallel.memory.ended.values()]
    pending = len(names(parallel)) - len(outcomes)
    return Tally(outcomes.count("succeeded"), outcomes.count("failed"), outcomes.count("cancelled"), pending)


def failures_of(parallel: Instance) -> list[Failure]:
    """The failures of the branches, in the order of their end."""
    return [frame.error for frame in parallel.memory.ended.values() if frame.error is not None]


def output_of(parallel: Instance) -> dict[str, Any]:
    """What has come of each branch, in the order of declaration (rule 22); `ignore` leaves failed ones out."""
    found = {name: _branch(parallel.memory.ended.get(name)) for name in names(parallel)}
    if _policy(parallel) == "ignore":
        return {name: branch for name, branch in found.items() if branch["status"] != "failed"}
    return found


def _branch(frame: Frame | None) -> dict[str, Any]:
    if frame is None:
        return {"status": "pending"}
    if frame.outcome == "succeeded":
        return {"status": "succeeded", "output": frame.value}
    if frame.outcome == "failed" and frame.error is not None:
        return {"status": "failed", "error": frame.error.as_value()}
    return {"status": "cancelled"}

"""Joins: looked at each time one of their edges resolves (rules 15 to 22)."""

from __future__ import annotations

from typing import Any

from perdure.definition.fields import is_expression
from perdure.definition.graph import Entry
from perdure.errors import Failure
from reference import ending, failing, leaving
from reference.edges import resolution
from reference.names import Sight, duration, holds
from reference.quorums import Tally, by_number, unreachable, verdict
from reference.shape import counts_finished, error_ports, has_edge, need_of, region
from reference.state import Instance, World, Wrong


def arrivals(join: Instance) -> list[Entry]:
    """The edges that have resolved and were not looked at yet, in the order in which their sources ended."""
    resolved = [
        entry for entry in join.node.incoming if entry not in join.arrived and resolution(join.frame, entry) != "unresolved"
    ]
    return sorted(resolved, key=lambda entry: join.frame.instances[entry.source_id].finished)


def has_turn(join: Instance) -> bool:
    """Whether what has resolved can decide the join, or begins its deadline; what an expression says nobody knows before."""
    new = arrivals(join)
    if not new or len(join.arrived) + len(new) == len(join.node.incoming):
        return bool(new)
    if join.node.disabled:
        return False
    statuses = [resolved_status(join, entry) for entry in (*join.arrived, *new)]
    begins = join.deadline_at is None and any(join.raw.get(limit) is not None for limit in ("deadline", "timeout"))
    if is_expression(join.raw.get("need")) or (begins and any(each != "dead" for each in statuses)):
        return True
    pending = len(join.node.incoming) - len(statuses)
    tally = Tally(*(statuses.count(each) for each in ("success", "failed", "dead")), pending)
    return by_number(join, need_of(join.node), tally) != "waits"


def takes_a_later_turn(join: Instance) -> bool:
    """Whether more edges have resolved since it got its turn, so that an expression waits until what is ready has begun."""
    seen, join.seen = join.seen, len(arrivals(join))
    return join.seen > seen and is_expression(join.raw.get("need")) and not join.node.disabled


def look(world: World, join: Instance) -> None:
    """Edges have resolved since the join was looked at: it fires, fails, is skipped, or waits on (rule 15)."""
    new = arrivals(join)
    join.arrived += new
    join.turn = join.seen = 0
    try:
        limit = duration(Sight(world, join.frame, join), join.raw.get("deadline"), "deadline")
        _decide(world, join)
        begins = join.deadline_at is None and any(resolution(join.frame, entry) != "dead" for entry in new)
        if limit is not None and begins and join.state == "pending":
            join.deadline_at = world.at + limit
    except Wrong as wrong:
        failing.offer(world, join, wrong.failure)


def _decide(world: World, join: Instance) -> None:
    sight = Sight(world, join.frame, join)
    tally = tally_of(join)
    said = verdict(sight, join, tally)
    if join.node.disabled:
        if tally.pending == 0:
            ending.skip(world, join, "disabled")
    elif said == "empty":
        ending.skip(world, join, "no branch was taken")
    elif said == "fires":
        if holds(sight, join.raw.get("when", True), "when"):
            ending.succeed(world, join, output_of(join))
            _end(world, join)
        else:
            ending.skip(world, join, "`when` was false")
    elif said == "unreachable":
        failing.offer(world, join, unreachable(join, failures_of(join)))
        if join.state == "failed":  # one that people are asked about has not ended
            _end(world, join)


def _end(world: World, join: Instance) -> None:
    """The join ends: what is left of its region are losers (rule 19)."""
    join.began = world.tick()
    join.started_at = world.at
    join.winners = [entry.text for entry in join.arrived if status_of(join, entry) in _counted(join)]
    join.quorum_met = True
    losers = join.raw.get("losers", "cancel")
    cause = f"`{join.node.id}` has ended"
    for node in region(join.node):
        loser = join.frame.instances[node.id]
        if loser.state == "pending" and ending.is_being_reset(loser):
            continue  # it is in the region that the join leads back over, and has its next visit at once
        if losers == "cancel" and not loser.final:
            leaving.withdraw(world, loser, cause)
        elif losers == "drain" and not loser.final:
            failing.drain_one(world, loser, cause)


def time_out(world: World, join: Instance) -> None:
    """Its deadline has come: by the `timeout` edge with what there is, else the failure (rule 21)."""
    output = output_of(join)
    _end(world, join)
    if has_edge(join.node, "timeout"):
        ending.succeed(world, join, output, ports=("timeout",))
    else:
        failure = Failure(code="timeout.deadline", title="The deadline has passed.", category="timeout", node=join.path)
        failing.without_retry(world, join, failure)


# -- branches -------------------------------------------------------------------------------------------------------------
def _counted(join: Instance) -> frozenset[str]:
    return frozenset({"success", "failed"} if counts_finished(join.node) else {"success"})


def status_of(join: Instance, entry: Entry) -> str:
    """success, failed, dead or pending: of the source, not of the edge (rule 16)."""
    return resolved_status(join, entry) if entry in join.arrived else "pending"


def resolved_status(join: Instance, entry: Entry) -> str:
    """success, failed or dead, of an edge that is resolved."""
    source = join.frame.instances[entry.source_id]
    resolved = resolution(join.frame, entry)
    if resolved == "live":
        is_handled = entry.port in error_ports(source.node) and entry.port in source.ports
        return "success" if source.state == "succeeded" or is_handled else "failed"
    return "failed" if resolved == "broken" else "dead"


def tally_of(join: Instance) -> Tally:
    """All branches, counted."""
    found = [status_of(join, entry) for entry in join.node.incoming]
    return Tally(*(found.count(status) for status in ("success", "failed", "dead", "pending")))


def failures_of(join: Instance) -> list[Failure]:
    """The failures at the root of the branches that failed, as they arrived."""
    failures = []
    for entry in join.arrived:
        if status_of(join, entry) == "failed":
            source = join.frame.instances[entry.source_id]
            failure = source.error or source.broken
            if failure is not None:
                failures.append(failure)
    return failures


def output_of(join: Instance) -> dict[str, Any]:
    """What has come of each branch, in the order of declaration (rule 22)."""
    return {entry.text: _branch(join, entry) for entry in join.node.entries if entry in join.node.incoming}


def _branch(join: Instance, entry: Entry) -> dict[str, Any]:
    source = join.frame.instances[entry.source_id]
    is_resolved = resolution(join.frame, entry) != "unresolved"
    status = resolved_status(join, entry) if is_resolved else "pending"
    if status == "success":
        return {"status": "succeeded", "output": source.output if source.state == "succeeded" else None}
    if status == "failed":
        failure = source.error or source.broken
        return {"status": "failed", "error": None if failure is None else failure.as_value()}
    if status == "dead":
        return {"status": "cancelled" if source.state == "cancelled" else "skipped"}
    return {"status": "pending"}

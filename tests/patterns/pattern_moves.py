"""More moves and expectations for plays: children that are started or run, locks that are granted one at a time, late arrivals.

    started: node            the child that is not waited for was started
    run_children: 1          all children are carried to their end, each an execution of the same workflow
    grant: node              the node gets the lock that it waits for, which nobody may hold
    held: node               the lock that the node waits for is held by another
    expect: {stopping, late, visits, children}

`stopping` lists all effects that are asked to stop; `late` the nodes that something arrived at after their end; `visits` how
often nodes have succeeded; `children` the workflows that were asked for and not yet run, in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plays
from plays import finals, live
from recording import Recording

from perdure.engine import events
from perdure.engine.commands import StartChild


def _started(play: Recording, node: Any, rest: dict[str, Any]) -> None:
    token = play.result(node).token
    (command,) = (command for command in play.commands if isinstance(command, StartChild) and command.token == token)
    assert not command.awaited, f"`{node}` waits for the end of its child"
    play.take(play.result(node, output=play.encoded({"execution": f"of {node}"})))


def _run_children(play: Recording, times: Any, rest: dict[str, Any]) -> None:
    for _ in range(times):
        assert play.run_children(), "no child was asked for"


def _holder(play: Recording, node: str) -> str | None:
    key = play.instance(node).wait_key
    return next((path for path, instance in live(play) if instance.lock == key), None)


def _grant(play: Recording, node: Any, rest: dict[str, Any]) -> None:
    assert (holder := _holder(play, node)) is None, f"the lock is held by `{holder}`"
    instance, (frame, _, _) = play.instance(node), node.rpartition(".")
    play.take(events.Granted(frame=frame, node=instance.node, visit=instance.visit, key=instance.wait_key))


def _held(play: Recording, node: Any, rest: dict[str, Any]) -> None:
    assert plays.state(play, node) == "waiting", f"`{node}` waits for no lock"
    assert _holder(play, node) is not None, f"nobody holds the lock that `{node}` waits for"


def _stopping(play: Recording, wanted: Sequence[str]) -> None:
    effects = {run.token.node for run in play.runs()}
    found = sorted(
        path for path, instance in live(play) if instance.stopping and not instance.final and instance.node in effects
    )
    assert found == sorted(wanted), f"expected {wanted}, but {found} are asked to stop"


def _late(play: Recording, wanted: Sequence[str]) -> None:
    found = [fact.node for fact in play.facts if isinstance(fact, events.Late)]
    assert found == list(wanted), f"expected late arrivals at {wanted}, but they are at {found}"


def _visits(play: Recording, wanted: Mapping[str, int]) -> None:
    ended = [path.partition("#")[0] for path, state, _ in finals(play) if state == "succeeded"]
    found = {node: ended.count(node) for node in wanted}
    assert found == wanted, f"expected {wanted}, but found {found}"


def _children(play: Recording, wanted: Sequence[str]) -> None:
    found = [command.workflow for command in play.commands if isinstance(command, StartChild)]
    assert found == list(wanted), f"expected {wanted}, but {found} were asked for"


plays.VERBS.update(started=_started, run_children=_run_children, grant=_grant, held=_held)
plays.EXPECTATIONS.update(stopping=_stopping, late=_late, visits=_visits, children=_children)

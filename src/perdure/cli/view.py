"""How a run is watched: JSON lines for scripts, plain lines for logs and pipes, a live table on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from perdure.cli.wording import GLYPHS, clock_text, duration_text, failure_lines, json_line, moment_text, one_line, value_text
from perdure.definition.plan import NodePlan, Plan
from perdure.engine import events
from perdure.engine.codec import decode_value, handle_digest
from perdure.engine.events import AnyFact
from perdure.engine.evolution import evolve
from perdure.engine.execution import BACKOFF, STATE_NAMES, Execution, Frame, Instance
from perdure.engine.names import time_text
from perdure.ids import ExecutionId, id_text, instance_path
from perdure.operations.journal import fact_object
from perdure.operations.progress import frames_of, progress_words
from perdure.operations.waits import ends_at, gives_up_at, wait_words
from perdure.runtime.hot import Outcome

RECENT_MAX = 100
FRAMES_KEPT = 100
"""So many frames that have ended may be remembered before they are forgotten."""
FINALS = (events.Done, events.NodeFailed, events.NodeCancelled, events.Skipped)


class View(Protocol):
    """Somebody who watches executions. It hears durable facts only, each once and in the order of the journal."""

    def follow(self, execution: ExecutionId, plan: Plan) -> None:
        """From now on watch this one, from its first fact on."""
        ...

    def saw(self, execution: ExecutionId, at: int, facts: list[AnyFact]) -> None: ...

    def log(self, execution: ExecutionId, at: int, path: str, message: str, level: str, data: dict[str, Any]) -> None:
        """A node logged a line while it ran; after the facts that its run follows from."""
        ...

    def end(self, outcome: Outcome, took: int) -> None:
        """It is over, or will not be waited for any longer; `took` microseconds."""
        ...

    def close(self) -> None:
        """Nothing more comes. Closing twice does no harm."""
        ...


class Times(msgspec.Struct):
    """When a node of a frame began and ended, microseconds UTC."""

    visit: int = 1
    began: int = 0
    ended: int = 0


class Watched:
    """One execution as people see it: folded from the facts, with the times that a state has no need of.

    What it remembers of a frame it forgets with the frame: a loop of a million iterations takes the room of those in flight.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state = Execution()
        self.times: dict[str, dict[str, Times]] = {}  # by frame and node
        self.recent: list[str] = []  # nodes of the workflow's own scope that ended last

    def take(self, at: int, fact: AnyFact) -> None:
        """Remember one more fact."""
        evolve(self.state, fact)
        self.state.at = at
        if isinstance(fact, events.InstanceFact):
            times = self.times.setdefault(fact.frame, {}).setdefault(fact.node, Times())
            if times.visit != fact.visit:
                times = self.times[fact.frame][fact.node] = Times(visit=fact.visit)
            times.began = times.began or at
            if isinstance(fact, FINALS):
                times.ended = at
                if not fact.frame:
                    self.recent.append(fact.node)
                    del self.recent[:-RECENT_MAX]
        elif isinstance(fact, events.FrameClosed) and len(self.times) > 2 * len(self.state.frames) + FRAMES_KEPT:
            self.times = {path: times for path, times in self.times.items() if path in self.state.frames}

    def instance_of(self, fact: events.InstanceFact) -> Instance:
        """The instance that a fact is about."""
        return self.state.frames[fact.frame].instances[fact.node]

    def node_of(self, frame: str, node: str) -> NodePlan:
        """The plan of a node of a frame that is there."""
        scope = self.plan.scopes[self.state.frames[frame].scope]
        return scope.nodes[scope.number[node]]

    def note(self, frame: str, instance: Instance, now: int, *, counts_down: bool = False) -> str:
        """What to say about an instance of a frame beside its state."""
        node = self.node_of(frame, instance.node)
        inside = frames_of(self.state, frame, instance.node) if node.type == "try" else ()
        return note_of(instance, now, counts_down=counts_down, node=node, inside=inside)

    def logged(self, fact: events.Fact) -> str | None:
        """What a `log` node said with this fact; None for every other fact."""
        if not isinstance(fact, events.Done) or self.node_of(fact.frame, fact.node).type != "log":
            return None
        return logged_line(decode_value(fact.output)) if handle_digest(fact.output) is None else "(a long message)"


def logged_line(line: dict[str, Any]) -> str:
    """A log line in one line of text."""
    level = "" if line["level"] == "info" else f"{line['level']}: "
    data = f"  {value_text(line['data'], longest=200)}" if line.get("data") not in (None, {}) else ""
    return one_line(f"{level}{line['message']}{data}")


def note_of(
    instance: Instance, now: int, *, counts_down: bool = False, node: NodePlan | None = None, inside: Iterable[Frame] = ()
) -> str:  # fmt: skip
    """What to say about an instance beside its state: what it waits for, until when, how far it has come, or why it is so.

    `counts_down`: for somebody who watches the time left, and can do without the time of day. `inside`: its open frames.
    """
    state = STATE_NAMES[instance.state]
    if instance.stopping and not instance.final:
        return one_line(instance.stopping)
    if state == "waiting":
        return one_line(_waiting_note(instance, now, counts_down, node))
    if state in ("failed", "parked") and instance.error is not None:
        return one_line(instance.error.title)
    return one_line(instance.cause or (progress_words(instance, node.type, inside) if node is not None else ""))


def _waiting_note(instance: Instance, now: int, counts_down: bool, node: NodePlan | None) -> str:
    def until(at: int) -> str:
        return f"{duration_text(max(0, at - now))} left" if counts_down else f"until {moment_text(at, now)}"

    if instance.state == BACKOFF:
        when = f"in {duration_text(max(0, instance.due - now))}" if counts_down else f"at {moment_text(instance.due, now)}"
        why = f": {instance.error.title}" if instance.error is not None else ""
        return f"attempt {instance.attempt + 1} {when}{why}"
    end = ends_at(instance) or gives_up_at(instance)
    return ", ".join(filter(None, (wait_words(instance, node), until(end) if end else "")))


class JsonView:
    """One JSON object a line: facts as they become durable, log lines as they come, the outcome last."""

    def follow(self, execution: ExecutionId, plan: Plan) -> None:
        """Its first fact says all."""

    def saw(self, execution: ExecutionId, at: int, facts: list[AnyFact]) -> None:
        for fact in facts:
            self._print({"at": time_text(at), "execution": id_text(execution), **fact_object(fact)})

    def log(self, execution: ExecutionId, at: int, path: str, message: str, level: str, data: dict[str, Any]) -> None:
        line = {"log": message, "node": path, "level": level, "data": data}
        self._print({"at": time_text(at), "execution": id_text(execution), **line})

    def end(self, outcome: Outcome, took: int) -> None:
        about = {"status": outcome.status, "output": outcome.output, "error": outcome.error}
        self._print({"execution": id_text(outcome.execution), **about})

    def close(self) -> None:
        """There is nothing to take down."""

    def _print(self, value: dict[str, Any]) -> None:
        print(json_line(value), flush=True)


class PlainView:
    """A line for each change of a node's state."""

    def __init__(self) -> None:
        self._watched: dict[ExecutionId, Watched] = {}

    def follow(self, execution: ExecutionId, plan: Plan) -> None:
        self._watched[execution] = Watched(plan)
        print(f"{plan.name}  {id_text(execution)}", flush=True)

    def saw(self, execution: ExecutionId, at: int, facts: list[AnyFact]) -> None:
        watched = self._watched[execution]
        lines = []
        for fact in facts:
            watched.take(at, fact)
            if isinstance(fact, events.InstanceFact) and not _says_nothing(fact):
                lines.append(f"{clock_text(at)} {self._change(watched, fact, at)}".rstrip())
            elif isinstance(fact, events.Paused | events.Resumed):
                lines.append(f"{clock_text(at)} {pause_words(fact)}")
        if lines:
            print("\n".join(lines), flush=True)

    def _change(self, watched: Watched, fact: events.InstanceFact, at: int) -> str:
        instance = watched.instance_of(fact)
        path = instance_path(fact.frame, fact.node, fact.visit)
        state = "stopping" if isinstance(fact, events.Stopping) else STATE_NAMES[instance.state]
        again = f" (attempt {instance.attempt})" if isinstance(fact, events.Scheduled) and instance.attempt > 1 else ""
        logged = watched.logged(fact)
        return f"{path} {state}{again} {watched.note(fact.frame, instance, at) if logged is None else logged}"

    def log(self, execution: ExecutionId, at: int, path: str, message: str, level: str, data: dict[str, Any]) -> None:
        line = logged_line({"message": message, "level": level, "data": data})
        whose = "" if execution in self._watched else f"{id_text(execution)} "  # of a child, which is not shown itself
        print(f"{clock_text(at)} {whose}{path} log {line}", flush=True)

    def end(self, outcome: Outcome, took: int) -> None:
        self._watched.pop(outcome.execution, None)
        print("\n".join(ending_lines(outcome, took)), flush=True)

    def close(self) -> None:
        """There is nothing to take down."""


_SAY_NOTHING = (events.Lost, events.Unparked, events.Locked)
"""Facts of instances that are told by what follows from them."""


def _says_nothing(fact: events.InstanceFact) -> bool:
    """Is it told by what follows from it; or has only a condition been judged again, which it is now and then?"""
    return isinstance(fact, _SAY_NOTHING) or (isinstance(fact, events.Rescheduled) and not fact.by)


def pause_words(fact: events.Paused | events.Resumed) -> str:
    """That a pause began or ended, and who did it."""
    what = "is paused" if isinstance(fact, events.Paused) else "goes on after its pause"
    return one_line(f"the execution {what}{f' by {fact.by}' if fact.by else ''}")


def ending_lines(outcome: Outcome, took: int) -> list[str]:
    """The last words on an execution: how it ended and when, then its output or its error."""
    status = outcome.status.replace("_", " ")
    ended = f"{status} after" if status in ("parked", "waiting", "paused") else f"{status} in"
    lines = [f"{GLYPHS[outcome.status]} {ended} {duration_text(took)}  {id_text(outcome.execution)}"]
    if outcome.error is not None:
        lines += failure_lines(outcome.error, indent="  ")
    elif outcome.status == "succeeded":
        lines.append(value_text(outcome.output))
    return lines


def view_for(*, json: bool, plain: bool) -> View:
    """The view for this call: JSON lines, a live table on a terminal, plain lines elsewhere."""
    if json:
        return JsonView()
    if plain or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return PlainView()
    from perdure.cli.live import LiveView

    return LiveView()

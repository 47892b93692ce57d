"""The live table of `run` and `resume` on a terminal: every node, or with more than fit those that matter now."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from perdure.cli.view import Watched, ending_lines, logged_line, pause_words
from perdure.cli.wording import COLOURS, GLYPHS, clock_text, duration_text
from perdure.clock import SystemClock
from perdure.definition.plan import Plan
from perdure.engine import events
from perdure.engine.events import AnyFact
from perdure.engine.execution import STATE_NAMES, Instance
from perdure.ids import ExecutionId, id_text, instance_path, is_inside
from perdure.runtime.hot import Outcome

REFRESHES_A_SECOND = 8
LINES_BESIDE = 4  # of the terminal's height, for the line of progress and what stands above
ROWS_LEFT_BEHIND_MAX = 40
"""A table of up to so many nodes stays on the screen when its execution has ended."""

FRAMES_LOOKED_AT = 2_000
"""Of a loop with more iterations in flight only the first so many are looked at for each picture."""

SHOWN_MICROSECONDS_MIN = 1_000  # what a step computes takes no time that anybody would look at

_OVER = ("succeeded", "failed", "cancelled", "skipped")
_URGENT = ("parked", "failed", "running", "waiting")
_IN_WORDS = (*_URGENT, "pending", "succeeded", "skipped", "cancelled")


class LiveView:
    """A table that keeps itself up to date; log lines and results are printed above it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console if console is not None else Console(highlight=False)
        self._watched: dict[ExecutionId, Watched] = {}
        self._clock = SystemClock()
        self._live = Live(
            console=self._console, refresh_per_second=REFRESHES_A_SECOND, get_renderable=self._render, transient=True,
            redirect_stderr=sys.stderr.isatty(),  # else it is meant to go elsewhere
        )  # fmt: skip

    def follow(self, execution: ExecutionId, plan: Plan) -> None:
        self._watched[execution] = Watched(plan)
        self._live.start()
        self._console.print(Text.assemble((plan.title or plan.name, "bold"), "  ", (id_text(execution), "dim")))

    def saw(self, execution: ExecutionId, at: int, facts: list[AnyFact]) -> None:
        watched = self._watched[execution]
        for fact in facts:
            watched.take(at, fact)
            said = pause_words(fact) if isinstance(fact, events.Paused | events.Resumed) else watched.logged(fact)
            if said is not None:
                self._console.print(Text.assemble((clock_text(at), "dim"), "  ", said))

    def log(self, execution: ExecutionId, at: int, path: str, message: str, level: str, data: dict[str, Any]) -> None:
        line = logged_line({"message": message, "level": level, "data": data})
        whose = path if execution in self._watched else f"{id_text(execution)} {path}"  # of a child, which is not shown itself
        self._console.print(Text.assemble((clock_text(at), "dim"), "  ", (whose, "dim"), "  ", line))

    def end(self, outcome: Outcome, took: int) -> None:
        watched = self._watched.pop(outcome.execution)
        if not self._watched:
            self._live.stop()
        if len(watched.plan.root.nodes) <= ROWS_LEFT_BEHIND_MAX:
            self._console.print(self.table(watched, len(watched.plan.root.nodes)))
        self._console.print(Text(self.progress(watched), style="dim"))
        first, *rest = ending_lines(outcome, took)
        self._console.print(Text(first, style=COLOURS[outcome.status]))
        for line in rest:
            self._console.print(Text(line))

    def close(self) -> None:
        self._live.stop()

    def _render(self) -> RenderableType:
        """Called by the thread that refreshes; the dictionary may change meanwhile, so it is copied first."""
        every = list(self._watched.values())
        room = max(3, self._console.size.height - LINES_BESIDE)
        if len(every) == 1:
            return Group(self.table(every[0], room), _cut(self.progress(every[0]), style="dim"))
        return Group(*(_cut(f"{watched.plan.name}  {self.progress(watched)}") for watched in every[:room]))

    # -- the table ----------------------------------------------------------------------------------------------------

    def table(self, watched: Watched, room: int) -> Table:
        """At most `room` nodes of an execution: its own as they were declared, below each container what is active in it."""
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        now = self._clock.now()
        for frame, name in rows(watched, room):
            opened = watched.state.frames.get(frame)
            instance = opened.instances.get(name) if opened is not None else None
            if instance is None and frame:
                continue  # its frame has ended meanwhile
            state = STATE_NAMES[instance.state] if instance is not None else "pending"
            note = watched.note(frame, instance, now, counts_down=True) if instance is not None else ""
            again = f"×{instance.attempt}" if instance is not None and instance.attempt > 1 else ""
            shown = name if instance is None else f"{'  ' if frame else ''}{instance_path(frame, name, instance.visit)}"
            table.add_row(
                Text(GLYPHS[state], style=COLOURS[state]), Text(shown, overflow="ellipsis", no_wrap=True),
                Text(state, style=COLOURS[state]), again, self._duration(watched, frame, name, state, now),
                Text(note, style="dim", overflow="ellipsis", no_wrap=True),
            )  # fmt: skip
        return table

    def _duration(self, watched: Watched, frame: str, name: str, state: str, now: int) -> str:
        times = watched.times.get(frame, {}).get(name)
        if times is None or state in ("pending", "skipped"):
            return ""
        took = max(0, (times.ended or now) - times.began)
        return duration_text(took) if took >= SHOWN_MICROSECONDS_MIN else ""

    def progress(self, watched: Watched) -> str:
        """`12/40 nodes, 8.5 s: 3 running, 25 pending, 12 succeeded`."""
        nodes, instances = watched.plan.root.nodes, _instances(watched)
        counts = Counter(STATE_NAMES[instances[node.id].state] if node.id in instances else "pending" for node in nodes)
        over = sum(counts[state] for state in _OVER)
        words = [f"{counts[state]} {state}" for state in _IN_WORDS if counts[state]]
        state = watched.state
        took = (state.at if state.ended else self._clock.now()) - state.started if state.started else 0
        paused = " (paused)" if state.paused_at else ""
        return f"{over}/{len(nodes)} nodes, {duration_text(max(0, took))}{paused}: {', '.join(words)}"


def rows(watched: Watched, room: int) -> list[tuple[str, str]]:
    """The nodes to show, each by its frame: the workflow's own, then below its container what matters inside of it."""
    own = chosen(watched, room)
    instances = _instances(watched)
    holders = [name for name in own if name in instances and _has_frames(watched, name)]
    share = (room - len(own)) // len(holders) if holders else 0
    found: list[tuple[str, str]] = []
    for name in own:
        found.append(("", name))
        if share > 0 and name in holders:
            found += _inside(watched, instance_path("", name, instances[name].visit), share)
    return found


def _has_frames(watched: Watched, name: str) -> bool:
    root = watched.plan.root
    return bool(root.nodes[root.number[name]].scopes)


def _inside(watched: Watched, container: str, room: int) -> list[tuple[str, str]]:
    """What is active in the frames of a container, or failed there: the most urgent, in the order in which it began."""
    every = list(watched.state.frames.values())[:FRAMES_LOOKED_AT]  # copied at once: it may change meanwhile
    frames = [frame for frame in every if is_inside(frame.path, container)]
    urgent = [
        (_URGENT.index(STATE_NAMES[instance.state]), place, frame.path, name)
        for place, frame in enumerate(frames) if not frame.closed
        for name, instance in list(frame.instances.items()) if STATE_NAMES[instance.state] in _URGENT
    ]  # fmt: skip
    first = sorted(urgent)[:room]
    return [(path, name) for _, _, path, name in sorted(first, key=lambda entry: entry[1])]


def chosen(watched: Watched, room: int) -> list[str]:
    """The nodes to show: all that fit; else what is parked, failed, runs or waits, then what ended last, then what is next."""
    names = [node.id for node in watched.plan.root.nodes]
    if len(names) <= room:
        return names
    instances = _instances(watched)
    urgency = {
        name: _URGENT.index(state)
        for name in names
        if name in instances and (state := STATE_NAMES[instances[name].state]) in _URGENT
    }
    picked = dict.fromkeys(sorted(urgency, key=urgency.__getitem__))
    picked |= dict.fromkeys(reversed(watched.recent))
    picked |= dict.fromkeys(name for name in names if name not in instances)
    first = set(list(picked)[:room])
    return [name for name in names if name in first]


def _cut(line: str, style: str = "") -> Text:
    """A line that never takes two, whatever the terminal's width."""
    return Text(line, style=style, no_wrap=True, overflow="ellipsis")


def _instances(watched: Watched) -> Mapping[str, Instance]:
    root = watched.state.frames.get("")
    return root.instances if root is not None else {}

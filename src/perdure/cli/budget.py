"""Where the time of a step goes: a stopwatch that is always on exactly one part, handed on as one part calls another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter_ns
from typing import Any

PARTS = {
    "decide": "what follows from an input: the engine's step, without evolve",
    "evolve": "remembering each fact in the state",
    "encode": "values and journal rows to and from msgpack",
    "sql": "the statements of the commit",
    "commit": "COMMIT: writing the log and waiting for the disk",
    "asyncio": "the rest: the loop, a task per effect, timeouts, the home's books",
}
REST = "asyncio"
CALIBRATIONS = 20_000


class Stopwatch:
    """Nanoseconds by part, each without what it hands on to others."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(PARTS, 0)
        self._calls = dict.fromkeys(PARTS, 0)
        self._part = REST
        self._since = perf_counter_ns()

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, on the time of `part`."""
        spent, calls = self.spent, self._calls

        def run(*given: Any, **named: Any) -> Any:
            before, now = self._part, perf_counter_ns()
            spent[before] += now - self._since
            self._part, self._since = part, now
            calls[part] += 1
            try:
                return function(*given, **named)
            finally:
                now = perf_counter_ns()
                spent[self._part] += now - self._since
                self._part, self._since = before, now

        return run

    def begin(self) -> None:
        """From zero."""
        for part in PARTS:
            self.spent[part] = self._calls[part] = 0
        self._since = perf_counter_ns()

    def stop(self) -> dict[str, float]:
        """Nanoseconds by part, without what the stopwatch itself took."""
        self.spent[self._part] += perf_counter_ns() - self._since
        inside, outside = _own_cost()
        calls = sum(self._calls.values())
        net = {part: spent - inside * self._calls[part] for part, spent in self.spent.items()}
        net["decide"] -= outside * self._calls["evolve"]  # whoever calls is charged with the way there and back
        net[REST] -= outside * (calls - self._calls["evolve"])
        return {part: max(0.0, value) for part, value in net.items()}


def _own_cost() -> tuple[float, float]:
    """What timing one call adds to the part that is called, and to the part that calls, in nanoseconds."""
    watch = Stopwatch()
    nothing = watch.timed("evolve", lambda: None)
    begin = perf_counter_ns()
    for _ in range(CALIBRATIONS):
        nothing()
    total = perf_counter_ns() - begin
    return watch.spent["evolve"] / CALIBRATIONS, (total - watch.spent["evolve"]) / CALIBRATIONS


@contextmanager
def watched() -> Iterator[Stopwatch]:
    """Time everything that is opened and run inside, on the embedded store."""
    from perdure.engine import machine
    from perdure.runtime import attempts, gathering
    from perdure.store.sqlite import connection, store

    watch = Stopwatch()
    places: tuple[tuple[str, Any, str], ...] = (
        ("decide", gathering, "step"),
        ("evolve", machine, "evolve"),
        ("encode", gathering, "encode_row"),
        ("encode", attempts, "encode_value"),
        ("encode", attempts, "decode_value"),
        ("sql", store, "commit"),
        ("commit", connection.Database, "commit"),
    )
    with ExitStack() as stack:
        for part, owner, name in places:
            original = getattr(owner, name)
            stack.callback(setattr, owner, name, original)
            setattr(owner, name, watch.timed(part, original))
        yield watch

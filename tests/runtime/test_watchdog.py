"""The watchdog: it names what blocks the loop, once, and speaks of nodes only when it was one."""

from __future__ import annotations

import asyncio
import threading

import pytest

from perdure.runtime.watchdog import Blocked, Watchdog, attempt_name

LIMIT = 20_000


async def block(reported: threading.Event) -> None:
    """Hold the loop until the watchdog has spoken."""
    assert reported.wait(30)


def watched(*names: str) -> list[Blocked]:
    """What the watchdog reports while tasks of these names hold the loop, one after another."""
    reports: list[Blocked] = []
    reported = threading.Event()

    def report(blocked: Blocked) -> None:
        if any("in block" in line for line in blocked.stack):  # a busy machine may be slow elsewhere as well
            reports.append(blocked)
            reported.set()

    async def main() -> None:
        watchdog = Watchdog(report, limit=LIMIT)
        watchdog.start()
        for name in names:
            reported.clear()
            await asyncio.create_task(block(reported), name=name)
            turned = asyncio.Event()  # let the loop give a sign of life in between
            asyncio.get_running_loop().call_later(LIMIT / 1_000_000, turned.set)
            await turned.wait()
        watchdog.stop()

    asyncio.run(main())
    return reports


def test_a_blocking_node_is_named_with_its_path_and_stack() -> None:
    """The report has type, path, how long the loop stood still, and the line that held it."""
    (report,) = watched(attempt_name("geo.distance", "orders[3].far"))
    assert (report.type, report.path) == ("geo.distance", "orders[3].far")
    assert report.microseconds >= LIMIT
    assert any("in block" in line and "reported.wait" in line for line in report.stack)


def test_each_blockage_is_reported_once() -> None:
    """Two blockages are two reports, however long each of them lasts."""
    assert [report.type for report in watched(attempt_name("a.b", "x"), attempt_name("a.c", "y"))] == ["a.b", "a.c"]


def test_a_node_is_named_even_where_another_task_was_slow_in_the_same_turn() -> None:
    """Two tasks of one turn that both hold the loop are both named, though there was no sign of life between them."""
    reports: list[str] = []
    first, second = threading.Event(), threading.Event()

    def report(blocked: Blocked) -> None:
        if any("in block" in line for line in blocked.stack):
            reports.append(blocked.type)
            (first if blocked.type == "a.b" else second).set()

    async def main() -> None:
        watchdog = Watchdog(report, limit=LIMIT)
        watchdog.start()
        tasks = [
            asyncio.create_task(block(event), name=attempt_name(name, "x")) for name, event in (("a.b", first), ("a.c", second))
        ]
        await asyncio.gather(*tasks)
        watchdog.stop()

    asyncio.run(main())
    assert reports == ["a.b", "a.c"]


def test_what_is_no_node_is_reported_without_a_type() -> None:
    """Our own code may block too; that is reported, and marks no type."""
    (report,) = watched("something else")
    assert (report.type, report.path) == ("", "")


def test_a_loop_that_turns_is_not_reported() -> None:
    """A loop that comes round within the limit is left alone."""
    reports: list[Blocked] = []

    async def main() -> None:
        watchdog = Watchdog(reports.append, limit=60_000_000)
        watchdog.start()
        for _ in range(100):
            await asyncio.wait([asyncio.ensure_future(asyncio.to_thread(int))])
        watchdog.stop()

    asyncio.run(main())
    assert reports == []


def test_a_limit_must_be_positive() -> None:
    """A limit of nothing would report everything."""
    with pytest.raises(ValueError, match="Expected a limit"):
        Watchdog(limit=0)

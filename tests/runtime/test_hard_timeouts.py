"""The four timeouts that are hard to keep: C code, a blocked loop, a dripping server, children of the child."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil

from perdure.nodes import Context, Work
from perdure.nodes.exchange import CLIENTS
from perdure.nodes.http import WORK
from perdure.runtime.processes import ProcessPool
from perdure.runtime.watchdog import Blocked, Watchdog, attempt_name

TimesOut = Callable[[Any], Awaitable[Any]]


def test_a_timeout_stops_a_loop_in_c_code(samples: dict[str, Work], context: Context, times_out: TimesOut) -> None:
    """A node that computes in C, where no exception reaches it, is gone when the timeout has been raised."""

    async def main() -> None:
        async with ProcessPool(1) as pool:
            pid = await times_out(
                lambda beat: pool.run(samples["count_in_c"].reference, {}, context.fields(), on_heartbeat=beat, grace=20_000)
            )
            assert not psutil.pid_exists(pid)

    asyncio.run(main())


def test_a_node_that_blocks_the_loop_is_named_and_its_next_attempt_is_killed(
    samples: dict[str, Work], times_out: TimesOut, tmp_path: Path
) -> None:
    """`time.sleep` in an async node: the watchdog names it while it blocks; its next attempt is killed in a process."""
    work = samples["nap"]
    file = tmp_path / "wake"
    reports: list[Blocked] = []

    def report(blocked: Blocked) -> None:
        if blocked.type:  # on a busy machine the test's own code may be slow as well
            reports.append(blocked)
            file.touch()  # only this ends the nap: had nobody noticed, the test would hang

    async def main() -> None:
        watchdog = Watchdog(report, limit=30_000)
        watchdog.start()
        context = Context(path="orders[3].nap")
        first = work.run({"file": str(file)}, context)
        assert await asyncio.create_task(first, name=attempt_name(work.spec.name, context.path)) == "woken"
        watchdog.stop()
        assert watchdog.blocking_types == {"sample.nap"}
        never = {"file": str(tmp_path / "never")}
        async with ProcessPool(1) as pool:
            pid = await times_out(
                lambda beat: pool.run(work.reference, never, context.fields(), on_heartbeat=beat, grace=20_000)
            )
            assert pid != os.getpid()
            assert not psutil.pid_exists(pid)

    asyncio.run(main())
    assert [(report.type, report.path) for report in reports] == [("sample.nap", "orders[3].nap")]
    assert reports[0].microseconds >= 30_000
    assert any("in nap" in line and "time.sleep" in line for line in reports[0].stack)


def test_a_timeout_cuts_a_server_that_drips(times_out: TimesOut) -> None:
    """A server that sends a byte at a time for ever is cut by the timeout of the attempt, and sees the connection close."""

    async def main() -> None:
        closed = asyncio.Event()
        dripped = asyncio.Event()

        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            gone = asyncio.ensure_future(reader.read())
            for number in range(1_000_000):
                writer.write(b"x")
                if number == 2:
                    dripped.set()
                if (await asyncio.wait([gone], timeout=0.01))[0]:
                    break
            closed.set()
            writer.close()

        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

        async def fetch(beat: Callable[[Any], None]) -> None:
            waiting = asyncio.ensure_future(dripped.wait())
            waiting.add_done_callback(lambda done: beat("dripped"))
            await WORK.run({"url": url, "read_timeout": 5}, Context())

        assert await times_out(fetch) == "dripped"
        await asyncio.wait_for(closed.wait(), 10)
        await CLIENTS.close()
        server.close()

    asyncio.run(main())


def test_a_timeout_kills_the_children_of_the_child(samples: dict[str, Work], context: Context, times_out: TimesOut) -> None:
    """Children, forked ones deaf to SIGTERM, ones in their own session, daemons without our environment: all are gone."""

    async def main() -> None:
        async with ProcessPool(1) as pool:
            pids = await times_out(
                lambda beat: pool.run(samples["family"].reference, {}, context.fields(), on_heartbeat=beat, grace=20_000)
            )
            assert len(set(pids)) == 5
            assert [pid for pid in pids if psutil.pid_exists(pid)] == []

    asyncio.run(main())
